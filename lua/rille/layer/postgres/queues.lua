--- Channels without "!": what is sent to one waits in a table, and each message is taken by one of
--- those who receive from it, on whichever worker of whichever process.
---
--- A worker takes one message at a time, for as long as there are any; then it waits to be told of
--- more. What it has no room for goes back to where it was.

local core = require("rille.core")
local db = require("rille.db")
local errors = require("rille.errors")
local messages = require("rille.layer.message")
local outside = require("rille.layer.outside")
local task = require("rille.task")

local REST = 0.05 -- seconds until somebody without room looks again

---@class rille.layer.postgres.Queues
---@field open table<string, true>     channels that are received from here
---@field takers table<string, boolean>  that are being emptied; true: look once more
local Queues = {}
Queues.__index = Queues

---@param database rille.db.Database
---@param sql rille.layer.postgres.Statements
---@param process string
---@return rille.layer.postgres.Queues
function Queues.new(database, sql, process)
  local self = setmetatable({ db = database, sql = sql, process = process }, Queues)
  self.open, self.takers = {}, {}
  return self
end

--- Put a message at a channel's end.
---@async
---@param channel string
---@param body string
---@param settings rille.layer.postgres.Settings
---@return boolean  false: as many wait there as may
function Queues:aput(channel, body, settings)
  local params = { n = 4, channel, db.bytes(body), settings.expiry, settings.capacity }
  return #self.db:_arun(self.sql.put, params) > 0
end

--- What came cannot be delivered here.
function Queues:put_back(channel, row)
  local params = { n = 5, row.id, channel, db.bytes(row.body), row.seconds, self.process }
  local ok, err = pcall(self.db._arun, self.db, self.sql.put_back, params)
  if not ok then
    outside.drop(1, "lost", "a message of " .. channel .. " is lost: " .. core.describe(err))
    error(err, 0)
  end
end

--- Take one message, if there is one.
---@async
---@return boolean  was there one?
function Queues:take(channel)
  local row = self.db:_arun(self.sql.take, { n = 1, channel })[1]
  if not row then
    return false
  end
  local message, why = messages.unpack(row.body)
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. why)
    return true
  end
  local delivered, _, malformed = outside.deliver(channel, message)
  if delivered == 0 and not malformed then
    self:put_back(channel, row)
    task.asleep(REST)
  end
  return true
end

---@async
function Queues:empty(channel)
  repeat
    self.takers[channel] = false
    while self.open[channel] and outside.is_up() and self:take(channel) do
      self.takers[channel] = false
    end
  until not self.takers[channel]
end

--- There may be something in a channel.
---@param channel string
function Queues:look(channel)
  if not self.open[channel] then
    return
  elseif self.takers[channel] ~= nil then
    self.takers[channel] = true
    return
  end
  self.takers[channel] = false
  outside.serve(function()
    local ok, err = pcall(self.empty, self, channel)
    self.takers[channel] = nil
    if not ok and not errors.is_error(err, errors.DatabaseError) then
      error(err, 0)
    elseif not ok and outside.is_up() then
      outside.tell("queue", ("cannot receive from %s: %s"):format(channel, err.message))
      task.asleep(1)
      self:look(channel)
    end
  end)
end

return Queues
