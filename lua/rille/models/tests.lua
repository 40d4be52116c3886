--- Tests: one comparison of a filter, its value checked and made ready for the database.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local logic = require("rille.models.logic")
local null = require("rille.core").null
local names = require("rille.models.names")
local open = require("rille.models.open")
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
---@field value any                   cleaned; for `in` and `range` a list; or open
---@field f rille.models.Node?        instead of a value
---@field json string?   of JSON: "table", "boolean" or "other", which the value is
---@field count integer?  of several keys: how many

---@class rille.models.Look  what a test looks at
---@field key string                  as in the filter, for messages
---@field subject rille.models.Subject
---@field path rille.models.Path?
---@field left rille.models.Node
---@field output rille.models.Field

local tests = {}

tests.COMPARES = { exact = true, gt = true, gte = true, lt = true, lte = true }

-- What a text can be asked about another that is not known before: an F.
tests.BY_TEXT = {}
for name in ("exact contains startswith endswith"):gmatch("%a+") do
  tests.BY_TEXT[name], tests.BY_TEXT["i" .. name] = true, true
end
tests.BY_TEXT.regex, tests.BY_TEXT.iregex = true, true

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

local function flag_of(value)
  if type(value) == "boolean" then
    return value
  end
  return "no boolean"
end

function make.isnull(look, value)
  local flag = open.ask(value, flag_of)
  if type(flag) ~= "boolean" then
    error(bad_value(look.key, "true or false", value), 0)
  end
  return test(look, "isnull", flag)
end

--- What makes of a value what the core is given, as long as it is compared as it is; nil: it does
--- not fit, or decides the comparison.
local function plainly(look)
  local output, storage = look.output, look.output:storage()
  local behaviour = output:behaviour()
  local check, wire = behaviour.check, behaviour.wire
  return function(value)
    if type(value) == "table" then
      return wired(look, value)
    end
    local cleaned = check(output, value)
    if cleaned ~= nil and wire then
      return wire(cleaned, storage)
    end
    return cleaned
  end
end

--- The same of a list: none of its values is left out.
local function plain_list(look)
  local fit = plainly(look)
  return function(value)
    if type(value) ~= "table" or getmetatable(value) ~= nil or #value > tests.MOST_IN_LIST then
      return nil
    end
    local list = {}
    for i, item in ipairs(value) do
      if item ~= null then
        list[i] = fit(item)
      end
      if list[i] == nil then
        return nil
      end
    end
    return list[1] ~= nil and list or nil
  end
end

make["in"] = function(look, value)
  if expressions.is_query(value) then
    local node = test(look, "in")
    node.f = resolve.expression(look.subject, expressions.Subquery(value))
    return node.f.query.where ~= false and node
  elseif open.is(value) then
    return test(look, "in", open.map(value, plain_list(look)))
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

--- One end of a range.
local function end_of(look, value, which)
  return open.part(value, function(given)
    if type(given) ~= "table" or #given ~= 2 then
      error(bad_value(look.key, "a list of two values", given), 0)
    end
    return given[which]
  end)
end

function make.range(look, value)
  local low = make.compare(look, end_of(look, value, 1), "gte")
  local high = make.compare(look, end_of(look, value, 2), "lte")
  if look.path and look.path.many and low and high then -- one related object is in it
    return test(look, "range", { low.value, high.value })
  end
  return logic.all_of({ low, high })
end

function make.compare(look, value, lookup)
  if open.is(value) then
    return test(look, lookup, open.map(value, plainly(look)))
  end
  local fitted, fitting = fit_integer(look.output, lookup, value)
  if not fitting then
    return false
  end
  return test(look, fitting, wired(look, fitted))
end

function make.text(look, value, lookup)
  local is_json = look.output.kind == "json"
  local text = open.map(value, function(given)
    if type(given) ~= "string" then
      error(bad_value(look.key, "a string", given), 0)
    end
    return is_json and given or look.output:clean(given)
  end)
  return test(look, lookup, text)
end

make.search = make.text

-- JSON and arrays compare in ways of their own.

local json, array = {}, {}

--- What SQLite has to be told of a value.
local function json_kind(value)
  local kind = type(value)
  return (kind == "table" or kind == "boolean") and kind or "other"
end

local function json_test(look, value, lookup, kind)
  local given = open.map(value, function(one)
    if one == nil or type(one) == "function" then
      error(bad_value(look.key, "what JSON can say", one), 0)
    end
    return one
  end)
  local node = test(look, lookup, given)
  node.json = kind
  return node
end

local function any_json(look, value, lookup)
  return json_test(look, value, lookup, open.ask(value, json_kind))
end

for _, lookup in ipairs({ "exact", "gt", "gte", "lt", "lte", "contains", "contained_by" }) do
  json[lookup] = any_json
end

-- More tests in the place of one are not worth remembering.
local MOST_ITEMS = 32

--- How many values a list has, and what each of them is to SQLite.
local function kinds_of(list)
  if type(list) ~= "table" or #list > tests.MOST_IN_LIST then
    return "no list"
  end
  local kinds = {}
  for i, item in ipairs(list) do
    kinds[i] = item == null and "null" or json_kind(item)
  end
  return table.concat(kinds, " ")
end

json["in"] = function(look, value)
  local kinds, nodes = open.ask(value, kinds_of), {}
  if kinds == "no list" then
    error(bad_value(look.key, "a list, and no longer one than others may be", value), 0)
  end
  for kind in kinds:gmatch("%a+") do
    local i = #nodes + 1
    local item = kind == "null" and null or open.part(value, function(list)
      return list[i]
    end)
    nodes[i] = json_test(look, item, "exact", kind)
    if i > MOST_ITEMS and open.is(value) then
      error("a list this long has no form", 0)
    end
  end
  return logic.any_of(nodes)
end

local function length(value)
  return type(value) == "table" and #value or "no list"
end

json.has_key = make.text

function json.has_keys(look, value, lookup)
  local count = open.ask(value, length)
  if type(count) ~= "number" or count == 0 then
    error(bad_value(look.key, "a list of keys", value), 0)
  end
  local list = open.map(value, function(given)
    local texts = {}
    for i, item in ipairs(given) do
      texts[i] = tostring(item)
    end
    return texts
  end)
  local node = test(look, lookup, list)
  node.count = count
  return node
end

json.has_any_keys = json.has_keys

local function any_array(look, value, lookup)
  return test(look, lookup, open.map(value, function(given)
    return look.output:wire(look.output:clean(given))
  end))
end

for _, lookup in ipairs({ "exact", "contains", "contained_by", "overlap" }) do
  array[lookup] = any_array
end

tests.OF_KIND = { json = json, array = array, tsvector = { exact = make.text } }

--- `at__year` is a range, which an index knows.
function tests.year_range(look, value, lookup)
  local kind = look.path.field:storage().kind
  local clock = kind == "timestamp" and " 00:00:00+00" or ""
  local whole = { left = names.column(look.subject, look.path), output = look.path.field }
  local function bound(way, later)
    return test(whole, way, open.map(value, function(year)
      return ("%04d-01-01"):format(year + later) .. clock
    end))
  end
  if lookup == "exact" then
    return logic.all_of({ bound("gte", 0), bound("lt", 1) })
  elseif lookup == "gt" then
    return bound("gte", 1)
  elseif lookup == "lte" then
    return bound("lt", 1)
  end
  return bound(lookup, 0)
end

---@return boolean
function tests.is_year(value)
  return type(value) == "number" and value % 1 == 0 and value >= 1 and value < 9999
end

tests.new = test

return tests
