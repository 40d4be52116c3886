---@meta rille.core.fernet

--- The encryption of channels_redis (src/bind/bind_fernet.c): Fernet, with keys that are the SHA-256
--- of what people wrote into `symmetric_encryption_keys`. It knows no random prefix; that is the
--- layer's, in front of it.

---@class rille.core.fernet.Keys : userdata  no key can be read out of it

---@class rille.core.fernet
local fernet = {}

---@param passphrases string[]  the first encrypts, all decrypt; 1 to 32
---@return rille.core.fernet.Keys
function fernet.keys(passphrases) end

---@param keys rille.core.fernet.Keys
---@param plain string
---@return string token  base64url
function fernet.seal(keys, plain) end

--- Which of the keys it was is not told, nor what was wrong with a token.
---@param keys rille.core.fernet.Keys
---@param token string
---@param ttl number?  seconds: refuse what is older; nil: never too old
---@return string? plain
---@return rille.BadRequest? err
function fernet.open(keys, token, ttl) end

return fernet
