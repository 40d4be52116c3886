--- A message of the layer between its table and its bytes.
---
--- Within this process they are the serializer's of LuaJIT, which trusts them. Between processes
--- backends have formats of their own, of which MessagePack is the base.

local buffer = require("string.buffer")
local core = require("rille.core")

local msgpack = core.msgpack

local M = {}

--- The encoded message, and what of it the core can send by itself. Raises on what is no message.
---@param message table
---@param level integer  whose mistake it is, as for `error`, seen from the caller
---@return string encoded
---@return string? text   of a `websocket.send`
---@return string? bytes  likewise
function M.encode(message, level)
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
jit.off(M.encode)

--- Turn an encoded message back into a table.
M.decode = buffer.decode

--- A message for MessagePack: what a `websocket.send` has as `bytes` stays bytes, though it be
--- UTF-8.
---@param message table
---@return table  a copy, where that makes a difference
function M.with_bytes(message)
  if type(message.bytes) ~= "string" then
    return message
  end
  local copy = {}
  for name, value in pairs(message) do
    copy[name] = value
  end
  copy.bytes = msgpack.bytes(message.bytes)
  return copy
end

--- As MessagePack. Raises what is no data.
---@param message table
---@return string
function M.pack(message)
  return msgpack.encode(M.with_bytes(message))
end

--- And back.
---@param bytes string
---@return table? message
---@return string? why  it is none
function M.unpack(bytes)
  local message, err = msgpack.decode(bytes)
  if type(message) == "table" and type(message.type) == "string" then
    return message
  end
  return nil, err and core.describe(err) or "it is no table with a type"
end

return M
