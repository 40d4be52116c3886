--- WebSocket frames, the client's side of RFC 6455 section 5.

local bit = require("bit")

local M = {}

---@class rille.testing.Frame
---@field opcode integer
---@field payload string
---@field fin boolean

M.CONTINUATION, M.TEXT, M.BINARY = 0x0, 0x1, 0x2
M.CLOSE, M.PING, M.PONG = 0x8, 0x9, 0xa

local PIECE = 4096 -- bytes that string.char takes at once, a multiple of a mask's length

local function mask(payload, key)
  local pieces = {}
  for from = 1, #payload, PIECE do
    local bytes = { payload:byte(from, from + PIECE - 1) }
    for i = 1, #bytes do
      bytes[i] = bit.bxor(bytes[i], key[(i - 1) % 4 + 1])
    end
    pieces[#pieces + 1] = string.char(unpack(bytes))
  end
  return table.concat(pieces)
end

local function big_endian(number, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(out)
end

--- A whole message, or a control frame, masked as a client has to.
---@param opcode integer
---@param payload string
---@return string
function M.encode(opcode, payload)
  local n = #payload
  local length
  if n < 126 then
    length = string.char(0x80 + n)
  elseif n < 65536 then
    length = string.char(0xfe) .. big_endian(n, 2)
  else
    length = string.char(0xff) .. big_endian(n, 8)
  end
  local key = {}
  for i = 1, 4 do
    key[i] = math.random(0, 255)
  end
  return string.char(0x80 + opcode) .. length .. string.char(unpack(key)) .. mask(payload, key)
end

--- The payload of a close frame.
---@param code integer
---@param reason string?
---@return string
function M.close_payload(code, reason)
  return big_endian(code, 2) .. (reason or "")
end

--- What a close frame says.
---@param payload string
---@return integer code  1005: nothing
---@return string reason
function M.read_close(payload)
  if #payload < 2 then
    return 1005, ""
  end
  local high, low = payload:byte(1, 2)
  return high * 256 + low, payload:sub(3)
end

--- The first frame in a text, and how many bytes it has; nil when it has not come whole.
---@param text string
---@return rille.testing.Frame?
---@return integer?
function M.decode(text)
  local first, second = text:byte(1, 2)
  if not second then
    return nil
  end
  local n, head = second % 128, 2
  if second >= 128 then
    error("the server has masked a frame", 0)
  elseif n >= 126 then
    local bytes = n == 126 and 2 or 8
    head = 2 + bytes
    if #text < head then
      return nil
    end
    n = 0
    for i = 3, head do
      n = n * 256 + text:byte(i)
    end
  end
  if #text < head + n then
    return nil
  end
  local frame = {
    opcode = first % 16,
    fin = first >= 128,
    payload = text:sub(head + 1, head + n),
  }
  return frame, head + n
end

return M
