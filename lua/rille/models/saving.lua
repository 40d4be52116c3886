--- Saving: how objects become rows.
---
--- Values are checked, and made ready for the database, before anything is sent; the object then
--- holds what a read would give.

local copying = require("rille.models.copying")
local db = require("rille.db")
local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local insert = require("rille.models.insert")
local null = require("rille.core").null
local queries = require("rille.models.query")
local signals = require("rille.models.signals")

local saving = {}

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

---@class rille.models.Writer  how values of a field are made ready
---@field check fun(field: rille.models.Field, value: any): any
---@field wire (fun(value: any, field: rille.models.Field): any)?
---@field storage rille.models.Field
---@field plain boolean     there is nothing to check but that
---@field relation boolean
---@field now boolean       its value may be the time

---@return rille.models.Writer
local function writer_of(field)
  local writer = field.writer
  if not writer then
    local behaviour = field:behaviour()
    local is_checked = field.choices or field.max_length or field.max_digits or field.validators
    writer = {
      check = behaviour.check,
      wire = behaviour.wire,
      storage = field:storage(),
      plain = not is_checked,
      relation = field.kind == "foreign_key",
      now = (field.auto_now or field.auto_now_add) == true,
    }
    field.writer = writer
  end
  return writer
end

--- The value of one field as the core is given it. The instance then holds what a read would give.
---@param instance rille.models.Instance
---@param field rille.models.Field
---@param is_new boolean?
---@return any
function saving.wire_value(instance, field, is_new)
  local writer, attr = writer_of(field), field.attr
  if writer.relation then
    settle_relation(instance, field)
  end
  local value = rawget(instance, attr)
  if writer.now and (field.auto_now or is_new) then
    value = field:current_time()
  end
  if value == nil or value == null then
    rawset(instance, attr, nil)
    return nil
  end
  local cleaned = writer.plain and type(value) ~= "table" and writer.check(field, value)
  if cleaned == nil or cleaned == false or not writer.plain then
    local wire
    wire, cleaned = field:write(value)
    rawset(instance, attr, cleaned)
    return wire
  end
  if cleaned ~= value or writer.now then
    rawset(instance, attr, cleaned)
  end
  if writer.wire then
    return writer.wire(cleaned, writer.storage)
  end
  return cleaned
end

-- Inserts -----------------------------------------------------------------------------

--- Every field to insert: all, but a key that the database makes.
local function insert_fields(meta, with_key)
  return with_key and meta.fields or meta.keyless_fields
end

--- The keys that the database made.
local function take_keys(meta, dialect, instances, keys, with_key)
  local attr = meta.pk.attr
  local read = meta.pk:reader(dialect)
  for i, instance in ipairs(instances) do
    if keys[i] and not with_key then
      local key = keys[i][attr]
      rawset(instance, attr, read and read(key) or key)
    end
    rawset(instance, "_adding", nil)
  end
end

---@async
local function insert_rows(meta, database, instances, with_key, opts)
  local fields, rows = insert_fields(meta, with_key), {}
  for i, instance in ipairs(instances) do
    local row = {}
    for j, field in ipairs(fields) do
      row[j] = saving.wire_value(instance, field, true)
    end
    rows[i] = row
  end
  local sql, params = insert.rows(meta.model, database.dialect, fields, rows, opts)
  local keys = database:_arun(sql, params)
  take_keys(meta, database.dialect, instances, keys, with_key)
end

---@async
local function insert_columns(meta, database, instances, with_key, opts)
  local fields, columns = insert_fields(meta, with_key), {}
  for j, field in ipairs(fields) do
    local column = {}
    for i = 1, #instances do
      local value = saving.wire_value(instances[i], field, true)
      column[i] = value == nil and null or value
    end
    columns[j] = column
  end
  local sql, params = insert.columns(meta.model, database.dialect, fields, columns, opts)
  local keys = database:_arun(sql, params)
  take_keys(meta, database.dialect, instances, keys, with_key)
end

local function has_key(meta, instance)
  local key = rawget(instance, meta.pk.attr)
  return key ~= nil and key ~= null
end

-- A statement's parameters pass through Lua's stack, which is bounded.
local MOST_PARAMS = 4000
-- Rows as columns are few parameters, but large ones.
local MOST_ROWS = 5000

