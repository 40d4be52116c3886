--- Light queries: of a known form, and so no more than that and their values.
---
--- `Model.objects` is one, and what its builders give as long as the form says it all; then the
--- `a` methods send what was compiled before. For everything else the ordinary query that it stands
--- for does the work; a light query turns into that one when somebody looks at its parts.

local db = require("rille.db")
local deletion = require("rille.models.deletion")
local figures = require("rille.models.figures")
local forms = require("rille.models.forms")
local keys = require("rille.models.keys")
local outlines = require("rille.models.outlines")
local plans = require("rille.models.plans")
local prefix = require("rille.models.prefix")
local queries = require("rille.models.query")
local reading = require("rille.models.reading")
require("rille.models.bulk")
require("rille.models.iteration")
require("rille.models.loading")
require("rille.models.prefetch")
require("rille.models.raw")
require("rille.models.related")
require("rille.models.selection")
require("rille.models.writing")

local Query = queries.Query

---@class rille.models.LightQuery : rille.models.Query
---@field form rille.models.Form
---@field [integer] any  its values
local Light = {}
local methods = {}

--- The ordinary query that it stands for.
local function ordinary(self)
  local form = rawget(self, "form")
  if not form then
    return self
  end
  local query = { database = rawget(self, "database"), owner = rawget(self, "owner") }
  forms.close(form, self, query)
  return setmetatable(query, getmetatable(form.template))
end

--- Turn into it: for what reads its parts, or changes what it has fetched. A manager never does.
local function settle(self)
  if getmetatable(self) ~= Light then
    return ordinary(self)
  end
  local query = ordinary(self)
  for i = 1, self.form.n do
    self[i] = nil
  end
  self.form = nil
  for key, value in pairs(query) do
    self[key] = value
  end
  return setmetatable(self, getmetatable(query))
end

local left_off -- once there are all methods

-- Parts in which there is nothing open.
local SHARED = { model = true, shape = true, distinct_on = true }
-- What a light query has by itself, if at all.
local ABSENT = { database = true, owner = true, cached = true }

function Light:__index(key)
  local method = methods[key]
  if method ~= nil then
    return method
  elseif SHARED[key] then
    return self.form.template[key]
  elseif ABSENT[key] then
    return nil
  end
  local found = settle(self)[key]
  if found == nil and left_off[key] then
    prefix.refuse(("a query of %s"):format(self.model.__name), key, left_off[key])
  end
  return found
end

function Light:__tostring()
  return tostring(ordinary(self))
end

local SETTLING = {
  alist = true,
  aupdate = true,
  adelete = true,
  acontains = true,
  aadd = true,
  aremove = true,
  aclear = true,
  aset = true,
}

for name, method in pairs(Query) do
  if type(method) == "function" and name:sub(1, 2) ~= "__" then
    local turn = (SETTLING[name] or name:sub(1, 1) == "_") and settle or ordinary
    methods[name] = function(self, ...)
      return method(turn(self), ...)
    end
  end
end

--- A query like this one, of another form; values that are new are still to come.
local function derive(self, form)
  local query = setmetatable({
    form = form,
    database = rawget(self, "database"),
    owner = rawget(self, "owner"),
  }, Light)
  for i = 1, self.form.n do
    query[i] = self[i]
  end
  return query
end

-- What goes on to other methods, and has no need of parts.
for name in ("aearliest alatest ain_bulk aget_or_create aupdate_or_create"):gmatch("%S+") do
  local method = Query[name]
  methods[name] = function(self, ...)
    return method(rawget(self, "form") and derive(self, self.form) or self, ...)
  end
end

function methods:_database()
  return db.get(rawget(self, "database"))
end

function methods:_is_sliced()
  return self.form.template:_is_sliced()
end

for _, name in ipairs({ "_check_not_sliced", "_check_not_combined" }) do
  methods[name] = function(self, what, level)
    return Query[name](self.form.template, what, level) -- a tail call: no level more
  end
end

-- Builders --------------------------------------------------------------------------

--- A builder whose arguments are what `take` knows.
local function builder(name, take)
  local method = Query[name]
  methods[name] = function(self, ...)
    local old = rawget(self, "form")
    if old then
      local query, form = derive(self, old), nil
      local given = ...
      if take == outlines.name and select("#", ...) == 1 and type(given) == "string" then
        form = forms.named(old, name, given)
      end
      form = form or forms.step(old, query, name, take, method, ...)
      if form then
        query.form = form
        return query
      end
    end
    return method(ordinary(self), ...) -- it raises, and blames the caller
  end
end

