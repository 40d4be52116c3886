--- `Q` and `F`: conditions and columns as values that scripts combine.
---
---     Q { title = "x" } + -Q { pages__lt = 100 } * Q { author = ann }   -- or, not, and
---     F "pages" + 1
---
--- Both are trees of plain data. What they mean is decided by `rille.models.conditions`
--- and `rille.models.compile`, which know the model.

local expressions = {}

-- Q ---------------------------------------------------------------------------------

---@class rille.models.Q
---@field op "leaf"|"or"|"and"|"not"
---@field conditions table<string, any>?  of a leaf: a copy
---@operator add(rille.models.Q): rille.models.Q
---@operator mul(rille.models.Q): rille.models.Q
---@operator unm: rille.models.Q
local Q = {}
Q.__index = Q

--- Is this a condition made by `Q`?
---@param value any
---@return boolean
function expressions.is_q(value)
  return type(value) == "table" and getmetatable(value) == Q
end

local function pair(op)
  return function(a, b)
    if not expressions.is_q(a) or not expressions.is_q(b) then
      error("a Q can only be combined with another Q", 2)
    end
    return setmetatable({ op = op, a, b }, Q)
  end
end

Q.__add = pair("or")
Q.__mul = pair("and")

function Q.__unm(a)
  return setmetatable({ op = "not", a }, Q)
end

--- Conditions that hold together, as in `filter`.
---@param conditions table<string, any>
---@return rille.models.Q
function expressions.Q(conditions)
  if type(conditions) ~= "table" or next(conditions) == nil then
    error("Q needs a table with at least one condition (a nil value leaves none)", 2)
  end
  local copy = {}
  for key, value in pairs(conditions) do
    copy[key] = value
  end
  return setmetatable({ op = "leaf", conditions = copy }, Q)
end

-- F ---------------------------------------------------------------------------------

---@class rille.models.F
---@field op "field"|"+"|"-"|"*"|"/"|"%"
---@field name string?  of a field
---@operator add(any): rille.models.F
---@operator sub(any): rille.models.F
---@operator mul(any): rille.models.F
---@operator div(any): rille.models.F
---@operator mod(any): rille.models.F
local F = {}
F.__index = F

--- Is this an expression made with `F`?
---@param value any
---@return boolean
function expressions.is_f(value)
  return type(value) == "table" and getmetatable(value) == F
end

for event, op in pairs({ __add = "+", __sub = "-", __mul = "*", __div = "/", __mod = "%" }) do
  F[event] = function(a, b)
    for _, operand in ipairs({ a, b }) do
      if not expressions.is_f(operand) and type(operand) ~= "number" then
        error(("an F can be combined with numbers and other Fs, not a %s"):format(type(operand)), 2)
      end
    end
    return setmetatable({ op = op, a, b }, F)
  end
end

--- The value of another field of the same row.
---@param name string
---@return rille.models.F
function expressions.F(name)
  if type(name) ~= "string" then
    error("F needs the name of a field", 2)
  end
  return setmetatable({ op = "field", name = name }, F)
end

-- Aggregates ------------------------------------------------------------------------

---@class rille.models.Aggregate
---@field sql string      "SUM"
---@field name string     a field, also across foreign keys; "*" for Count
---@field distinct boolean
local Aggregate = {}
Aggregate.__index = Aggregate

--- Is this one of `Count`, `Sum` and so on?
---@param value any
---@return boolean
function expressions.is_aggregate(value)
  return type(value) == "table" and getmetatable(value) == Aggregate
end

for name, sql in pairs({ Count = "COUNT", Sum = "SUM", Avg = "AVG", Min = "MIN", Max = "MAX" }) do
  --- `models.Sum "pages"`, `models.Count("author", { distinct = true })`.
  expressions[name] = function(field, opts)
    if type(field) ~= "string" then
      error(name .. " needs the name of a field", 2)
    end
    local distinct = opts ~= nil and opts.distinct == true
    return setmetatable({ sql = sql, name = field, distinct = distinct }, Aggregate)
  end
end

return expressions
