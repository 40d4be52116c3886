--- Conditions and expressions as values that scripts combine.
---
---     Q { title = "x" } + -Q { pages__lt = 100 } * Q { author = ann }   -- or, not, and
---     F "pages" + 1
---     Case { When(Q { pages__lt = 100 }, "short"), default = "long" }
---     Exists(Book.objects:filter { author = OuterRef "pk" })
---
--- All are trees of plain data that know no model. `rille.models.conditions` and
--- `rille.models.resolve` find out what their names mean for a query, and `rille.models.sql` writes
--- them. Functions of the database are in `rille.models.functions`.

local null = require("rille.core").null

local expressions = {}

-- Q ---------------------------------------------------------------------------------

---@class rille.models.Q
---@field op "leaf"|"or"|"and"|"xor"|"not"|"expression"
---@field conditions table<string, any>?  of a leaf: a copy
---@field keys string[]?                   … and its keys in order of the alphabet
---@operator add(rille.models.Q): rille.models.Q
---@operator mul(rille.models.Q): rille.models.Q
---@operator pow(rille.models.Q): rille.models.Q
---@operator unm: rille.models.Q
local Q = {}
Q.__index = Q

--- Is this a condition made by `Q`?
---@param value any
---@return boolean
function expressions.is_q(value)
  return type(value) == "table" and getmetatable(value) == Q
end

--- An Exists, or any other expression that is true or false, is a condition, too.
local function as_q(value)
  if expressions.is_q(value) then
    return value
  elseif expressions.is_expression(value) and value.kind == "exists" then
    return setmetatable({ op = "expression", expression = value }, Q)
  end
  error("a Q can only be combined with another Q", 3)
end

local function pair(op)
  return function(a, b)
    return setmetatable({ op = op, as_q(a), as_q(b) }, Q)
  end
end

Q.__add = pair("or")
Q.__mul = pair("and")
Q.__pow = pair("xor") -- one of them, and not both

function Q.__unm(a)
  return setmetatable({ op = "not", a }, Q)
end

-- Keys are texts, or a mistake that will be told later.
local function by_text(a, b)
  return tostring(a) < tostring(b)
end

