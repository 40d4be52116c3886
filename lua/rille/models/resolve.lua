--- What expressions mean for a query: names become columns, and every part knows its kind.
---
--- The result is a tree of nodes, pure data again, which `rille.models.sql` writes:
---
---     column      path, scope     value     value           arithmetic  op, a, b
---     call        definition, args           case      whens, default
---     aggregate   arg, filter, …             window    node, partition, order
---     subquery    query           exists    query           outer       name
---     cast        node            json_key  node, keys      element     node, index
---     collate     node, collation json_built members, args  raw_sql     sql, params
---     condition   condition
---
--- `output` is a field: what the node's values look like. `aggregate`: it is over a group of rows.
--- What names mean is decided in `rille.models.names`.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local names = require("rille.models.names")
local null = require("rille.core").null
local open = require("rille.models.open")

local resolve = {}

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

-- Expressions -------------------------------------------------------------------------

local of_kind = {}

local function same(value)
  return value
end

--- A constant as a node. On PostgreSQL its type is said, since functions cannot know it.
local function constant(value, field)
  if value == null then
    return { kind = "value", output = field or names.output("text"), nullable = true }
  end
  local out = field or names.output(open.ask(value, kind_of_constant))
  local wired = open.map(value, function(given)
    return out:wire(out:clean(given))
  end)
  return { kind = "value", value = wired, output = out }
end

--- An argument: an expression, the name of a field, or a constant that is no text.
local function argument(subject, given, scope)
  if type(given) == "string" then
    return names.name(subject, given, scope)
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
  return names.name(subject, f.name, scope)
end

function of_kind.value(_, value)
  return constant(value.value, value.field)
end

function of_kind.outer(_, outer)
  return { kind = "outer", name = outer.name, output = names.output("text"), nullable = true }
end

function of_kind.arithmetic(subject, given, scope)
  local sides = {}
  for i = 1, 2 do
    if expressions.is_expression(given[i]) then
      sides[i] = resolve.expression(subject, given[i], scope)
    else
      local kind = open.ask(given[i], kind_of_constant)
      local value = open.map(given[i], same)
      sides[i] = { kind = "value", value = value, output = names.output(kind), untyped = true }
    end
  end
  local a, b = sides[1], sides[2]
  return {
    kind = "arithmetic",
    op = given.op,
    a = a,
    b = b,
    output = names.output(arithmetic_kind(given.op, a, b)),
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
    local is_text = type(call[i]) == "string" and definition.text_at == i
    args[i] = is_text and constant(call[i]) or argument(subject, call[i], scope)
  end
  local out = definition.output
  out = out == "same" and telling(args) or names.output(out)
  return names.call(definition, args, out)
end

function of_kind.cast(subject, cast, scope)
  local node = argument(subject, cast[1], scope)
  return {
    kind = "cast",
    node = node,
    output = cast.field,
    nullable = node.nullable,
    aggregate = node.aggregate,
    windowed = node.windowed,
  }
end

function of_kind.collate(subject, collate, scope)
  local node = argument(subject, collate[1], scope)
  return {
    kind = "collate",
    node = node,
    collation = collate.collation,
    output = node.output,
    nullable = node.nullable,
    aggregate = node.aggregate,
    windowed = node.windowed,
  }
end

function of_kind.json_built(subject, built, scope)
  local node = { kind = "json_built", members = built.keys, args = {} }
  node.output = names.output("json")
  for i, given in ipairs(built.values) do
    local arg = argument(subject, given, scope)
    node.args[i] = arg
    node.aggregate = node.aggregate or arg.aggregate
    node.windowed = node.windowed or arg.windowed
  end
  return node
end

function of_kind.raw_sql(_, raw)
  local node = { kind = "raw_sql", sql = raw.sql, params = {}, nullable = true }
  node.output = raw.field or names.output("text")
  for i, param in ipairs(raw.params) do
    node.params[i] = open.map(param, same)
  end
  return node
end

function of_kind.condition(subject, given, scope)
  local condition = resolve.condition(subject, given.q, scope)
  return {
    kind = "condition",
    condition = condition,
    output = names.output("boolean"),
    nullable = true,
    aggregate = resolve.has_aggregate(condition),
    windowed = resolve.has_window(condition),
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
    node.windowed = node.windowed or given.windowed or resolve.has_window(condition)
    results[i] = given
  end
  if case.default ~= nil then
    node.default = result(subject, case.default, scope)
    node.aggregate = node.aggregate or node.default.aggregate
    node.windowed = node.windowed or node.default.windowed
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
    output = names.output("boolean"),
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
      return names.output("bigint"), "bigint"
    end
    return arg.output
  elseif name == "average" then
    if kind == "numeric" then
      return arg.output
    end
    return names.output("float"), SUM_OF[kind] and "double precision" or nil
  elseif name == "array" then
    local field = names.output("array of " .. kind)
    field.kind, field.of = "array", names.output(kind)
    return field
  end
  return names.output(name)
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
    delimiter = given.delimiter and open.map(given.delimiter, same),
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

--- An expression that a field of a row is set to. Raises `FieldError` for what is no value of one
--- row.
---@param subject rille.models.Subject
---@param given rille.models.Expression
---@param what string  the method that sets it
---@param name string  of the field
---@return rille.models.Node
function resolve.new_value(subject, given, what, name)
  local node = resolve.expression(subject, given)
  if node.aggregate or node.windowed then
    local told = "%s cannot give '%s' an aggregate or a window; a Subquery can."
    error(errors.FieldError(told:format(what, name)), 0)
  end
  return node
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
  return { node = names.name(subject, key), descending = sign == "-" }
end

--- Does a condition, or a part of it, have a mark?
local function has(node, mark)
  if type(node) ~= "table" then
    return false
  elseif node.kind == "test" then
    return node[mark] == true
  elseif node.kind == "expression" then
    return node.node[mark] == true
  end
  for _, child in ipairs(node) do
    if has(child, mark) then
      return true
    end
  end
  return false
end

--- Is a condition over groups of rows?
---@param node table|boolean  of `rille.models.conditions`
---@return boolean
function resolve.has_aggregate(node)
  return has(node, "aggregate")
end

--- Is a condition over the rows around?
---@param node table|boolean  of `rille.models.conditions`
---@return boolean
function resolve.has_window(node)
  return has(node, "windowed")
end

return resolve
