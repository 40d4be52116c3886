--- Related objects: `author.books`, `book.tags`. Each is a query for them that also knows whose
--- they are: what it makes belongs to the owner, and it adds and removes.
---
---     author.books:acreate { title = "x" }     author.books:aadd(book, other)
---     book.tags:aset({ red, blue })            club.members:aadd(ann, { through_defaults = … })
---
--- Adds the methods to queries. Everything that takes several statements is one transaction.

local errors = require("rille.errors")
local open = require("rille.models.open")
local queries = require("rille.models.query")
local relations = require("rille.models.relations")
require("rille.models.writing")
local signals = require("rille.models.signals")
local tests = require("rille.models.tests")

local Query = queries.Query

---@class rille.models.Owner
---@field instance rille.models.Instance  whose they are
---@field name string                     what it calls them
---@field field rille.models.Field?       a foreign key of theirs points to it
---@field many rille.models.ManyToMany?   or else they are pairs
---@field through rille.models.Model?     … in this table
---@field near rille.models.Field?        … whose keys to it, and to them, these are
---@field far rille.models.Field?

--- The column of the table between that holds the owner's key, as seen from the far objects.
local function owner_column(near, far)
  local back = relations.back(far)
  local path = {
    joins = { back },
    field = near,
    nullable = true,
    many = back.name .. "__",
    many_at = 1,
  }
  return { kind = "column", path = path, scope = {}, output = near, nullable = true }
end

---@class rille.models.Pairing  rows that a table between pairs with a key, or with one of several
---@field near rille.models.Field  the foreign key to the owner
---@field far rille.models.Field   … and the one to them
---@field key any                  or keys, in a list: then
---@field name string?             each row comes with its own as this

