--- A message as channels_redis writes it: MessagePack, encrypted with Fernet where there are keys,
--- and for its core layer with twelve bytes in front that make it unlike any other.
---
--- Sorted sets order members of one score by their bytes. Those of one worker never have the same
--- score (`core.lua`), so the twelve bytes need not sort; they are the worker's own eight, and a
--- counter.

local core = require("rille.core")
local messages = require("rille.layer.message")

local fernet, msgpack = core.fernet, core.msgpack

local PREFIX = 12
local GRACE = 10 -- seconds beyond `expiry` that a ciphertext may have, as channels_redis has it

---@class rille.layer.redis.Payload
---@field keys rille.core.fernet.Keys?
---@field ttl number?      seconds: older ciphertexts are refused
---@field unique string?   eight bytes, when members are to be made unlike each other
local Payload = {}
Payload.__index = Payload

---@class rille.layer.redis.PayloadOptions
---@field symmetric_encryption_keys string[]?
---@field expiry number?   of messages, in seconds: for ciphertexts
---@field unique string?   sixteen hex digits: members of sorted sets are wanted, and these are ours

---@param options rille.layer.redis.PayloadOptions
---@return rille.layer.redis.Payload
function Payload.new(options)
  local passphrases = options.symmetric_encryption_keys
  local unique = options.unique and options.unique:gsub("%x%x", function(digits)
    return string.char(tonumber(digits, 16))
  end)
  return setmetatable({
    keys = passphrases and #passphrases > 0 and fernet.keys(passphrases) or nil,
    ttl = options.expiry and options.expiry + GRACE,
    unique = unique,
    count = 0,
  }, Payload)
end

--- The next twelve bytes.
function Payload:next_prefix()
  local count = (self.count + 1) % 2 ^ 32
  self.count = count
  local high, low = math.floor(count / 65536), count % 65536
  return self.unique
    .. string.char(math.floor(high / 256), high % 256, math.floor(low / 256), low % 256)
end

--- Raises what is no data.
---@param message table
---@param address string|string[]|nil  `__asgi_channel__`: whom it is for, behind a shared key
---@return string
function Payload:encode(message, address)
  local written = messages.with_bytes(message)
  if address then
    if written == message then
      written = {}
      for name, value in pairs(message) do
        written[name] = value
      end
    end
    written.__asgi_channel__ = address
  end
  local body = msgpack.encode(written)
  if self.keys then
    body = fernet.seal(self.keys, body)
  end
  return self.unique and self:next_prefix() .. body or body
end

---@param bytes string
---@return table? message
---@return string|string[]|nil|rille.BadRequest address  or why there is no message
function Payload:decode(bytes)
  local body = self.unique and bytes:sub(PREFIX + 1) or bytes
  if self.keys then
    local err
    body, err = fernet.open(self.keys, body, self.ttl)
    if not body then
      return nil, err
    end
  end
  local message, why = messages.unpack(body)
  if not message then
    return nil, why
  end
  local address = message.__asgi_channel__
  message.__asgi_channel__ = nil
  return message, address
end

return Payload
