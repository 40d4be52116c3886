--- JSON: the core's encoder, lua-cjson's decoder.
---
--- `json.null` stands for null both ways; it is truthy. An empty table is an object unless
--- marked by `json.array`. Numbers beyond 2^53 lose digits as doubles do.

local cjson = require("cjson").new()
local core = require("rille.core")
local errors = require("rille.errors")

cjson.decode_invalid_numbers(false)
cjson.decode_max_depth(200)

local json = { null = core.null }

--- JSON text of a value. Raises on functions, NaN, text that is not UTF-8, tables that are neither
--- array nor object.
---@param value any
---@return string
json.encode = core.json.encode

--- The value of a JSON text. Raises `rille.BadRequest` on anything else. (Three liberties of the
--- decoder stay: `1.` is read as 1, control characters may stand in strings, and a number beyond
--- the largest double is infinite.)
---@param text string
---@return any
function json.decode(text)
  local ok, value = pcall(cjson.decode, text)
  if ok and not core.json.is_utf8(text) then
    ok, value = false, "the text is not UTF-8"
  end
  if ok then
    return value
  end
  error(errors.BadRequest("not JSON: " .. tostring(value)), 2)
end

--- Mark a table as an array, so that it encodes as `[]` even when it is empty.
---@generic T
---@param items T[]
---@return T[]
function json.array(items)
  return setmetatable(items, core.json.array_mark)
end

return json
