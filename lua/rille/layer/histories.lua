--- Histories of groups outside of this process: one log of a group for all processes.
---
--- Where it is, is a backend's (`rille.layer.Log`). It gives a message its offset and tells it in
--- one step, so what a follower hears is the log, in its order. A worker with members of a group
--- follows, and has a cursor: what comes next is delivered, what is skipped (a connection was lost)
--- is read from the log first. Also what this process itself says comes back that way. Somebody who
--- recovers is given what stands in the log until that is where the cursor is, and becomes a member
--- in the same turn.

local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local groups = require("rille.groups")
local messages = require("rille.layer.message")
local task = require("rille.task")

local layer, msgpack = core.layer, core.msgpack

local BATCH = 64 -- messages read at once
local PATIENCE = 10 -- seconds that a recovery waits for what was read to be heard, too
local LOOK = 0.002 -- and how often it looks

---@class rille.layer.Reader  a worker's place in a group's log
---@field epoch string
---@field cursor integer  the last that was delivered here

---@class rille.layer.Histories : rille.Class
---@field rules rille.core.HistoryRule[]
---@field readers table<string, rille.layer.Reader>
local Histories = class("Histories")

---@param log rille.layer.Log
---@param rules rille.core.HistoryRule[]
function Histories:init(log, rules)
  self.log, self.rules = log, rules
  self.readers, self.opening, self.behind = {}, {}, {}
  core.task.serve(function()
    self:listen()
  end)
end

function Histories:close()
  self.log:close()
end

--- How a group keeps its history; nil: it does not.
---@param group string
---@return rille.core.HistoryRule?
function Histories:rule(group)
  return groups.find(self.rules, group)
end

---@param group string
---@return boolean
function Histories:keeps(group)
  return self:rule(group) ~= nil
end

