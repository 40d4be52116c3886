--- Where groups keep their history on a Redis; see `rille.layer.Log`.
---
--- A group has two keys: a stream, whose entries have the offset as their id, and a hash with the
--- epoch and the last offset, which stays longer. A script gives a message its offset, adds it and
--- publishes it, in one step; so what a subscriber hears is the log, in its order.

local Base = require("rille.layer.log")
local redis = require("rille.redis")
local scripts = require("rille.layer.redis.log_scripts")

local REST = 7 * 86400 -- seconds that a group's place is known without messages

---@class rille.layer.redis.Log : rille.layer.Log
local Log = Base:extend("Log")

---@param server rille.redis.Settings
---@param prefix string  of all keys
function Log:init(server, prefix)
  self.prefix = prefix .. ":history:"
  self.commands = redis.open(server, { name = "rille histories", outage = "wait" })
  self.ear =
    redis.open(server, { name = "rille histories, waiting", outage = "wait", subscriber = true })
end

function Log:close()
  self.ear:close()
  self.commands:close()
end

--- Each name has its braces: a group's keys are on one server of a cluster.
local function keys_of(self, group)
  local name = self.prefix .. "{" .. group .. "}"
  return { name, name .. ":place" }
end

---@async
function Log:aadd(group, rule, epoch, payload)
  local reply = self.commands:aeval(
    scripts.ADD,
    keys_of(self, group),
    epoch,
    rule.size,
    math.ceil(rule.ttl * 1000),
    REST + math.ceil(rule.ttl),
    self.prefix .. group,
    payload
  )
  return reply[1], tonumber(reply[2])
end

---@async
function Log:aread(group, rule, epoch, mark)
  local reply = self.commands:aeval(
    scripts.READ,
    keys_of(self, group),
    epoch,
    mark.epoch or "",
    ("%.0f"):format(mark.offset or 0),
    mark.last or 0,
    mark.most,
    math.ceil(rule.ttl * 1000),
    REST + math.ceil(rule.ttl)
  )
  return reply[1], tonumber(reply[2]), reply[3] == 1, reply[4]
end

---@async
function Log:afollow(group)
  self.ear:asubscribe(self.prefix .. group)
end

---@async
function Log:aleave(group)
  self.ear:aunsubscribe(self.prefix .. group)
end

---@async
function Log:anext()
  local kind, topic, note = self.ear:anext()
  if kind ~= "message" then
    return kind and "gap"
  end
  local epoch, offset, payload = note:match("^(%x+):(%d+):(.*)$")
  return "said", topic:sub(#self.prefix + 1), epoch, tonumber(offset), payload
end

return Log
