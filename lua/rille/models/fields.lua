--- Fields: what a column holds, and how values travel between Lua and the database.
---
--- A field is data. Its `kind` names a row of `kinds`, where the behaviour is:
---
---     check(field, value)  value as Lua keeps it, or nil: it does not fit
---     wire(value)          what the core is given; absent: the value itself
---     read(cell)           a cell of a backend that has no such type, to Lua
---     wants                how messages name what fits
---
--- NULL is nil in Lua, and an absent key in a row. Where it must be said, in a filter or a
--- constructor, it is `rille.null`.

local core = require("rille.core.db")
local errors = require("rille.errors")
local null = require("rille.core").null
local time = require("rille.models.time")

---@class rille.models.Field
---@field kind string
---@field name string          as in filters: `parent`
---@field attr string          as on instances and in rows: `parent_id`
---@field column string        in the database
---@field model rille.models.Model
---@field null boolean
---@field default any          a value, or a function that makes one
---@field unique boolean
---@field index boolean
---@field choices any[]?       the values allowed
---@field primary_key boolean
---@field max_length integer?  characters
---@field auto_now boolean?     the time of every save
---@field auto_now_add boolean? the time of the first one
---@field to any               foreign keys: the target as declared
---@field on_delete string?    foreign keys: what SQL does
---@field related_name string?
---@field target fun(self): rille.models.Model  foreign keys only
local Field = {}
Field.__index = Field

local fields = { Field = Field }

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

--- Characters of UTF-8 text.
local function utf8_length(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
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
  "in",
  "gt",
  "gte",
  "lt",
  "lte",
  "range",
  "isnull",
}
local EQUALITY = { "exact", "in", "isnull" }

---@class rille.models.Kind
---@field wants string
---@field check fun(field: rille.models.Field, value: any): any
---@field wire (fun(value: any): any)?
---@field read (fun(cell: any): any)?
---@field lookups string[]
---@field low number?   integers: what a column can hold
---@field high number?

