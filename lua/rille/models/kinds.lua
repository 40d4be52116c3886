--- Kinds: what there is to keep in a column, and how its values travel between Lua and the
--- database. A field names its kind; everything a kind can do is here.
---
---     check(field, value)  value as Lua keeps it, or nil: it does not fit
---     wire(value, field)   what the core is given; absent: the value itself
---     read(cell)           a cell of a backend that has no such type, to Lua
---     wants                how messages name what fits

local core = require("rille.core.db")
local null = require("rille.core").null
local time = require("rille.models.time")

local function integral(low, high)
  return function(_, value)
    if type(value) == "number" and value % 1 == 0 and value >= low and value <= high then
      return value
    end
  end
end

local INT8 = 2 ^ 63
local BIGGEST = INT8 - 1024 -- the last number below 2^63
local EXACT = 2 ^ 53

--- Integers of eight bytes: exact as numbers to 2^53, as decimal digits beyond.
local function big(_, value)
  if type(value) == "cdata" then -- 9007199254740993LL
    value = tostring(value):match("^(%-?%d+)U?LL$")
  end
  if type(value) == "number" and value % 1 == 0 and value >= -INT8 and value < INT8 then
    return math.abs(value) <= EXACT and value or ("%.0f"):format(value)
  end
  if type(value) == "string" and value:match("^%-?%d+$") then
    local number = tonumber(value) -- 2^53 may be a rounded neighbour
    return math.abs(number) < EXACT and number or value
  end
end

local function string_of(_, value)
  return type(value) == "string" and value or nil
end

local function decode_json(cell)
  if type(cell) ~= "string" then
    return cell
  end
  return require("rille.json").decode(cell)
end

local INT4 = 2 ^ 31
local ORDERED = { "exact", "in", "gt", "gte", "lt", "lte", "range", "isnull" }
local TEXT = {
  "exact",
  "iexact",
  "contains",
  "icontains",
  "startswith",
  "istartswith",
  "endswith",
  "iendswith",
  "regex",
  "iregex",
  "search",
  "trigram_similar",
  "trigram_word_similar",
  "trigram_strict_word_similar",
  "in",
  "gt",
  "gte",
  "lt",
  "lte",
  "range",
  "isnull",
}
local EQUALITY = { "exact", "in", "isnull" }
local JSON = {
  "exact",
  "contains",
  "contained_by",
  "has_key",
  "has_keys",
  "has_any_keys",
  "gt",
  "gte",
  "lt",
  "lte",
  "in",
  "iexact",
  "icontains",
  "startswith",
  "istartswith",
  "endswith",
  "iendswith",
  "regex",
  "iregex",
  "isnull",
}
local ARRAY = { "exact", "contains", "contained_by", "overlap", "isnull" }

---@class rille.models.Kind
---@field wants string
---@field check fun(field: rille.models.Field, value: any): any
---@field wire (fun(value: any, field: rille.models.Field): any)?
---@field read (fun(cell: any): any)?
---@field lookups string[]
---@field reads string  for editors: the type of what Lua keeps
---@field takes string? … and of what it is given, where that may be more
---@field low number?   integers: what a column can hold
---@field high number?

local EIGHT_BYTES = {
  wants = "an integer",
  reads = "integer",
  check = big,
  lookups = ORDERED,
  low = -INT8,
  high = BIGGEST,
}

---@type table<string, rille.models.Kind>
local kinds = {
  auto = EIGHT_BYTES,
  bigint = EIGHT_BYTES,
  integer = {
    wants = "an integer of four bytes",
    reads = "integer",
    check = integral(-INT4, INT4 - 1),
    lookups = ORDERED,
    low = -INT4,
    high = INT4 - 1,
  },
  float = {
    wants = "a number",
    reads = "number",
    lookups = ORDERED,
    check = function(_, value)
      return type(value) == "number" and value or nil
    end,
  },
  numeric = {
    wants = "a number, or its decimal digits in a string",
    reads = "string",
    takes = "string|number",
    lookups = ORDERED,
    check = function(_, value)
      if type(value) == "number" and value == value and math.abs(value) < math.huge then
        return ("%.15g"):format(value)
      end
      local plain = type(value) == "string" and value:match("^[+-]?%d*%.?%d*[eE]?[+-]?%d*$")
      return plain and tonumber(value) and value or nil
    end,
    read = function(cell)
      return type(cell) == "number" and ("%.15g"):format(cell) or cell
    end,
  },
  text = {
    wants = "a string",
    reads = "string",
    lookups = TEXT,
    check = function(_, value)
      if type(value) == "string" and not value:find("\0", 1, true) then
        return value
      end
    end,
  },
  boolean = {
    wants = "a boolean",
    reads = "boolean",
    lookups = EQUALITY,
    check = function(_, value)
      if type(value) == "boolean" then
        return value
      end
    end,
    read = function(cell)
      if type(cell) == "number" then
        return cell ~= 0
      end
      return cell
    end,
  },
  uuid = {
    wants = "a UUID",
    reads = "string",
    lookups = ORDERED,
    check = function(_, value)
      local hex = type(value) == "string" and value:lower():gsub("%-", "") or ""
      if #hex == 32 and not hex:find("%X") then
        return (hex:gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)", "%1-%2-%3-%4-"))
      end
    end,
  },
  bytes = {
    wants = "a string",
    reads = "string",
    check = string_of,
    wire = core.bytes,
    lookups = { "exact", "isnull" },
  },
  date = {
    wants = "a date like 2024-05-01",
    reads = "string",
    lookups = ORDERED,
    check = function(_, value)
      return type(value) == "string" and time.date(value) or nil
    end,
  },
  timestamp = {
    wants = "seconds since 1970 or a time like 2024-05-01T12:30:00Z",
    reads = "string",
    takes = "string|number",
    lookups = ORDERED,
    check = function(_, value)
      if type(value) == "number" then
        return time.from_epoch(value)
      end
      return type(value) == "string" and time.timestamp(value) or nil
    end,
  },
  json = {
    wants = "what JSON can say",
    reads = "any",
    lookups = JSON,
    check = function(_, value)
      local kind = type(value)
      if kind == "table" or kind == "string" or kind == "number" or kind == "boolean" then
        return value
      end
    end,
    wire = function(value)
      return core.json(require("rille.json").encode(value))
    end,
    read = decode_json,
  },
  array = {
    wants = "a list of what its elements are",
    reads = "any[]",
    lookups = ARRAY,
    check = function(field, value)
      if type(value) ~= "table" or value[1] == nil and next(value) ~= nil then
        return nil
      end
      local list = {}
      for i, element in ipairs(value) do
        if element == null then
          list[i] = null
        else
          list[i] = field.of:clean(element)
        end
      end
      return list
    end,
    wire = function(value, field)
      local list = {}
      for i, element in ipairs(value) do
        list[i] = element == null and null or field.of:wire(element)
      end
      return core.array(list)
    end,
  },
  tsvector = {
    wants = "what to_tsvector makes of a text",
    reads = "string",
    lookups = { "exact", "search", "isnull" },
    check = string_of,
  },
  tsquery = { wants = "a SearchQuery", lookups = { "isnull" }, check = string_of },
}

return kinds
