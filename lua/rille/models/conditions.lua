--- From filter tables to a tree of tests: names resolved, values cleaned.
---
--- A filter table is data, perhaps from afar: a key either names a known field, through known
--- relations, with a known lookup, or it raises `FieldError`. No part of a key ever reaches SQL
--- text; what does are the columns of the fields that it resolved to.
---
--- Nodes: `{ kind = "and"|"or", … }`, `{ kind = "not", node }`, `{ kind = "expression", node }` for
--- what is true or false by itself, and tests. What can be decided without the database is
--- decided here: a node may be `true` (every row) or `false` (none), and constants are folded as
--- the tree is built, so that a parameter is only ever made for a test that is in the SQL.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local logic = require("rille.models.logic")
local null = require("rille.core").null
local paths = require("rille.models.paths")
local names = require("rille.models.names")
local open = require("rille.models.open")
local resolve = require("rille.models.resolve")
local tests = require("rille.models.tests")

local conditions = {
  find = paths.find,
  all_of = logic.all_of,
  any_of = logic.any_of,
  none_of = logic.none_of,
}

local function knows(lookups, lookup)
  for _, known in ipairs(lookups) do
    if known == lookup then
      return true
    end
  end
  return false
end

---@class rille.models.Key  a key of a filter, resolved
---@field path rille.models.Path?
---@field annotation rille.models.Annotation?
---@field transforms string[]
---@field output rille.models.Field  of what is left of the lookup
---@field lookup string