--- An epoch, for who begins a log.
local function random_epoch()
  return (core.redis.random(8):gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

local function is_object(text)
  return text:find("^%s*{") ~= nil and text:find("}%s*$") ~= nil
end

--- Raise what cannot be kept.
---@param group string
---@param text string?
---@param bytes string?
function Histories:check(group, text, bytes)
  local rule = self:rule(group)
  if rule and rule.stamp and (bytes or (text and not is_object(text))) then
    error(errors.Error("what a group with a history sends to sockets is a JSON object, so that it "
      .. "can say its offset (or the group has stamp = false)"), 0)
  end
end

--- Give a message the next offset, and send it to all processes.
---@async
---@param group string
---@param message table
---@return integer offset
---@return string epoch
function Histories:aadd(group, message)
  local payload = messages.pack(message)
  local epoch, offset = self.log:aadd(group, self:rule(group), random_epoch(), payload)
  return offset, epoch
end

--- A look into the log. Without an epoch: `last` before its end.
---@return string epoch
---@return integer offset  behind which the entries stand
---@return boolean gap     what is behind the mark that was given is gone; offset is the end
---@return any[] entries   payloads
function Histories:read(group, epoch, offset, last)
  local mark = { epoch = epoch, offset = offset, last = last, most = BATCH }
  return self.log:aread(group, self:rule(group), random_epoch(), mark)
end

---@async
---@param group string
---@return string epoch
---@return integer offset
function Histories:mark(group)
  local epoch, offset = self:read(group)
  return epoch, offset
end

-- Hearing

local STAMP = '%s"history":{"group":"%s","epoch":"%s","offset":%d}}'

local function stamp(text, group, epoch, offset)
  local head = text:match("^%s*(.-)%s*}%s*$")
  return head .. STAMP:format(head:find("^{%s*$") and "" or ",", group, epoch, offset)
end

--- The message, its bytes for this process, and what the core can send by itself.
function Histories:open_payload(group, epoch, offset, payload)
  local message, err = msgpack.decode(payload)
  if not message then
    error(err, 0)
  end
  local body, text, bytes = messages.encode(message, 1)
  if text and self:rule(group).stamp then
    text = stamp(text, group, epoch, offset)
  end
  return body, text, bytes
end

function Histories:deliver(group, reader, payload)
  local offset = reader.cursor + 1
  reader.cursor = offset
  local ok, body, text, bytes =
    pcall(self.open_payload, self, group, reader.epoch, offset, payload)
  if not ok then
    local told = "histories: a message of %s is dropped: %s"
    core.log("warn", told:format(group, core.describe(body)))
    return
  end
  layer.send_placed(group, reader.epoch, offset, body, text, bytes)
end

--- Deliver what stands in the log behind the cursor.
---@async
function Histories:catch_up(group, reader)
  repeat
    local epoch, offset, gap, entries = self:read(group, reader.epoch, reader.cursor)
    if gap then
      reader.epoch, reader.cursor = epoch, offset
      return
    end
    for _, payload in ipairs(entries) do
      self:deliver(group, reader, payload)
    end
  until #entries == 0
end

---@async
function Histories:hear(group, epoch, offset, payload)
  local reader = self.readers[group]
  if not (reader and offset and self:rule(group)) then
    return
  end
  if epoch ~= reader.epoch then -- the log has begun anew
    reader.epoch, reader.cursor = epoch, offset - 1
  end
  if payload and offset == reader.cursor + 1 then
    self:deliver(group, reader, payload)
  elseif offset > reader.cursor then
    self:catch_up(group, reader)
  end
end

---@async
function Histories:listen()
  while true do
    local kind, group, epoch, offset, payload = self.log:anext()
    if not kind then
      return
    end
    local ok, err = true, nil
    if kind == "said" then
      ok, err = pcall(self.hear, self, group, epoch, offset, payload)
    else
      for name, reader in pairs(self.readers) do
        ok, err = pcall(self.catch_up, self, name, reader)
      end
    end
    if not ok then
      core.task.may_wait() -- raises if it was us who was cancelled
      core.log("warn", "histories: " .. core.describe(err))
    end
  end
end

--- Hear a group from here on. Returns when nothing is missed any more.
---@async
---@param group string
---@return rille.layer.Reader
function Histories:aopen(group)
  while self.opening[group] do
    task.asleep(LOOK)
  end
  if self.readers[group] then
    return self.readers[group]
  end
  self.opening[group] = true
  local ok, err = pcall(function()
    self.log:afollow(group)
    local epoch, offset = self:read(group)
    self.readers[group] = { epoch = epoch, cursor = offset }
  end)
  self.opening[group] = nil
  if not ok then
    error(err, 0)
  end
  return self.readers[group]
end

--- Nobody here is in the group any more.
---@async
---@param group string
function Histories:aclose(group)
  if self.readers[group] and not self.behind[group] then
    self.readers[group] = nil
    self.log:aleave(group)
  end
end

--- Groups have got their first member on this worker, or lost their last.
---@async
---@param joined string[]
---@param left string[]
function Histories:afollow(joined, left)
  for _, group in ipairs(left) do
    self:aclose(group)
  end
  for _, group in ipairs(joined) do
    if self:keeps(group) then
      self:aopen(group)
    end
  end
end

--- Other rules from now on, after a reload.
---@param rules rille.core.HistoryRule[]
function Histories:set_rules(rules)
  self.rules = rules
  core.task.serve(function()
    local all, left = layer.present(), {}
    for group in pairs(self.readers) do
      left[#left + 1] = not self:keeps(group) and group or nil
    end
    local ok, err = pcall(self.afollow, self, all, left)
    if not ok then
      core.log("warn", "histories: " .. core.describe(err))
    end
  end)
end

-- Recovering

local function items_of(self, group, epoch, offset, entries)
  local items = {}
  for i, payload in ipairs(entries) do
    local body, text, bytes = self:open_payload(group, epoch, offset + i, payload)
    items[3 * i - 2], items[3 * i - 1], items[3 * i] = body, text or false, bytes or false
  end
  return items
end

--- What was read is heard here soon, too, for those who are members already.
local function await_cursor(reader, epoch, offset)
  local until_then = core.now() + PATIENCE
  while reader.epoch == epoch and reader.cursor < offset and core.now() < until_then do
    task.asleep(LOOK)
  end
end

--- A step of a recovery, as of `rille.core.layer.recover`.
---@async
---@param group string
---@param channel string
---@param epoch string?
---@param offset integer?
---@param last integer?
---@return "more"|"gap"|"level"|nil state
---@return string epoch
---@return integer offset
---@return boolean was_member
---@return (string|false)[]? items
function Histories:recover(group, channel, epoch, offset, last)
  local was_member = layer.part(group, channel)
  self.behind[group] = (self.behind[group] or 0) + 1
  local ok, state, now_epoch, now_offset, items = pcall(function()
    local reader = self:aopen(group)
    if epoch == reader.epoch and offset == reader.cursor then
      return layer.join(group, channel) and "level" or nil, epoch, offset
    end
    local here, at, gap, entries = self:read(group, epoch, offset, last)
    if gap then
      return "gap", here, at
    elseif #entries == 0 then
      await_cursor(reader, here, at)
    end
    return "more", here, at + #entries, items_of(self, group, here, at, entries)
  end)
  local left = self.behind[group] - 1
  self.behind[group] = left > 0 and left or nil
  if not ok then
    error(state, 0)
  end
  return state, now_epoch, now_offset, was_member, items
end

return Histories
