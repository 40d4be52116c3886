--- Reading: the `a` methods of a query that fetch.
---
--- A row becomes an instance where it stands. What a backend cannot say in its own types is
--- converted, column by column, before; related objects are cut out of the row and hung on it.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local errors = require("rille.errors")
local null = require("rille.core").null
local plans = require("rille.models.plans")
local resolve = require("rille.models.resolve")

local queries = require("rille.models.query")

local Query = queries.Query

local function convert(rows, readers)
  for _, reader in ipairs(readers) do
    local name, read = reader.name, reader.read
    for i = 1, #rows do
      local cell = rows[i][name]
      if cell ~= nil then
        rows[i][name] = read(cell)
      end
    end
  end
end

--- Cut the columns of related objects out of a row and hang the objects on it.
local function take_related(row, related, masks, dialect)
  local owners = {}
  for _, entry in ipairs(related) do
    local meta = entry.model._meta
    local object, mask = {}, masks and masks[entry.name]
    for _, far in ipairs(mask and mask.loaded or meta.fields) do
      local name = entry.name .. "__" .. far.attr
      object[far.attr], row[name] = row[name], nil
    end
    local owner = entry.parent and owners[entry.parent] or not entry.parent and row
    if owner then
      local step = entry.joins[#entry.joins]
      owner._related = owner._related or {}
      if object[meta.pk.attr] ~= nil then
        convert({ object }, meta:readers(dialect))
        object._db = rawget(row, "_db")
        object._deferred = mask and mask.deferred
        object._related = step.back and { [step.field.name] = owner } or nil
        setmetatable(object, meta.instance)
        owner._related[entry.key] = object
        owners[entry.name] = object
      elseif step.back then
        owner._related[entry.key] = false -- it was looked for, and there is none
      end
    end
  end
end

--- Annotations whose cells have to be converted.
local function annotation_readers(query, dialect)
  local readers = {}
  for _, annotation in ipairs(query.annotations or {}) do
    local read = annotation.selected and annotation.output:reader(dialect)
    if read then
      readers[#readers + 1] = { name = annotation.name, read = read }
    end
  end
  return readers
end

local adopt = {}

--- `database` is the query's. Nothing absent is assigned: even nil would make room for a key.
function adopt.instances(query, rows, dialect, database)
  local meta = query.model._meta
  local instance, related, deferred = meta.instance, query.related, query.deferred
  convert(rows, meta:readers(dialect))
  if query.annotations then
    convert(rows, annotation_readers(query, dialect))
  end
  for i = 1, #rows do
    local row = rows[i]
    if database then
      row._db = database
    end
    if deferred then
      row._deferred = deferred
    end
    if related[1] then
      take_related(row, related, query.masks, dialect)
    end
    setmetatable(row, instance)
  end
  return rows
end

--- Is a row of such a query, as it comes, an instance but for the metatable?
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@return boolean
local function is_plain(query, dialect)
  return query.shape == "instances"
    and not (query.annotations or query.deferred or query.prefetches or query.related[1])
    and not query.model._meta:readers(dialect)[1]
end

function adopt.values(query, rows, dialect)
  for _, selected in ipairs(query.selected) do
    local read = selected.node.output:reader(dialect)
    if read then
      convert(rows, { { name = selected.name, read = read } })
    end
  end
  return rows
end

function adopt.list(query, rows, dialect)
  adopt.values(query, rows, dialect)
  for i, row in ipairs(rows) do
    local list = {}
    for j, selected in ipairs(query.selected) do
      local cell = row[selected.name]
      if cell == nil then
        cell = null
      end
      list[j] = cell
    end
    rows[i] = list
  end
  return rows
end

function adopt.flat(query, rows, dialect)
  adopt.list(query, rows, dialect)
  for i, list in ipairs(rows) do
    rows[i] = list[1]
  end
  return rows
end

--- Raise unless rows can be locked.
local function check_lock(database)
  if not database:in_atomic_block() then
    error(
      errors.TransactionManagementError(
        "select_for_update cannot be used outside of a transaction."
      ),
      0
    )
  end
end

--- Run the query, whatever it has fetched before.
---@async
---@param most integer?  at most so many rows
function Query:_afetch(most)
  if self.where == false or self.limit_to == 0 then
    return {}
  end
  local database = self:_database()
  if self.lock then
    check_lock(database)
  end
  local sql, params = compile.select(self, database.dialect, most)
  local rows = self.lock and database:_arun(sql, params) or database:_aread(sql, params)
  rows = adopt[self.shape](self, rows, database.dialect, self.database)
  if self.prefetches then
    self:_prefetch(rows)
  end
  return rows
end

--- All rows, as a list that the query keeps: fetched once, and shared by later calls.
---@async
---@return any[]
function Query:alist()
  if not self.cached then
    self.cached = self:_afetch()
  end
  return self.cached
end

--- The one row of those that were found, or nil when there is none.
local function single(model, rows)
  if #rows > 1 then
    local most = plans.MOST_FOR_GET
    local many = #rows < most and tostring(#rows) or "more than " .. most - 1
    error(
      model.MultipleObjectsReturned(
        ("get() returned more than one %s -- it returned %s!"):format(model.__name, many)
      ),
      0
    )
  end
  return rows[1]
end

function Query:_aone()
  local order_decides = self:_is_sliced() or self.distinct_on and #self.distinct_on > 0
  local query = order_decides and self or self:_with({ order = {} })
  return single(self.model, query:_afetch(plans.MOST_FOR_GET))
end

local function does_not_exist(model)
  return model.DoesNotExist(("%s matching query does not exist."):format(model.__name))
end

--- The one row of those that were found; raises when there is none, or more.
local function the_one(model, rows)
  local found = single(model, rows)
  if found == nil then
    error(does_not_exist(model), 0)
  end
  return found
end

--- The one row for which the conditions hold. Raises the model's `DoesNotExist` or
--- `MultipleObjectsReturned`.
---@async
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Instance
function Query:aget(...)
  local query = self
  if select("#", ...) > 0 then
    self:_check_not_sliced("filter", 2)
    self:_check_not_combined("aget with conditions", 2)
    local scope = {}
    query = self:_narrow(self:_build("aget", 2, scope, ...), scope)
  end
  local found = query:_aone()
  if found == nil then
    error(does_not_exist(self.model), 0)
  end
  return found
end

function Query:_by_key()
  if #self.order > 0 then
    return self
  end
  if self.combined then
    return self:order_by("pk")
  elseif self.group and self.group ~= "pk" then
    error(
      "Cannot use afirst() or alast() on an unordered query of groups. Add an ordering with"
        .. " order_by().",
      0
    )
  end
  return self:_with({ order = { self:_key_term() } })
end

--- The first row, by key when the query is unordered; nil when there is none.
---@async
---@return rille.models.Instance?
function Query:afirst()
  return self:_by_key():_afetch(1)[1]
end

--- The last row, by key when the query is unordered; nil when there is none.
---@async
---@return rille.models.Instance?
function Query:alast()
  self:_check_not_sliced("reverse", 2)
  return self:_by_key():reverse():_afetch(1)[1]
end

local function by_fields(self, what, ...)
  self:_check_not_sliced("reorder", 3)
  if select("#", ...) > 0 then
    return self:order_by(...)
  end
  local latest = self.model._meta.get_latest_by
  if not latest then
    error(what .. " needs the names of fields to order by, or the option get_latest_by", 3)
  end
  return self:order_by(unpack(latest))
end

local function first_of(query)
  local found = query:_afetch(1)[1]
  if found == nil then
    error(does_not_exist(query.model), 0)
  end
  return found
end

--- The first row by these fields, or else by the model's `get_latest_by`. Raises the model's
--- `DoesNotExist`.
---@async
---@param ... string
---@return rille.models.Instance
function Query:aearliest(...)
  return first_of(by_fields(self, "aearliest", ...))
end

--- The last row by these fields, or else by the model's `get_latest_by`. Raises the model's
--- `DoesNotExist`.
---@async
---@param ... string
---@return rille.models.Instance
function Query:alatest(...)
  return first_of(by_fields(self, "alatest", ...):reverse())
end

--- Is this object among the rows?
---@async
---@param object rille.models.Instance
---@return boolean
function Query:acontains(object)
  self:_check_not_combined("acontains", 2)
  local mt = type(object) == "table" and getmetatable(object) or nil
  if not mt or not rawget(mt, "model") then
    error(("acontains needs an object of a model, not a %s"):format(type(object)), 2)
  elseif self.shape ~= "instances" then
    error("Cannot call acontains after values or values_list.", 2)
  elseif mt ~= self.model._meta.instance then
    return false
  end
  if object.pk == nil then
    error("acontains cannot be used on an object that has not been saved", 2)
  end
  if self.cached or self:_is_sliced() then
    for _, row in ipairs(self:alist()) do
      if row == object then
        return true
      end
    end
    return false
  end
  if resolve.has_window(self.where) then -- which would look at this row alone
    local rows = self:_with({ order = {}, related = {} }):values("pk")
    return queries.new(self.model)
      :_with({ order = {}, database = self.database })
      :filter({ pk = object.pk, pk__in = rows })
      :aexists()
  end
  return self:filter({ pk = object.pk }):aexists()
end

--- How many rows.
---@async
---@return integer
function Query:acount()
  if self.cached then
    return #self.cached
  end
  if self.where == false or self.limit_to == 0 then
    return 0
  end
  local database = self:_database()
  local sql, params = compile.count(self, database.dialect)
  return database:_aread(sql, params)[1].n
end

--- Is there any?
---@async
---@return boolean
function Query:aexists()
  if self.cached then
    return #self.cached > 0
  end
  if self.where == false or self.limit_to == 0 then
    return false
  end
  local database = self:_database()
  local sql, params = compile.exists(self, database.dialect)
  return #database:_aread(sql, params) > 0
end

local BULK = 4000 -- keys in one statement

--- Is a field told to be unique, by itself or by a constraint on it alone?
local function is_unique(field)
  if field.unique then
    return true
  end
  local meta = field.model._meta
  for _, constraint in ipairs(meta.constraints) do
    local alone = #constraint.fields == 1 and meta.by_name[constraint.fields[1]] == field
    if constraint.kind == "unique" and not constraint.condition and alone then
      return true
    end
  end
  return false
end

--- Objects by key, or by another unique field. Those that do not exist are absent.
---@async
---@param ids any[]?  nil: every row of the query
---@param opts { field_name: string }?
---@return table<any, rille.models.Instance>
function Query:ain_bulk(ids, opts)
  local name = opts and opts.field_name or "pk"
  local path = conditions.path(self.model, name)
  local distinct = self.distinct_on and #self.distinct_on == 1 and self.distinct_on[1].path
  local is_distinct = distinct and distinct.field == path.field
  if #path.joins > 0 or not is_unique(path.field) and not is_distinct then
    error(("ain_bulk needs a unique field, and '%s' is none"):format(name), 2)
  end
  self:_check_not_sliced("filter", 2)
  self:_check_not_combined("ain_bulk", 2)
  if self.shape ~= "instances" then
    error("ain_bulk() cannot be used with values() or values_list().", 2)
  end
  local found = {}
  local function keep(query)
    for _, object in ipairs(query:_afetch()) do
      found[object[path.field.attr]] = object
    end
  end
  if not ids then
    keep(self)
  else
    for first = 1, #ids, BULK do
      local some = { unpack(ids, first, math.min(first + BULK - 1, #ids)) }
      keep(self:filter({ [name .. "__in"] = some }))
    end
  end
  return found
end

return {
  adopt = adopt,
  check_lock = check_lock,
  is_plain = is_plain,
  single = single,
  the_one = the_one,
}