--- Of the far objects, those that are paired so.
---@param pairing rille.models.Pairing
---@return rille.models.Query
function Query:_paired(pairing)
  local near, key, name = pairing.near, pairing.key, pairing.name
  local left = owner_column(near, pairing.far)
  local look = { key = near.name, path = left.path, left = left, output = near, subject = self }
  if not name then
    local wired = open.map(key, function(given)
      return near:wire(near:clean(given))
    end)
    return self:_narrow(tests.new(look, "exact", wired), left.scope)
  end
  local query = self:_narrow(tests.make["in"](look, key), left.scope)
  local annotations = { unpack(query.annotations or {}) }
  annotations[#annotations + 1] = { name = name, node = left, output = near, selected = true }
  return query:_with({ annotations = annotations })
end

local function check_saved(instance, name)
  if instance.pk == nil then
    error(
      errors.ValueError(
        ("%s must be saved before its %s can be used."):format(tostring(instance), name)
      ),
      0
    )
  end
end

--- What an instance calls `name`: the objects that point to it, or are paired with it.
---@param relation rille.models.Field|rille.models.ManyToMany
---@param instance rille.models.Instance
---@param name string
---@param own boolean  a many-to-many of its own, not seen from the other side
---@return rille.models.Query
local function of_owner(relation, instance, name, own)
  check_saved(instance, name)
  local database = rawget(instance, "_db")
  local query
  if relation.kind == "many_to_many" then
    local through, near, far = relation:between()
    if not own then
      near, far = far, near
    end
    query = far:target().objects:all():_paired({ near = near, far = far, key = instance.pk })
    query.owner = {
      instance = instance,
      name = name,
      many = relation,
      own = own,
      through = through,
      near = near,
      far = far,
    }
  else
    query = relation.model.objects:filter({ [relation.name] = instance })
    query.owner = { instance = instance, name = name, field = relation }
  end
  query.database = database
  local known = rawget(instance, "_prefetched")
  if known and known[name] then
    query = query:_ordinary()
    query.cached, query.prefetched = known[name], known[name]
  end
  return query
end

--- The owner, whose memory of these objects is gone: they change.
local function owner_of(query, what)
  local owner = query.owner
  if not owner then
    error(("%s is for the objects of a related one, such as author.books"):format(what), 3)
  end
  local known = rawget(owner.instance, "_prefetched")
  if known then
    known[owner.name] = nil
  end
  query.cached, query.prefetched = nil, nil
  return owner
end

--- Objects, and the options behind them.
local function split(...)
  local objects = { ... }
  local last = objects[#objects]
  if type(last) == "table" and getmetatable(last) == nil then
    objects[#objects] = nil
    return objects, last
  end
  return objects, {}
end

local function atomic(query, fn)
  return query:_database():atomic(fn, { savepoint = false })
end

--- All rows of a model, where the query looks.
local function all_of(query, model)
  return queries.all_of(model, query.database)
end

-- Foreign keys ------------------------------------------------------------------------

local function check_objects(query, what, objects, must_be_saved)
  for i, object in ipairs(objects) do
    if getmetatable(object) ~= query.model._meta.instance or must_be_saved and object.pk == nil then
      error(("argument %d of %s is no saved %s"):format(i, what, query.model.__name), 3)
    end
  end
end

local function keys_of(objects)
  local keys = {}
  for i, object in ipairs(objects) do
    keys[i] = object.pk
  end
  return keys
end

--- Point these objects at the owner, or nowhere.
---@async
local function apoint(query, owner, objects, target)
  local value = target or require("rille.core").null
  local some = all_of(query, query.model):filter({ pk__in = keys_of(objects) })
  local matched = some:aupdate({ [owner.field.name] = value })
  for _, object in ipairs(objects) do
    object[owner.field.name] = target
  end
  return matched
end

local function check_nullable(query, owner, what)
  if not owner.field.null then
    error(
      ("%s needs a foreign key that may be NULL, and %s.%s may not"):format(
        what,
        query.model.__name,
        owner.field.name
      ),
      3
    )
  end
end

local function check_belongs(query, owner, objects)
  for _, object in ipairs(objects) do
    if object[owner.field.attr] ~= owner.instance.pk then
      error(
        query.model.DoesNotExist(
          ("%s is not related to %s."):format(tostring(object), tostring(owner.instance))
        ),
        0
      )
    end
  end
end

-- Pairs ---------------------------------------------------------------------------------

--- Keys of what was given: objects or keys themselves.
local function far_keys(owner, given)
  local keys, seen = {}, {}
  for _, one in ipairs(given) do
    local key = owner.far:clean(one)
    if not seen[key] then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  return keys
end

--- Tell who listens to a change of pairs.
---@async
local function atell(query, owner, action, keys)
  local sender = owner.through
  if signals.m2m_changed:has_receivers(sender) then
    signals.m2m_changed:asend(sender, {
      instance = owner.instance,
      action = action,
      reverse = not owner.own,
      model = query.model,
      pk_set = keys,
      using = query.database,
    })
  end
end

--- Is everybody's friend's friend everybody's friend: does each pair go both ways?
local function is_symmetrical(owner)
  return owner.many.symmetrical and owner.own
end

--- The rows between, of the owner and these keys; nil: of all.
local function pairs_of(query, owner, keys, reversed)
  local near, far = owner.near, owner.far
  if reversed then
    near, far = far, near
  end
  local rows = all_of(query, owner.through):filter({ [near.attr] = owner.instance.pk })
  return keys and rows:filter({ [far.attr .. "__in"] = keys }) or rows
end

--- Make those of these pairs that are not there. Their keys.
---@async
local function amake_pairs(query, owner, keys, defaults, reversed)
  local near, far = owner.near, owner.far
  if reversed then
    near, far = far, near
  end
  local known, missing, rows = {}, {}, {}
  if #keys > 0 then
    for _, key in ipairs(pairs_of(query, owner, keys, reversed)
      :values_list(far.attr, { flat = true }):alist()) do
      known[key] = true
    end
  end
  for _, key in ipairs(keys) do
    if not known[key] then
      local row = {}
      for name, value in pairs(defaults or {}) do
        row[name] = type(value) == "function" and value() or value
      end
      row[near.attr], row[far.attr] = owner.instance.pk, key
      missing[#missing + 1], rows[#rows + 1] = key, row
    end
  end
  return missing, rows
end

---@async
local function aadd_pairs(query, owner, given, opts)
  local keys = far_keys(owner, given)
  return atomic(query, function()
    local missing, rows = amake_pairs(query, owner, keys, opts.through_defaults, false)
    atell(query, owner, "pre_add", missing)
    local told = { ignore_conflicts = owner.through._meta.auto_created ~= nil }
    all_of(query, owner.through):abulk_create(rows, told)
    if is_symmetrical(owner) then
      local _, back = amake_pairs(query, owner, keys, opts.through_defaults, true)
      all_of(query, owner.through):abulk_create(back, told)
    end
    atell(query, owner, "post_add", missing)
    return #missing
  end)
end

---@async
local function aremove_pairs(query, owner, keys)
  local word = keys and "remove" or "clear"
  return atomic(query, function()
    atell(query, owner, "pre_" .. word, keys)
    local removed = pairs_of(query, owner, keys, false):_adelete_rows()
    if is_symmetrical(owner) then
      pairs_of(query, owner, keys, true):_adelete_rows()
    end
    atell(query, owner, "post_" .. word, keys)
    return removed
  end)
end

-- What scripts call -----------------------------------------------------------------------

--- Make these objects the owner's too. Of pairs, keys will do, those that are there already stay,
--- and `{ through_defaults = { … } }` may come last, for the rows between. Of a foreign key it is
--- one UPDATE, or with `{ bulk = false }` last each object is saved.
---@async
---@param ... rille.models.Instance|any
---@return integer  how many were added
function Query:aadd(...)
  local owner = owner_of(self, "aadd")
  local objects, opts = split(...)
  if owner.many then
    return aadd_pairs(self, owner, objects, opts)
  end
  check_objects(self, "aadd", objects, opts.bulk ~= false)
  if opts.bulk == false then
    return atomic(self, function()
      for _, object in ipairs(objects) do
        object[owner.field.name] = owner.instance
        object:asave({ using = self.database })
      end
      return #objects
    end)
  end
  return apoint(self, owner, objects, owner.instance)
end

--- Make these objects the owner's no more. A foreign key has to be one that may be NULL.
---@async
---@param ... rille.models.Instance|any
---@return integer  how many were removed
function Query:aremove(...)
  local owner = owner_of(self, "aremove")
  local objects = split(...)
  if owner.many then
    return aremove_pairs(self, owner, far_keys(owner, objects))
  end
  check_nullable(self, owner, "aremove")
  check_objects(self, "aremove", objects, true)
  check_belongs(self, owner, objects)
  return apoint(self, owner, objects, nil)
end

--- Leave the owner none. A foreign key has to be one that may be NULL.
---@async
---@return integer  how many were removed
function Query:aclear()
  local owner = owner_of(self, "aclear")
  if owner.many then
    return aremove_pairs(self, owner, nil)
  end
  check_nullable(self, owner, "aclear")
  local null = require("rille.core").null
  return self:_with({ order = {} }):aupdate({ [owner.field.name] = null })
end

--- Have the owner own these objects and no others: what is missing is added, what is too many
--- removed, where the foreign key may be NULL; with `{ clear = true }`, all are removed before.
---@async
---@param objects any[]
---@param opts { clear: boolean?, bulk: boolean?, through_defaults: table? }?
function Query:aset(objects, opts)
  local owner = owner_of(self, "aset")
  opts = opts or {}
  if type(objects) ~= "table" or getmetatable(objects) ~= nil then
    error("aset needs a list of objects", 2)
  end
  local add = { through_defaults = opts.through_defaults, bulk = opts.bulk }
  local function with_options(list)
    local given = { unpack(list) }
    given[#given + 1] = add
    return unpack(given)
  end
  atomic(self, function()
    if opts.clear and (owner.many or owner.field.null) then
      self:aclear()
      self:aadd(with_options(objects))
      return
    end
    local wanted, missing, extra = {}, {}, {}
    for _, object in ipairs(objects) do
      local key = owner.many and owner.far:clean(object) or object.pk
      wanted[key or object] = object
    end
    local there = {}
    for _, object in ipairs(self:_with({ order = {} }):alist()) do
      there[object.pk] = true
      if not wanted[object.pk] then
        extra[#extra + 1] = object
      end
    end
    for key, object in pairs(wanted) do
      if not there[key] then
        missing[#missing + 1] = object
      end
    end
    if #extra > 0 and (owner.many or owner.field.null) then
      self:aremove(unpack(extra))
    end
    if #missing > 0 then
      self:aadd(with_options(missing))
    end
  end)
end

local create = Query.acreate

--- What the owner's new object is paired by, when it is made.
local function pairing(query, opts)
  local owner = query.owner
  return owner and owner.many and function(object)
    owner_of(query, "acreate")
    aadd_pairs(query, owner, { object }, opts or {})
  end
end

--- Make an object and insert it. Of an owner's objects it is one more; of pairs,
--- `{ through_defaults = { … } }` may follow.
---@async
---@param values table<string, any>?
---@param opts { through_defaults: table? }?
---@return rille.models.Instance
function Query:acreate(values, opts)
  local pair = pairing(self, opts)
  if not pair then
    if opts and opts.through_defaults then
      error("through_defaults is for many-to-many: there are no rows between here", 2)
    end
    return create(self, values)
  end
  return atomic(self, function()
    local object = create(all_of(self, self.model), values)
    pair(object)
    return object
  end)
end

return { of_owner = of_owner }
