--- Ways to a row by its key: `aget { pk = 7 }` is most of what programs ask.
---
--- Conditions are a way through a tree, and each value is looked at (`rille.models.forms`). Where
--- they are no more than a key, and that is a whole number which the column can hold, it is the
--- parameter as it stands: a form remembers by which names it was asked so, and what that led to.

local plans = require("rille.models.plans")
local reading = require("rille.models.reading")

local keys = {}

---@class rille.models.Way
---@field form rille.models.Form    that it leads to
---@field plan rille.models.Plan
---@field dialect rille.db.Dialect  of the plan
---@field instance table?           metatable of a row, which is an instance as it comes

--- Remember the way that `given` has gone from a form, if it was such.
---@param form rille.models.Form
---@param given table
---@param reached rille.models.Form
---@param dialect rille.db.Dialect
---@param values any[]
function keys.note(form, given, reached, dialect, values)
  local name, key = next(given)
  if form.n > 0 or reached.n ~= 1 or type(key) ~= "number" then
    return
  end
  local plan = plans.of(reached, dialect, "get", values)
  if plan and plan.most then
    local template = reached.template
    local instance = reading.is_plain(template, dialect) and template.model._meta.instance or nil
    form.ways = form.ways or {}
    form.ways[name] = { form = reached, plan = plan, dialect = dialect, instance = instance }
  end
end

--- The way that conditions go, if it is known and they are such.
---@param form rille.models.Form
---@param given table
---@return rille.models.Way?
---@return number? key
function keys.find(form, given)
  local name, key = next(given)
  local way = form.ways and form.ways[name]
  if not way or type(key) ~= "number" or key < 1 or key > way.plan.most or key % 1 ~= 0 then
    return nil
  elseif next(given, name) ~= nil or getmetatable(given) ~= nil then
    return nil
  end
  return way, key
end

return keys