---@type table<string, rille.models.Kind>
local kinds = {
  auto = { wants = "an integer", check = big, lookups = ORDERED, low = -INT8, high = BIGGEST },
  bigint = { wants = "an integer", check = big, lookups = ORDERED, low = -INT8, high = BIGGEST },
  integer = {
    wants = "an integer of four bytes",
    check = integral(-INT4, INT4 - 1),
    lookups = ORDERED,
    low = -INT4,
    high = INT4 - 1,
  },
  float = {
    wants = "a number",
    lookups = ORDERED,
    check = function(_, value)
      return type(value) == "number" and value or nil
    end,
  },
  numeric = {
    wants = "a number, or its decimal digits in a string",
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
    lookups = TEXT,
    check = function(_, value)
      if type(value) == "string" and not value:find("\0", 1, true) then
        return value
      end
    end,
  },
  boolean = {
    wants = "a boolean",
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
    check = string_of,
    wire = core.bytes,
    lookups = { "exact", "isnull" },
  },
  date = {
    wants = "a date like 2024-05-01",
    lookups = ORDERED,
    check = function(_, value)
      return type(value) == "string" and time.date(value) or nil
    end,
  },
  timestamp = {
    wants = "seconds since 1970 or a time like 2024-05-01T12:30:00Z",
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
    lookups = { "isnull" },
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
}

-- What every field may be told, and what only some may.
local COMMON = {
  null = "boolean",
  default = "any",
  unique = "boolean",
  index = "boolean",
  choices = "table",
  primary_key = "boolean",
  db_column = "string",
}
local OF_KIND = {
  text = { max_length = "number" },
  timestamp = { auto_now = "boolean", auto_now_add = "boolean" },
  date = { auto_now = "boolean", auto_now_add = "boolean" },
  foreign_key = { on_delete = "string", related_name = "string" },
}

--- Options that shape a column's type.
fields.type_options = { "max_length" }

local function sorted_keys(...)
  local names = {}
  for i = 1, select("#", ...) do
    for name in pairs(select(i, ...) or {}) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

local function check_options(kind, options, level)
  if type(options) ~= "table" then
    error(("options of models.%s must be a table, not %s"):format(kind, type(options)), level)
  end
  for name, value in pairs(options) do
    local wanted = COMMON[name] or (OF_KIND[kind] or {})[name]
    if not wanted then
      local known = table.concat(sorted_keys(COMMON, OF_KIND[kind]), ", ")
      error(
        ("models.%s has no option '%s'; there are: %s"):format(kind, tostring(name), known),
        level
      )
    end
    if wanted ~= "any" and type(value) ~= wanted then
      error(
        ("option '%s' of models.%s must be a %s, not %s"):format(name, kind, wanted, type(value)),
        level
      )
    end
  end
  local length = options.max_length
  if length and (length < 1 or length % 1 ~= 0) then
    error(("max_length must be a positive integer, not %s"):format(tostring(length)), level)
  end
  if options.primary_key and options.null then
    error("a primary key cannot be null", level)
  end
end

local function new(kind, options, level)
  options = options or {}
  check_options(kind, options, level + 2)
  local field = {
    kind = kind,
    null = options.null == true,
    default = options.default,
    unique = options.unique == true or options.primary_key == true,
    index = options.index == true,
    choices = options.choices,
    primary_key = options.primary_key == true,
    column = options.db_column,
    max_length = options.max_length,
    auto_now = options.auto_now,
    auto_now_add = options.auto_now_add,
    on_delete = options.on_delete,
    related_name = options.related_name,
  }
  return setmetatable(field, Field)
end

for kind in pairs(kinds) do
  --- `models.text { max_length = 50, null = true, … }` and its sisters.
  fields[kind] = function(options)
    local field = new(kind, options, 2)
    if kind == "auto" then
      field.primary_key, field.unique = true, true
    end
    return field
  end
end

local ON_DELETE = {
  cascade = "CASCADE",
  restrict = "RESTRICT",
  set_null = "SET NULL",
  do_nothing = "NO ACTION",
}

--- A reference to another model: `book.author_id` holds its key, `book.author` the object if it
--- was set or fetched. The database keeps `on_delete`: "restrict" (default), "cascade",
--- "set_null", "do_nothing".
---@param to rille.models.Model|"self"|fun(): rille.models.Model  called when first needed
---@param options table?
---@return rille.models.Field
function fields.foreign_key(to, options)
  if to ~= "self" and type(to) ~= "function" and not (type(to) == "table" and to._meta) then
    error("a foreign key needs a model, \"self\", or a function that returns a model", 2)
  end
  local field = new("foreign_key", options, 2)
  local on_delete = field.on_delete or "restrict"
  if not ON_DELETE[on_delete] then
    local known = table.concat(sorted_keys(ON_DELETE), ", ")
    error(("on_delete cannot be '%s'; there are: %s"):format(on_delete, known), 2)
  end
  if on_delete == "set_null" and not field.null then
    error("on_delete = \"set_null\" needs null = true", 2)
  end
  field.on_delete = ON_DELETE[on_delete]
  field.to = to
  return field
end

--- The model that a foreign key points to.
---@return rille.models.Model
function Field:target()
  local to = self.to
  if type(to) == "function" then
    to = to()
    if type(to) ~= "table" or not to._meta then
      error(
        errors.FieldError(
          ("the target of foreign key '%s' of %s is no model"):format(self.name, self.model.__name)
        ),
        0
      )
    end
    self.to = to
    self:announce()
  end
  return to
end

--- Tell the target about `related_name`, once the target is known: at once, unless it is given
--- as a function. A model that is defined anew takes the place of the old one.
function Field:announce()
  local name = self.related_name
  if not name or type(self.to) == "function" then
    return
  end
  local meta = self.to._meta
  local taken = meta.reverse[name]
  if meta.by_name[name] or meta.by_attr[name] or taken and not taken:same_place(self) then
    error(
      errors.FieldError(
        ("the related_name '%s' of %s.%s is taken in %s"):format(
          name,
          self.model.__name,
          self.name,
          self.to.__name
        )
      ),
      0
    )
  end
  meta.reverse[name] = self
end

function Field:same_place(other)
  return self.model._meta.table == other.model._meta.table and self.name == other.name
end

--- The field that says how values of this one look: for a foreign key, its target's key.
---@return rille.models.Field
function Field:storage()
  local field = self
  while field.kind == "foreign_key" do
    field = field:target()._meta.pk
  end
  return field
end

--- The kind's behaviour.
function Field:behaviour()
  return kinds[self:storage().kind]
end

local function shown(value)
  if type(value) == "string" then
    return "'" .. (#value > 40 and value:sub(1, 40) .. "…" or value) .. "'"
  end
  return type(value) == "table" and "a table" or tostring(value)
end

--- A value as Lua keeps it. Raises `ValueError` when it does not fit the column's type.
---@param value any  not nil, not null
---@return any
function Field:clean(value)
  if self.kind == "foreign_key" and type(value) == "table" then
    value = self:key_of(value)
  end
  local behaviour = self:behaviour()
  local cleaned = behaviour.check(self, value)
  if cleaned == nil then
    error(
      errors.ValueError(
        ("Field '%s' expected %s but got %s."):format(self.name, behaviour.wants, shown(value))
      ),
      0
    )
  end
  return cleaned
end

--- The key of an instance given for a foreign key.
function Field:key_of(instance)
  local target = self:target()
  if getmetatable(instance) ~= target._meta.instance then
    error(
      errors.ValueError(
        ("Field '%s' expected an instance of %s but got %s."):format(
          self.name,
          target.__name,
          shown(instance)
        )
      ),
      0
    )
  end
  local key = instance[target._meta.pk.attr]
  if key == nil then
    error(
      errors.ValueError(
        ("Field '%s' was given %s, which has not been saved."):format(self.name, tostring(instance))
      ),
      0
    )
  end
  return key
end

--- A cleaned value as the core is given it.
function Field:wire(value)
  local wire = self:behaviour().wire
  return wire and wire(value) or value
end

local function is_choice(choices, value)
  for _, choice in ipairs(choices) do
    if choice == value then
      return true
    end
  end
  return false
end

--- A value about to be written: cleaned, checked against `choices` and `max_length`, for
--- the core. nil and null are NULL; the database has the last word about that.
---@param value any
---@return any
function Field:write(value)
  if value == nil or value == null then
    return nil
  end
  local cleaned = self:clean(value)
  if self.choices and not is_choice(self.choices, cleaned) then
    error(errors.ValueError(("Field '%s' cannot be %s."):format(self.name, shown(cleaned))), 0)
  end
  if self.max_length and utf8_length(cleaned) > self.max_length then
    error(
      errors.ValueError(
        ("Field '%s' holds at most %d characters."):format(self.name, self.max_length)
      ),
      0
    )
  end
  return self:wire(cleaned)
end

--- The value for an object that was given none; nil when there is no default.
function Field:make_default()
  local default = self.default
  if type(default) == "function" then
    return default()
  end
  return default
end

--- The time for `auto_now` and `auto_now_add`.
function Field:current_time()
  local text = time.from_epoch(time.now())
  return self.kind == "date" and text:sub(1, 10) or text
end

--- How a cell of this field becomes its Lua value on a backend; nil: it is one already.
---@param dialect rille.db.Dialect
---@return (fun(cell: any): any)?
function Field:reader(dialect)
  local storage = self:storage()
  if dialect.native[storage.kind] then
    return nil
  end
  return kinds[storage.kind].read
end

return fields
