---@meta rille.core.base64

--- Bytes as letters (src/bind/bind_base64.c): RFC 4648, padded.

---@class rille.core.base64
local base64 = {}

---@param bytes string  at most 256 MiB
---@return string
function base64.encode(bytes) end

---@param text string
---@return string? bytes  nil: there is something else in it, or it is cut off
function base64.decode(text) end

return base64
