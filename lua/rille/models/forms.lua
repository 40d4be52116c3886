--- Forms: what queries that differ in their values alone have in common.
---
--- `filter { pk = 7 }` and `filter { pk = 8 }` are one form with one value. A form has a template,
--- an ordinary query in which open values stand for those, and what the compiler makes of it with
--- the first values that come along is kept as a plan: text, and what each parameter is made of. So
--- a query of a known form is its form and its values; nothing is resolved, nothing compiled.
---
--- Forms make a tree: from the form of all rows (`root`), each builder leads to the next, along
--- what it was given (`rille.models.outlines`). What it makes of the values is learned the first
--- time and done again each time after (`rille.models.open`). A value that does not fit, and what
--- has no outline, ends that, and then the builders do as if there were no forms: all that raises,
--- raises there. Also without a form, because their SQL is not a matter of shape alone:
---
--- - integers that a column cannot hold, an empty list, NULL in a list: they decide a condition;
--- - a query after `none`, or with a filter that is decided: nothing is sent;
--- - a second `limit` or `offset`, whose number is made of both;
--- - a `Prefetch` with a query of its own, and a query that was run before, inside of another.
---
--- What is given may come from afar, so a tree is bounded: one that is full begins anew. Nothing of
--- a value is kept.

local compile = require("rille.models.compile")
local open = require("rille.models.open")
local outlines = require("rille.models.outlines")

local FORM = outlines.FORM

local forms = {
  MOST = 5000, -- places and forms in a tree
  MOST_SIZES = 64, -- plans of one form for lists of different lengths
}

---@class rille.models.Form
---@field tree { size: integer, age: integer }  shared by a tree; its age says how often it was full
---@field age integer                      of the tree, when it last grew from here
---@field template rille.models.Query
---@field list table?                      what a method that sends was given besides, resolved
---@field n integer                        how many values there are
---@field lesson rille.models.Lesson?      what the last step makes of those it is given
---@field places rille.models.Place        where the next step begins
---@field plans table<rille.db.Dialect, table<string, rille.models.Plan|rille.models.SizedPlan>>

---@class rille.models.Plan  a form compiled
---@field sql string
---@field n integer         parameters
---@field slots table<integer, integer>   the value each is made of
---@field makes table<integer, function>
---@field rest table<integer, any>  those that are made of none: what names say, of JSON
---@field direct boolean    the values are the parameters
---@field many string?      the same for all keys in an array, where it is a row by its key
---@field column integer?   then: which one of its columns holds the key

---@class rille.models.SizedPlan  the SQL depends on how long lists are
---@field lists integer[]   which values these are
---@field by table<any, rille.models.Plan>
---@field n integer         how many

local function new_form(tree, parts)
  tree.size = tree.size + 1
  parts.tree, parts.age, parts.places, parts.plans = tree, tree.age, {}, {}
  return parts
end

--- The form of a query without open values.
---@param template rille.models.Query
---@return rille.models.Form
function forms.root(template)
  return new_form({ size = 0, age = 0 }, { template = template, n = 0 })
end

--- Before a form grows: a tree that is full is given up, here and, sooner or later, wherever else
--- somebody keeps a part of it.
local function make_room(form)
  local tree = form.tree
  if tree.size >= forms.MOST then
    tree.size, tree.age = 0, tree.age + 1
  end
  if form.age ~= tree.age then
    form.age, form.places = tree.age, {}
  end
end

-- Steps -----------------------------------------------------------------------------

--- What the builders make of the values behind the first `base`; in place.
local function fit(lesson, values, base)
  local makes, met = lesson.makes, lesson.met
  for i = met + 1, lesson.n do
    local made = makes[i](values[base + lesson.from[i]])
    if made == nil then
      return false
    end
    values[base + i] = made
  end
  for i = 1, met do
    local make = makes[i]
    if make then
      local made = make(values[base + i])
      if made == nil then
        return false
      end
      values[base + i] = made
    end
  end
  return true
end

--- Make the form behind a way that is new. nil: it has none, or `build` raises.
local function learn(form, name, take, build, ...)
  local lesson, words, copies = outlines.learn(name, take, form.n, ...)
  if not lesson then
    return nil
  end
  local ok, template, list = pcall(build, form.template, unpack(copies, 1, copies.n))
  local next_form
  if ok and template.where ~= false and open.is_over(lesson) then
    make_room(form)
    local place = outlines.lay(form.places, form.tree, words)
    next_form = new_form(form.tree, {
      template = template,
      list = list,
      n = form.n + lesson.n,
      lesson = lesson,
    })
    place[FORM] = next_form
  end
  open.forget(lesson)
  return next_form
