---@meta rille.core.layer

--- Groups and channels of this worker (src/bind/bind_layer.c). Names that are none raise.

---@class rille.core.layer
---@field prefix string  with a consumer's id behind it: the name of its channel
local layer = {}

---@param group string
---@param channel string
---@return boolean  is there such a channel?
function layer.join(group, channel) end

---@param group string
---@param channel string
function layer.leave(group, channel) end

--- Send an encoded message to a group. With text or bytes it is a `websocket.send`, whose frame is
--- made once and written to members without entering Lua.
---@param group string
---@param encoded string
---@param text string?   UTF-8
---@param bytes string?
---@return integer delivered
---@return integer dropped
function layer.group_send(group, encoded, text, bytes) end

--- The same to one channel.
---@param channel string
---@param encoded string
---@param text string?
---@param bytes string?
---@return integer delivered
---@return integer dropped
function layer.send(channel, encoded, text, bytes) end

--- Raise what `send` would raise with these arguments, for those who send later.
---@param channel string
---@param encoded string
---@param text string?
---@param bytes string?
function layer.check_send(channel, encoded, text, bytes) end

---@param group string
---@param encoded string
---@param text string?
---@param bytes string?
function layer.check_group_send(group, encoded, text, bytes) end

---@param group string
---@return integer  members on this worker
function layer.count(group) end

return layer
