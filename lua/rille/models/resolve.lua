--- What expressions mean for a query: names become columns, and every part knows its kind.
---
--- The result is a tree of nodes, pure data again, which `rille.models.sql` writes:
---
---     column      path, scope     value     value           arithmetic  op, a, b
---     call        definition, args           case      whens, default
---     aggregate   arg, filter, …             window    node, partition, order
---     subquery    query           exists    query           outer       name
---     cast        node            json_key  node, keys      element     node, index
---
--- `output` is a field: what the node's values look like. `aggregate`: it is over a group of rows.
---
--- A path that may lead to several rows is joined once for each `scope`: what one call of `filter`
--- says is about one and the same related object, another call may be about another. What is not
--- a filter (`order_by`, `values`, `annotate`) takes the join that the last filter made.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local fields = require("rille.models.fields")
local functions = require("rille.models.functions")
local null = require("rille.core").null
local paths = require("rille.models.paths")

local resolve = {}

---@class rille.models.Node
---@field kind string
---@field output rille.models.Field
---@field aggregate boolean?
---@field windowed boolean?
---@field nullable boolean?

---@class rille.models.Subject  what names are looked up in: a query, or as much of it
---@field model rille.models.Model
---@field annotated table<string, rille.models.Annotation>?
---@field scopes table<string, table>?
---@field over_groups boolean?  rows are groups already, so their aggregates may be added up

-- Kinds -------------------------------------------------------------------------------

local outputs = {}

--- A field of a kind that belongs to no model.
---@param kind string
---@return rille.models.Field
local function output(kind)
  local field = outputs[kind]
  if not field then
    field = setmetatable({ kind = kind, name = kind, attr = kind, null = true }, fields.Field)
    outputs[kind] = field
  end
  return field
end

resolve.output = output

local INTEGRAL = { integer = true, bigint = true, auto = true }

--- The kind of what an arithmetic gives.
local function arithmetic_kind(op, a, b)
  local x, y = a.output:storage().kind, b.output:storage().kind
  if op == "^" or x == "float" or y == "float" then
    return "float"
  elseif x == "numeric" or y == "numeric" then
    return "numeric"
  elseif INTEGRAL[x] and INTEGRAL[y] then
    return (x == "integer" and y == "integer") and "integer" or "bigint"
  end
  return INTEGRAL[x] and y or x
end

--- The kind of a constant.
local function kind_of_constant(value)
  local kind = type(value)
  if kind == "number" then
    return value % 1 == 0 and (math.abs(value) < 2 ^ 31 and "integer" or "bigint") or "float"
  elseif kind == "boolean" then
    return "boolean"
  elseif kind == "table" then
    return "json"
  end
  return "text"
end

-- Names -------------------------------------------------------------------------------

local EVERYWHERE = {} -- the scope of what no filter has joined

--- A column, joined as `scope` says.
---@param subject rille.models.Subject
---@param path rille.models.Path
---@param scope table?
---@return rille.models.Node
function resolve.column(subject, path, scope)
  local many = path.many
  if many and not scope then
    scope = subject.scopes and subject.scopes[many] or EVERYWHERE
  end
  return {
    kind = "column",
    path = path,
    scope = many and scope or nil,
    output = path.field,
    nullable = path.nullable,
  }
end

local DATE = {
  year = "ExtractYear",
  iso_year = "ExtractIsoYear",
  quarter = "ExtractQuarter",
  month = "ExtractMonth",
  week = "ExtractWeek",
  week_day = "ExtractWeekDay",
  iso_week_day = "ExtractIsoWeekDay",
  day = "ExtractDay",
}
local TIMESTAMP = {
  hour = "ExtractHour",
  minute = "ExtractMinute",
  second = "ExtractSecond",
  date = "TruncDate",
  time = "ExtractTime",
}
for name, call in pairs(DATE) do
  TIMESTAMP[name] = call
