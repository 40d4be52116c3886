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
---@param passing boolean?  a group with a history does not keep it
---@return integer delivered
---@return integer dropped
---@return integer? offset  in the group's history, if it keeps one
---@return string? epoch
function layer.group_send(group, encoded, text, bytes, passing) end

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
---@param passing boolean?
function layer.check_group_send(group, encoded, text, bytes, passing) end

---@param group string
---@return integer  members on all workers
function layer.count(group) end

--- A channel of the running task's, which lives as long as it does.
---@param name string?  a word that nobody else takes: its name is `prefix` and this, not a number
---@return string channel
function layer.new_channel(name) end

--- The first message that waits there.
---@param channel string  of `new_channel`
---@return string|false|nil encoded  false: there is none
---@return rille.Closed? err
function layer.take(channel) end

--- Until there may be one.
---@async
---@param channel string
---@return true?
---@return rille.Error? err
function layer.await_message(channel) end

--- It suspends for other workers.
---@async
---@param group string
---@return string? names  of members' channels on all workers, each with a newline behind it
---@return rille.Error? err
function layer.members(group) end

--- For the backend (src/bind/bind_layer_outside.c). There is one from now on.
function layer.open() end

--- Until somebody rings; "changes" also rings when groups or channels have begun or ended.
---@async
---@param tiding "changes"|"round"|"state"
---@return true?
---@return rille.Error? err
function layer.await(tiding) end

---@param tiding "changes"|"round"|"state"
function layer.ring(tiding) end

--- What has begun and ended on this worker since the last time. A group begins with its first
--- member here; a channel, when it has a name without "!", when it is opened.
---@return string[] joined
---@return string[] left
---@return string[] opened
---@return string[] closed
function layer.changes() end

--- What there is: groups with members on this worker, open channels with names of their own.
---@return string[] groups
---@return string[] channels
function layer.present() end

--- Will `changes` tell of this group?
---@param group string
---@return boolean
function layer.is_changing(group) end

---@return string[]  what names of this process's channels begin with, this worker's first
function layer.prefixes() end

--- Is the channel of this process: a name of one of its workers, or open on this one?
---@param channel string
---@return boolean
function layer.has(channel) end

--- To this worker's members of a group.
---@param group string
---@param encoded string
---@param text string?
---@param bytes string?
---@return integer delivered
---@return integer dropped
function layer.group_send_here(group, encoded, text, bytes) end

--- Has the backend its connection? For /metrics.
---@param up boolean
function layer.up(up) end

--- Is a channel of this worker in a group?
---@param group string
---@param channel string
---@return boolean
function layer.is_member(group, channel) end

---@param name "sent"|"received"|"refused"|"full"|"expired"|"unheard"|"lost"|"malformed"|"outages"
---@param n integer
function layer.count_up(name, n) end

---@return { up: boolean, [string]: integer }
function layer.figures() end

--- Every consumer of this worker that is in a group hears `{ type = "layer.reconnected" }`.
function layer.tell_members() end

---@class rille.core.HistoryRule
---@field name string
---@field open boolean    of all groups whose names begin so
---@field size integer    messages
---@field ttl number      seconds
---@field stamp boolean   texts for sockets say where they stand

--- To this worker's members of a group: what has its place in a history that is kept elsewhere.
---@param group string
---@param epoch string
---@param offset integer
---@param encoded string
---@param text string?
---@param bytes string?
---@return integer delivered
---@return integer dropped
function layer.send_placed(group, epoch, offset, encoded, text, bytes) end

--- Take a channel of this worker out of a group, if it is in it.
---@param group string
---@param channel string
---@return boolean was_member
function layer.part(group, channel) end

--- Which groups keep their history, from now on.
---@param rules rille.core.HistoryRule[]
function layer.rules(rules) end

---@param group string
---@return boolean
function layer.keeps(group) end

--- Where a group's history ends now.
---@param group string
---@return string epoch
---@return integer offset
function layer.mark(group) end

--- A step of a recovery, to be repeated with the mark it gave until the channel is level: a member.
--- Without an epoch it begins so many messages before the end.
---@param group string
---@param channel string  of this worker
---@param epoch string?
---@param offset integer?
---@param last integer?
---@return "more"|"gap"|"level"|nil state  nil: nobody has the channel
---@return string epoch
---@return integer offset
---@return boolean was_member
---@return (string|false)[]? items  of each message its body, its text and its bytes
function layer.recover(group, channel, epoch, offset, last) end

--- For the figures.
---@param recovered boolean
function layer.note_recovery(recovered) end

return layer
