--- Plans: what the compiler makes of a form, once for each way to run it.
---
--- The first query of a form that is run so is compiled as any other, and the statement notes which
--- value each parameter was made of, and by what. With other values the text is the same, and the
--- parameters are made in the same way. Where the text depends on how long a list is, which SQLite
--- has no arrays for, there is a plan for each length that the dialect tells apart.

local compile = require("rille.models.compile")
local kinds = require("rille.models.kinds")
local open = require("rille.models.open")

local plans = {
  MOST_SIZES = 64, -- of one form, for lists of different lengths
}

---@class rille.models.Plan  a form compiled
---@field sql string
---@field n integer         parameters
---@field slots table<integer, integer>   the value each is made of
---@field makes table<integer, function>
---@field rest table<integer, any>  those that are made of none: what names say, of JSON
---@field direct boolean    the values are the parameters
---@field many string?      the same for all keys in an array, where it is a row by its key
---@field column integer?   then: which one of its columns holds the key
---@field most number?      the highest key that this one can hold, if it holds whole numbers

---@class rille.models.SizedPlan  the SQL depends on how long lists are
---@field lists integer[]   which values these are
---@field by table<any, rille.models.Plan>
---@field n integer         how many

--- The one row that aget wants is told from many by looking at so many.
plans.MOST_FOR_GET = 21

local ways = {}

function ways.get(query, dialect)
  local unordered = query:_is_sliced() and query or query:_with({ order = {} })
  return compile.select(unordered, dialect, plans.MOST_FOR_GET)
end

function ways.first(query, dialect)
  return compile.select(query:_by_key(), dialect, 1)
end

function ways.last(query, dialect)
  return compile.select(query:_by_key():reverse(), dialect, 1)
end

function ways.one(query, dialect)
  return compile.select(query, dialect, 1)
end

function ways.list(query, dialect)
  return compile.select(query, dialect)
end

for _, name in ipairs({ "count", "exists", "update", "aggregate", "delete" }) do
  ways[name] = function(query, dialect, list)
    return compile[name](query, dialect, list)
  end
end

--- Kinds whose values are equal exactly when their text is, as the server writes it.
local KEYS = { auto = true, bigint = true, integer = true, uuid = true }

--- The field whose value is all that such a query wants to know, if no two rows have the same.
local function key_of(query)
  local test = query.where
  local plain = type(test) == "table"
    and test.kind == "test"
    and test.lookup == "exact"
    and open.slot(test.value) == 1
    and test.path
    and #test.path.joins == 0
    and query.shape == "instances"
    and not (query.annotations or query.distinct_on or query.group or query.combined)
    and not (query.limit_to or query.skip > 0 or query.lock)
  local field = plain and test.path.field
  return field and field.unique and KEYS[field:storage().kind] and field or nil
end

--- How a plan for one row by its key reads those of many, see `Database:_aread_by_key`.
local function add_many(plan, query, dialect)
  local key = key_of(query)
  for i, field in ipairs(key and (query.loaded or query.model._meta.fields) or {}) do
    if field == key then
      plan.many, plan.column = compile.by_keys(query, dialect), i
      plan.most = kinds[field:storage().kind].high
    end
  end
end

local function make_plan(form, dialect, way, values)
  local query = form.template:_with({ given = values })
  local sql, params, statement = ways[way](query, dialect, form.list)
  local notes = statement.notes
  if notes.unplanned then
    return nil
  end
  local slots, makes, rest, direct = notes.slots, notes.makes, {}, true
  for i = 1, params.n do
    if not slots[i] then
      rest[i] = params[i]
    end
    direct = direct and slots[i] == i and not makes[i]
  end
  local plan = {
    sql = sql,
    n = params.n,
    slots = slots,
    makes = makes,
    rest = rest,
    direct = direct,
    lists = notes.lists,
  }
  if way == "get" and direct and params.n == 1 and dialect.arrays then
    add_many(plan, query, dialect)
  end
  return plan
end

--- How long the lists among the values are, as far as the SQL depends on it.
local function sizes_of(lists, dialect, values)
  if #lists == 1 then
    return dialect.list_size(values[lists[1]])
  end
  local sizes = {}
  for i, slot in ipairs(lists) do
    sizes[i] = dialect.list_size(values[slot])
  end
  return table.concat(sizes, " ")
end

local function sized_plan(sized, form, dialect, way, values)
  local size = sizes_of(sized.lists, dialect, values)
  local plan = sized.by[size]
  if not plan then
    plan = make_plan(form, dialect, way, values)
    if sized.n == plans.MOST_SIZES then
      sized.by, sized.n = {}, 0
    end
    sized.by[size], sized.n = plan, sized.n + 1
  end
  return plan
end

--- A form compiled, once: `way` is "get", "first", "last", "one", "list", "count", "exists",
--- "update", "aggregate" or "delete". nil: it cannot be, without its values.
---@param form rille.models.Form
---@param dialect rille.db.Dialect
---@param way string
---@param values any[]
---@return rille.models.Plan?
function plans.of(form, dialect, way, values)
  local known = form.plans[dialect]
  if not known then
    known = {}
    form.plans[dialect] = known
  end
  local plan = known[way]
  if plan == nil then
    plan = make_plan(form, dialect, way, values) or false
    if plan and #plan.lists > 0 then
      local size = sizes_of(plan.lists, dialect, values)
      known[way] = { lists = plan.lists, by = { [size] = plan }, n = 1 }
    else
      known[way] = plan
    end
  elseif plan and plan.by then
    plan = sized_plan(plan, form, dialect, way, values)
  end
  return plan or nil
end

--- The parameters of a plan.
---@param plan rille.models.Plan
---@param values any[]
---@return any[]
function plans.params(plan, values)
  if plan.direct then
    return values
  end
  local slots, makes, rest, params = plan.slots, plan.makes, plan.rest, {}
  for i = 1, plan.n do
    local slot, make = slots[i], makes[i]
    local value
    if slot then
      value = values[slot]
      if make then
        value = make(value)
      end
    else
      value = rest[i]
    end
    params[i] = value
  end
  return params
end

return plans
