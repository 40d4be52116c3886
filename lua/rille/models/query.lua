--- A query is a value: every builder returns a new one, and nothing reaches the database
--- until a method whose name starts with `a`.
---
---     Folder.objects:filter { name__startswith = "a" }:order_by("-id"):limit(10):alist()
---
--- What `alist` fetched stays on its query object: `alist`, `acount` and `aexists` answer
--- from it afterwards. Builders return queries that have fetched nothing.
---
--- `Model.objects` is a manager: each of its methods is the query method on a fresh query
--- for all rows, so a manager never remembers anything.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local db = require("rille.db")
local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local null = require("rille.core").null

---@class rille.models.Query
---@field model rille.models.Model
---@field database string|rille.db.Database|nil  nil: the default one
---@field where table|boolean      a tree of `rille.models.conditions`
---@field order { path: rille.models.Path, descending: boolean, random: boolean? }[]
---@field reversed boolean
---@field limit_to integer?
---@field skip integer
---@field distinct_on rille.models.Path[]|false  empty: on the whole row
---@field shape "instances"|"values"|"list"|"flat"
---@field selected { name: string, path: rille.models.Path }[]?  unless instances
---@field related rille.models.Related[]  foreign keys to bring along, near ones first
---@field loaded rille.models.Field[]|false  what instances come with; false: everything
---@field deferred table<string, true>?      the attributes they come without
---@field lock string|false        what follows FOR UPDATE
---@field owner { field: rille.models.Field, instance: rille.models.Instance }?  of `author.books`
---@field cached any[]?            what alist fetched
local Query = {
  where = true,
  order = {},
  reversed = false,
  skip = 0,
  distinct_on = false,
  shape = "instances",
  related = {},
  loaded = false,
  lock = false,
}
Query.__index = Query

---@class rille.models.Related
---@field name string                  `author__parent`
---@field parent string?               `author`
---@field joins rille.models.Field[]   the last one is the key that points to it

-- Keys of these kinds cannot be paged by.
local UNORDERED = { bytes = true, boolean = true, json = true }

-- aget looks at this many rows to tell how many there are.
local MOST_FOR_GET = 21

--- All rows of a model.
---@param model rille.models.Model
---@return rille.models.Query
local function new(model)
  local query = setmetatable({ model = model }, Query)
  local ordering = model._meta.ordering
  return ordering and query:order_by(unpack(ordering)) or query
end

--- A copy that differs in `changes` and has fetched nothing.
function Query:_with(changes)
  local copy = {}
  for key, value in pairs(self) do
    copy[key] = value
  end
  for key, value in pairs(changes) do
    copy[key] = value
  end
  copy.cached = nil
  return setmetatable(copy, Query)
end

function Query:_database()
  return db.get(self.database)
end

function Query:_is_sliced()
  return self.limit_to ~= nil or self.skip > 0
end

--- A query prints as its SQL, for PostgreSQL when no database is configured.
function Query:__tostring()
  if self.where == false then
    return "no rows"
  end
  local name = self.database or "default"
  local database = type(name) == "table" and name or rawget(db.databases, name)
  local dialect = database and database.dialect or require("rille.db.dialect").postgresql
  return (compile.select(self, dialect))
end

-- Builders --------------------------------------------------------------------------

local EMPTY = "%s was given an empty table, and a nil value leaves no trace in a table:"
  .. " compare with rille.null or isnull, or leave the argument out to mean every row"

--- What filter, exclude and aget were given, as one node.
local function build(self, what, level, ...)
  local nodes = {}
  for i = 1, select("#", ...) do
    local given = select(i, ...)
    if type(given) ~= "table" then
      error(("%s takes tables of conditions and Qs, not a %s"):format(what, type(given)), level + 1)
    end
    if next(given) == nil then
      error(EMPTY:format(what), level + 1)
    end
    nodes[i] = conditions.build(self.model, given)
  end
  return conditions.all_of(nodes)
end

local function check_not_sliced(self, what, level)
  if self:_is_sliced() then
    error(("Cannot %s a query once a slice has been taken."):format(what), level + 1)
  end
