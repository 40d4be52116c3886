--- A query is a value: every builder returns a new one, and nothing reaches the database
--- until a method whose name starts with `a`.
---
---     Folder.objects:filter { name__startswith = "a" }:order_by("-id"):limit(10):alist()
---
--- What `alist` fetched stays on its query object: `alist`, `acount` and `aexists` answer
--- from it afterwards. Builders return queries that have fetched nothing.
---
--- Here are the value and the builders that say which rows; those that say what of them are in
--- `rille.models.selection` and `loading`, and the `a` methods in `reading`, `writing`, `bulk` and
--- `iteration`.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local db = require("rille.db")
local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local names = require("rille.models.names")
local resolve = require("rille.models.resolve")

---@class rille.models.Query : rille.models.Subject
---@field model rille.models.Model
---@field database string|rille.db.Database|nil  nil: the default one
---@field where table|boolean      a tree of `rille.models.conditions`
---@field order rille.models.OrderTerm[]
---@field default_order boolean?   nobody has asked for it: it is the model's
---@field reversed boolean
---@field limit_to integer?
---@field skip integer
---@field limit_slot integer?      of a template (`rille.models.forms`): limit_to is this open value
---@field skip_slot integer?
---@field given any[]?          what open values in it stand for
---@field shift integer?        of a template inside of another: where its values begin there
---@field distinct_on rille.models.Node[]|false  empty: on the whole row
---@field shape "instances"|"values"|"list"|"flat"
---@field selected { name: string, node: rille.models.Node }[]?  unless instances
---@field annotations rille.models.Annotation[]?
---@field annotated table<string, rille.models.Annotation>?  the same, by name
---@field group "pk"|rille.models.Node[]|nil  of what the rows of a group have in common
---@field scopes table<string, table>?  how related rows are joined, see `rille.models.names`
---@field related rille.models.Related[]  objects to bring along, near ones first
---@field loaded rille.models.Field[]|false  what instances come with; false: everything
---@field deferred table<string, true>?      the attributes they come without
---@field masks table<string, rille.models.Mask>?  both, also of related objects, by name; own: ""
---@field prefetches rille.models.Prefetch[]?  to fetch afterwards
---@field lock { tail: string, of: table?, no_key: boolean }|false
---@field combined { op: string, all: boolean, queries: rille.models.Query[] }?
---@field owner rille.models.Owner?  of `author.books`
---@field cached any[]?            what alist fetched
---@field prefetched any[]?        of `author.books`: what came with the author
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

---@class rille.models.OrderTerm
---@field node rille.models.Node?
---@field descending boolean
---@field nulls "FIRST"|"LAST"|nil
---@field random boolean?
---@field position integer?  of a combination: the column
---@field name string?       … and what it is called

---@class rille.models.Related
---@field name string                  `author__parent`
---@field key string                   what the object is called on its owner: `parent`
---@field parent string?               `author`
---@field joins rille.models.Step[]
---@field model rille.models.Model     what comes along

---@class rille.models.Annotation
---@field name string
---@field node rille.models.Node
---@field output rille.models.Field
---@field selected boolean  it comes with the rows; false: it is only a name

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
  if not ordering then
    return query
  end
  query = query:order_by(unpack(ordering))
  query.default_order = true
  return query
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
  copy.cached, copy.prefetched = nil, nil
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

--- What filter, exclude and aget were given, as one node, about one and the same related object.
---@param what string   the method, for messages
---@param level integer whom to blame, as in `error`
---@param scope table
function Query:_build(what, level, scope, ...)
  local nodes = {}
  for i = 1, select("#", ...) do
    local given = select(i, ...)
    if type(given) ~= "table" then
      error(("%s takes tables of conditions and Qs, not a %s"):format(what, type(given)), level + 1)
    end
    if next(given) == nil then
      error(EMPTY:format(what), level + 1)
    end
    nodes[i] = conditions.build(self, given, scope)
  end
  return conditions.all_of(nodes)
end

