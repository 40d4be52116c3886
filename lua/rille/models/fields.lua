--- Fields: what a model says about a column.
---
--- A field is data. Its `kind` names a row of `rille.models.kinds`, where the behaviour is; fields
--- that lead to other models are made in `rille.models.relations`.
---
--- NULL is nil in Lua, and an absent key in a row. Where it must be said, in a filter or a
--- constructor, it is `rille.null`.

local errors = require("rille.errors")
local kinds = require("rille.models.kinds")
local null = require("rille.core").null
local time = require("rille.models.time")
local tables = require("rille.tables")

---@class rille.models.Field
---@field kind string          of `kinds`, or "foreign_key"
---@field name string          as in filters: `parent`
---@field attr string          as on instances and in rows: `parent_id`
---@field column string        in the database
---@field model rille.models.Model
---@field null boolean
---@field default any          a value, or a function that makes one
---@field unique boolean
---@field index boolean
---@field choices any[]?       the values allowed; or pairs of a value and its label
---@field validators (fun(value: any): string?)[]?
---@field primary_key boolean
---@field max_length integer?  characters
---@field max_digits integer?      numeric: of all digits
---@field decimal_places integer?  numeric: how many of them behind the point
---@field auto_now boolean?     the time of every save
---@field auto_now_add boolean? the time of the first one
---@field of rille.models.Field?  arrays: what an element is
---@field to any               foreign keys: the target as declared
---@field on_delete string?    foreign keys: "cascade", "protect", "restrict", "set_null" or
---  "do_nothing"
---@field one_to_one boolean?  foreign keys: at most one object points to another
---@field related_name string? foreign keys: what the target calls those that point to it
---@field target fun(self): rille.models.Model  foreign keys only
local Field = {}
Field.__index = Field

local fields = { Field = Field }

--- Characters of UTF-8 text.
local function utf8_length(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

-- What every field may be told, and what only some may.
local COMMON = {
  null = "boolean",
  default = "any",
  unique = "boolean",
  index = "boolean",
  choices = "table",
  validators = "table",
  primary_key = "boolean",
  db_column = "string",
}
local DATED = { auto_now = "boolean", auto_now_add = "boolean" }
local OF_KIND = {
  text = { max_length = "number" },
  numeric = { max_digits = "number", decimal_places = "number" },
  timestamp = DATED,
  date = DATED,
  foreign_key = { on_delete = "string", related_name = "string" },
}

--- Options that shape a column's type.
fields.type_options = { "max_length", "max_digits", "decimal_places" }

--- Raise unless every option is known, and of its type.
---@param kind string
---@param options table
---@param level integer  whom to blame, as in `error`
local function check_options(kind, options, level)
  if type(options) ~= "table" then
    error(("options of models.%s must be a table, not %s"):format(kind, type(options)), level)
  end
  for name, value in pairs(options) do
    local wanted = COMMON[name] or (OF_KIND[kind] or {})[name]
    if not wanted then
      local known = table.concat(tables.sorted_keys(COMMON, OF_KIND[kind]), ", ")
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
  for _, name in ipairs({ "max_length", "max_digits" }) do
    local size = options[name]
    if size and (size < 1 or size % 1 ~= 0) then
      error(("%s must be a positive integer, not %s"):format(name, tostring(size)), level)
    end
  end
  local digits, places = options.max_digits, options.decimal_places
  if (digits == nil) ~= (places == nil) or places and (places < 0 or places % 1 ~= 0) then
    error("a numeric field has both max_digits and decimal_places, or neither", level)
  elseif places and places > digits then
    error("max_digits must be at least decimal_places", level)
  end
  for _, validator in ipairs(options.validators or {}) do
    if type(validator) ~= "function" then
      error(("validators must be functions, not a %s"):format(type(validator)), level)
    end
  end
  if options.auto_now and options.auto_now_add then
    error("auto_now and auto_now_add exclude each other", level)
  end
  if options.primary_key and options.null then
    error("a primary key cannot be null", level)
  end
end

--- A field of a kind. `level` says whom to blame: 1 is the caller.
---@param kind string
---@param options table?
---@param level integer
---@return rille.models.Field
function fields.new(kind, options, level)
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
    validators = options.validators,
    max_length = options.max_length,
    max_digits = options.max_digits,
    decimal_places = options.decimal_places,
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
    local field = fields.new(kind, options, 2)
    if kind == "auto" then
      field.primary_key, field.unique = true, true
    end
    return field
  end
end

--- A list of values of one kind: `models.array(models.text())`. PostgreSQL only.
---@param of rille.models.Field  what an element is
---@param options table?
---@return rille.models.Field
function fields.array(of, options)
  if getmetatable(of) ~= Field or not kinds[of.kind] or of.kind == "array" or of.kind == "auto" then
    error("an array needs a field for its elements, such as models.array(models.text())", 2)
  end
  local field = fields.new("array", options, 2)
  of.name = "element"
  field.of = of
  return field
end

--- The same field for another model: of an abstract one, each model has its own.
---@return rille.models.Field
function Field:copy()
  local copy = {}
  for key, value in pairs(self) do
    copy[key] = value
  end
  return setmetatable(copy, getmetatable(self))
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
  if wire then
    return wire(value, self:storage())
  end
  return value
end

local function is_choice(choices, value)
  for _, choice in ipairs(choices) do
    if choice == value or type(choice) == "table" and choice[1] == value then
      return true
    end
  end
  return false
end

--- How a choice is shown: the label beside it, or the value itself.
---@param value any
---@return any
function Field:label_of(value)
  for _, choice in ipairs(self.choices or {}) do
    if type(choice) == "table" and choice[1] == value then
      return choice[2]
    end
  end
  return value
end

--- Raise unless a numeric value has room in its column.
local function check_digits(field, value)
  local whole, part = value:match("^[+-]?0*(%d*)%.?(%d*)$")
  if not whole then
    return -- with an exponent: the database will say
  end
  part = part:gsub("0+$", "")
  if #part > field.decimal_places or #whole > field.max_digits - field.decimal_places then
    error(
      errors.ValueError(
        ("Field '%s' holds at most %d digits, %d of them behind the point, and not %s."):format(
          field.name,
          field.max_digits,
          field.decimal_places,
          value
        )
      ),
      0
    )
  end
end

local function run_validators(field, value)
  for _, validator in ipairs(field.validators) do
    local complaint = validator(value)
    if complaint then
      error(errors.ValueError(("Field '%s': %s"):format(field.name, tostring(complaint))), 0)
    end
  end
end

--- A value about to be written: cleaned, checked against `choices`, `max_length`, `max_digits` and
--- the validators, for the core. nil and null are NULL; the database has the last word about that.
---@param value any
---@return any wire
---@return any cleaned  as Lua keeps it
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
  if self.max_digits then
    check_digits(self, cleaned)
  end
  if self.validators then
    run_validators(self, cleaned)
  end
  return self:wire(cleaned), cleaned
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
