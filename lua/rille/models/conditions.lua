--- From filter tables to a tree of tests: names resolved, values cleaned.
---
--- A filter table is data, perhaps from afar: a key either names a known field, through
--- known foreign keys, with a known lookup, or it raises `FieldError`. No part of a key ever
--- reaches SQL text; what does are the columns of the fields that it resolved to.
---
--- Nodes: `{ kind = "and"|"or", … }`, `{ kind = "not", node }` and `{ kind = "test", … }`.
--- What can be decided without the database is decided here: a node may be `true` (every
--- row) or `false` (none), and constants are folded as the tree is built, so that a
--- parameter is only ever made for a test that is in the SQL.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local null = require("rille.core").null

---@class rille.models.Path  a key resolved
---@field joins rille.models.Field[]  the foreign keys to follow
---@field field rille.models.Field
---@field nullable boolean            may be NULL, by itself or because a join found nothing

---@class rille.models.Test
---@field kind "test"
---@field path rille.models.Path
---@field lookup string
---@field value any  cleaned; for `in` a list; for an F its operands are resolved to paths
---@field slot integer?  of a template (`rille.models.forms`): the value is this open one

local conditions = {}

local function names_of(model)
  local names = {}
  for _, field in ipairs(model._meta.fields) do
    names[#names + 1] = field.name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

local function unknown(model, key)
  return errors.FieldError(
    ("Cannot resolve keyword '%s' into field. Choices are: %s"):format(
      tostring(key),
      names_of(model)
    )
  )
end

--- A field by its name, its attribute, or `pk`.
---@param model rille.models.Model
---@param name string
---@return rille.models.Field?
local function find(model, name)
  local meta = model._meta
  if name == "pk" then
    return meta.pk
  end
  return meta.by_name[name] or meta.by_attr[name]
end

conditions.find = find

--- Follow `parts` as far as they name fields. A key of the far table that is the near
--- table's column already needs no join.
---@return rille.models.Path? path
---@return integer used  how many parts were fields
local function walk(model, parts)
  local joins, field, used, nullable = {}, nil, 0, false
  local at = model
  for i, part in ipairs(parts) do
    local found = find(at, part)
    if not found then
      break
    end
    if field then
      if found.primary_key and found.kind ~= "foreign_key" then
        used = i
        break -- author__id is author_id
      end
      joins[#joins + 1] = field
    end
    field, used = found, i
    nullable = nullable or found.null
    if found.kind ~= "foreign_key" or part == found.attr and found.attr ~= found.name then
      break
    end
    at = found:target()
  end
  return field and { joins = joins, field = field, nullable = nullable }, used
end

local function split(key)
  local parts = {}
  for part in (key .. "__"):gmatch("(.-)__") do
    parts[#parts + 1] = part
  end
  return parts
end

local function knows(lookups, lookup)
  for _, known in ipairs(lookups) do
    if known == lookup then
      return true
    end
  end
  return false
end

local function resolve_lookup(model, key)
  if type(key) ~= "string" then
    error(unknown(model, key), 0)
  end
  local parts = split(key)
  local path, used = walk(model, parts)
  if not path or #parts > used + 1 then
    error(unknown(model, key), 0)
  end
  local lookup = parts[used + 1] or "exact"
  local known = path.field:behaviour().lookups
  if not knows(known, lookup) then
    if path.field.kind == "foreign_key" then
      error(unknown(path.field:target(), lookup), 0)
    end
    error(
      errors.FieldError(
        ("Unsupported lookup '%s' for the %s field '%s'. Lookups are: %s"):format(
          lookup,
          path.field:storage().kind,
          path.field.name,
          table.concat(known, ", ")
        )
      ),
      0
    )
  end
  return { path = path, lookup = lookup }
end

-- A key may go round through foreign keys any number of times: one model remembers so many.
local MOST_RESOLVED = 1000

--- `author__name__icontains` to its path and lookup; remembered by the model.
---@param model rille.models.Model
---@param key any
---@return { path: rille.models.Path, lookup: string, fit: rille.models.Fit? }
local function resolve(model, key)
  local meta = model._meta
  local found = meta.resolved[key]
  if not found then
    found = resolve_lookup(model, key)
    if meta.resolved_count == MOST_RESOLVED then
      meta.resolved, meta.resolved_count = {}, 0
    end
    meta.resolved[key], meta.resolved_count = found, meta.resolved_count + 1
  end
  return found
end

--- A key that must name a field, without a lookup: for `order_by`, `values`, `F`.
---@param model rille.models.Model
---@param key any
---@return rille.models.Path
function conditions.path(model, key)
  if type(key) == "string" then
    local parts = split(key)
    local path, used = walk(model, parts)
    if path and used == #parts then
      return path
    end
  end
  error(unknown(model, key), 0)
end

-- Folding ---------------------------------------------------------------------------

--- `absorbing` decides the whole (false for "and"), its opposite adds nothing.
local function fold(kind, absorbing, nodes)
  local kept = { kind = kind }
  for _, node in ipairs(nodes) do
    if node == absorbing then
      return absorbing
    end
    if type(node) == "table" then
      kept[#kept + 1] = node
    end
  end
  if #kept == 0 then
    return not absorbing
  end
  return #kept == 1 and kept[1] or kept
end

---@param nodes (table|boolean)[]
---@return table|boolean
function conditions.all_of(nodes)
  return fold("and", false, nodes)
end

---@param nodes (table|boolean)[]
---@return table|boolean
function conditions.any_of(nodes)
  return fold("or", true, nodes)
end

---@param node table|boolean
---@return table|boolean
function conditions.none_of(node)
  if type(node) == "boolean" then
    return not node
  end
  return { kind = "not", node }
end

-- Values ----------------------------------------------------------------------------

--- An F with its names resolved to paths of the model.
local function resolve_f(model, f)
  if type(f) ~= "table" then
    return f
  end
  if f.op == "field" then
    return { op = "field", path = conditions.path(model, f.name) }
  end
  return { op = f.op, resolve_f(model, f[1]), resolve_f(model, f[2]) }
end

conditions.resolve_f = resolve_f

local COMPARES = { exact = true, gt = true, gte = true, lt = true, lte = true }

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

local function test(path, lookup, value)
  return { kind = "test", path = path, lookup = lookup, value = value }
end

local make = {}

function make.isnull(key, path, value)
  if type(value) ~= "boolean" then
    error(bad_value(key, "true or false", value), 0)
  end
  return test(path, "isnull", value)
end

make["in"] = function(key, path, value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then
    error(bad_value(key, "a list", value), 0)
  end
  local list = {}
  for _, item in ipairs(value) do
    if item ~= null then
      local fitted, lookup = fit_integer(path.field, "exact", item)
      if lookup then
        list[#list + 1] = path.field:wire(path.field:clean(fitted))
      end
    end
  end
  if #list == 0 then
    return false
  end
  return test(path, "in", list)
end

function make.range(key, path, value)
  if type(value) ~= "table" or #value ~= 2 then
    error(bad_value(key, "a list of two values", value), 0)
  end
  return conditions.all_of({
    make.compare(key, path, value[1], "gte"),
    make.compare(key, path, value[2], "lte"),
  })
end

function make.compare(_, path, value, lookup)
  local fitted, fitting = fit_integer(path.field, lookup, value)
  if not fitting then
    return false
  end
  return test(path, fitting, path.field:wire(path.field:clean(fitted)))
end

function make.text(key, path, value, lookup)
  if type(value) ~= "string" then
    error(bad_value(key, "a string", value), 0)
  end
  return test(path, lookup, path.field:clean(value))
end

local function build_test(model, key, value)
  local resolved = resolve(model, key)
  local path, lookup = resolved.path, resolved.lookup
  if value == null then
    if lookup ~= "exact" and lookup ~= "iexact" then
      error(errors.ValueError(("'%s' cannot be compared with null; use isnull."):format(key)), 0)
    end
    return make.isnull(key, path, true)
  end
  if expressions.is_f(value) then
    if not COMPARES[lookup] then
      error(errors.FieldError(("'%s' cannot be compared with an F."):format(key)), 0)
    end
    return { kind = "test", path = path, lookup = lookup, f = resolve_f(model, value) }
  end
  if make[lookup] then
    return make[lookup](key, path, value)
  end
  return make[COMPARES[lookup] and "compare" or "text"](key, path, value, lookup)
end

-- Values that are plainly fit --------------------------------------------------------

--- What a test makes of a value, when nothing is special about the value: it decides nothing, and
--- the SQL does not depend on it.
---@class rille.models.Fit
---@field field rille.models.Field
---@field check fun(field: rille.models.Field, value: any): any
---@field wire (fun(value: any): any)?
---@field target rille.models.Meta?  of a foreign key, for instances as values
---@field list boolean       the value is a list of such values
---@field flag boolean       the value is true or false, and part of the SQL
local Fit = {}
Fit.__index = Fit

function Fit:single(value)
  local target = self.target
  if target and type(value) == "table" then
    if getmetatable(value) ~= target.instance then
      return nil
    end
    value = rawget(value, target.pk.attr)
  end
  local fitting = self.check(self.field, value)
  local wire = self.wire
  if wire and fitting ~= nil then
    return wire(fitting)
  end
  return fitting
end

--- What the node of this test would hold; nil: the value is not plain, or does not fit.
---@param value any
---@return any
function Fit:value(value)
  if not self.list then
    return self:single(value)
  end
  if type(value) ~= "table" or getmetatable(value) ~= nil then
    return nil
  end
  local list = {}
  for i = 1, #value do
    list[i] = self:single(value[i])
    if list[i] == nil then
      return nil
    end
  end
  return list[1] ~= nil and list or nil
end

--- How values fit a key of a filter; nil: the key is unknown, or its values are never plain.
---@param model rille.models.Model
---@param key any
---@return rille.models.Fit?
function conditions.fit(model, key)
  local ok, resolved = pcall(resolve, model, key)
  if not ok or resolved.lookup == "range" then
    return nil
  end
  if not resolved.fit then
    local field, lookup = resolved.path.field, resolved.lookup
    local behaviour = field:behaviour()
    resolved.fit = setmetatable({
      field = field,
      check = behaviour.check,
      wire = behaviour.wire,
      target = field.kind == "foreign_key" and field:target()._meta or nil,
      list = lookup == "in",
      flag = lookup == "isnull",
    }, Fit)
  end
  return resolved.fit
end

local function sorted_keys(model, given)
  local keys = {}
  for key in pairs(given) do
    if type(key) ~= "string" then
      error(unknown(model, key), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local from_q = {}

function from_q.leaf(model, q)
  return conditions.build(model, q.conditions)
end

from_q["or"] = function(model, q)
  return conditions.any_of({ conditions.build(model, q[1]), conditions.build(model, q[2]) })
end

from_q["and"] = function(model, q)
  return conditions.all_of({ conditions.build(model, q[1]), conditions.build(model, q[2]) })
end

from_q["not"] = function(model, q)
  return conditions.none_of(conditions.build(model, q[1]))
end

--- The node for what `filter` was given. Keys are taken in order of the alphabet, so that the
--- same keys always give the same SQL. Raises `FieldError` and `ValueError`.
---@param model rille.models.Model
---@param given table<string, any>|rille.models.Q
---@return table|boolean
function conditions.build(model, given)
  if expressions.is_q(given) then
    return from_q[given.op](model, given)
  end
  local nodes = {}
  for i, key in ipairs(sorted_keys(model, given)) do
    nodes[i] = build_test(model, key, given[key])
  end
  return conditions.all_of(nodes)
end

return conditions
