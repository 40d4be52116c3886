---@meta rille.core.json

--- JSON's encoder (src/bind/bind_json.c); the decoder is lua-cjson's.

---@class rille.core.json
---@field array_mark table  the metatable of tables that are arrays even when empty
local json = {}

--- JSON text of a value. Raises on what JSON cannot say: see `rille.json`.
---@param value any
---@return string
function json.encode(value) end

---@param text string
---@return boolean
function json.is_utf8(text) end

return json
