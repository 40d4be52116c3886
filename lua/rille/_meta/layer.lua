---@meta rille.core.layer

--- Groups and channels (src/bind/bind_layer.c), of this worker and, through it, of the others. Names
--- that are none raise.

---@class rille.core.layer
---@field prefix string  with a consumer's id behind it: the name of its channel
local layer = {}

--- It suspends for a channel of another worker.
---@async
---@param group string
---@param channel string
---@return boolean  is there such a channel?
function layer.join(group, channel) end

--- It suspends for a channel of another worker.
---@async
---@param group string
---@param channel string
---@return boolean  is there such a channel?
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
---@return integer  members on all workers
function layer.count(group) end

return layer
