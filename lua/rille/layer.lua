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

local buffer = require("string.buffer")
local core = require("rille.core")
local errors = require("rille.errors")
local transaction = require("rille.db.transaction")

local layer = core.layer

---@class rille.ChannelLayer
local ChannelLayer = {}

--- The encoded message, and what of it the core can send by itself.
local function encode(message, level)
  if type(message) ~= "table" or type(message.type) ~= "string" then
    error("a message is a table with a type, a string", level + 1)
  end
  local ok, body = pcall(buffer.encode, message)
  if not ok then
    error("a message holds only data: " .. tostring(body), level + 1)
  end
  if message.type ~= "websocket.send" then
    return body
  end
  if message.text == nil and message.bytes == nil then
    error("a websocket.send message needs text or bytes", level + 1)
  end
  return body, message.text, message.bytes
end

-- Compiled, a failing buffer.encode has been seen to disturb its caller's locals in this LuaJIT.
jit.off(encode)

--- Send now, or when the transactions around us have committed, whatever databases they are on;
--- what cannot be sent is refused now.
local function after_commit(options, send, check, name, body, text, bytes)
  local transactions = not (options and options.now) and transaction.pins()
  if transactions then
    check(name, body, text, bytes)
    local later = transaction.after_all(function()
      send(name, body, text, bytes)
    end)
    if later then
      return 0, 0
    end
  end
  return send(name, body, text, bytes)
end

--- Send to one channel.
---@async
---@param channel string
---@param message table
---@param options { now: boolean }?  now: also inside a transaction
---@return integer delivered  1 also when it is on its way to another worker, which may find nobody
---@return integer dropped
function ChannelLayer:asend(channel, message, options)
  local body, text, bytes = encode(message, 2)
  return after_commit(options, layer.send, layer.check_send, channel, body, text, bytes)
end

--- Send to every member of a group, the sender included if it is one. `websocket.send` messages go
--- out as one shared frame without running Lua, except to consumers that define `websocket_send`.
---@async
---@param group string
---@param message table
---@param options { now: boolean }?
---@return integer delivered  members of this worker that have it, and those of others it is on its
---                          way to; their drops are counted there
---@return integer dropped    members whose mailbox, socket or worker had no room
function ChannelLayer:agroup_send(group, message, options)
  local body, text, bytes = encode(message, 2)
  local send, check = layer.group_send, layer.check_group_send
  return after_commit(options, send, check, group, body, text, bytes)
end

--- Put a channel into a group. Raises `rille.Closed` when nobody has the channel.
---@async
---@param group string  1 to 99 letters, digits, hyphens, underscores, dots
---@param channel string
function ChannelLayer:agroup_add(group, channel)
  if not layer.join(group, channel) then
    error(errors.Closed("nobody has the channel " .. channel), 2)
  end
end

--- Take a channel out of a group. Nothing happens to one that is not in it.
---@async
---@param group string
---@param channel string
function ChannelLayer:agroup_discard(group, channel)
  layer.leave(group, channel)
end

--- How many are in a group.
---@async
---@param group string
---@return integer  members in this process
function ChannelLayer:agroup_count(group)
  return layer.count(group)
end

--- Turn an encoded message back into a table; for dispatch.
ChannelLayer.decode = buffer.decode

return ChannelLayer
