---@meta rille.core

--- What the runtime's C side gives: `require "rille.core"`, for rille's own Lua files. Scripts use
--- `require "rille"` instead. This file is read by editors only, and never loaded.
---
--- Functions marked `async` may suspend the calling task; where they cannot (while a module loads,
--- inside `table.sort`, `string.gsub` and the like) they raise before anything is started, and so
--- they do in a task that was cancelled (`rille.Cancelled`) or whose deadline has passed
--- (`rille.Timeout`). Misuse of arguments raises; every other failure is nil and an error.

---@class rille.core
---@field null lightuserdata      NULL: of JSON, and as a parameter of statements
---@field sentinel lightuserdata  what a waiting coroutine yields; for `rille.coroutine` only
---@field version string          "0.1.0"
---@field base64 rille.core.base64
---@field channel rille.core.channel
---@field consumer rille.core.consumer
---@field db rille.core.db
---@field fernet rille.core.fernet
---@field fs rille.core.fs
---@field http rille.core.http
---@field json rille.core.json
---@field layer rille.core.layer
---@field msgpack rille.core.msgpack
---@field presence rille.core.presence
---@field redis rille.core.redis
---@field task rille.core.task
---@field testing rille.core.testing
---@field worker rille.core.worker
local core = {}

--- Write a line to the log; fields in the order of the lists, 64 at most.
---@param level "debug"|"info"|"warn"|"error"
---@param message string
---@param names string[]?
---@param values (string|number|boolean)[]?
function core.log(level, message, names, values) end

--- Below which nothing is written.
---@return "debug"|"info"|"warn"|"error"|"off"
function core.log_level() end

--- Seconds since an arbitrary point, as of this turn of the loop.
---@return number
function core.now() end

--- From 0 up to, not including, 1: another one in every process.
---@return number
function core.random() end

--- How long to wait before trying again: a quarter of `first`, and a random part of a span that
--- doubles from `first` to `most`.
---@param failures integer  in a row, 1 and more
---@param first number  seconds
---@param most number   seconds
---@return number seconds
function core.backoff(failures, first, most) end

--- The text of an error of any kind, without running Lua: strings as they are, rille's errors as
--- "Class: message".
---@param err any
---@return string
function core.describe(err) end

--- Whether bytes are the same as before: 64 bits of FNV-1a, in 16 hexadecimal digits.
---@param bytes string
---@return string
function core.sum(bytes) end

return core
