--- What a model knows about itself, and how its rows are written.
---
--- `define` makes one per model and nobody else writes to it. Query and schema read it;
--- instances save themselves through it.

local compile = require("rille.models.compile")
local errors = require("rille.errors")
local null = require("rille.core").null

---@class rille.models.Meta
---@field model rille.models.Model
---@field table string
---@field fields rille.models.Field[]            the key first, then by name
---@field by_name table<string, rille.models.Field>
---@field by_attr table<string, rille.models.Field>
---@field pk rille.models.Field
---@field pk_path rille.models.Path
---@field relations table<string, rille.models.Field>  its foreign keys
---@field many table<string, rille.models.ManyToMany>  its many-to-many fields, by name
---@field many_list rille.models.ManyToMany[]
---@field reverse table<string, table>         relations that lead here, by their name on instances
---@field reverse_keys table<string, table>    and by their name in filters
---@field pointing table[]                     all of them, hidden ones too
---@field base rille.models.Manager            all rows, whatever `objects` is
---@field methods table<string, function>?     of managers and queries
---@field receivers table                      of signals, by signal
---@field managed boolean
---@field auto_created rille.models.ManyToMany?  the field that this is the table between of
---@field get_latest_by string[]?
---@field relation_names string[]
---@field ordering string[]?
---@field unique_together string[][]
---@field indexes rille.models.Index[]
---@field constraints rille.models.Index[]
---@field instance table                         metatable of rows
---@field readers_of table<string, table>        by dialect: cells to convert
---@field selections table<string, string>       by dialect: its columns as SQL
---@field resolved table<string, table>          filter keys seen, resolved
---@field resolved_count integer
local Meta = {}
Meta.__index = Meta

--- Cells to convert after a fetch: none on PostgreSQL, a few on SQLite. Found once.
---@param dialect rille.db.Dialect
---@return { name: string, read: function }[]
function Meta:readers(dialect)
  local known = self.readers_of[dialect.name]
  if not known then
    known = {}
    for _, field in ipairs(self.fields) do
      local read = field:reader(dialect)
      if read then
        known[#known + 1] = { name = field.attr, read = read }
      end
    end
    self.readers_of[dialect.name] = known
  end
  return known
end

--- The fields of names, attributes or `pk`. Raises `ValueError` for others.
---@param names string[]
---@return rille.models.Field[]
function Meta:fields_of(names)
  local found, seen = {}, {}
  for _, name in ipairs(names) do
    local field = self.by_name[name] or self.by_attr[name]
    if not field or field.primary_key then
      error(
        errors.ValueError(
          ("The following fields do not exist in this model, or are its primary key: %s"):format(
            tostring(name)
          )
        ),
        0
      )
    end
    if not seen[field] then
      seen[field] = true
      found[#found + 1] = field
    end
  end
  return found
end

--- A related object that was saved after it was assigned gives its key now.
local function settle_relation(instance, field)
  local related = rawget(instance, "_related")
  local object = related and related[field.name]
  if not object or rawget(instance, field.attr) ~= nil then
    return
  end
  local key = rawget(object, field:target()._meta.pk.attr)
  if key == nil then
    error(
      errors.ValueError(
        ("asave() prohibited to prevent data loss due to unsaved related object '%s'."):format(
          field.name
        )
      ),
      0
    )
  end
  rawset(instance, field.attr, key)
end

--- The wire value of one field. The instance then holds what a read would give.
local function wire_value(instance, field, is_new)
  if field.kind == "foreign_key" then
    settle_relation(instance, field)
  end
  local value = rawget(instance, field.attr)
  if field.auto_now or field.auto_now_add and is_new then
    value = field:current_time()
  end
  if value == nil or value == null then
    rawset(instance, field.attr, nil)
    return nil
  end
  local wire = field:write(value)
  rawset(instance, field.attr, field:clean(value))
  return wire
end

--- Every field to insert: all, but a key that the database makes.
local function insert_fields(meta, with_key)
  if with_key then
    return meta.fields
  end
  local list = {}
  for _, field in ipairs(meta.fields) do
    if field ~= meta.pk then
      list[#list + 1] = field
    end
  end
  return list
end

local function insert(meta, database, instances, with_key, opts)
  local fields = insert_fields(meta, with_key)
  local rows = {}
  for i, instance in ipairs(instances) do
    rows[i] = {}
    for j, field in ipairs(fields) do
      rows[i][j] = wire_value(instance, field, true)
    end
  end
  local sql, params = compile.insert(meta.model, database.dialect, fields, rows, opts)
  local keys = database:_arun(sql, params)
  local attr = meta.pk.attr
  local read = meta.pk:reader(database.dialect)
  for i, instance in ipairs(instances) do
    if keys[i] and not with_key then
      local key = keys[i][attr]
      rawset(instance, attr, read and read(key) or key)
    end
    rawset(instance, "_adding", nil)
  end
end

local function has_key(meta, instance)
  local key = rawget(instance, meta.pk.attr)
  return key ~= nil and key ~= null
end

---@async
---@param database rille.db.Database
---@param instance rille.models.Instance
function Meta:ainsert(database, instance)
  insert(self, database, { instance }, has_key(self, instance))
end

-- A statement's parameters pass through Lua's stack, which is bounded.
local MOST_PARAMS = 4000

---@async
---@param database rille.db.Database
---@param instances rille.models.Instance[]
---@param opts { batch_size: integer?, ignore_conflicts: boolean? }
function Meta:ainsert_many(database, instances, opts)
  local groups = { [true] = {}, [false] = {} }
  for _, instance in ipairs(instances) do
    local group = groups[has_key(self, instance)]
    group[#group + 1] = instance
  end
  local most = math.max(1, math.floor(MOST_PARAMS / #self.fields))
  if #self.fields == 1 then
    groups[false].single = true -- DEFAULT VALUES makes one row
  end
  database:atomic(function()
    for _, with_key in ipairs({ true, false }) do
      local group = groups[with_key]
      local size = group.single and 1 or math.min(opts.batch_size or most, most)
      for first = 1, #group, size do
        local batch = { unpack(group, first, math.min(first + size - 1, #group)) }
        insert(self, database, batch, with_key, opts)
      end
    end
  end, { savepoint = false })
end

--- UPDATE one row by key.
---@async
---@param database rille.db.Database
---@param instance rille.models.Instance
---@param fields rille.models.Field[]
---@return integer matched
function Meta:aupdate(database, instance, fields)
  local changes = {}
  for i, field in ipairs(fields) do
    changes[i] = { field = field, value = wire_value(instance, field, false) }
  end
  local query = self.base:order_by():filter({ pk = rawget(instance, self.pk.attr) })
  if #changes == 0 then
    return query:using(database):aexists() and 1 or 0
  end
  local _, matched = database:_arun(compile.update(query, database.dialect, changes))
  return matched
end

--- What an instance has to say in an UPDATE: everything but its key and what it came without.
---@param instance rille.models.Instance
---@return rille.models.Field[]
function Meta:updatable(instance)
  local deferred = rawget(instance, "_deferred") or {}
  local list = {}
  for _, field in ipairs(self.fields) do
    local known = not deferred[field.attr] or rawget(instance, field.attr) ~= nil
    if field ~= self.pk and known then
      list[#list + 1] = field
    end
  end
  return list
end

return Meta