for _, name in ipairs({ "filter", "exclude" }) do
  builder(name, outlines.condition)
  local method, several = Query[name], methods[name]
  methods[name] = function(self, ...)
    local old, given = rawget(self, "form"), ...
    if not old or select("#", ...) ~= 1 then
      return several(self, ...)
    end
    local query = derive(self, old)
    local form = forms.filter(old, query, name, method, given)
    if not form then
      return method(ordinary(self), given)
    end
    query.form = form
    return query
  end
end

builder("_paired", outlines.pairing)

for name in ([[
  annotate alias values values_list only defer distinct order_by reverse select_related
  prefetch_related union intersection difference dates datetimes select_for_update
]]):gmatch("%S+") do
  builder(name, outlines.name)
end

--- `limit` and `offset`, the first time: the number is one more value.
local function slicer(name, field, slot, may)
  local method = Query[name]
  local function build(template, n)
    return may(template) and template:_with({ [field] = 1, [slot] = n }) or nil
  end
  methods[name] = function(self, n)
    local old = rawget(self, "form")
    if old and type(n) == "number" and n > 0 and n % 1 == 0 and n <= 2 ^ 53 then
      local form = forms.with_value(old, name, build)
      if form then
        local query = derive(self, form)
        query[form.n] = n
        return query
      end
    end
    return method(ordinary(self), n)
  end
end

slicer("limit", "limit_to", "limit_slot", function(template)
  return template.limit_to == nil
end)
slicer("offset", "skip", "skip_slot", function(template)
  return not template:_is_sliced()
end)

function methods:all()
  return rawget(self, "form") and derive(self, self.form) or Query.all(self)
end

function methods:using(database)
  if not rawget(self, "form") then
    return Query.using(self, database)
  end
  db.get(database) -- raises if there is none
  local query = derive(self, self.form)
  query.database = database
  return query
end

-- Reading ---------------------------------------------------------------------------

--- The parameters with their number, for a statement that does more than read.
local function with_length(plan, values)
  local params = { unpack(plans.params(plan, values), 1, plan.n) }
  params.n = plan.n
  return params
end

-- Ways that give rows, and so may lock them.
local LOCKS = { get = true, first = true, last = true, list = true, one = true }

--- What was read by a key, as a list.
local function listed(row, how_many)
  return how_many == 1 and { row } or row or {}
end

--- The rows as the database gives them; nil: this way of reading has no plan.
---@async
local function aread(form, way, database, values)
  local plan = plans.of(form, database.dialect, way, values)
  if plan and form.template.lock and LOCKS[way] then
    reading.check_lock(database)
    return (database:_arun(plan.sql, with_length(plan, values)))
  elseif plan and plan.many then
    return listed(database:_aread_by_key(plan.sql, plan.many, plan.column, values[1]))
  elseif plan then
    return database:_aread(plan.sql, plans.params(plan, values), plan.n)
  end
end

--- What rows of a database with that name are for the script.
---@async
local function adopted(template, rows, database, name)
  rows = reading.adopt[template.shape](template, rows, database.dialect, name)
  if template.prefetches then
    template:_prefetch(rows)
  end
  return rows
end

--- The same, read before.
---@async
local function afetch(form, way, name, values)
  local database = db.get(name)
  local rows = aread(form, way, database, values)
  return rows and adopted(form.template, rows, database, name)
end

--- By a way that is known.
---@async
local function aget_by_key(form, way, key, database, name)
  local plan = way.plan
  local row, many = database:_aread_by_key(plan.sql, plan.many, plan.column, key)
  if many == 1 and way.instance then
    if name then
      row._db = name
    end
    return setmetatable(row, way.instance)
  end
  local rows = adopted(way.form.template, listed(row, many), database, name)
  return reading.the_one(form.template.model, rows)
end

function methods:aget(...)
  local form, values, name = rawget(self, "form"), self, rawget(self, "database")
  local given = ...
  if form and select("#", ...) == 1 and type(given) == "table" then
    local way, key = keys.find(form, given)
    local database = way and db.get(name)
    if way and database.dialect == way.dialect then
      return aget_by_key(form, way, key, database, name)
    end
    local before = form
    values = { unpack(self, 1, form.n) }
    form = forms.filter(form, values, "filter", Query.filter, given)
    if form then
      keys.note(before, given, form, db.get(name).dialect, values)
    end
  elseif select("#", ...) > 0 then
    form = nil
  end
  local rows = form and afetch(form, "get", name, values)
  if not rows then
    return Query.aget(ordinary(self), ...)
  end
  return reading.the_one(form.template.model, rows)