end
local TRANSFORMS = {
  text = { lower = "Lower", upper = "Upper", length = "Length", trim = "Trim" },
  date = DATE,
  timestamp = TIMESTAMP,
}

local function call_node(definition, args, out)
  local node = { kind = "call", definition = definition, args = args, nullable = true }
  node.output = out
  for _, arg in ipairs(args) do
    node.aggregate = node.aggregate or arg.aggregate
    node.windowed = node.windowed or arg.windowed
  end
  return node
end

--- What a part of a name makes of a node; nil: its kind knows no such transform.
---@param node rille.models.Node
---@param part string
---@return rille.models.Node?
function resolve.transform(node, part)
  local kind = node.output:storage().kind
  local call = TRANSFORMS[kind] and TRANSFORMS[kind][part]
  if call then
    local definition = functions.by_name[call]
    return call_node(definition, { node }, output(definition.output))
  elseif kind == "json" then
    local keys = { unpack(node.keys or {}) }
    keys[#keys + 1] = part
    return {
      kind = "json_key",
      node = node.keys and node.node or node,
      keys = keys,
      output = output("json"),
      nullable = true,
      aggregate = node.aggregate,
    }
  elseif kind == "array" and part == "len" then
    return { kind = "len", node = node, output = output("integer"), nullable = true }
  elseif kind == "array" and part:match("^%d+$") and #part < 8 then
    local of = node.output:storage().of
    return {
      kind = "element",
      node = node,
      index = tonumber(part),
      output = of,
      nullable = true,
    }
  end
end

--- The transforms that a kind knows, for messages.
---@param kind string
---@return string[]
function resolve.transforms_of(kind)
  return fields.sorted_keys(TRANSFORMS[kind])
end

local function annotation_names(subject)
  return subject.annotated and fields.sorted_keys(subject.annotated) or nil
end

--- The error for a name that means nothing.
function resolve.unknown(subject, key)
  return paths.unknown(subject.model, key, annotation_names(subject))
end

--- An annotation, by as many of the first parts as make its name.
local function annotation_of(subject, parts)
  for used = #parts, 1, -1 do
    local known = subject.annotated[table.concat(parts, "__", 1, used)]
    if known then
      return known, used
    end
  end
end

--- What the first parts of a key mean, and how many they are.
---@param subject rille.models.Subject
---@param parts string[]
---@return rille.models.Path? path
---@return integer used
---@return rille.models.Annotation? annotation  instead of a path
function resolve.head(subject, parts)
  if subject.annotated then
    local known, used = annotation_of(subject, parts)
    if known then
      return nil, used, known
    end
  end
  return paths.walk(subject.model, parts)
end

--- A name: of a field, through relations, or of an annotation; transforms may follow. Raises
--- `FieldError`.
---@param subject rille.models.Subject
---@param name any
---@param scope table?
---@return rille.models.Node
function resolve.name(subject, name, scope)
  if type(name) ~= "string" then
    error(resolve.unknown(subject, name), 0)
  end
  local parts = paths.split(name)
  local path, used, annotation = resolve.head(subject, parts)
  if not path and not annotation then
    error(resolve.unknown(subject, name), 0)
  end
  local node = annotation and annotation.node or resolve.column(subject, path, scope)
  for i = used + 1, #parts do
    local transformed = resolve.transform(node, parts[i])
    if not transformed then
      local far = path and path.of
      error(far and paths.unknown(far, parts[i]) or resolve.unknown(subject, name), 0)
    end
    node = transformed
  end
  return node
end

-- Expressions -------------------------------------------------------------------------

local of_kind = {}

--- A constant as a node. On PostgreSQL its type is said, since functions cannot know it.
local function constant(value, field)
  if value == null then
    return { kind = "value", output = field or output("text"), nullable = true }
  end
  local out = field or output(kind_of_constant(value))
  return { kind = "value", value = out:wire(out:clean(value)), output = out }
end

--- An argument: an expression, the name of a field, or a constant that is no text.
local function argument(subject, given, scope)
  if type(given) == "string" then
    return resolve.name(subject, given, scope)
  elseif expressions.is_expression(given) then
    return resolve.expression(subject, given, scope)
  end
  return constant(given)
end

--- What stands for itself where a name would make no sense: a result of `Case`.
local function result(subject, given, scope, field)
  if expressions.is_expression(given) then
    return resolve.expression(subject, given, scope)
  end
  return constant(given, field)
end

function of_kind.f(subject, f, scope)
  return resolve.name(subject, f.name, scope)
end

function of_kind.value(_, value)
  return constant(value.value, value.field)
end

function of_kind.outer(_, outer)
  return { kind = "outer", name = outer.name, output = output("text"), nullable = true }
end

function of_kind.arithmetic(subject, given, scope)
  local sides = {}
  for i = 1, 2 do
    if type(given[i]) == "number" then
      local kind = kind_of_constant(given[i])
      sides[i] = { kind = "value", value = given[i], output = output(kind), untyped = true }
    else
      sides[i] = resolve.expression(subject, given[i], scope)
    end
  end
  local a, b = sides[1], sides[2]
  return {
    kind = "arithmetic",
    op = given.op,
    a = a,
    b = b,
    output = output(arithmetic_kind(given.op, a, b)),
    aggregate = a.aggregate or b.aggregate,
    windowed = a.windowed or b.windowed,
    nullable = a.nullable or b.nullable or given.op == "/" or given.op == "%",
  }
end

--- The first argument whose kind says something.
local function telling(args)
  for _, arg in ipairs(args) do
    if arg.kind ~= "value" then
      return arg.output
    end
  end
  return args[1].output
end

function of_kind.call(subject, call, scope)
  local definition, args = call.definition, {}
  for i = 1, call.n do
    local is_text = type(call[i]) == "string" and definition.takes_text
    args[i] = is_text and constant(call[i]) or argument(subject, call[i], scope)
  end
  local out = definition.output
  out = out == "same" and telling(args) or output(out)
  return call_node(definition, args, out)
end

function of_kind.cast(subject, cast, scope)
  local node = argument(subject, cast[1], scope)
  return {
    kind = "cast",
    node = node,
    output = cast.field,
    nullable = node.nullable,
    aggregate = node.aggregate,
  }
end

function of_kind.wrapper(subject, wrapper, scope)
  local inner = argument(subject, wrapper[1], scope)
  local node = {}
  for key, value in pairs(inner) do
    node[key] = value
  end
  node.output = wrapper.field
  return node
end

function of_kind.case(subject, case, scope)
  local node = { kind = "case", whens = {}, nullable = true }
  local results = {}
  for i, when in ipairs(case.whens) do
    local given = result(subject, when.result, scope)
    local condition = resolve.condition(subject, when.condition, scope)
    node.whens[i] = { condition = condition, result = given }
    node.aggregate = node.aggregate or given.aggregate or resolve.has_aggregate(condition)
    results[i] = given
  end
  if case.default ~= nil then
    node.default = result(subject, case.default, scope)
    node.aggregate = node.aggregate or node.default.aggregate
    results[#results + 1] = node.default
  end
  node.output = telling(results)
  return node
end

--- The query inside an expression, as it is to be compiled.
local function inner_query(given)
  local query = given:_ordinary()
  if query.lock then
    error("a query inside of another cannot lock rows", 0)
  end
  return query
end

function of_kind.subquery(_, subquery)
  local query = inner_query(subquery.query)
  if query.shape == "instances" then
    query = query:values("pk")
  end
  if #query.selected ~= 1 then
    error(errors.FieldError("a Subquery needs a query for one value: values(\"field\")"), 0)
  end
  return {
    kind = "subquery",
    query = query,
    output = query.selected[1].node.output,
    nullable = true,
  }
end

function of_kind.exists(_, exists)
  return {
    kind = "exists",
    query = inner_query(exists.query),
    negated = exists.negated,
    output = output("boolean"),
  }
end

-- What a backend would widen is brought back to what Lua can count with.
local SUM_OF = { auto = "bigint", bigint = "bigint", integer = "bigint" }

--- What an aggregate gives, and what brings it back to that.
---@return rille.models.Field
---@return string? cast
local function aggregate_output(name, arg)
  local kind = arg and arg.output:storage().kind
  if name == "same" then
    return arg.output
  elseif name == "sum" then
    if SUM_OF[kind] then
      return output("bigint"), "bigint"
    end
    return arg.output
  elseif name == "average" then
    if kind == "numeric" then
      return arg.output
    end
    return output("float"), SUM_OF[kind] and "double precision" or nil
  elseif name == "array" then
    local field = output("array of " .. kind)
    field.kind, field.of = "array", output(kind)
    return field
  end
  return output(name)
end

function of_kind.aggregate(subject, given, scope)
  local arg
  if given[1] ~= "*" then
    arg = argument(subject, given[1], scope)
    if arg.aggregate and not subject.over_groups then
      error(
        errors.FieldError(
          ("Cannot compute %s('%s'): it is an aggregate itself"):format(
            given.name,
            tostring(given[1])
          )
        ),
        0
      )
    end
  end
  local node = {
    kind = "aggregate",
    name = given.name,
    sql = given.sql,
    arg = arg,
    distinct = given.distinct,
    delimiter = given.delimiter,
    aggregate = true,
    nullable = given.name ~= "Count",
  }
  node.output, node.cast = aggregate_output(given.output, arg)
  if given.filter then
    node.filter = resolve.condition(subject, given.filter, scope)
  end
  if given.order_by then
    node.order = {}
    for i, term in ipairs(given.order_by) do
      node.order[i] = resolve.order_term(subject, term)
    end
  end
  if given.default ~= nil then
    node.default = constant(given.default, node.output)
  end
  return node
end

function of_kind.window(subject, window, scope)
  local node = { kind = "window", partition = {}, order = {}, frame = window.frame }
  node.node = resolve.expression(subject, window[1], scope)
  for i, given in ipairs(window.partition_by) do
    node.partition[i] = argument(subject, given, scope)
  end
  for i, given in ipairs(window.order_by) do
    node.order[i] = resolve.order_term(subject, given)
  end
  node.output, node.windowed, node.nullable = node.node.output, true, true
  return node
end

--- An expression in a query. Raises `FieldError` for names that mean nothing.
---@param subject rille.models.Subject
---@param given rille.models.Expression
---@param scope table?
---@return rille.models.Node
function resolve.expression(subject, given, scope)
  local make = of_kind[given.kind]
  if not make then
    error(("an expression of the kind '%s' has no place here"):format(given.kind), 0)
  end
  return make(subject, given, scope)
end

--- Something to order by: a name, `-` in front for descending, "?" for random, or an expression.
---@param subject rille.models.Subject
---@param given any
---@return { node: rille.models.Node?, descending: boolean, nulls: string?, random: boolean? }
function resolve.order_term(subject, given)
  if given == "?" then
    return { random = true, descending = false }
  elseif expressions.is_expression(given) then
    if given.kind == "order" then
      local node = resolve.expression(subject, given[1])
      return { node = node, descending = given.descending, nulls = given.nulls }
    end
    return { node = resolve.expression(subject, given), descending = false }
  end
  local sign, key = tostring(given):match("^(%-?)(.*)$")
  return { node = resolve.name(subject, key), descending = sign == "-" }
end

--- Is a condition over groups of rows?
---@param node table|boolean  of `rille.models.conditions`
---@return boolean
function resolve.has_aggregate(node)
  if type(node) ~= "table" then
    return false
  elseif node.kind == "test" then
    return node.aggregate == true
  elseif node.kind == "expression" then
    return node.node.aggregate == true
  end
  for _, child in ipairs(node) do
    if resolve.has_aggregate(child) then
      return true
    end
  end
  return false
end

return resolve
