--- Prefetching: related objects of many objects, with one query per level.
---
---     Author.objects:prefetch_related("books__tags"):alist()    -- three queries, for all authors
---     Prefetch("books", Book.objects:filter { pages__gt = 100 }, { to_attr = "long_books" })
---     Prefetch("books", Book.objects:order_by("-pages"):limit(3))   -- of each author, three
---
--- What was fetched is what `author.books:alist()`, `book.author` and `user.profile` give without
--- asking again; with `to_attr` it is a plain list of that name instead.

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local functions = require("rille.models.functions")
local logic = require("rille.models.logic")
local names = require("rille.models.names")
local null = require("rille.core").null
local paths = require("rille.models.paths")
local queries = require("rille.models.query")
require("rille.models.related")
local relations = require("rille.models.relations")
local tests = require("rille.models.tests")

local Query = queries.Query

local prefetch = {}

---@class rille.models.Prefetch
---@field lookup string                `books__tags`
---@field query rille.models.Query?    for the last level
---@field to_attr string?
local Prefetch = {}
Prefetch.__index = Prefetch

--- What to prefetch, and by which query.
---@param lookup string
---@param query rille.models.Query?
---@param opts { to_attr: string? }?
---@return rille.models.Prefetch
function prefetch.Prefetch(lookup, query, opts)
  if type(lookup) ~= "string" then
    error(("Prefetch needs the name of a relation, not a %s"):format(type(lookup)), 2)
  elseif query ~= nil and not expressions.is_query(query) then
    error(("Prefetch needs a query, not a %s"):format(type(query)), 2)
  end
  if query and query:_ordinary().shape ~= "instances" then
    error("Prefetch querysets cannot use values() or values_list().", 2)
  end
  return setmetatable({ lookup = lookup, query = query, to_attr = opts and opts.to_attr }, Prefetch)
end

---@class rille.models.Level  a relation of a model, as it is prefetched
---@field model rille.models.Model  of what is fetched
---@field name string
---@field one boolean               one object, and no list
---@field key fun(owner: table): any            what an owner is found by
---@field narrow fun(query: rille.models.Query, keys: any[]): rille.models.Query
---@field owner_key fun(object: table): any     which owner a fetched object belongs to
---@field owned_by (fun(query: rille.models.Query): rille.models.Node)?  the column that says so;
---  absent where each object is fetched once, whoever has it
---@field back rille.models.Field?  the foreign key of what is fetched, which leads to the owner

local PAIRED = "prefetched_for"

