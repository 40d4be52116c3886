---@meta rille.core.msgpack

--- MessagePack (src/bind/bind_msgpack.c), with the conventions of Python's `msgpack`, which
--- channels_redis encodes with.
---
--- | Lua | written as | read from |
--- | --- | --- | --- |
--- | nil, `null` | nil | nil gives `null` (truthy; arrays have no holes) |
--- | boolean | bool | bool |
--- | a whole number up to 2^53 | the shortest int | int; beyond 2^53 a string of its digits |
--- | any other number, NaN and infinities too | float 64 | float 32 and 64 |
--- | a string that is UTF-8 | str | str, which must be UTF-8 |
--- | another string, `bytes(s)` | bin | bin gives a string |
--- | a table with keys 1 to n, or `rille.array` | array | array |
--- | any other table, the empty one | map | map; the last of equal keys stands |
---
--- Keys of maps are strings both ways (a number as a key is written as the string of its digits;
--- read, it is refused). Tables may be nested 200 deep, both ways.

---@class rille.core.msgpack
local msgpack = {}

--- Raises on functions, a table that is neither array nor map, and tables nested too deep.
---@param value any
---@return string
function msgpack.encode(value) end

--- The one value that `bytes` is, to its last byte.
---@param bytes string
---@return any? value  `null` for nil
---@return rille.BadRequest? err  cut off, not MessagePack, an extension type, nested too deep, …
function msgpack.decode(bytes) end

--- Mark a string as bytes, so that it is written as bin even if it is UTF-8.
---@param s string
---@return userdata
function msgpack.bytes(s) end

return msgpack
