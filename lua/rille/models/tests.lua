--- Tests: one comparison of a filter, its value checked and made ready for the database.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local logic = require("rille.models.logic")
local null = require("rille.core").null
local names = require("rille.models.names")
local resolve = require("rille.models.resolve")

---@class rille.models.Test
---@field kind "test"
---@field path rille.models.Path?     what is tested: a column …
---@field scope table?                … joined so, see `rille.models.names`
---@field left rille.models.Node?     … or something else
---@field output rille.models.Field   what its values look like
---@field nullable boolean?           it may be NULL
---@field aggregate boolean?
---@field windowed boolean?
---@field lookup string
---@field value any                   cleaned; for `in` and `range` a list
---@field f rille.models.Node?        instead of a value
---@field slot integer?  of a template (`rille.models.forms`): the value is this open one

---@class rille.models.Look  what a test looks at
---@field key string                  as in the filter, for messages
---@field subject rille.models.Subject
---@field path rille.models.Path?
---@field left rille.models.Node
---@field output rille.models.Field

local tests = {}

tests.COMPARES = { exact = true, gt = true, gte = true, lt = true, lte = true }

-- What a list may hold: longer ones are a table's business.
tests.MOST_IN_LIST = 10000

local function bad_value(key, wants, value)
  return errors.ValueError(("'%s' needs %s, not %s."):format(key, wants, type(value)))
end

--- Integers that no row can hold, and fractions beside integers, are decided here: the
--- database would raise an error for what is just a comparison.
---@return any value
---@return string|boolean lookup  or what is decided already
local function fit_integer(field, lookup, value)
  local behaviour = field:behaviour()
  local low, high = behaviour.low, behaviour.high
  if type(value) ~= "number" or not high or value ~= value then
    return value, lookup
  end
  local upward = lookup == "gt" or lookup == "gte"
  if value > high then
    if upward or lookup == "exact" then
      return value, false
    end
    return high, "lte"
  elseif value < low then
    if not upward then
      return value, false
    end
    return low, "gte"
  end
  if value % 1 ~= 0 and lookup ~= "exact" then
    value = (lookup == "gt" or lookup == "lte") and math.floor(value) or math.ceil(value)
  end
  return value, lookup
end

--- A test of what `key` means: `look.column` or `look.left`.
local function test(look, lookup, value)
  local left = look.left
  local is_column = left.kind == "column"
  return {
    kind = "test",
    path = is_column and left.path or nil,
    scope = left.scope,
    left = not is_column and left or nil,
    output = look.output,
    nullable = left.nullable,
    aggregate = left.aggregate,
    windowed = left.windowed,
    lookup = lookup,
    value = value,
  }
end

--- A value as the core is given it. For a relation, an object stands for its key.
local function wired(look, value)
  local of, field = look.path and look.path.of, look.output
  if of and type(value) == "table" and field.kind ~= "foreign_key" then
    if getmetatable(value) == of._meta.instance and value.pk ~= nil then
      value = value.pk
    end
  end
  return field:wire(field:clean(value))
end

local make = {}
tests.make = make

function make.isnull(look, value)
  if type(value) ~= "boolean" then
    error(bad_value(look.key, "true or false", value), 0)
  end
  return test(look, "isnull", value)
end

make["in"] = function(look, value)
  if expressions.is_query(value) then
    local node = test(look, "in")
    node.f = resolve.expression(look.subject, expressions.Subquery(value))
    return node.f.query.where ~= false and node
  end
  if type(value) ~= "table" or getmetatable(value) ~= nil then
    error(bad_value(look.key, "a list", value), 0)
  elseif #value > tests.MOST_IN_LIST then
    error(
      errors.ValueError(
        ("'%s' has a list of %d values, and the most is %d: use a range, or a query."):format(
          look.key,
          #value,
          tests.MOST_IN_LIST
        )
      ),
      0
    )
  end
  local list = {}
  for _, item in ipairs(value) do
    if item ~= null then
      local fitted, lookup = fit_integer(look.output, "exact", item)
      if lookup then
        list[#list + 1] = wired(look, fitted)
      end
    end
  end
  if #list == 0 then
    return false
  end
  return test(look, "in", list)
end

function make.range(look, value)
  if type(value) ~= "table" or #value ~= 2 then
    error(bad_value(look.key, "a list of two values", value), 0)
  end
  local low, high = make.compare(look, value[1], "gte"), make.compare(look, value[2], "lte")
  if look.path and look.path.many and low and high then -- one related object is in it
    return test(look, "range", { low.value, high.value })
  end
  return logic.all_of({ low, high })
end

function make.compare(look, value, lookup)
  local fitted, fitting = fit_integer(look.output, lookup, value)
  if not fitting then
    return false
  end
  return test(look, fitting, wired(look, fitted))
end

function make.text(look, value, lookup)
  if type(value) ~= "string" then
    error(bad_value(look.key, "a string", value), 0)
  end
  return test(look, lookup, look.output.kind == "json" and value or look.output:clean(value))
end

make.search = make.text

-- JSON and arrays compare in ways of their own.

local json, array = {}, {}

local function any_json(look, value, lookup)
  if value == nil or type(value) == "function" then
    error(bad_value(look.key, "what JSON can say", value), 0)
  end
  return test(look, lookup, value)
end

for _, lookup in ipairs({ "exact", "gt", "gte", "lt", "lte", "contains", "contained_by" }) do
  json[lookup] = any_json
end

json["in"] = function(look, value)
  if type(value) ~= "table" or #value > tests.MOST_IN_LIST then
    error(bad_value(look.key, "a list, and no longer one than others may be", value), 0)
  end
  local nodes = {}
  for i, item in ipairs(value) do
    nodes[i] = any_json(look, item, "exact")
  end
  return logic.any_of(nodes)
end

json.has_key = make.text

function json.has_keys(look, value, lookup)
  if type(value) ~= "table" or #value == 0 then
    error(bad_value(look.key, "a list of keys", value), 0)
  end
  local list = {}
  for i, item in ipairs(value) do
    list[i] = tostring(item)
  end
  return test(look, lookup, list)
end

json.has_any_keys = json.has_keys

local function any_array(look, value, lookup)
  return test(look, lookup, look.output:wire(look.output:clean(value)))
end

for _, lookup in ipairs({ "exact", "contains", "contained_by", "overlap" }) do
  array[lookup] = any_array
end

tests.OF_KIND = { json = json, array = array, tsvector = { exact = make.text } }

--- `at__year` is a range, which an index knows.
function tests.year_range(look, value, lookup)
  local kind = look.path.field:storage().kind
  local function first_of(year)
    return ("%04d-01-01"):format(year) .. (kind == "timestamp" and " 00:00:00+00" or "")
  end
  local whole = { left = names.column(look.subject, look.path), output = look.path.field }
  local function bound(way, year)
    return test(whole, way, first_of(year))
  end
  if lookup == "exact" then
    return logic.all_of({ bound("gte", value), bound("lt", value + 1) })
  elseif lookup == "gt" then
    return bound("gte", value + 1)
  elseif lookup == "lte" then
    return bound("lt", value + 1)
  end
  return bound(lookup, value)
end

---@return boolean
function tests.is_year(value)
  return type(value) == "number" and value % 1 == 0 and value >= 1 and value < 9999
end

tests.new = test

return tests
