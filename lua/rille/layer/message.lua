--- A message of the layer between its table and its bytes, within this process.
---
--- The bytes are the serializer's of LuaJIT, which trusts them: what other processes send comes as
--- a table, from a format of the backend's.

local buffer = require("string.buffer")

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

return M