end

--- Rows for which all of the given tables and Qs hold.
--- Raises `FieldError` for an unknown field or lookup, `ValueError` for a value that does not fit.
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Query
function Query:filter(...)
  check_not_sliced(self, "filter", 2)
  local node = build(self, "filter", 2, ...)
  return self:_with({ where = conditions.all_of({ self.where, node }) })
end

--- Rows for which not all of them hold; what is NULL is not equal to anything, so it stays.
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Query
function Query:exclude(...)
  check_not_sliced(self, "filter", 2)
  local node = select("#", ...) > 0 and conditions.none_of(build(self, "exclude", 2, ...)) or true
  return self:_with({ where = conditions.all_of({ self.where, node }) })
end

--- Order by fields, `-` in front for descending, `?` for random; without arguments, unordered.
--- Replaces the order there was.
---@param ... string
---@return rille.models.Query
function Query:order_by(...)
  check_not_sliced(self, "reorder", 2)
  local order = {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    if name == "?" then
      order[i] = { random = true }
    else
      local sign, key = tostring(name):match("^(%-?)(.*)$")
      order[i] = { path = conditions.path(self.model, key), descending = sign == "-" }
    end
  end
  return self:_with({ order = order, reversed = false })
end

--- The other way round; an unordered query stays unordered.
---@return rille.models.Query
function Query:reverse()
  check_not_sliced(self, "reverse", 2)
  return self:_with({ reversed = not self.reversed })
end

local function check_count(value, what, level)
  if type(value) ~= "number" or value < 0 or value % 1 ~= 0 or value > 2 ^ 53 then
    error(("%s needs an integer from 0, not %s"):format(what, tostring(value)), level + 1)
  end
end

--- At most `n` rows; of what is there after an earlier `limit` and `offset`.
---@param n integer
---@return rille.models.Query
function Query:limit(n)
  check_count(n, "limit", 2)
  return self:_with({ limit_to = math.min(n, self.limit_to or n) })
end

--- Without the first `n` rows; of what is there after an earlier `limit` and `offset`.
---@param n integer
---@return rille.models.Query
function Query:offset(n)
  check_count(n, "offset", 2)
  local left = self.limit_to and math.max(self.limit_to - n, 0)
  return self:_with({ skip = self.skip + n, limit_to = left })
end

--- The same query, having fetched nothing.
---@return rille.models.Query
function Query:all()
  return self:_with({})
end

--- No rows, without asking the database.
---@return rille.models.Query
function Query:none()
  return self:_with({ where = false })
end

--- Each different row once; with names of fields (PostgreSQL), the first row of each.
---@param ... string
---@return rille.models.Query
function Query:distinct(...)
  local paths = {}
  for i = 1, select("#", ...) do
    paths[i] = conditions.path(self.model, (select(i, ...)))
  end
  return self:_with({ distinct_on = paths })
end

--- On another database.
---@param database string|rille.db.Database
---@return rille.models.Query
function Query:using(database)
  db.get(database) -- raises if there is none
  return self:_with({ database = database })
end

local function select_fields(self, ...)
  local selected = {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    selected[i] = { name = name, path = conditions.path(self.model, name) }
  end
  if #selected == 0 then
    for i, field in ipairs(self.model._meta.fields) do
      selected[i] = { name = field.attr, path = { joins = {}, field = field } }
    end
  end
  return selected
end

--- Plain tables with these fields (default: all) instead of instances. NULL is absent.
---@param ... string  fields, also across foreign keys
---@return rille.models.Query
function Query:values(...)
  return self:_with({ shape = "values", selected = select_fields(self, ...), related = {} })
end

--- Arrays of these fields in this order; with `{ flat = true }` last and one field, just its
--- values. NULL is `rille.null` here, since an array cannot have holes.
---@param ... string|{ flat: boolean }
---@return rille.models.Query
function Query:values_list(...)
  local given = { ... }
  local opts = type(given[#given]) == "table" and table.remove(given) or {}
  if opts.flat and #given ~= 1 then
    error("values_list with flat takes exactly one field", 2)
  end
  local shape = opts.flat and "flat" or "list"
  return self:_with({
    shape = shape,
    selected = select_fields(self, unpack(given)),
    related = {},
  })
end

local function own_field(self, name)
  local path = conditions.path(self.model, name)
  if #path.joins > 0 then
    error(
      errors.FieldError(("'%s' is a field of another model; name one's own."):format(name)),
      0
    )
  end
  return path.field
end

--- Instances with or without the given fields; always with their key.
local function load_fields(self, what, level, wanted, ...)
  if self.shape ~= "instances" then
    error(("Cannot call %s after values or values_list."):format(what), level + 1)
  end
  local named = {}
  for i = 1, select("#", ...) do
    named[own_field(self, (select(i, ...)))] = true
  end
  local loaded, deferred = {}, {}
  for _, field in ipairs(self.model._meta.fields) do
    local already = not (self.deferred and wanted == false and self.deferred[field.attr])
    if field.primary_key or already and (named[field] or false) == wanted then
      loaded[#loaded + 1] = field
    else
      deferred[field.attr] = true
    end
  end
  return self:_with({ loaded = loaded, deferred = deferred })
end

--- Instances with these fields and their key alone. Reading another attribute raises
--- `NotFetched`; `asave` writes only what is there. Replaces an earlier `only` or `defer`.
---@param ... string
---@return rille.models.Query
function Query:only(...)
  return load_fields(self, "only", 2, true, ...)
end

--- Instances without these fields; adds to an earlier `only` or `defer`.
---@param ... string
---@return rille.models.Query
function Query:defer(...)
  return load_fields(self, "defer", 2, false, ...)
end

--- Bring along the objects that these foreign keys point to, in the same statement.
---@param ... string  `author`, `author__parent`
---@return rille.models.Query
function Query:select_related(...)
  if self.shape ~= "instances" then
    error("select_related makes no sense after values or values_list", 2)
  end
  local related, known = {}, {}
  for i = 1, select("#", ...) do
    local parent, joins, model = nil, {}, self.model
    for part in (tostring((select(i, ...))) .. "__"):gmatch("(.-)__") do
      local field = model._meta.by_name[part]
      if not field or field.kind ~= "foreign_key" then
        error(
          errors.FieldError(
            ("Invalid field name given in select_related: '%s'. Choices are: %s"):format(
              part,
              table.concat(model._meta.relation_names, ", ")
            )
          ),
          0
        )
      end
      joins = { unpack(joins) }
      joins[#joins + 1] = field
      local name = parent and parent .. "__" .. part or part
      if not known[name] then
        known[name] = true
        related[#related + 1] = { name = name, parent = parent, joins = joins }
      end
      parent, model = name, field:target()
    end
  end
  return self:_with({ related = related })
end

--- Lock the rows until the transaction ends; only inside `atomic`. On SQLite, `atomic` itself
--- keeps every other writer out.
---@param opts { nowait: boolean?, skip_locked: boolean? }?
---@return rille.models.Query
function Query:select_for_update(opts)
  opts = opts or {}
  if opts.nowait and opts.skip_locked then
    error("the options nowait and skip_locked exclude each other", 2)
  end
  local tail = opts.nowait and " NOWAIT" or opts.skip_locked and " SKIP LOCKED" or ""
  return self:_with({ lock = tail })
end

-- Fetching --------------------------------------------------------------------------

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
local function take_related(row, related, dialect)
  local owners = {}
  for _, entry in ipairs(related) do
    local field = entry.joins[#entry.joins]
    local target = field:target()
    local object = {}
    for _, far in ipairs(target._meta.fields) do
      local name = entry.name .. "__" .. far.attr
      object[far.attr], row[name] = row[name], nil
    end
    local owner = entry.parent and owners[entry.parent] or not entry.parent and row
    if owner and object[target._meta.pk.attr] ~= nil then
      convert({ object }, target._meta:readers(dialect))
      object._db = rawget(row, "_db")
      setmetatable(object, target._meta.instance)
      owner._related = owner._related or {}
      owner._related[field.name] = object
      owners[entry.name] = object
    end
  end
end

local adopt = {}

function adopt.instances(query, rows, dialect)
  local meta = query.model._meta
  local instance, database, related = meta.instance, query.database, query.related
  local deferred = query.deferred
  convert(rows, meta:readers(dialect))
  for i = 1, #rows do
    local row = rows[i]
    row._db = database
    row._deferred = deferred
    if related[1] then
      take_related(row, related, dialect)
    end
    setmetatable(row, instance)
  end
  return rows
end

function adopt.values(query, rows, dialect)
  for _, selected in ipairs(query.selected) do
    local read = selected.path.field:reader(dialect)
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

--- Run the query, whatever it has fetched before.
---@async
---@param most integer?  at most so many rows
function Query:_afetch(most)
  if self.where == false or self.limit_to == 0 then
    return {}
  end
  local database = self:_database()
  if self.lock and not database:in_atomic_block() then
    error(
      errors.TransactionManagementError(
        "select_for_update cannot be used outside of a transaction."
      ),
      0
    )
  end
  local sql, params = compile.select(self, database.dialect, most)
  return adopt[self.shape](self, (database:_arun(sql, params)), database.dialect)
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

--- The one row, or nil when there is none.
function Query:_aone()
  local query = self:_is_sliced() and self or self:_with({ order = {} })
  local rows = query:_afetch(MOST_FOR_GET)
  if #rows > 1 then
    local many = #rows < MOST_FOR_GET and tostring(#rows) or "more than " .. MOST_FOR_GET - 1
    error(
      self.model.MultipleObjectsReturned(
        ("get() returned more than one %s -- it returned %s!"):format(self.model.__name, many)
      ),
      0
    )
  end
  return rows[1]
end

local function does_not_exist(model)
  return model.DoesNotExist(("%s matching query does not exist."):format(model.__name))
end

--- The one row for which the conditions hold. Raises the model's `DoesNotExist` or
--- `MultipleObjectsReturned`.
---@async
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Instance
function Query:aget(...)
  local query = self
  if select("#", ...) > 0 then
    check_not_sliced(self, "filter", 2)
    local node = build(self, "aget", 2, ...)
    query = self:_with({ where = conditions.all_of({ self.where, node }) })
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
  return self:_with({ order = { { path = self.model._meta.pk_path, descending = false } } })
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
  check_not_sliced(self, "reverse", 2)
  return self:_by_key():reverse():_afetch(1)[1]
end

local function by_fields(self, what, ...)
  if select("#", ...) == 0 then
    error(what .. " needs the names of fields to order by", 3)
  end
  check_not_sliced(self, "reorder", 3)
  return self:order_by(...)
end

local function first_of(query)
  local found = query:_afetch(1)[1]
  if found == nil then
    error(does_not_exist(query.model), 0)
  end
  return found
end

--- The first row by these fields. Raises the model's `DoesNotExist`.
---@async
---@param ... string
---@return rille.models.Instance
function Query:aearliest(...)
  return first_of(by_fields(self, "aearliest", ...))
end

--- The last row by these fields. Raises the model's `DoesNotExist`.
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
  if getmetatable(object) ~= self.model._meta.instance then
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
  return database:_arun(compile.count(self, database.dialect))[1].n
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
  return #database:_arun(compile.exists(self, database.dialect)) > 0
end

--- Figures over the rows: `aaggregate { total = models.Sum "pages", n = models.Count "*" }`.
--- Over no rows they are absent, but a count is 0.
---@async
---@param aggregates table<string, rille.models.Aggregate>
---@return table<string, any>
function Query:aaggregate(aggregates)
  local list = {}
  for name, aggregate in pairs(type(aggregates) == "table" and aggregates or {}) do
    if type(name) ~= "string" or not expressions.is_aggregate(aggregate) then
      error("aaggregate takes name = aggregate pairs, such as total = models.Sum \"pages\"", 2)
    end
    local path = aggregate.name ~= "*" and conditions.path(self.model, aggregate.name) or nil
    if not path and aggregate.sql ~= "COUNT" then
      error("only Count can have \"*\"", 2)
    end
    list[#list + 1] =
      { name = name, sql = aggregate.sql, path = path, distinct = aggregate.distinct }
  end
  if #list == 0 then
    error("aaggregate needs at least one aggregate", 2)
  end
  if self.distinct_on or self.shape ~= "instances" then
    error("Cannot call aaggregate after distinct, values or values_list.", 2)
  end
  table.sort(list, function(a, b)
    return a.name < b.name
  end)
  local row = {}
  if self.where ~= false and self.limit_to ~= 0 then
    local database = self:_database()
    row = database:_arun(compile.aggregate(self, database.dialect, list))[1]
    for _, aggregate in ipairs(list) do
      local keeps_kind = aggregate.sql ~= "COUNT" and aggregate.path
      local read = keeps_kind and aggregate.path.field:reader(database.dialect)
      if read and row[aggregate.name] ~= nil then
        row[aggregate.name] = read(row[aggregate.name])
      end
    end
  else
    for _, aggregate in ipairs(list) do
      row[aggregate.name] = aggregate.sql == "COUNT" and 0 or nil
    end
  end
  return row
end

-- Iteration -------------------------------------------------------------------------

--- Pages by key: each asks for the keys after the last one seen. Nothing is skipped or seen
--- twice, whatever changes meanwhile.
local function pages_by_key(query, chunk)
  local meta = query.model._meta
  local last, left = nil, query.limit_to
  local base = query:_by_key()
  return function()
    local page = base
    if last ~= nil then
      page = base:_with({
        where = conditions.all_of({
          base.where,
          conditions.build(query.model, { pk__gt = last }),
        }),
        skip = 0,
      })
    end
    local size = left and math.min(left, chunk) or chunk
    local rows = page:_with({ limit_to = size }):_afetch()
    left = left and left - #rows
    if #rows > 0 then
      last = rawget(rows[#rows], meta.pk.attr)
    end
    return rows, #rows < size or left == 0
  end
end

--- Pages by position, ordered to the last place so that pages do not overlap.
local function pages_by_position(query, chunk)
  local order = { unpack(query.order) }
  if not query.distinct_on then
    order[#order + 1] = { path = query.model._meta.pk_path, descending = false }
  elseif #order == 0 then
    for i, selected in ipairs(query.selected or select_fields(query)) do
      order[i] = { path = selected.path, descending = false }
    end
  end
  local base, seen = query:_with({ order = order }), 0
  return function()
    local size = chunk
    if query.limit_to then
      size = math.min(chunk, query.limit_to - seen)
    end
    local rows = base:_with({ skip = query.skip + seen, limit_to = size }):_afetch()
    seen = seen + #rows
    return rows, #rows < size or seen == query.limit_to
  end
end

--- Go through the rows, a chunk at a time, keeping none:
---
---     for book in Book.objects:aiterator { chunk_size = 500 } do … end
---
--- No connection is held between chunks, so the loop may wait, send and break off. The whole
--- is not one snapshot: an unordered query pages by key and sees each row at most once; an
--- ordered one pages by position, and a change in the part already seen can shift a row past
--- it. Inside `atomic` with REPEATABLE READ neither can happen.
---@async
---@param opts { chunk_size: integer? }?  default 2000
---@return fun(): any
function Query:aiterator(opts)
  local chunk = opts and opts.chunk_size or 2000
  if type(chunk) ~= "number" or chunk < 1 or chunk % 1 ~= 0 then
    error("Chunk size must be strictly positive.", 2)
  end
  local keyed = self.shape == "instances"
    and #self.order == 0
    and not self.distinct_on
    and UNORDERED[self.model._meta.pk:storage().kind] == nil
  local next_page = (keyed and pages_by_key or pages_by_position)(self, chunk)
  local rows, i, done = {}, 0, self.where == false or self.limit_to == 0
  return function()
    i = i + 1
    if i > #rows and not done then
      rows, done = next_page()
      i = 1
    end
    return rows[i]
  end
end

-- Writing ---------------------------------------------------------------------------

--- The rows changed, all at once, in the database: no instance is touched, and no
--- `auto_now`. Values may be `F` expressions.
---@async
---@param changes table<string, any>  rille.null for NULL
---@return integer matched
function Query:aupdate(changes)
  if type(changes) ~= "table" or next(changes) == nil then
    error(EMPTY:format("aupdate"), 2)
  end
  if self:_is_sliced() then
    error("Cannot update a query once a slice has been taken.", 2)
  end
  local model, names = self.model, {}
  for name in pairs(changes) do
    names[#names + 1] = name
  end
  table.sort(names)
  local list = {}
  for i, name in ipairs(names) do
    local path = conditions.path(model, name)
    local field, value = path.field, changes[name]
    if #path.joins > 0 then
      error(
        errors.FieldError(("aupdate cannot follow the foreign keys of '%s'."):format(name)),
        0
      )
    end
    if expressions.is_f(value) then
      list[i] = { field = field, f = conditions.resolve_f(model, value) }
    else
      list[i] = { field = field, value = field:write(value) }
    end
  end
  self.cached = nil
  if self.where == false then
    return 0
  end
  local database = self:_database()
  local _, matched = database:_arun(compile.update(self, database.dialect, list))
  return matched
end

--- Delete the rows. What refers to them is the database's business: each foreign key's `on_delete`.
---@async
---@return integer deleted  rows of this model
function Query:adelete()
  if self:_is_sliced() then
    error("Cannot use 'limit' or 'offset' with adelete.", 2)
  end
  if self.distinct_on then
    error("Cannot call adelete after distinct.", 2)
  end
  if self.shape ~= "instances" then
    error("Cannot call adelete after values or values_list.", 2)
  end
  self.cached = nil
  if self.where == false then
    return 0
  end
  local database = self:_database()
  local _, deleted = database:_arun(compile.delete(self, database.dialect))
  return deleted
end

--- Make an object and insert it.
---@async
---@param values table<string, any>?
---@return rille.models.Instance
function Query:acreate(values)
  local instance = self.model(values or {})
  if self.owner then
    instance[self.owner.field.name] = self.owner.instance
  end
  instance._db = self.database
  return instance:asave({ force_insert = true })
end

--- Make these objects belong to the owner: `author.books:aadd(book, …)`. One UPDATE.
---@async
---@param ... rille.models.Instance  saved ones
---@return integer matched
function Query:aadd(...)
  local owner = self.owner
  if not owner then
    error("aadd is for the objects of a related one, such as author.books", 2)
  end
  local objects = { ... }
  for i, object in ipairs(objects) do
    if getmetatable(object) ~= self.model._meta.instance or object.pk == nil then
      error(("argument %d of aadd is no saved %s"):format(i, self.model.__name), 2)
    end
  end
  local all = new(self.model):_with({ order = {}, database = self.database })
  local keys = {}
  for i, object in ipairs(objects) do
    keys[i] = object.pk
  end
  local matched = all:filter({ pk__in = keys }):aupdate({ [owner.field.name] = owner.instance })
  for _, object in ipairs(objects) do
    object[owner.field.name] = owner.instance
  end
  return matched
end

--- The values of a new object: what was looked for, as far as it names fields, and the defaults.
local function values_of_new(lookup, defaults)
  local values = {}
  for key, value in pairs(lookup) do
    if not key:find("__", 1, true) then
      values[key] = value
    end
  end
  for key, value in pairs(defaults or {}) do
    if type(value) == "function" then
      value = value()
    end
    values[key] = value
  end
  return values
end

--- The object, made if there is none. When somebody else makes it first, theirs.
---@async
---@param lookup table<string, any>
---@param defaults table<string, any>?  for a new object only; functions are called
---@return rille.models.Instance object
---@return boolean created
function Query:aget_or_create(lookup, defaults)
  local query = self:filter(lookup)
  local found = query:_aone()
  if found then
    return found, false
  end
  local ok, result = pcall(function()
    return self:_database():atomic(function()
      return self:acreate(values_of_new(lookup, defaults))
    end)
  end)
  if ok then
    return result, true
  end
  if errors.is_error(result, errors.IntegrityError) then
    found = query:_aone()
    if found then
      return found, false
    end
  end
  error(result, 0)
end

--- The object with these values, made if there is none.
---@async
---@param lookup table<string, any>
---@param defaults table<string, any>  to set; functions are called
---@param create_defaults table<string, any>?  instead of `defaults` for a new object
---@return rille.models.Instance object
---@return boolean created
function Query:aupdate_or_create(lookup, defaults, create_defaults)
  return self:_database():atomic(function()
    local query = self:select_for_update()
    local object, created = query:aget_or_create(lookup, create_defaults or defaults)
    if created then
      return object, true
    end
    local names = {}
    for name, value in pairs(values_of_new({}, defaults)) do
      object[name] = value
      names[#names + 1] = name
    end
    for _, field in ipairs(self.model._meta.fields) do
      if field.auto_now then
        names[#names + 1] = field.name
      end
    end
    return object:asave({ update_fields = names }), false
  end)
end

--- Objects by key, or by another unique field. Those that do not exist are absent.
---@async
---@param ids any[]?  nil: every row of the query
---@param opts { field_name: string }?
---@return table<any, rille.models.Instance>
function Query:ain_bulk(ids, opts)
  local name = opts and opts.field_name or "pk"
  local path = conditions.path(self.model, name)
  if not path.field.unique or #path.joins > 0 then
    error(("ain_bulk needs a unique field, and '%s' is none"):format(name), 2)
  end
  check_not_sliced(self, "filter", 2)
  local query = self
  if ids then
    query = query:filter({ [name .. "__in"] = ids })
  end
  local found = {}
  for _, object in ipairs(query:_afetch()) do
    found[object[path.field.attr]] = object
  end
  return found
end

--- Insert many objects with few statements, in one transaction. Keys are filled in, unless
--- `ignore_conflicts` lets the database skip rows.
---@async
---@param objects (table|rille.models.Instance)[]
---@param opts { batch_size: integer?, ignore_conflicts: boolean? }?
---@return rille.models.Instance[] objects
function Query:abulk_create(objects, opts)
  opts = opts or {}
  local size = opts.batch_size
  if size and (type(size) ~= "number" or size < 1 or size % 1 ~= 0) then
    error("batch_size must be a positive integer", 2)
  end
  local made = {}
  for i, object in ipairs(objects) do
    made[i] = getmetatable(object) and object or self.model(object)
    made[i]._db = self.database
  end
  if #made > 0 then
    self.model._meta:ainsert_many(self:_database(), made, opts)
  end
  return made
end

-- Manager ---------------------------------------------------------------------------

---@class rille.models.Manager : rille.models.Query
local Manager = {}
Manager.__index = Manager

for name, method in pairs(Query) do
  if type(method) == "function" and name:sub(1, 1) ~= "_" then
    Manager[name] = function(self, ...)
      return method(new(self.model), ...)
    end
  end
end

function Manager:__tostring()
  return self.model.__name .. ".objects"
end

--- The objects that point to an instance through a foreign key: `author.books`.
---@param field rille.models.Field
---@param instance rille.models.Instance
---@return rille.models.Query
local function of_owner(field, instance)
  if instance.pk == nil then
    error(
      errors.ValueError(
        ("%s must be saved before its %s can be used."):format(
          tostring(instance),
          field.related_name
        )
      ),
      0
    )
  end
  return new(field.model):filter({ [field.name] = instance }):_with({
    database = rawget(instance, "_db"),
    owner = { field = field, instance = instance },
  })
end

return {
  Query = Query,
  of_owner = of_owner,
  new = new,
  --- The `objects` of a model.
  manager = function(model)
    return setmetatable({ model = model }, Manager)
  end,
}