--- Conditions that hold together, as in `filter`.
---@param conditions table<string, any>
---@return rille.models.Q
function expressions.Q(conditions)
  if type(conditions) ~= "table" or next(conditions) == nil then
    error("Q needs a table with at least one condition (a nil value leaves none)", 2)
  end
  local copy, keys = {}, {}
  for key, value in pairs(conditions) do
    copy[key] = value
    keys[#keys + 1] = key
  end
  table.sort(keys, by_text)
  return setmetatable({ op = "leaf", conditions = copy, keys = keys }, Q)
end

-- Expressions -----------------------------------------------------------------------

---@class rille.models.Expression
---@field kind string  "f", "value", "call", …: a function of `rille.models.resolve` is for each
---@field bitand fun(self: rille.models.Expression, other: any): rille.models.Expression
---@field bitor fun(self: rille.models.Expression, other: any): rille.models.Expression
---@field bitxor fun(self: rille.models.Expression, other: any): rille.models.Expression
---@field bitleftshift fun(self: rille.models.Expression, other: any): rille.models.Expression
---@field bitrightshift fun(self: rille.models.Expression, other: any): rille.models.Expression
---@operator add(any): rille.models.Expression
---@operator sub(any): rille.models.Expression
---@operator mul(any): rille.models.Expression
---@operator div(any): rille.models.Expression
---@operator mod(any): rille.models.Expression
---@operator pow(any): rille.models.Expression
local Expression = {}
Expression.__index = Expression

--- `F` makes one.
---@alias rille.models.F rille.models.Expression

--- Is this an expression made with `F`, `Value`, `Count`, …?
---@param value any
---@return boolean
function expressions.is_expression(value)
  return type(value) == "table" and getmetatable(value) == Expression
end

--- An expression of a kind. For this folder.
---@param kind string
---@param parts table  is kept
---@return rille.models.Expression
function expressions.new(kind, parts)
  parts.kind = kind
  return setmetatable(parts, Expression)
end

for event, op in pairs({
  __add = "+",
  __sub = "-",
  __mul = "*",
  __div = "/",
  __mod = "%",
  __pow = "^",
}) do
  Expression[event] = function(a, b)
    if op == "*" or op == "+" then -- of conditions: and, or
      local is_condition = expressions.is_q(a) or expressions.is_q(b)
      if is_condition or a.kind == "exists" and b.kind == "exists" then
        return (op == "*" and Q.__mul or Q.__add)(a, b)
      end
    end
    for _, operand in ipairs({ a, b }) do
      if not expressions.is_expression(operand) and type(operand) ~= "number" then
        error(("an F can be combined with numbers and other Fs, not a %s"):format(type(operand)), 2)
      end
    end
    return expressions.new("arithmetic", { op = op, a, b })
  end
end

--- The opposite: of a condition, not; of a number, minus.
function Expression.__unm(a)
  if a.kind == "exists" then
    return expressions.new("exists", { query = a.query, negated = not a.negated })
  end
  return expressions.new("arithmetic", { op = "*", a, -1 })
end

for name, op in pairs({
  bitand = "&",
  bitor = "|",
  bitxor = "#",
  bitleftshift = "<<",
  bitrightshift = ">>",
}) do
  --- `F("flags"):bitand(4)`, and `bitor`, `bitxor`, `bitleftshift`, `bitrightshift`.
  Expression[name] = function(self, other)
    if not expressions.is_expression(other) and type(other) ~= "number" then
      error(("%s needs a number or an expression, not a %s"):format(name, type(other)), 2)
    end
    return expressions.new("arithmetic", { op = op, self, other })
  end
end

local function ordered(descending)
  return function(self, opts)
    local nulls = opts and (opts.nulls_first and "FIRST" or opts.nulls_last and "LAST") or nil
    return expressions.new("order", { self, descending = descending, nulls = nulls })
  end
end

--- For `order_by`: upwards, with `{ nulls_first = true }` or `{ nulls_last = true }`.
Expression.asc = ordered(false)
--- For `order_by`: downwards, with the same options.
Expression.desc = ordered(true)

--- The value of another field of the same row, or of an annotation.
---@param name string
---@return rille.models.Expression
function expressions.F(name)
  if type(name) ~= "string" then
    error("F needs the name of a field", 2)
  end
  return expressions.new("f", { name = name })
end

--- A field of the query around the one that this is in: for `Subquery` and `Exists`.
---@param name string
---@return rille.models.Expression
function expressions.OuterRef(name)
  if type(name) ~= "string" then
    error("OuterRef needs the name of a field", 2)
  end
  return expressions.new("outer", { name = name })
end

--- A constant. Its kind is found from the value; a date, say, needs to be told: a field gives it.
---@param value any  rille.null for NULL
---@param field rille.models.Field?
---@return rille.models.Expression
function expressions.Value(value, field)
  if value == nil then
    value = null
  end
  return expressions.new("value", { value = value, field = field })
end

local function is_query(value)
  return type(value) == "table" and type(getmetatable(value)) == "table" and value._ordinary ~= nil
end

local function check_query(query, what)
  if not is_query(query) then
    error(("%s needs a query, not a %s"):format(what, type(query)), 3)
  end
end

expressions.is_query = is_query

--- SQL of one's own, with `$1` parameters; it may only name columns that the query around has. A
--- field says what it gives: `RawSQL("length(title) > $1", { 3 }, models.boolean())`.
---@param sql string
---@param params rille.db.Value[]?  rille.null for NULL
---@param field rille.models.Field?  default: text
---@return rille.models.Expression
function expressions.RawSQL(sql, params, field)
  if type(sql) ~= "string" then
    error(("RawSQL needs SQL text, not a %s"):format(type(sql)), 2)
  end
  params = params or {}
  for mark in sql:gmatch("%$(%d+)") do
    if params[tonumber(mark)] == nil then
      error(("RawSQL has no parameter for $%s"):format(mark), 2)
    end
  end
  return expressions.new("raw_sql", { sql = sql, params = params, field = field })
end

--- A condition as a value, true or false: what `annotate` and `values` make of a Q.
---@param q rille.models.Q
---@return rille.models.Expression
function expressions.of_q(q)
  return expressions.new("condition", { q = q })
end

--- The one value that a query gives: its first row's first of `values`.
---@param query rille.models.Query
---@return rille.models.Expression
function expressions.Subquery(query)
  check_query(query, "Subquery")
  return expressions.new("subquery", { query = query })
end

--- Does the query give a row? For `filter`, `annotate` and `When`; `-Exists(…)`: none.
---@param query rille.models.Query
---@return rille.models.Expression
function expressions.Exists(query)
  check_query(query, "Exists")
  return expressions.new("exists", { query = query, negated = false })
end

--- A condition and what comes of it, for `Case`.
---@param condition rille.models.Q|table<string, any>
---@param result any  an expression, or a constant
---@return { condition: any, result: any }
function expressions.When(condition, result)
  if type(condition) ~= "table" or result == nil then
    error("When needs a condition and a result (rille.null for NULL)", 2)
  end
  return { condition = condition, result = result }
end

--- The result of the first `When` whose condition holds, or else the default.
---@param cases table  of `When`s, with `default`: an expression, or a constant; absent: NULL
---@return rille.models.Expression
function expressions.Case(cases)
  if type(cases) ~= "table" or #cases == 0 then
    error("Case needs a table with at least one When", 2)
  end
  local whens = {}
  for i, case in ipairs(cases) do
    if type(case) ~= "table" or case.condition == nil then
      error(("part %d of Case is no When"):format(i), 2)
    end
    whens[i] = case
  end
  return expressions.new("case", { whens = whens, default = cases.default })
end

return expressions