--- The relation that a model calls `name`. nil: it has none.
---@return rille.models.Level?
local function level_of(model, name)
  local meta = model._meta
  local field = meta.by_name[name]
  if field and field.kind == "foreign_key" then
    local pk = field:target()._meta.pk
    return {
      name = name,
      model = field:target(),
      one = true,
      key = function(owner)
        return owner[field.attr]
      end,
      narrow = function(query, keys)
        return query:filter({ pk__in = keys })
      end,
      owner_key = function(object)
        return rawget(object, pk.attr)
      end,
    }
  end
  relations.settle()
  local function own_key(owner)
    return rawget(owner, meta.pk.attr)
  end
  local many = meta.many[name] or meta.reverse[name]
  if not many then
    return nil
  elseif many.kind == "foreign_key" then
    return {
      name = name,
      model = many.model,
      one = many.one_to_one == true,
      back = many,
      key = own_key,
      narrow = function(query, keys)
        return query:filter({ [many.name .. "__in"] = keys })
      end,
      owner_key = function(object)
        return object[many.attr]
      end,
      owned_by = function(query)
        return names.name(query, many.name)
      end,
    }
  end
  local _, near, far = many:between()
  if not meta.many[name] then
    near, far = far, near
  end
  return {
    name = name,
    model = far:target(),
    one = false,
    key = own_key,
    narrow = function(query, keys)
      return query:_paired({ near = near, far = far, key = keys, name = PAIRED })
    end,
    owner_key = function(object)
      local key = rawget(object, PAIRED)
      rawset(object, PAIRED, nil)
      return key
    end,
    owned_by = function(query)
      return query.annotations[#query.annotations].node -- which `paired` has added
    end,
  }
end

local function unknown(model, name, lookup)
  local meta, choices = model._meta, { unpack(model._meta.relation_names) }
  for key in pairs(meta.many) do
    choices[#choices + 1] = key
  end
  for key in pairs(meta.reverse) do
    choices[#choices + 1] = key
  end
  table.sort(choices)
  local told = "Cannot find '%s' on %s, '%s' is an invalid parameter to prefetch_related."
    .. " Choices are: %s"
  return errors.FieldError(told:format(name, model.__name, lookup, table.concat(choices, ", ")))
end

--- Hang what was found on the owners.
local function hang(owners, level, found, to_attr)
  for _, owner in ipairs(owners) do
    local key = level.key(owner)
    local list = key ~= nil and found[key] or {}
    if to_attr then
      rawset(owner, to_attr, level.one and list[1] or not level.one and list or nil)
    elseif level.one then
      local known = rawget(owner, "_related") or {}
      known[level.name] = list[1]
      if not list[1] and level.back then
        known[level.name] = false -- it was looked for, and there is none
      end
      rawset(owner, "_related", known)
    else
      local lists = rawget(owner, "_prefetched") or {}
      lists[level.name] = list
      rawset(owner, "_prefetched", lists)
    end
    if level.back and not to_attr then
      for _, object in ipairs(list) do
        local known = rawget(object, "_related") or {}
        known[level.back.name] = owner
        rawset(object, "_related", known)
      end
    end
  end
end

--- Has an owner this relation's objects already?
local function has(owner, level)
  local known = level.one and rawget(owner, "_related") or rawget(owner, "_prefetched")
  return known ~= nil and known[level.name] ~= nil
end

local function collect(owners, level, to_attr)
  local objects, seen = {}, {}
  for _, owner in ipairs(owners) do
    local list = to_attr and rawget(owner, to_attr)
    if not to_attr and level.one then
      local known = rawget(owner, "_related")
      list = { known and known[level.name] or nil }
    elseif not to_attr then
      list = (rawget(owner, "_prefetched") or {})[level.name]
    elseif level.one then
      list = { list }
    end
    for _, object in ipairs(list or {}) do
      if not seen[object] then
        seen[object] = true
        objects[#objects + 1] = object
      end
    end
  end
  return objects
end

--- The number of a row among those of its owner, in the order of the query.
---@return rille.models.Node
local function place_among(query, owner_column)
  local order, output = {}, names.output("bigint")
  for i, term in ipairs(#query.order > 0 and query.order or { query:_key_term() }) do
    local nulls = term.nulls
    if nulls and query.reversed then
      nulls = nulls == "FIRST" and "LAST" or "FIRST"
    end
    order[i] = {
      node = term.node,
      random = term.random,
      descending = term.descending ~= query.reversed,
      nulls = nulls,
    }
  end
  return {
    kind = "window",
    node = names.call(functions.by_name.RowNumber, {}, output),
    partition = { owner_column },
    order = order,
    output = output,
    windowed = true,
  }
end

--- A query for all owners that gives each the slice that the one given would give it alone.
---@return rille.models.Query
local function sliced_for_each(query, level, keys)
  if not level.owned_by then
    local told = "a query with a slice cannot be prefetched with for '%s': it is one object"
    error(errors.NotSupportedError(told:format(level.name)), 0)
  end
  local whole = query:_with({ skip = 0 })
  whole.limit_to = nil
  whole = level.narrow(whole, keys)
  local place = place_among(whole, level.owned_by(whole))
  local look = { key = level.name, subject = whole, left = place, output = place.output }
  local skip, limit = query.skip, query.limit_to
  return whole:_narrow(logic.all_of({
    skip == 0 or tests.new(look, "gt", skip),
    not limit or tests.new(look, "lte", skip + limit),
  }), {})
end

--- Fetch one level for these owners, with one statement.
---@async
local function afetch(owners, level, query, using, to_attr)
  local keys, seen = {}, {}
  for _, owner in ipairs(owners) do
    local key = level.key(owner)
    if key ~= nil and key ~= null and not seen[key] then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  local found = {}
  if #keys > 0 then
    query = query or level.model.objects:all()
    if using and not query.database then
      query = query:using(using)
    end
    local some
    if query:_is_sliced() then
      some = sliced_for_each(query:_ordinary(), level, keys)
    else
      some = level.narrow(query, keys)
    end
    for _, object in ipairs(some:_afetch()) do
      local key = level.owner_key(object)
      local list = found[key]
      if not list then
        list = {}
        found[key] = list
      end
      list[#list + 1] = object
    end
  end
  hang(owners, level, found, to_attr)
end

--- Fetch what these prefetches name for these objects, which are all of one model.
---@async
---@param objects rille.models.Instance[]
---@param prefetches rille.models.Prefetch[]
function prefetch.afetch_all(objects, prefetches)
  for _, one in ipairs(prefetches) do
    local owners, model = objects, #objects > 0 and getmetatable(objects[1]).model
    local parts = paths.split(one.lookup)
    for i, name in ipairs(parts) do
      if #owners == 0 then
        break
      end
      local level = level_of(model, name)
      if not level then
        error(unknown(model, name, one.lookup), 0)
      end
      local last = i == #parts
      local to_attr = last and one.to_attr or nil
      local missing = {}
      for _, owner in ipairs(owners) do
        if to_attr or last and one.query or not has(owner, level) then
          missing[#missing + 1] = owner
        end
      end
      if #missing > 0 then
        local using = rawget(missing[1], "_db")
        afetch(missing, level, last and one.query or nil, using, to_attr)
      end
      owners, model = collect(owners, level, to_attr), level.model
    end
  end
end

local function check_lookup(model, one)
  for name in (one.lookup .. "__"):gmatch("(.-)__") do
    local level = level_of(model, name)
    if not level then
      error(unknown(model, name, one.lookup), 0)
    end
    model = level.model
  end
end

--- Prefetches as they were given: names, or `Prefetch`es.
local function as_prefetches(what, model, given, level)
  local list = {}
  for i, one in ipairs(given) do
    if type(one) == "string" then
      one = setmetatable({ lookup = one }, Prefetch)
    elseif getmetatable(one) ~= Prefetch then
      error(("argument %d of %s is neither a name nor a Prefetch"):format(i, what), level + 1)
    end
    check_lookup(model, one)
    list[i] = one
  end
  return list
end

--- Fetch related objects afterwards, one query per level: of foreign keys, of what points here, of
--- pairs, `author__books__tags`. Adds to an earlier call; `prefetch_related(rille.null)` takes all
--- back. A `Prefetch` says by which query.
---@param ... string|rille.models.Prefetch
---@return rille.models.Query
function Query:prefetch_related(...)
  self:_check_not_combined("prefetch_related", 2)
  if self.shape ~= "instances" then
    error("Cannot call prefetch_related after values or values_list.", 2)
  end
  local given = { ... }
  if given[1] == null then
    local copy = self:_with({})
    copy.prefetches = nil
    return copy
  end
  local list = { unpack(self.prefetches or {}) }
  for _, one in ipairs(as_prefetches("prefetch_related", self.model, given, 2)) do
    list[#list + 1] = one
  end
  return self:_with({ prefetches = list })
end

--- Fetch what belongs to these rows of the query.
---@async
function Query:_prefetch(rows)
  prefetch.afetch_all(rows, self.prefetches)
end

--- Fetch related objects of objects that are there already, as far as they are not.
---@async
---@param objects rille.models.Instance[]  of one model
---@param ... string|rille.models.Prefetch
function prefetch.aprefetch_related_objects(objects, ...)
  if #objects > 0 then
    local model = getmetatable(objects[1]).model
    prefetch.afetch_all(objects, as_prefetches("aprefetch_related_objects", model, { ... }, 2))
  end
end

return prefetch
