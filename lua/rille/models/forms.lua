--- Forms: what queries that differ in their values alone have in common.
---
--- `filter { pk = 7 }` and `filter { pk = 8 }` are one form with one open value. A form has a
--- template, an ordinary query whose tests name open values instead of having them, and what the
--- compiler makes of that is kept: text, and which value each parameter comes from. So a query of
--- a known form is its form and its values; nothing is built, nothing compiled.
---
--- Forms make a tree: from the form of all rows (`root`), each step leads along the keys of a
--- filter table, or the arguments of a builder, to the next. What a value says about the SQL is
--- part of the way: null, the boolean of `isnull`. A value that is not plainly fit, and a key that
--- leads nowhere, end the walk, and then the builders do as if there were no forms: all that
--- raises, raises there.
---
--- Keys may come from afar, so a tree is bounded: one that is full begins anew. Nothing of a value
--- is kept.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local null = require("rille.core").null

local forms = {
  MOST = 1000, -- steps and forms in a tree
  MOST_KEYS = 8, -- in a filter table
  MOST_TESTS = 16, -- in a Q
}

---@class rille.models.Form
---@field tree { size: integer, age: integer }  shared by a tree; its age says how often it was full
---@field age integer                      of the tree, when it last grew from here
---@field template rille.models.Query
---@field n integer                        how many values are open
---@field filters rille.models.FormStop    where filters begin
---@field excludes rille.models.FormStop   … and what is to be excluded
---@field known table<string, rille.models.Form>  by keys in order of the alphabet
---@field calls table<string, rille.models.FormCall>  by builder
---@field plans table<rille.db.Dialect, table<string, rille.models.Plan|false>>

---@class rille.models.FormStop  a place between two keys
---@field steps table<string, rille.models.FormStep>
---@field form rille.models.Form?    where the way may end
---@field order integer[]?           then: which of its values each one met is

---@class rille.models.FormStep  a key, and where its values lead
---@field fit rille.models.Fit
---@field value rille.models.FormStop?
---@field null rille.models.FormStop?
---@field yes rille.models.FormStop?
---@field no rille.models.FormStop?

---@class rille.models.FormCall  a place between two arguments
---@field steps table<string, rille.models.FormCall>
---@field form rille.models.Form?

---@class rille.models.Plan  a form compiled
---@field sql string
---@field n integer         parameters
---@field slots integer[]   the value each is made of
---@field makes table<integer, function>
---@field direct boolean    the values are the parameters
---@field many string?      the same for all keys in an array, where it is a row by its key
---@field column integer?   then: which one of its columns holds the key

local function new_stop()
  return { steps = {} }
end

local function new_form(tree, template, n)
  tree.size = tree.size + 1
  return {
    tree = tree,
    age = tree.age,
    template = template,
    n = n,
    filters = new_stop(),
    excludes = new_stop(),
    known = {},
    calls = {},
    plans = {},
  }
end

--- The form of a query without open values.
---@param template rille.models.Query
---@return rille.models.Form
function forms.root(template)
  return new_form({ size = 0, age = 0 }, template, 0)
end

--- Before a form grows: a tree that is full is given up, here and, sooner or later, wherever else
--- somebody keeps a part of it.
local function make_room(form)
  local tree = form.tree
  if tree.size >= forms.MOST then
    tree.size, tree.age = 0, tree.age + 1
  end
  if form.age ~= tree.age then
    form.age = tree.age
    form.filters, form.excludes, form.known, form.calls = new_stop(), new_stop(), {}, {}
  end
end

-- Filters ---------------------------------------------------------------------------

--- The values of a table that `walk` met in another order than the alphabet's.
local function reorder(order, values, base)
  local met = {}
  for i = 1, #order do
    met[i] = values[base + i]
  end
  for i = 1, #order do
    values[base + order[i]] = met[i]
  end
end

--- The form that `filter(given)`, or with `negated` `exclude(given)`, leads to. Its new values are
--- put behind those that `values` has already. nil: not known, or not plain.
---@param form rille.models.Form
---@param given table
---@param values any[]
---@param negated boolean?
---@return rille.models.Form?
function forms.filter(form, given, values, negated)
  local stop, n = negated and form.excludes or form.filters, form.n
  for key, value in pairs(given) do
    local step = stop.steps[key]
    if not step then
      return nil
    end
    if value == null then
      stop = step.null
    elseif step.fit.flag then
      stop = value == true and step.yes or value == false and step.no or nil
    else
      local fitting = step.fit:value(value)
      if fitting == nil then
        return nil
      end
      n = n + 1
      values[n] = fitting
      stop = step.value
    end
    if not stop then
      return nil
    end
  end
  if stop.order then
    reorder(stop.order, values, form.n)
  end
  return stop.form
end

--- Where a value leads from a step; nil: nowhere that is plain.
local function branch_of(fit, value)
  if value == null then
    return "null" -- or the builder raises
  elseif fit.flag then
    return value == true and "yes" or value == false and "no" or nil
  end
  return fit:value(value) ~= nil and "value" or nil
