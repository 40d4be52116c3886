---@meta rille.core.presence

--- Who is in which group, of the whole process (src/bind/bind_presence.c). `rille.presence` is what
--- scripts use. What connections say of themselves is encoded.

---@class rille.core.presence
local presence = {}

--- A connection of a key is there, and says this. One of the key's that lingers is taken to be it.
---@param group string
---@param key string    1 to 255 bytes
---@param channel string
---@param meta string
---@return "join"|"update"|"full"|nil change  nil: nobody need hear of it
---@return number? seq       later changes have greater ones
---@return string[]? people  key, meta, key, meta, …: of all connections of the key
function presence.track(group, key, channel, meta) end

---@param group string
---@param key string
---@param channel string
---@return "leave"|"update"|nil change
---@return number? seq
---@return string[]? people
function presence.untrack(group, key, channel) end

--- It has gone, and may come back.
---@param group string
---@param key string
---@param channel string
function presence.linger(group, key, channel) end

--- If it lingers still, it is no more.
---@param group string
---@param key string
---@param channel string
---@return "leave"|"update"|nil change
---@return number? seq
---@return string[]? people
function presence.lapse(group, key, channel) end

---@param group string
---@return string[] people  key, meta, key, meta, …
---@return number seq       of the last change
function presence.list(group) end

return presence