--- Note the names of paths that may lead to several rows, as far as `node` joins them in `scope`.
local function paths_in(node, scope, found)
  if type(node) ~= "table" then
    return found
  elseif node.scope == scope and node.path and node.path.many then
    found = found or {}
    found[node.path.many] = scope
  end
  for _, child in ipairs(node) do
    found = paths_in(child, scope, found)
  end
  return found
end

--- The query with one more condition.
---@param node table|boolean
---@param scope table  of what it says about related objects
---@return rille.models.Query
function Query:_narrow(node, scope)
  local changes = { where = conditions.all_of({ self.where, node }) }
  local found = paths_in(node, scope)
  if found then
    for name, other in pairs(self.scopes or {}) do
      found[name] = found[name] or other
    end
    changes.scopes = found
  end
  return self:_with(changes)
end

--- Raise if this is a `union` or the like, of which little more can be asked.
function Query:_check_not_combined(what, level)
  if self.combined then
    error(
      errors.NotSupportedError(
        ("Calling %s after union, intersection or difference is not supported."):format(what)
      ),
      level + 1
    )
  end
end

--- The key, as a term to order by.
function Query:_key_term()
  return { node = names.column(self, self.model._meta.pk_path), descending = false }
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
  self:_check_not_combined("filter", 2)
  local scope = {}
  return self:_narrow(self:_build("filter", 2, scope, ...), scope)
end

--- Rows for which not all of them hold; what is NULL is not equal to anything, so it stays.
---@param ... table<string, any>|rille.models.Q
---@return rille.models.Query
function Query:exclude(...)
  self:_check_not_sliced("filter", 2)
  self:_check_not_combined("exclude", 2)
  if select("#", ...) == 0 then
    return self:_with({})
  end
  local scope = {}
  return self:_narrow(conditions.none_of(self:_build("exclude", 2, scope, ...)), scope)
end

--- The columns of a combination go by position.
local function by_position(query, given)
  local first = query.combined.queries[1]
  local sign, key = tostring(given):match("^(%-?)(.*)$")
  local columns = {}
  if first.shape == "instances" then
    for i, field in ipairs(first.loaded or first.model._meta.fields) do
      columns[i] = field.attr
      if field.name == key or key == "pk" and field.primary_key then
        key = field.attr
      end
    end
  else
    for i, selected in ipairs(first.selected) do
      columns[i] = selected.name
    end
  end
  for i, name in ipairs(columns) do
    if name == key then
      return { position = i, name = name, descending = sign == "-" }
    end
  end
  error(errors.FieldError(("'%s' is not among the columns of the queries"):format(key)), 0)
end