end

-- What stands for an open value while a template is compiled. Nobody sees it.
local STAND_IN = { ["in"] = { 0 } }

--- Open the values of a node that was made of `keys`.
local function open(node, keys, branches, base)
  local tests = #keys == 1 and { node } or node
  local n = base
  for i, key in ipairs(keys) do
    if branches[key] == "value" then
      n = n + 1
      tests[i].slot, tests[i].value = n, STAND_IN[tests[i].lookup] or ""
    end
  end
  return n
end

--- Make what `forms.filter` did not find, if `given` is plain: a table of values that are fit.
--- Raises what the builders raise.
---@param form rille.models.Form
---@param given table
---@param negated boolean?
---@return boolean  found now
function forms.learn_filter(form, given, negated)
  local model = form.template.model
  if form.template:_is_sliced() then
    return false
  end
  local met, keys, branches = {}, {}, {}
  for key, value in pairs(given) do
    local fit = conditions.fit(model, key)
    local branch = fit and branch_of(fit, value)
    if not branch or #met == forms.MOST_KEYS then
      return false
    end
    met[#met + 1], keys[#keys + 1], branches[key] = key, key, branch
  end
  if #keys == 0 then
    return false
  end
  table.sort(keys)

  local scope = {}
  local node = conditions.build(form.template, given, scope)
  make_room(form)
  local signature = { negated and "not" or nil }
  for _, key in ipairs(keys) do
    signature[#signature + 1] = key .. " " .. branches[key]
  end
  signature = table.concat(signature, ",")
  local next_form = form.known[signature]
  if not next_form then
    local n = open(node, keys, branches, form.n)
    node = negated and conditions.none_of(node) or node
    next_form = new_form(form.tree, form.template:_narrow(node, scope), n)
    form.known[signature] = next_form
  end

  local stop, order = negated and form.excludes or form.filters, {}
  local sorted, rank = true, {}
  for _, key in ipairs(keys) do
    if branches[key] == "value" then
      rank[#rank + 1], rank[key] = key, #rank + 1
    end
  end
  for _, key in ipairs(met) do
    local step = stop.steps[key]
    if not step then
      step = { fit = conditions.fit(model, key) }
      stop.steps[key] = step
      form.tree.size = form.tree.size + 1
    end
    local branch = branches[key]
    step[branch] = step[branch] or new_stop()
    stop = step[branch]
    if branch == "value" then
      order[#order + 1] = rank[key]
      sorted = sorted and rank[key] == #order
    end
  end
  stop.form, stop.order = next_form, not sorted and order or nil
  return true
end

-- Qs ----------------------------------------------------------------------------------

local WORDS = { ["or"] = "+", ["and"] = "*" }

--- How a Q looks but for its open values, as text in `parts`; these values behind `values`; what
--- each test is told in `branches`. nil: it is not plain.
local function read_q(model, q, parts, values, n, branches)
  if q.op == "not" then
    parts[#parts + 1] = "-("
    n = read_q(model, q[1], parts, values, n, branches)
    parts[#parts + 1] = ")"
    return n
  elseif WORDS[q.op] then
    parts[#parts + 1] = "("
    n = read_q(model, q[1], parts, values, n, branches)
    parts[#parts + 1] = WORDS[q.op]
    n = n and read_q(model, q[2], parts, values, n, branches)
    parts[#parts + 1] = ")"
    return n
  elseif q.op ~= "leaf" then
    return nil
  end
  local known = model._meta.resolved
  for _, key in ipairs(q.keys) do
    local fit = known[key] and known[key].fit or conditions.fit(model, key)
    local value = q.conditions[key]
    local branch = fit and branch_of(fit, value)
    if not branch or #branches == forms.MOST_TESTS then
      return nil
    end
    if branch == "value" then
      n = n + 1
      values[n] = fit:value(value)
    end
    branches[#branches + 1] = branch
    parts[#parts + 1] = key .. " " .. branch .. ","
  end
  return n
end

--- Open the values of the tests in a node, in their order; how many tests there were.
local function open_tests(node, branches, base, met)
  if node.kind == "test" then
    met.tests = met.tests + 1
    if branches[met.tests] == "value" then
      met.open = met.open + 1
      node.slot, node.value = base + met.open, STAND_IN[node.lookup] or ""
    end
    return
  end
  for _, child in ipairs(node) do
    open_tests(child, branches, base, met)
  end
end

--- The form that `filter(q)`, or `exclude(q)` if `negated`, leads to, as `forms.filter` does; made
--- if it is not known. nil: the Q is not plain. Raises what the builders raise.
---@param form rille.models.Form
---@param q rille.models.Q
---@param values any[]
---@param negated boolean?
---@return rille.models.Form?
function forms.filter_q(form, q, values, negated)
  local template, branches = form.template, {}
  local parts = { negated and "not Q " or "Q " }
  if template:_is_sliced() or not read_q(template.model, q, parts, values, form.n, branches) then
    return nil
  end
  local signature = table.concat(parts)
  local next_form = form.known[signature]
  if next_form then
    return next_form
  end
  local scope, met = {}, { tests = 0, open = 0 }
  local node = conditions.build(template, q, scope)
  if type(node) ~= "table" then
    return nil
  end
  open_tests(node, branches, form.n, met)
  if met.tests ~= #branches then
    return nil
  end
  make_room(form)
  node = negated and conditions.none_of(node) or node
  next_form = new_form(form.tree, template:_narrow(node, scope), form.n + met.open)
  form.known[signature] = next_form
  return next_form
end

-- Builders --------------------------------------------------------------------------

--- The form that a builder called with these names leads to; nil: not known.
---@param form rille.models.Form
---@param name string
---@param n integer  how many arguments, up to three
---@return rille.models.Form?
function forms.call(form, name, n, a, b, c)
  local stop = form.calls[name]
  if stop and n > 0 then
    stop = stop.steps[a]
    if stop and n > 1 then
      stop = stop.steps[b]
      if stop and n > 2 then
        stop = stop.steps[c]
      end
    end
  end
  return stop and stop.form
end

--- Make what `forms.call` did not find: `template` is what the builder gave for the form's, and
--- `opened` how many values that leaves open besides.
---@return rille.models.Form
function forms.learn_call(form, name, template, opened, ...)
  make_room(form)
  local stop = form.calls[name]
  if not stop then
    stop = new_stop()
    form.calls[name] = stop
  end
  for i = 1, select("#", ...) do
    local key = select(i, ...)
    if not stop.steps[key] then
      stop.steps[key] = new_stop()
      form.tree.size = form.tree.size + 1
    end
    stop = stop.steps[key]
  end
  stop.form = stop.form or new_form(form.tree, template, form.n + opened)
  return stop.form
end

-- Back to a query -------------------------------------------------------------------

local function closed(node, values)
  if type(node) ~= "table" then
    return node
  elseif node.kind == "and" or node.kind == "or" then
    local copy = { kind = node.kind }
    for i, child in ipairs(node) do
      copy[i] = closed(child, values)
    end
    return copy
  elseif node.kind == "not" then
    return { kind = "not", closed(node[1], values) }
  end
  if not node.slot then
    return node
  end
  local copy = {}
  for key, value in pairs(node) do
    copy[key] = value
  end
  copy.slot, copy.value = nil, values[node.slot]
  return copy
end

--- Into `query`, what a query with this form and these values has.
---@param form rille.models.Form
---@param values any[]
---@param query table
function forms.close(form, values, query)
  local template = form.template
  for key, value in pairs(template) do
    query[key] = value
  end
  query.where = closed(template.where, values)
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

ways.list = compile.select
ways.count = compile.count
ways.exists = compile.exists

--- What stops after a few rows writes its own number or the query's, whichever is smaller.
local STOPS = { get = true, first = true, last = true, exists = true }

--- Kinds whose values are equal exactly when their text is, as the server writes it.
local KEYS = { auto = true, bigint = true, integer = true, uuid = true }

--- The field whose value is all that such a query wants to know, if no two rows have the same.
local function key_of(query)
  local test = query.where
  local plain = type(test) == "table"
    and test.kind == "test"
    and test.lookup == "exact"
    and test.slot == 1
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

local function make_plan(form, dialect, way)
  local template = form.template
  if template.limit_slot and STOPS[way] then
    return false
  end
  local sql, params, statement = ways[way](template, dialect)
  local slots, makes, direct = statement.slots, statement.makes, true
  for i = 1, params.n do
    if not slots[i] then
      return false -- something that only a query knows, such as a list of many parameters
    end
    direct = direct and slots[i] == i and not makes[i]
  end
  local plan = { sql = sql, n = params.n, slots = slots, makes = makes, direct = direct }
  if way == "get" and direct and params.n == 1 and dialect.arrays then
    add_many(plan, template, dialect)
  end
  return plan
end

--- A form compiled, once: `way` is "get", "first", "last", "list", "count" or "exists". nil: it
--- cannot be, without its values.
---@param form rille.models.Form
---@param dialect rille.db.Dialect
---@param way string
---@return rille.models.Plan?
function forms.plan(form, dialect, way)
  local plans = form.plans[dialect]
  if not plans then
    plans = {}
    form.plans[dialect] = plans
  end
  local plan = plans[way]
  if plan == nil then
    plan = make_plan(form, dialect, way)
    plans[way] = plan
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
  local slots, makes, params = plan.slots, plan.makes, {}
  for i = 1, plan.n do
    local value, make = values[slots[i]], makes[i]
    if make then
      value = make(value)
    end
    params[i] = value
  end
  return params
end

return forms