--- Insert many, those with keys and those without apart, in one transaction.
---@async
---@param database rille.db.Database
---@param model rille.models.Model
---@param instances rille.models.Instance[]
---@param opts { batch_size: integer? }  and what `rille.models.insert` takes
function saving.ainsert_many(database, model, instances, opts)
  local meta = model._meta
  local groups = { [true] = {}, [false] = {} }
  for _, instance in ipairs(instances) do
    local group = groups[has_key(meta, instance)]
    group[#group + 1] = instance
  end
  local as_columns = insert.has_arrays(database.dialect, insert_fields(meta, false))
  local most = as_columns and MOST_ROWS or math.max(1, math.floor(MOST_PARAMS / #meta.fields))
  if #meta.fields == 1 then
    groups[false].single = true -- DEFAULT VALUES makes one row
  end
  local insert_some = as_columns and insert_columns or insert_rows
  database:atomic(function()
    for _, with_key in ipairs({ true, false }) do
      local group = groups[with_key]
      if
        copying.fits(database, meta.fields, #group, opts)
        and not opts.batch_size
        and copying.acreate(database, model, group, with_key, saving.wire_value)
      then
        group = {}
      end
      local size = group.single and 1 or math.min(opts.batch_size or most, most)
      for first = 1, #group, size do
        local batch = { unpack(group, first, math.min(first + size - 1, #group)) }
        insert_some(meta, database, batch, with_key, opts)
      end
    end
  end, { savepoint = false })
end

-- Updates -----------------------------------------------------------------------------

--- The expression that an attribute is to become in an UPDATE; nil when it is a plain value.
---@param instance rille.models.Instance
---@param field rille.models.Field
---@return rille.models.Expression?
function saving.expression_of(instance, field)
  local value = rawget(instance, field.attr)
  return expressions.is_expression(value) and not field.auto_now and value or nil
end

--- What these attributes have become only the database knows: they have to be fetched.
---@param instance rille.models.Instance
---@param attrs string[]
function saving.forget(instance, attrs)
  local deferred = {}
  for attr in pairs(rawget(instance, "_deferred") or {}) do
    deferred[attr] = true -- a copy: rows of one query share theirs
  end
  for _, attr in ipairs(attrs) do
    deferred[attr] = true
    rawset(instance, attr, nil)
  end
  rawset(instance, "_deferred", deferred)
end

--- UPDATE one row by key. An attribute may be an expression, `F "pages" + 1`; what it has become
--- only the database knows, so afterwards the attribute has to be fetched.
---@async
---@return integer matched
local function update(meta, database, instance, fields)
  local row = queries.all_of(meta.model, database):filter({ pk = rawget(instance, meta.pk.attr) })
  local changes, unknown = {}, {}
  for i, field in ipairs(fields) do
    local given = saving.expression_of(instance, field)
    if given then
      changes[i] = { field = field, value = given }
      unknown[#unknown + 1] = field.attr
    else
      changes[i] = { field = field, value = saving.wire_value(instance, field, false) }
    end
  end
  if #changes == 0 then
    return row:aexists() and 1 or 0
  end
  local matched = row:_aset(changes)
  if #unknown > 0 then
    saving.forget(instance, unknown)
  end
  return matched
end

--- What an instance has to say in an UPDATE: everything but its key and what it came without.
local function updatable(meta, instance)
  local deferred = rawget(instance, "_deferred") or {}
  local list, left_out = {}, false
  for _, field in ipairs(meta.fields) do
    local known = not deferred[field.attr] or rawget(instance, field.attr) ~= nil
    if field ~= meta.pk and known then
      list[#list + 1] = field
    end
    left_out = left_out or not known
  end
  return list, left_out
end

-- asave -------------------------------------------------------------------------------

local function value_error(message)
  error(errors.ValueError(message), 0)
end

---@return rille.models.Field[]? fields  absent: all there is
local function check_options(meta, opts)
  local names = opts.update_fields
  if opts.force_insert and (opts.force_update or names) then
    value_error("Cannot force both insert and updating in model saving.")
  end
  return names and meta:fields_of(names)
end

---@async
---@return boolean created
local function write(meta, database, instance, fields, opts)
  local keyless = not has_key(meta, instance)
  if fields then
    if keyless then
      value_error("Cannot update an object that has no primary key.")
    elseif update(meta, database, instance, fields) == 0 then
      error(errors.DatabaseError("Save with update_fields did not affect any rows."), 0)
    end
    return false
  end
  if opts.force_update and keyless then
    value_error("Cannot force an update in asave() with no primary key.")
  end
  local made_key = rawget(instance, "_adding") and meta.pk.default ~= nil
  if not (opts.force_insert or keyless or made_key and not opts.force_update) then
    local list, left_out = updatable(meta, instance)
    if update(meta, database, instance, list) > 0 then
      return false
    elseif opts.force_update then
      error(errors.DatabaseError("Forced update did not affect any rows."), 0)
    elseif left_out then -- there is no whole row to insert
      error(errors.DatabaseError("Save with update_fields did not affect any rows."), 0)
    end
  end
  insert_rows(meta, database, { instance }, not keyless)
  return true
end

--- See `Instance:asave`.
---@async
---@param instance rille.models.Instance
---@param opts table
function saving.asave(instance, opts)
  local model = getmetatable(instance).model
  local meta = model._meta
  local fields = check_options(meta, opts)
  if fields and #fields == 0 then
    return
  end
  if opts.using ~= nil then
    rawset(instance, "_db", opts.using)
  end
  local using = rawget(instance, "_db")
  local database = db.get(using)
  local function tell(signal, created)
    if signal:has_receivers(model) then
      signal:asend(model, {
        instance = instance,
        created = created,
        update_fields = opts.update_fields,
        using = using,
      })
    end
  end
  tell(signals.pre_save)
  local created = write(meta, database, instance, fields, opts)
  rawset(instance, "_adding", nil)
  tell(signals.post_save, created)
end

return saving
