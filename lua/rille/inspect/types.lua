--- Columns of a database as fields of models: which kind, with which options.

local dialects = require("rille.db.dialect")

local types = {}

-- What other programs, and SQLite's users, call the types there are.
local ALSO = {
  smallint = "integer",
  int = "integer",
  tinyint = "integer",
  mediumint = "integer",
  int2 = "integer",
  int4 = "integer",
  ["integer unsigned"] = "bigint",
  ["smallint unsigned"] = "integer",
  ["bigint unsigned"] = "bigint",
  int8 = "bigint",
  real = "float",
  float = "float",
  double = "float",
  decimal = "numeric",
  ["character varying"] = "text",
  character = "text",
  varchar = "text",
  char = "text",
  nvarchar = "text",
  nchar = "text",
  clob = "text",
  citext = "text",
  bool = "boolean",
  blob = "bytes",
  datetime = "timestamp",
  timestamp = "timestamp",
  ["timestamp without time zone"] = "timestamp",
  json = "json",
}

-- And what PostgreSQL calls what rille makes itself.
local KINDS = {}
for kind, name in pairs(dialects.postgresql.types) do
  if kind ~= "auto" then
    KINDS[name] = kind
  end
end
for name, kind in pairs(ALSO) do
  KINDS[name] = KINDS[name] or kind
end

--- "numeric(10,2)" to "numeric", { 10, 2 }; "timestamp(3) with time zone" to its name.
local function split(text)
  local before, arguments, behind = text:match("^([^(]*)%(([%d, ]*)%)(.*)$")
  local numbers = {}
  for digits in (arguments or ""):gmatch("%d+") do
    numbers[#numbers + 1] = tonumber(digits)
  end
  local name = (before or text) .. (behind or "")
  return (name:lower():gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")), numbers
end

--- What stands in a comment when the type says more than the kind.
local NOTED = {
  ["timestamp without time zone"] = "without a time zone",
  citext = "citext: without regard to case",
}

local function kind_of(name, backend)
  if backend == "sqlite" and name == "integer" then
    return "bigint" -- of eight bytes there, like every integer
  end
  return KINDS[name]
end

--- The kind of a column's field, the options that its type makes, and a note.
---@param column rille.inspect.Column
---@param backend "postgresql"|"sqlite"
---@return string kind
---@return table options
---@return string? note
---@return string? of     arrays: the kind of their elements
function types.kind(column, backend)
  local element = column.type:match("^(.*)%[%]$")
  if element then
    local of = kind_of(split(element), backend)
    return "array", {}, not of and column.type or nil, of or "text"
  end
  local name, numbers = split(column.type)
  local kind = kind_of(name, backend)
  if not kind then
    local note = not column.choices and (column.type ~= "" and column.type or "any type") or nil
    return "text", {}, note
  end
  local options = {}
  if kind == "text" then
    options.max_length = numbers[1]
  elseif kind == "numeric" and numbers[1] then
    options.max_digits, options.decimal_places = numbers[1], numbers[2] or 0
  end
  return kind, options, NOTED[name]
end

local NOW = { ["now()"] = true, current_timestamp = true, ["current_date"] = true }

--- What a default is for a model: options, or a note.
---@param column rille.inspect.Column
---@param kind string
---@return table options
---@return string? note
function types.default(column, kind)
  local text = column.default
  if not text or text:upper() == "NULL" then
    return {}
  end
  local dated = kind == "timestamp" or kind == "date"
  if NOW[text:lower()] and dated then
    return { auto_now_add = true }
  end
  local quoted = text:match("^'(.*)'$")
  local value
  if quoted and kind ~= "json" and kind ~= "array" and kind ~= "bytes" then
    value = quoted:gsub("''", "'")
    if kind == "integer" or kind == "bigint" or kind == "float" then
      value = tonumber(value)
    end
  elseif kind == "boolean" then
    local known = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }
    value = known[text:lower()]
  elseif kind == "integer" or kind == "bigint" or kind == "float" or kind == "numeric" then
    value = tonumber((text:gsub("^%((.*)%)$", "%1")))
  end
  if value == nil then
    return {}, "default: " .. text
  end
  return { default = value }
end

return types