local function unsupported(subject, path, output, lookup)
  if path and path.of then
    return paths.unknown(path.of, lookup)
  end
  local kind = output:storage().kind
  local known = { unpack(output:behaviour().lookups) }
  for _, transform in ipairs(names.transforms_of(kind)) do
    known[#known + 1] = transform
  end
  return errors.FieldError(
    ("Unsupported lookup '%s' for the %s field '%s'. Lookups are: %s"):format(
      lookup,
      kind,
      path and path.field.name or subject.model.__name,
      table.concat(known, ", ")
    )
  )
end

--- What is tested: a column as `scope` says, or an annotation, and its transforms.
---@param subject rille.models.Subject
---@param key rille.models.Key
---@return rille.models.Node
local function left_of(subject, key, scope)
  local node = key.annotation and key.annotation.node
    or names.column(subject, key.path, scope)
  for _, part in ipairs(key.transforms) do
    node = names.transform(node, part)
  end
  return node
end

---@return rille.models.Key
local function resolve_key(subject, key)
  if type(key) ~= "string" then
    error(names.unknown(subject, key), 0)
  end
  local parts = paths.split(key)
  local path, used, annotation = names.head(subject, parts)
  if not path and not annotation then
    error(names.unknown(subject, key), 0)
  end
  local found = { path = path, annotation = annotation, transforms = {}, lookup = "exact" }
  local node = annotation and annotation.node or { output = path.field }
  for i = used + 1, #parts do
    if i == #parts and knows(node.output:behaviour().lookups, parts[i]) then
      found.lookup = parts[i]
      break
    end
    local transformed = names.transform(node, parts[i])
    if not transformed then
      if path and path.of or i == #parts then
        error(unsupported(subject, path, node.output, parts[i]), 0)
      end
      error(names.unknown(subject, key), 0)
    end
    node = transformed
    found.transforms[#found.transforms + 1] = parts[i]
  end
  found.output = node.output
  if not knows(found.output:behaviour().lookups, found.lookup) then
    error(unsupported(subject, path, found.output, found.lookup), 0)
  end
  return found
end

-- A key may go round through foreign keys any number of times: one model remembers so many.
local MOST_RESOLVED = 1000

--- `author__name__icontains` to its path and lookup; remembered by the model, unless the query has
--- names of its own.
---@param subject rille.models.Subject
---@param key any
---@return rille.models.Key
local function resolved(subject, key)
  if subject.annotated then
    return resolve_key(subject, key)
  end
  local meta = subject.model._meta
  local found = meta.resolved[key]
  if not found then
    found = resolve_key(subject, key)
    if meta.resolved_count == MOST_RESOLVED then
      meta.resolved, meta.resolved_count = {}, 0
    end
    meta.resolved[key], meta.resolved_count = found, meta.resolved_count + 1
  end
  return found
end

--- A key that must name a column, without a lookup.
---@param model rille.models.Model
---@param key any
---@return rille.models.Path
function conditions.path(model, key)
  local path = paths.get(model, key)
  if not path then
    error(paths.unknown(model, key), 0)
  end
  return path
end

local function is_one(limit)
  return limit == 1
end

--- A range with an end that is an expression: two tests.
local function range_between(value)
  return type(value) == "table"
    and getmetatable(value) == nil
    and #value == 2
    and (expressions.is_expression(value[1]) or expressions.is_expression(value[2]))
end

local function build_test(subject, name, value, scope)
  local key = resolved(subject, name)
  local path, lookup, output = key.path, key.lookup, key.output
  local look = { key = name, subject = subject, path = path, output = output }
  local kind = output:storage().kind
  local is_year = key.transforms[1] == "year" and #key.transforms == 1 and kind == "integer"
  local may_be_year = is_year and path and not path.many and tests.COMPARES[lookup]
  if may_be_year and open.ask(value, tests.is_year) then
    return tests.year_range(look, value, lookup)
  end
  look.left = left_of(subject, key, scope)
  local own = tests.OF_KIND[kind] and tests.OF_KIND[kind][lookup]
  local json_null = look.left.kind == "json_key" and lookup == "exact"
  if value == null and not json_null then
    if lookup ~= "exact" and lookup ~= "iexact" then
      error(errors.ValueError(("'%s' cannot be compared with null; use isnull."):format(name)), 0)
    end
    return tests.make.isnull(look, true)
  end
  if expressions.is_query(value) and lookup ~= "in" then
    if lookup == "exact" and not open.ask(value:_ordinary().limit_to, is_one) then
      local told = "The query for '%s' must be limited to one result: limit(1)"
      error(errors.ValueError(told:format(name)), 0)
    end
    value = expressions.Subquery(value)
  end
  if expressions.is_expression(value) then
    local is_query = kind == "tsvector"
    local is_fit = tests.COMPARES[lookup]
      or lookup == "in" and value.kind == "subquery"
      or kind == "text" and tests.BY_TEXT[lookup]
    if not is_fit then
      error(errors.FieldError(("'%s' cannot be compared with an F."):format(name)), 0)
    end
    local node = tests.new(look, is_query and "search" or lookup)
    node.f = resolve.expression(subject, value, scope)
    node.aggregate = node.aggregate or node.f.aggregate
    node.windowed = node.windowed or node.f.windowed
    return node
  end
  if lookup == "range" and range_between(value) then
    local before = name:gsub("range$", "")
    return conditions.all_of({
      build_test(subject, before .. "gte", value[1], scope),
      build_test(subject, before .. "lte", value[2], scope),
    })
  elseif own then
    return own(look, value, lookup)
  elseif tests.make[lookup] then
    return tests.make[lookup](look, value, lookup)
  end
  return tests.make[tests.COMPARES[lookup] and "compare" or "text"](look, value, lookup)
end

local function sorted_keys(subject, given)
  local keys = {}
  for key in pairs(given) do
    if type(key) ~= "string" then
      error(names.unknown(subject, key), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local from_q = {}

function from_q.leaf(subject, q, scope)
  return conditions.build(subject, q.conditions, scope)
end

function from_q.expression(subject, q, scope)
  return { kind = "expression", node = resolve.expression(subject, q.expression, scope) }
end

local function both(subject, q, scope)
  return { conditions.build(subject, q[1], scope), conditions.build(subject, q[2], scope) }
end

from_q["or"] = function(subject, q, scope)
  return conditions.any_of(both(subject, q, scope))
end

from_q["and"] = function(subject, q, scope)
  return conditions.all_of(both(subject, q, scope))
end

function from_q.xor(subject, q, scope)
  local a, b = unpack(both(subject, q, scope))
  return conditions.any_of({
    conditions.all_of({ a, conditions.none_of(b) }),
    conditions.all_of({ conditions.none_of(a), b }),
  })
end

from_q["not"] = function(subject, q, scope)
  return conditions.none_of(conditions.build(subject, q[1], scope))
end

--- The node for what `filter` was given. Keys are taken in order of the alphabet, so that the
--- same keys always give the same SQL. Raises `FieldError` and `ValueError`.
---@param subject rille.models.Subject  a query, or `{ model = … }`
---@param given table<string, any>|rille.models.Q
---@param scope table?  what is said of several related objects is about this one of them
---@return table|boolean
function conditions.build(subject, given, scope)
  if expressions.is_q(given) then
    return from_q[given.op](subject, given, scope)
  elseif expressions.is_expression(given) then
    local node = resolve.expression(subject, given, scope)
    if node.output.kind ~= "boolean" then
      error(errors.FieldError("only an expression that is true or false is a condition"), 0)
    end
    return { kind = "expression", node = node }
  end
  local nodes = {}
  for i, key in ipairs(sorted_keys(subject, given)) do
    nodes[i] = build_test(subject, key, given[key], scope)
  end
  return conditions.all_of(nodes)
end

resolve.condition = conditions.build

return conditions
