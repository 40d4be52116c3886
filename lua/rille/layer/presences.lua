--- Who is in which group, on Redis: one answer for all processes.
---
--- A group is a hash from keys to their connections; one script does everything with it, in one
--- step, and numbers what changes. A connection holds for a lease, which its worker renews: those
--- of a process that died lapse, and whoever looks next (`sweep`) tells that they have left.

local class = require("rille.class")
local core = require("rille.core")
local redis = require("rille.redis")
local script = require("rille.layer.presence_script")
local task = require("rille.task")

local msgpack = core.msgpack

local LEASE = 30 -- seconds
local AT_ONCE = 200 -- connections renewed by one command

---@class rille.layer.Presences : rille.Class  functions as of `rille.core.presence`, which wait
local Presences = class("Presences")

---@param server rille.redis.Settings
---@param prefix string
---@param told fun(group: string, key: string, event: string, seq: number, people: string[])
---@param lease number?  seconds
function Presences:init(server, prefix, told, lease)
  self.prefix, self.lease = prefix .. ":presence:", lease or LEASE
  self.told = told
  self.own = {} -- group to { key, channel, meta } of connections of this worker, by name
  self.link = redis.open(server, { name = "rille presence", outage = "wait" })
  core.task.serve(function()
    self:renew()
  end)
end

function Presences:close()
  self.closed = true
  self.link:close()
end

function Presences.encode(meta)
  return msgpack.encode(meta)
end

function Presences.decode(bytes)
  local meta = msgpack.decode(bytes)
  if meta == core.null then
    return nil
  end
  return meta
end

---@async
function Presences:ask(verb, group, ...)
  local keys = { self.prefix .. "{" .. group .. "}", self.prefix .. "seq" }
  return self.link:aeval(script, keys, verb, math.ceil(self.lease * 1000), ...)
end

local function change_of(reply)
  if reply[1] == "" then
    return nil
  end
  return reply[1], tonumber(reply[2]), reply[3]
end

local function name_of(key, channel)
  return key .. "\0" .. channel
end

function Presences:note(group, key, channel, meta)
  local all = self.own[group] or {}
  self.own[group] = all
  all[name_of(key, channel)] = meta and { key, channel, meta } or nil
  if next(all) == nil then
    self.own[group] = nil
  end
end

---@async
function Presences:track(group, key, channel, meta)
  local reply = self:ask("track", group, key, channel, meta)
  self:note(group, key, channel, meta)
  return change_of(reply)
end

---@async
function Presences:untrack(group, key, channel)
  self:note(group, key, channel, nil)
  return change_of(self:ask("untrack", group, key, channel))
end

--- It lapses by itself should this worker not be there to say so.
---@async
---@param seconds number  for which it lingers
function Presences:linger(group, key, channel, seconds)
  self:note(group, key, channel, nil)
  self:ask("linger", group, key, channel, math.ceil(seconds * 1000))
end

---@async
function Presences:lapse(group, key, channel)
  return change_of(self:ask("lapse", group, key, channel))
end

---@async
function Presences:list(group)
  local reply = self:ask("list", group)
  return reply[2], tonumber(reply[1])
end

-- Leases

--- Tell of what a question has changed.
---@async
function Presences:tell(group, changes)
  for _, change in ipairs(changes) do
    self.told(group, change[1], change[2], tonumber(change[3]), change[4])
  end
end

--- Renew those of a group, and tell of those that have lapsed.
---@async
function Presences:renew_group(group)
  local all, words = {}, {}
  for _, one in pairs(self.own[group] or {}) do
    all[#all + 1] = one
  end
  for i, one in ipairs(all) do
    if self.own[group] and self.own[group][name_of(one[1], one[2])] == one then
      local n = #words
      words[n + 1], words[n + 2], words[n + 3] = one[1], one[2], one[3]
    end
    if #words >= 3 * AT_ONCE or (i == #all and #words > 0) then
      self:tell(group, self:ask("renew", group, unpack(words)))
      words = {}
    end
  end
  self:tell(group, self:ask("sweep", group))
end

---@async
function Presences:renew()
  while not self.closed do
    task.asleep(self.lease * (0.2 + 0.1 * core.random()))
    local groups = {}
    for group in pairs(self.own) do
      groups[#groups + 1] = group
    end
    for _, group in ipairs(groups) do
      local ok, err = pcall(self.renew_group, self, group)
      if not ok then
        core.task.may_wait() -- raises if it was us who was cancelled
        if not self.closed then
          core.log("warn", "presence: leases are not renewed: " .. core.describe(err))
        end
        break
      end
    end
  end
end

return Presences