end

--- The form that `name(...)` leads to, with what `build` makes of it if it is not known. Its new
--- values are put behind those that `values` has already. nil: the builders have to do it.
---@param form rille.models.Form
---@param values any[]
---@param name string
---@param take function  of `outlines`: what the arguments are
---@param build fun(template: rille.models.Query, ...): rille.models.Query, table?
---@return rille.models.Form?
function forms.step(form, values, name, take, build, ...)
  local place = outlines.follow(form.places, name, take, values, form.n, ...)
  local next_form = place and place[FORM] or learn(form, name, take, build, ...)
  if next_form then
    local ok, fits = pcall(fit, next_form.lesson, values, form.n)
    if ok and fits then
      return next_form
    end
  end
end

--- The form with one value more, for `limit` and `offset`. nil: the builders have to do it.
---@param form rille.models.Form
---@param name string
---@param build fun(template: rille.models.Query, slot: integer): rille.models.Query?
---@return rille.models.Form?
function forms.with_value(form, name, build)
  local place = form.places[name]
  local known = place and place[FORM]
  if known then
    return known
  end
  local template = build(form.template, form.n + 1)
  if template then
    make_room(form)
    place = outlines.lay(form.places, form.tree, { name })
    place[FORM] = new_form(form.tree, { template = template, n = form.n + 1 })
    return place[FORM]
  end
end

-- Back to a query -------------------------------------------------------------------

--- Into `query`, what a query with this form and these values has.
---@param form rille.models.Form
---@param values any[]
---@param query table
function forms.close(form, values, query)
  local template = form.template
  for key, value in pairs(template) do
    query[key] = value
  end
  query.given = { unpack(values, 1, form.n) }
  if template.limit_slot then
    query.limit_to, query.limit_slot = values[template.limit_slot], nil
  end
  if template.skip_slot then
    query.skip, query.skip_slot = values[template.skip_slot], nil
  end
end

-- Plans -----------------------------------------------------------------------------

--- The one row that aget wants is told from many by looking at so many.
forms.MOST_FOR_GET = 21

local ways = {}

function ways.get(query, dialect)
  local unordered = query:_is_sliced() and query or query:_with({ order = {} })
  return compile.select(unordered, dialect, forms.MOST_FOR_GET)
end

function ways.first(query, dialect)
  return compile.select(query:_by_key(), dialect, 1)
end

function ways.last(query, dialect)
  return compile.select(query:_by_key():reverse(), dialect, 1)
end

function ways.list(query, dialect)
  return compile.select(query, dialect)
end

ways.count = compile.count
ways.exists = compile.exists
ways.update = compile.update
ways.aggregate = compile.aggregate
ways.delete = compile.delete

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
    and not (query.limit_to or query.skip > 0)
  local field = plain and test.path.field
  return field and field.unique and KEYS[field:storage().kind] and field or nil
end

--- How a plan for one row by its key reads those of many, see `Database:_aread_by_key`.
local function add_many(plan, query, dialect)
  local key = key_of(query)
  for i, field in ipairs(key and (query.loaded or query.model._meta.fields) or {}) do
    if field == key then
      plan.many, plan.column = compile.by_keys(query, dialect), i
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
    if sized.n == forms.MOST_SIZES then
      sized.by, sized.n = {}, 0
    end
    sized.by[size], sized.n = plan, sized.n + 1
  end
  return plan
end

--- A form compiled, once: `way` is "get", "first", "last", "list", "count", "exists", "update",
--- "aggregate" or "delete". nil: it cannot be, without its values.
---@param form rille.models.Form
---@param dialect rille.db.Dialect
---@param way string
---@param values any[]
---@return rille.models.Plan?
function forms.plan(form, dialect, way, values)
  local plans = form.plans[dialect]
  if not plans then
    plans = {}
    form.plans[dialect] = plans
  end
  local plan = plans[way]
  if plan == nil then
    plan = make_plan(form, dialect, way, values) or false
    if plan and #plan.lists > 0 then
      local size = sizes_of(plan.lists, dialect, values)
      plans[way] = { lists = plan.lists, by = { [size] = plan }, n = 1 }
    else
      plans[way] = plan
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
function forms.params(plan, values)
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

return forms