--- What one argument of order_by means: a foreign key, by its name, goes by the order of what it
--- leads to, if that has one.
local function add_terms(query, given, order, seen)
  local term = resolve.order_term(query, given)
  local path = type(given) == "string" and term.node and term.node.path
  local of = path and path.field.kind == "foreign_key" and path.of
  local ordering = of and of._meta.ordering
  local sign, key = tostring(given):match("^(%-?)(.*)$")
  if not ordering or ("__" .. key):sub(-#path.field.name - 2) ~= "__" .. path.field.name then
    order[#order + 1] = term
    return
  elseif seen[path.field] then
    error(errors.FieldError("Infinite loop caused by ordering."), 0)
  end
  seen[path.field] = true
  for _, far in ipairs(ordering) do
    local far_sign, far_key = far:match("^(%-?)(.*)$")
    local down = (sign == "-") ~= (far_sign == "-")
    local name = far == "?" and far or (down and "-" or "") .. key .. "__" .. far_key
    add_terms(query, name, order, seen)
  end
  seen[path.field] = nil
end

--- Order by fields, `-` in front for descending, `?` for random, or by expressions:
--- `F("pages"):desc { nulls_last = true }`. Without arguments, unordered. Replaces the order there
--- was.
---@param ... string|rille.models.Expression
---@return rille.models.Query
function Query:order_by(...)
  self:_check_not_sliced("reorder", 2)
  local order = {}
  for i = 1, select("#", ...) do
    local given = select(i, ...)
    if self.combined then
      order[i] = by_position(self, given)
    else
      add_terms(self, given, order, {})
    end
  end
  local query = self:_with({ order = order, reversed = false, default_order = false })
  for _, term in ipairs(order) do
    if term.node and term.node.aggregate and not query.group then
      query.group = query:_group()
    end
  end
  return query
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
  local copy = self:_with({})
  copy.cached = self.prefetched -- of author.books: the same objects as it has
  return copy
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
  self:_check_not_combined("distinct", 2)
  local nodes = {}
  for i = 1, select("#", ...) do
    nodes[i] = names.name(self, (select(i, ...)))
  end
  return self:_with({ distinct_on = nodes })
end

--- On another database.
---@param database string|rille.db.Database
---@return rille.models.Query
function Query:using(database)
  db.get(database) -- raises if there is none
  return self:_with({ database = database })
end

--- Lock the rows until the transaction ends; only inside `atomic`. `of` names whose rows, "self" or
--- relations that select_related brings along; with `no_key`, others may go on to refer to them. On
--- SQLite, `atomic` itself keeps every other writer out.
---@param opts { nowait: boolean?, skip_locked: boolean?, of: string[]?, no_key: boolean? }?
---@return rille.models.Query
function Query:select_for_update(opts)
  self:_check_not_combined("select_for_update", 2)
  opts = opts or {}
  if opts.nowait and opts.skip_locked then
    error("the options nowait and skip_locked exclude each other", 2)
  end
  local of
  for i, name in ipairs(opts.of or {}) do
    of = of or {}
    of[i] = name == "self" and {} or nil
    for _, related in ipairs(self.related) do
      of[i] = of[i] or related.name == name and related.joins or nil
    end
    if not of[i] then
      error(
        errors.FieldError(
          ("'%s' in the option of is neither \"self\" nor among select_related"):format(name)
        ),
        2
      )
    end
  end
  local tail = opts.nowait and " NOWAIT" or opts.skip_locked and " SKIP LOCKED" or ""
  return self:_with({ lock = { tail = tail, of = of, no_key = opts.no_key == true } })
end

-- Combinations ----------------------------------------------------------------------------

local function combine(self, op, opts, others)
  local queries = { self }
  for i, other in ipairs(others) do
    if not expressions.is_query(other) then
      error(("argument %d of %s is no query"):format(i, op), 3)
    end
    queries[i + 1] = other:_ordinary()
  end
  local kept, none = {}, false
  for i, query in ipairs(queries) do
    if query.where ~= false then
      kept[#kept + 1] = query
    else
      none = none or op == "INTERSECT" or op == "EXCEPT" and i == 1
    end
  end
  if none or #kept == 0 then
    return self:none()
  elseif #kept == 1 then
    return kept[1]
  end
  for i, query in ipairs(kept) do
    if not query:_is_sliced() and not query.distinct_on and #query.order > 0 then
      kept[i] = query:_with({ order = {} })
    end
  end
  local result = self:_with({
    where = true,
    order = {},
    reversed = false,
    skip = 0,
    distinct_on = false,
    combined = { op = op, all = opts.all == true, queries = kept },
  })
  result.limit_to, result.group = nil, nil
  result.limit_slot, result.skip_slot = nil, nil
  return result
end

local function options_of(...)
  local given = { ... }
  local last = given[#given]
  if type(last) == "table" and getmetatable(last) == nil then
    given[#given] = nil
    return last, given
  end
  return {}, given
end

--- The rows of this query and the others, each different one once; with `{ all = true }` last, all
--- of them. Their columns have to match. Afterwards only ordering, slices and reading are left.
---@param ... rille.models.Query|{ all: boolean }
---@return rille.models.Query
function Query:union(...)
  local opts, others = options_of(...)
  return combine(self, "UNION", opts, others)
end

--- The rows that this query and all others give.
---@param ... rille.models.Query
---@return rille.models.Query
function Query:intersection(...)
  return combine(self, "INTERSECT", {}, { ... })
end

--- The rows that this query gives and none of the others.
---@param ... rille.models.Query
---@return rille.models.Query
function Query:difference(...)
  return combine(self, "EXCEPT", {}, { ... })
end

return { Query = Query, new = new, metatable_of = metatable_of, EMPTY = EMPTY }