end

function methods:_aone()
  local form = rawget(self, "form")
  local rows = afetch(form, "get", rawget(self, "database"), self)
  if not rows then
    return Query._aone(ordinary(self))
  end
  return reading.single(form.template.model, rows)
end

function methods:_afetch(most)
  local way = not most and "list" or most == 1 and "one" or nil
  local rows = way and afetch(self.form, way, rawget(self, "database"), self)
  return rows or Query._afetch(ordinary(self), most)
end

function methods:alist()
  local cached, form = rawget(self, "cached"), rawget(self, "form")
  if cached then
    return cached
  end
  local rows = form and afetch(form, "list", rawget(self, "database"), self)
  if not rows then
    return Query.alist(settle(self))
  end
  if getmetatable(self) == Light then -- a manager remembers nothing
    self.cached = rows
  end
  return rows
end

function methods:afirst()
  local form = rawget(self, "form")
  local rows = form and afetch(form, "first", rawget(self, "database"), self)
  if not rows then
    return Query.afirst(ordinary(self))
  end
  return rows[1]
end

function methods:alast()
  local form = rawget(self, "form")
  local rows = form
    and not form.template:_is_sliced()
    and afetch(form, "last", rawget(self, "database"), self)
  if not rows then
    return Query.alast(ordinary(self))
  end
  return rows[1]
end

function methods:acount()
  local cached, form = rawget(self, "cached"), rawget(self, "form")
  if cached then
    return #cached
  end
  local rows = form and aread(form, "count", db.get(rawget(self, "database")), self)
  if not rows then
    return Query.acount(ordinary(self))
  end
  return rows[1].n
end

function methods:aexists()
  local cached, form = rawget(self, "cached"), rawget(self, "form")
  if cached then
    return #cached > 0
  end
  local rows = form and aread(form, "exists", db.get(rawget(self, "database")), self)
  if not rows then
    return Query.aexists(ordinary(self))
  end
  return #rows > 0
end

function methods:aaggregate(...)
  local form, values = rawget(self, "form"), nil
  if form and select("#", ...) == 1 then
    values = { unpack(self, 1, form.n) }
    form = forms.step(form, values, "aaggregate", outlines.name, Query._aggregates, ...)
  end
  local database = form and db.get(rawget(self, "database"))
  local rows = form and values and aread(form, "aggregate", database, values)
  if not rows then
    return Query.aaggregate(ordinary(self), ...)
  end
  return figures.read(rows[1], form.list, database.dialect)
end

-- Writing ---------------------------------------------------------------------------

--- How many rows a statement changed; nil: there is no plan.
---@async
local function arun(form, way, name, values)
  local database = db.get(name)
  local plan = plans.of(form, database.dialect, way, values)
  if plan then
    local _, matched = database:_arun(plan.sql, with_length(plan, values))
    return matched
  end
end

--- A method that changes rows, by what `resolve` makes of what it is given.
local function updater(name, take, resolve)
  local method = Query[name]
  methods[name] = function(self, ...)
    local form, values = rawget(self, "form"), nil
    if form and select("#", ...) == 1 then
      values = { unpack(self, 1, form.n) }
      form = forms.step(form, values, name, take, resolve, ...)
    end
    local matched = form and values and arun(form, "update", rawget(self, "database"), values)
    if not matched then
      return method(settle(self), ...)
    end
    if getmetatable(self) == Light then
      self.cached = nil
    end
    return matched
  end
end

updater("aupdate", outlines.condition, Query._changes)
updater("_aset", outlines.sets, Query._sets)

function methods:_adelete_rows()
  return arun(self.form, "delete", rawget(self, "database"), self)
    or Query._adelete_rows(ordinary(self))
end

function methods:adelete()
  local form = rawget(self, "form")
  local template = form and form.template
  if not template or not deletion.is_alone(template.model)
    or not pcall(template._check_deletable, template) then
    return Query.adelete(settle(self))
  end
  local query = derive(self, form)
  if getmetatable(self) == Light then
    self.cached = nil
  end
  return deletion.of_query(query)
end

--- All rows of a model in no order, whatever its managers say.
---@param model rille.models.Model
---@param database string|rille.db.Database|nil
---@return rille.models.LightQuery
function queries.all_of(model, database)
  local meta = model._meta
  local all = meta.all_rows
  if not all then
    all = { form = forms.root(queries.new(model):_with({ order = {} })) }
    meta.all_rows = all
  end
  local query = derive(all, all.form)
  query.database = database
  return query
end

left_off = prefix.left_off(methods)

return { Light = Light, methods = methods }
