--- Instances: rows as objects.
---
---     local folder = Folder { name = "x" }  -- not saved yet
---
--- A row becomes an instance by `setmetatable` on the row itself: its columns are the
--- attributes, NULL is an absent one. Only what is absent in the row costs a function call:
--- methods, `pk`, and related objects.

local conditions = require("rille.models.conditions")
local db = require("rille.db")
local deletion = require("rille.models.deletion")
local errors = require("rille.errors")
local null = require("rille.core").null
local prefix = require("rille.models.prefix")
local queries = require("rille.models.query")
local related = require("rille.models.related")
local settle = require("rille.models.relations").settle
local saving = require("rille.models.saving")

---@class rille.models.Instance
---@field pk any                  the primary key, whatever its name
---@field [string] any            attributes; `parent_id` and, once fetched, `parent`
---@field _adding boolean?        made here and not saved yet
---@field _related table<string, rille.models.Instance>?
---@field _deferred table<string, true>?  attributes that `only` or `defer` left out
---@field _prefetched table<string, table[]>?  lists of related objects that were fetched
---@field _db any                 where it came from; nil: the default database

--- Methods of every instance.
local Instance = {}

--- Write the object: UPDATE if it has a key, INSERT if it has none or no row was there.
---
--- `update_fields` names what is written, none of it nothing; `force_insert` and `force_update`
--- allow the one statement only; `using` names the database. An attribute may be an expression:
--- `book.pages = F "pages" + 1`. Raises `ValueError` before anything is sent when a value does not
--- fit, and a `DatabaseError` when a row had to be there and was not.
---@async
---@param opts { update_fields: string[]?, force_insert: boolean?, force_update: boolean?,
---  using: any }?
---@return rille.models.Instance self
function Instance:asave(opts)
  saving.asave(self, opts or {})
  return self
end

--- Delete its row, and what goes with it: see `Query:adelete`. Afterwards it has no key.
---@async
---@param opts { using: any }?
---@return integer total  0 when the row was gone already
---@return table<string, integer> counts  by name of model
function Instance:adelete(opts)
  local model = getmetatable(self).model
  local attr = model._meta.pk.attr
  if self.pk == nil then
    error(
      errors.ValueError(
        ("%s object can't be deleted because its %s attribute is set to nil."):format(
          model.__name,
          attr
        )
      ),
      0
    )
  end
  local using = opts and opts.using or rawget(self, "_db")
  local total, counts = deletion.of_instance(using, db.get(using), self)
  rawset(self, attr, nil)
  return total, counts
end

