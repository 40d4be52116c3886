--- Where groups keep their history on PostgreSQL; see `rille.layer.Log`.
---
--- A group has a row with its epoch and its last offset, and one for each message. A statement
--- takes the next offset, adds the message and notifies who follows; the group's row is locked
--- until its commit, and notifications come in the order of commits, so what a follower hears is
--- the log, in its order. What is too long for a notification is looked up.

local Base = require("rille.layer.log")
local core = require("rille.core")
local db = require("rille.db")
local sync = require("rille.sync")

local base64 = core.base64

local REST = 7 * 86400 -- seconds that a group's place is known without messages
local INLINE = 5600 -- bytes of a message that a notification has room for
local HEARD = 10000 -- notes that wait to be taken; then all is looked up

---@class rille.layer.postgres.Log : rille.layer.Log
---@field layer rille.layer.postgres.Postgres
---@field followed table<string, true>  groups
local Log = Base:extend("Log")

---@param layer rille.layer.postgres.Postgres
function Log:init(layer)
  self.layer = layer
  self.followed = {}
  self.heard = sync.queue(HEARD)
end

function Log:close()
  self.heard:close()
end

---@async
local function run(self, name, ...)
  local layer, params = self.layer, { n = select("#", ...), ... }
  return layer:attempt(function()
    return layer.db:_arun(layer.sql[name], params)
  end)
end

---@async
function Log:aadd(group, rule, epoch, payload)
  local inline = #payload <= INLINE and base64.encode(payload) or ""
  local ttl = math.ceil(rule.ttl * 1000)
  local body = db.bytes(payload)
  local row = run(self, "log_add", group, epoch, body, inline, rule.size, ttl, REST)[1]
  return row.epoch, row.offset
end

---@async
function Log:aread(group, rule, epoch, mark)
  local place = run(self, "log_place", group, epoch, REST + math.ceil(rule.ttl))[1]
  local from, own = mark.offset, mark.epoch ~= nil
  if not own then
    from = math.max(0, place.offset - (mark.last or 0))
  elseif mark.epoch ~= place.epoch or from > place.offset then
    return place.epoch, place.offset, true, {}
  end
  local found = {}
  if from < place.offset then
    for _, row in ipairs(run(self, "log_entries", group, from, mark.most)) do
      if #found == 0 and not own then
        from = row.offset - 1 -- what stands before it has expired
      end
      if row.offset == from + #found + 1 then
        found[#found + 1] = row.body
      end
    end
    if #found == 0 then
      return place.epoch, place.offset, own, {}
    end
  end
  return place.epoch, from, false, found
end

---@async
function Log:afollow(group)
  self.followed[group] = true
  run(self, "follow", self.layer.own, self.layer.process, db.array { "h:" .. group })
end

---@async
function Log:aleave(group)
  self.followed[group] = nil
  run(self, "unfollow", self.layer.own, db.array { "h:" .. group })
end

--- Something was added to a group's log: what the notification says of it.
---@param group string
---@param note string  epoch:offset, and the message, if it is not too long
function Log:hear(group, note)
  local epoch, offset, text = note:match("^(%x+):(%d+) (.*)$")
  if self.followed[group] and epoch then
    local payload = text ~= "" and base64.decode(text) or nil
    if not self.heard:put { "said", group, epoch, tonumber(offset), payload } then
      self.missed = true
    end
  end
end

--- Something may have been missed.
function Log:miss()
  self.missed = not self.heard:put { "gap" }
end

---@async
function Log:anext()
  if self.missed then
    self.missed = false
    return "gap"
  end
  local note = self.heard:aget()
  if note then
    return unpack(note, 1, 5)
  end
end

return Log
