--- A query is a value: every builder returns a new one, and nothing reaches the database
--- until a method whose name starts with `a`.
---
---     Folder.objects:filter { name__startswith = "a" }:order_by("-id"):limit(10):alist()
---
--- What `alist` fetched stays on its query object: `alist`, `acount` and `aexists` answer
--- from it afterwards. Builders return queries that have fetched nothing.
---
--- Here are the value and its builders; the `a` methods are in `rille.models.reading` and
--- `rille.models.writing`.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local db = require("rille.db")
local errors = require("rille.errors")

---@class rille.models.Query
---@field model rille.models.Model
---@field database string|rille.db.Database|nil  nil: the default one
---@field where table|boolean      a tree of `rille.models.conditions`
---@field order { path: rille.models.Path, descending: boolean, random: boolean? }[]
---@field reversed boolean
---@field limit_to integer?
---@field skip integer
---@field limit_slot integer?      of a template (`rille.models.forms`): limit_to is this open value
---@field skip_slot integer?
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

--- Queries of a model that has methods for them are of a class of its own.
local function metatable_of(model)
  local meta = model._meta
  if not meta.methods then
    return Query
  elseif not meta.query_metatable then
    local methods = {}
    for name, method in pairs(meta.methods) do
      methods[name] = method
    end
    meta.query_metatable = {
      __index = setmetatable(methods, { __index = Query }),
      __tostring = Query.__tostring,
    }
  end
  return meta.query_metatable
end

--- All rows of a model.
---@param model rille.models.Model
---@return rille.models.Query
local function new(model)
  local query = setmetatable({ model = model }, metatable_of(model))
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
  return setmetatable(copy, getmetatable(self))
end

--- Of a light query, the ordinary one that it stands for.
function Query:_ordinary()
  return self
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

--- What to say when an empty table was given; `%s` is the method.
local EMPTY = "%s was given an empty table, and a nil value leaves no trace in a table:"
  .. " compare with rille.null or isnull, or leave the argument out to mean every row"

--- What filter, exclude and aget were given, as one node.
---@param what string   the method, for messages
---@param level integer whom to blame, as in `error`
function Query:_build(what, level, ...)
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

--- Raise if `limit` or `offset` came before what only makes sense first.
function Query:_check_not_sliced(what, level)
  if self:_is_sliced() then
    error(("Cannot %s a query once a slice has been taken."):format(what), level + 1)
  end
end

--- Rows for which all of the given tables and Qs hold.
--- Raises `FieldError` for an unknown field or lookup, `ValueError` for a value that does not fit.
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Query
function Query:filter(...)
  self:_check_not_sliced("filter", 2)
  local node = self:_build("filter", 2, ...)
  return self:_with({ where = conditions.all_of({ self.where, node }) })
end

--- Rows for which not all of them hold; what is NULL is not equal to anything, so it stays.
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Query
function Query:exclude(...)
  self:_check_not_sliced("filter", 2)
  local node = select("#", ...) > 0 and conditions.none_of(self:_build("exclude", 2, ...)) or true
  return self:_with({ where = conditions.all_of({ self.where, node }) })
end

--- Order by fields, `-` in front for descending, `?` for random; without arguments, unordered.
--- Replaces the order there was.
---@param ... string
---@return rille.models.Query
function Query:order_by(...)
  self:_check_not_sliced("reorder", 2)
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
  self:_check_not_sliced("reverse", 2)
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

--- Fields by name, or all of them, as `values` selects them.
function Query:_select_fields(...)
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
  return self:_with({ shape = "values", selected = self:_select_fields(...), related = {} })
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
    selected = self:_select_fields(unpack(given)),
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

return { Query = Query, new = new, metatable_of = metatable_of, EMPTY = EMPTY }