--- Read the attributes again, all that it came with, or these. Related objects are forgotten.
--- Raises the model's `DoesNotExist` when the row is gone, or is none of `from_queryset`.
---@async
---@param opts { fields: string[]?, from_queryset: rille.models.Query?, using: any }?
---@return rille.models.Instance self
function Instance:arefresh_from_db(opts)
  opts = opts or {}
  local model = getmetatable(self).model
  local meta = model._meta
  local list = opts.fields and meta:fields_of(opts.fields)
  local deferred = {}
  for attr in pairs(rawget(self, "_deferred") or {}) do
    deferred[attr] = true -- a copy: rows of one query share theirs
  end
  if not list then
    list = {}
    for _, field in ipairs(meta.fields) do
      if not deferred[field.attr] then
        list[#list + 1] = field
      end
    end
  end
  local query = opts.from_queryset and opts.from_queryset:_ordinary()
    or queries.new(model):_with({ order = {}, database = opts.using or rawget(self, "_db") })
  local fresh = query:aget({ pk = self.pk })
  local known = rawget(self, "_related")
  for _, field in ipairs(list) do
    deferred[field.attr] = nil
    rawset(self, field.attr, rawget(fresh, field.attr))
    if known then
      known[field.name] = nil
    end
  end
  rawset(self, "_prefetched", nil)
  rawset(self, "_deferred", next(deferred) and deferred or nil)
  return self
end

-- Names that a field cannot have: they are found on every instance.
local RESERVED = { pk = true, objects = true, DoesNotExist = true, MultipleObjectsReturned = true }
for name in pairs(Instance) do
  RESERVED[name] = true
end

-- Instances -------------------------------------------------------------------------

local LEFT_OFF = prefix.left_off(Instance)

local NOT_FETCHED = "%s.%s was not fetched. Ask for it with select_related(%q), or get it with"
  .. " %s.objects:aget { pk = object.%s }"

--- The object behind a foreign key: what was assigned or fetched, if it is still the one.
local function related_object(instance, field)
  local key = instance[field.attr] -- raises if it was deferred
  local known = rawget(instance, "_related")
  local object = known and known[field.name]
  if object then
    local its = rawget(object, field:target()._meta.pk.attr)
    if key == nil or key == its then
      return object
    end
  end
  if key == nil or key == null then
    return nil
  end
  error(
    errors.NotFetched(
      NOT_FETCHED:format(
        getmetatable(instance).__name,
        field.name,
        field.name,
        field:target().__name,
        field.attr
      )
    ),
    0
  )
end

local NOT_BROUGHT = "%s.%s was not fetched. Ask for it with select_related(%q), or get it with"
  .. " %s.objects:aget { %s = object }"

--- The object at the other end of a one-to-one; nil: it was looked for, and there is none.
local function object_pointing_here(instance, field, name)
  local known = rawget(instance, "_related")
  if known and known[name] ~= nil then
    return known[name] or nil
  end
  error(
    errors.NotFetched(
      NOT_BROUGHT:format(
        getmetatable(instance).__name,
        name,
        name,
        field.model.__name,
        field.name
      )
    ),
    0
  )
end

local function assign_related(instance, field, object)
  local known = rawget(instance, "_related")
  if object == nil or object == null then
    rawset(instance, field.attr, nil)
    if known then
      known[field.name] = nil
    end
    return
  end
  if type(object) ~= "table" then
    rawset(instance, field.attr, field:clean(object)) -- a key
    return
  end
  local target = field:target()
  if getmetatable(object) ~= target._meta.instance then
    field:clean(object) -- raises with the right words
  end
  if not known then
    known = {}
    rawset(instance, "_related", known)
  end
  known[field.name] = object
  rawset(instance, field.attr, rawget(object, target._meta.pk.attr))
end

local DEFERRED = "%s.%s was left out by only or defer. Get it with"
  .. " object:arefresh_from_db { fields = { %q } }"

--- Shared by all instances of all models, since Lua compares with `__eq` only then.
local function equal(a, b)
  local mt = getmetatable(a)
  if mt ~= getmetatable(b) then
    return false
  end
  local attr = mt.model._meta.pk.attr
  local key = rawget(a, attr)
  return key ~= nil and key == rawget(b, attr)
end

local function instance_metatable(model, meta)
  local relations = meta.relations
  return {
    __name = model.__name,
    model = model,
    super = model, -- class.is_instance(folder, Folder)
    __eq = equal,
    __index = function(self, key)
      local found = model[key]
      if found ~= nil then
        return found
      end
      local relation = relations[key]
      if relation then
        return related_object(self, relation)
      end
      if key == "pk" then
        return rawget(self, meta.pk.attr)
      end
      local deferred = rawget(self, "_deferred")
      if deferred and deferred[key] then
        error(errors.NotFetched(DEFERRED:format(model.__name, key, key)), 0)
      end
      local own = meta.many[key]
      if own then
        return related.of_owner(own, self, key, true)
      end
      local pointing = meta.reverse[key]
      if pointing == nil and not meta.by_attr[key] and settle() then
        pointing = meta.reverse[key]
      end
      if pointing and pointing.one_to_one then
        return object_pointing_here(self, pointing, key)
      elseif pointing then
        return related.of_owner(pointing, self, key, false)
      elseif LEFT_OFF[key] and not meta.by_attr[key] then
        prefix.refuse(model.__name, key, LEFT_OFF[key])
      end
    end,
    __newindex = function(self, key, value)
      if relations[key] then
        assign_related(self, relations[key], value)
      elseif key == "pk" then
        rawset(self, meta.pk.attr, value)
      elseif meta.many[key] then
        error(
          ("%s.%s is many-to-many: use object.%s:aset(list)"):format(model.__name, key, key),
          2
        )
      else
        rawset(self, key, value)
      end
    end,
    __tostring = function(self)
      local own = rawget(model, "__tostring")
      if own then
        return own(self)
      end
      return ("%s object (%s)"):format(model.__name, tostring(self.pk))
    end,
  }
end

local function construct(model, values)
  local meta = model._meta
  local instance = setmetatable({ _adding = true }, meta.instance)
  values = values or {}
  if type(values) ~= "table" then
    error(("%s needs a table of values, not a %s"):format(model.__name, type(values)), 2)
  end
  local given = {}
  for key, value in pairs(values) do
    if meta.many[key] then
      error(
        errors.FieldError(
          ("%s cannot be made with '%s', which is many-to-many: save it, then use aset"):format(
            model.__name,
            key
          )
        ),
        0
      )
    end
    local path = conditions.path(model, key)
    local field = path.field
    if #path.joins > 0 then
      error(
        errors.FieldError(("%s cannot be made with '%s'."):format(model.__name, tostring(key))),
        0
      )
    end
    given[field] = true
    if field.kind == "foreign_key" then
      assign_related(instance, field, value)
    elseif value ~= null then
      rawset(instance, field.attr, field:clean(value))
    end
  end
  for _, field in ipairs(meta.fields) do
    if field.default ~= nil and not given[field] then
      local value = field:make_default()
      if value ~= nil and value ~= null then
        rawset(instance, field.attr, field:clean(value))
      end
    end
  end
  return instance
end

return {
  methods = Instance,
  RESERVED = RESERVED,
  metatable = instance_metatable,
  construct = construct,
}
