--- Deletion: what goes with the objects that go, decided here by each foreign key's `on_delete`.
---
--- First everything is collected: what cascades, and what refers to that in turn. Whatever is
--- protected, or restricted and stays, raises before anything is changed. Then, in one transaction:
--- `pre_delete`, rows that nothing refers to by one DELETE, foreign keys set to NULL, the others by
--- key, those that refer before those referred to, `post_delete`.
---
--- Where nobody refers and nobody listens, it is one DELETE, as fast as by hand.

local errors = require("rille.errors")
local queries = require("rille.models.query")
local relations = require("rille.models.relations")
local signals = require("rille.models.signals")

local deletion = {}

local BATCH = 4000 -- keys in one statement

---@class rille.models.Collector
---@field database rille.db.Database
---@field using any
---@field found table<rille.models.Model, { rows: rille.models.Instance[], keys: table<any, true> }>
---@field fast rille.models.Query[]     rows that go by one statement
---@field nulls { query: rille.models.Query, field: rille.models.Field }[]
---@field protected table<string, rille.models.Instance[]>
---@field restricted { field: rille.models.Field, rows: rille.models.Instance[] }[]

local function listens(model)
  return signals.pre_delete:has_receivers(model) or signals.post_delete:has_receivers(model)
end

--- The foreign keys that point to a model, and say what is to be done.
local function keys_to(model)
  local list = {}
  for _, relation in ipairs(model._meta.pointing) do
    if relation.kind == "foreign_key" and relation.on_delete ~= "do_nothing" then
      list[#list + 1] = relation
    end
  end
  return list
end

--- May rows of a model go without being looked at?
---@param model rille.models.Model
---@param refers boolean  it refers to what is deleted: then a restriction of its may be lifted
local function is_fast(model, refers)
  if listens(model) or #keys_to(model) > 0 then
    return false
  end
  for _, field in ipairs(model._meta.fields) do
    if refers and field.kind == "foreign_key" and field.on_delete == "restrict" then
      return false
    end
  end
  return true
end

--- Rows without their columns, where nobody will see them.
local function lean(query)
  return listens(query.model) and query or query:only("pk")
end

local function referring(collector, field, keys)
  local all = queries.all_of(field.model, collector.using)
  return all:filter({ [field.name .. "__in"] = keys })
end

local acollect

--- What a foreign key has to say about the rows that it points to.
---@async
local function afollow(collector, field, keys)
  local query = referring(collector, field, keys)
  local on_delete = field.on_delete
  if on_delete == "set_null" then
    collector.nulls[#collector.nulls + 1] = { query = query, field = field }
  elseif on_delete == "cascade" and is_fast(field.model, true) then
    collector.fast[#collector.fast + 1] = query
  elseif on_delete == "cascade" then
    acollect(collector, field.model, lean(query):_afetch())
  else
    local rows = query:_afetch()
    if #rows == 0 then
      return
    elseif on_delete == "protect" then
      local name = field.model.__name .. "." .. field.name
      local list = collector.protected[name] or {}
      for _, row in ipairs(rows) do
        list[#list + 1] = row
      end
      collector.protected[name] = list
    else
      collector.restricted[#collector.restricted + 1] = { field = field, rows = rows }
    end
  end
end

---@async
function acollect(collector, model, rows)
  local found = collector.found[model] or { rows = {}, keys = {} }
  collector.found[model] = found
  local keys, attr = {}, model._meta.pk.attr
  for _, row in ipairs(rows) do
    local key = rawget(row, attr)
    if not found.keys[key] then
      found.keys[key] = true
      found.rows[#found.rows + 1] = row
      keys[#keys + 1] = key
    end
  end
  for _, field in ipairs(keys_to(model)) do
    for first = 1, #keys, BATCH do
      afollow(collector, field, { unpack(keys, first, math.min(first + BATCH - 1, #keys)) })
    end
  end
end

local REFUSED = "Cannot delete some instances of model '%s' because they are referenced through"
  .. " %s foreign keys: %s."

local function refuse(class, model, word, by_name)
  local names, objects = {}, {}
  for name, rows in pairs(by_name) do
    names[#names + 1] = "'" .. name .. "'"
    for _, row in ipairs(rows) do
      objects[#objects + 1] = row
    end
  end
  table.sort(names)
  local message = REFUSED:format(model.__name, word, table.concat(names, ", "))
  error(class(message, { objects = objects }), 0)
end

--- Raise for what may not lose what it refers to.
local function check(collector, model)
  if next(collector.protected) then
    refuse(errors.ProtectedError, model, "protected", collector.protected)
  end
  local staying = {}
  for _, entry in ipairs(collector.restricted) do
    local field = entry.field
    local going = collector.found[field.model]
    for _, row in ipairs(entry.rows) do
      if not going or not going.keys[row.pk] then
        local name = field.model.__name .. "." .. field.name
        staying[name] = staying[name] or {}
        table.insert(staying[name], row)
      end
    end
  end
  if next(staying) then
    refuse(errors.RestrictedError, model, "restricted", staying)
  end
end

--- The models found, those that refer before those they refer to.
local function in_order(found)
  local ordered, seen = {}, {}
  local function visit(model)
    if seen[model] or not found[model] then
      return
    end
    seen[model] = true
    for _, relation in ipairs(model._meta.pointing) do
      if relation.kind == "foreign_key" then
        visit(relation.model)
      end
    end
    ordered[#ordered + 1] = model
  end
  for model in pairs(found) do
    visit(model)
  end
  return ordered
end

local function count(counts, model, n)
  if n > 0 then
    counts[model.__name] = (counts[model.__name] or 0) + n
  end
end

---@async
local function asignal(collector, name, ordered)
  for _, model in ipairs(ordered) do
    if signals[name]:has_receivers(model) then
      for _, row in ipairs(collector.found[model].rows) do
        signals[name]:asend(model, { instance = row, using = collector.using })
      end
    end
  end
end

---@async
local function aexecute(collector)
  local ordered, counts = in_order(collector.found), {}
  asignal(collector, "pre_delete", ordered)
  for _, query in ipairs(collector.fast) do
    count(counts, query.model, query:_adelete_rows())
  end
  for _, entry in ipairs(collector.nulls) do
    entry.query:_aset({ { field = entry.field } })
  end
  for _, model in ipairs(ordered) do
    local keys = {}
    for i, row in ipairs(collector.found[model].rows) do
      keys[i] = row.pk
    end
    local all = queries.all_of(model, collector.using)
    for first = 1, #keys, BATCH do
      local some = { unpack(keys, first, math.min(first + BATCH - 1, #keys)) }
      count(counts, model, all:filter({ pk__in = some }):_adelete_rows())
    end
  end
  asignal(collector, "post_delete", ordered)
  return counts
end

local function total_of(counts)
  local total = 0
  for _, n in pairs(counts) do
    total = total + n
  end
  return total, counts
end

---@async
local function adelete_rows(using, database, model, rows)
  local collector = {
    database = database,
    using = using,
    found = {},
    fast = {},
    nulls = {},
    protected = {},
    restricted = {},
  }
  acollect(collector, model, rows)
  check(collector, model)
  local counts = database:atomic(function()
    return aexecute(collector)
  end, { savepoint = false })
  return total_of(counts)
end

--- Are rows of a model deleted by one statement, since nobody refers to them and nobody listens?
---@param model rille.models.Model
---@return boolean
function deletion.is_alone(model)
  relations.settle()
  return is_fast(model, false)
end

--- Delete the rows of a query, and what goes with them.
---@async
---@param query rille.models.Query
---@return integer total
---@return table<string, integer> counts  by model
function deletion.of_query(query)
  local database, model = query:_database(), query.model
  if deletion.is_alone(model) then
    local counts = {}
    count(counts, model, query:_adelete_rows())
    return total_of(counts)
  end
  local plain = query:_with({ order = {}, related = {}, loaded = false, lock = false })
  plain.deferred, plain.masks, plain.prefetches, plain.annotations = nil, nil, nil, nil
  return adelete_rows(query.database, database, model, lean(plain):_afetch())
end

--- Delete one object, and what goes with it.
---@async
---@param using any       name of its database, or nil
---@param database rille.db.Database
---@param instance rille.models.Instance
---@return integer total
---@return table<string, integer> counts
function deletion.of_instance(using, database, instance)
  local model = getmetatable(instance).model
  if deletion.is_alone(model) then
    return queries.all_of(model, using):filter({ pk = instance.pk }):adelete()
  end
  return adelete_rows(using, database, model, { instance })
end

return deletion
