--- The channel layer: messages between consumers.
---
--- A message is a plain table with a `type`. It is encoded once and decoded for each receiver, so
--- nobody can change it under another's hands. At most once, in order per sender and receiver.
--- Inside a transaction `agroup_send` and `asend` wait for its commit, and vanish with a rollback.
---
--- It spans the workers of a process. Members on the sender's own worker are reached at once; to
--- each other worker that has members a message goes once, at the end of the turn. Nobody waits for
--- a slow worker: what goes there counts as delivered when it is on its way, and is dropped when
--- too much waits there already (65536 messages, or 64 MiB).
---
--- With a backend (`layer = "redis://…"`) it spans processes, too: see `rille.layer.outside`. While
--- that has lost its connection, what sends raises `rille.LayerError`, at once or after a while, as
--- `outage` says; nothing has been delivered then.

local core = require("rille.core")
local errors = require("rille.errors")
local messages = require("rille.layer.message")
local outside = require("rille.layer.outside")
local transaction = require("rille.db.transaction")

local layer = core.layer
local encode = messages.encode

---@class rille.ChannelLayer
local ChannelLayer = {}

--- After the commit nobody is left to tell: what cannot be sent is in the log and the figures.
local function send_late(send, ...)
  local ok, err = pcall(send, ...)
  if not ok then
    core.log("error", "a message could not be sent after its commit: " .. core.describe(err))
  end
end

--- Send now, or when the transactions around us have committed, whatever databases they are on;
--- what cannot be sent is refused now.
local function after_commit(options, send, check, name, message, body, text, bytes)
  local passing = options and options.history == false
  local transactions = not (options and options.now) and transaction.pins()
  if transactions then
    check(name, body, text, bytes, passing)
    local later = transaction.after_all(function()
      local again = outside.backend and messages.decode(body)
      send_late(send, name, again, body, text, bytes, passing)
    end)
    if later then
      return 0, 0
    end
  end
  return send(name, message, body, text, bytes, passing)
end

local function send_to_channel(channel, message, body, text, bytes)
  if outside.backend and outside.reaches(channel) then
    outside.send("asend", channel, message)
    return 1, 0
  end
  return layer.send(channel, body, text, bytes)
end

local function send_to_group(group, message, body, text, bytes, passing)
  local histories = not passing and outside.histories
  if histories and histories:keeps(group) then
    histories:check(group, text, bytes)
    local offset, epoch = histories:aadd(group, message)
    return layer.count(group), 0, offset, epoch
  end
  if outside.backend then
    layer.check_group_send(group, body, text, bytes, passing)
    outside.send("agroup_send", group, message)
  end
  return layer.group_send(group, body, text, bytes, passing)
end

--- Send to one channel.
---@async
---@param channel string
---@param message table
---@param options { now: boolean }?  now: also inside a transaction
---@return integer delivered  1 also when it is on its way to another worker or process, which may
---                           find nobody
---@return integer dropped
function ChannelLayer:asend(channel, message, options)
  local body, text, bytes = encode(message, 2)
  local check = layer.check_send
  return after_commit(options, send_to_channel, check, channel, message, body, text, bytes)
end

--- Send to every member of a group, the sender included if it is one. `websocket.send` messages go
--- out as one shared frame without running Lua, except to consumers that define `websocket_send`.
---
--- A group that keeps its history (`groups` of `rille.app`) gives the message an offset and keeps
--- it. Its members get it with a field `history = { group =, epoch =, offset = }`; the text of a
--- `websocket.send` is a JSON object there, and gets that field as its last.
---@async
---@param group string
---@param message table
---@param options { now: boolean?, history: false? }?  history = false: do not keep it
---@return integer delivered  members of this worker that have it, and those of the process's others
---                          it is on its way to; their drops are counted there
---@return integer dropped    members whose mailbox, socket or worker had no room
---@return integer? offset    in the group's history; nil in a transaction, where there is none yet
---@return string? epoch
function ChannelLayer:agroup_send(group, message, options)
  local body, text, bytes = encode(message, 2)
  local check = layer.check_group_send
  return after_commit(options, send_to_group, check, group, message, body, text, bytes)
end

--- Put a channel into a group. When it returns, also what other processes send will come. Raises
--- `rille.Closed` when nobody has the channel.
---@async
---@param group string  1 to 99 letters, digits, hyphens, underscores, dots
---@param channel string
function ChannelLayer:agroup_add(group, channel)
  if layer.join(group, channel) then
    if outside.backend then
      outside.settle(group)
    end
  elseif outside.backend and not layer.has(channel) then
    outside.place("agroup_add", group, channel)
  else
    error(errors.Closed("nobody has the channel " .. channel), 2)
  end
end

--- Take a channel out of a group. Nothing happens to one that is not in it.
---@async
---@param group string
---@param channel string
function ChannelLayer:agroup_discard(group, channel)
  if not layer.leave(group, channel) and outside.backend and not layer.has(channel) then
    outside.place("agroup_discard", group, channel)
  end
end

--- How many are in a group.
---@async
---@param group string
---@return integer  members in this process, and in others as far as the backend can tell
function ChannelLayer:agroup_count(group)
  local elsewhere = outside.backend and outside.backend:agroup_count(group)
  return layer.count(group) + (elsewhere or 0)
end

--- Who is in a group: to count, or to send to one by one. What it was when asked; others come and
--- go meanwhile.
---@async
---@param group string
---@return string[]  names of channels, of this process and of others as far as the backend can tell
function ChannelLayer:agroup_members(group)
  local names = {}
  local here, err = layer.members(group)
  if not here then
    error(err, 0)
  end
  for name in here:gmatch("[^\n]+") do
    names[#names + 1] = name
  end
  local elsewhere = outside.backend and outside.backend:agroup_members(group)
  for _, name in ipairs(elsewhere or {}) do
    names[#names + 1] = name
  end
  return names
end

--- A channel to receive from, for whoever waits for an answer: its name can be sent along. It lives
--- as long as the task that makes it (a handler, or what `spawn` started); other tasks of this
--- worker may receive from it, too. What waits there is bounded as a mailbox is.
---
---     local reply = layer:new_channel()
---     layer:agroup_send("clerks", { type = "question", reply = reply })
---     local answer = rille.atimeout(5, function() return layer:areceive(reply) end)
---
---@return string channel
function ChannelLayer:new_channel()
  return layer.new_channel()
end

--- Wait for the next message of a channel that `new_channel` made. Raises `rille.Closed` when its
--- task has ended.
---@async
---@param channel string
---@return table message
function ChannelLayer:areceive(channel)
  while true do
    local encoded, err = layer.take(channel)
    if encoded then
      return messages.decode(encoded)
    elseif err then
      error(err, 0)
    end
    local there, why = layer.await_message(channel)
    if not there then
      error(why, 0)
    end
  end
end

--- Turn an encoded message back into a table; for dispatch.
ChannelLayer.decode = messages.decode

return ChannelLayer
