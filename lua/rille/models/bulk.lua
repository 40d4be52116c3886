--- Bulk: many objects with few statements. Adds the methods to queries.
---
--- No `asave`, no signals, no `auto_now` of an update. Everything happens, or nothing.

local Statement = require("rille.models.write_condition")
local errors = require("rille.errors")
local queries = require("rille.models.query")
local resolve = require("rille.models.resolve")
local saving = require("rille.models.saving")

local Query = queries.Query

-- A statement's parameters pass through Lua's stack, which is bounded.
local MOST_PARAMS = 4000

local function value_error(message)
  error(errors.ValueError(message), 0)
end

local function check_size(size)
  if size ~= nil and (type(size) ~= "number" or size < 1 or size % 1 ~= 0) then
    value_error("Batch size must be a positive integer.")
  end
end

--- Fields by their names, or the key.
local function fields_of(model, names, what)
  local meta, list = model._meta, {}
  for i, name in ipairs(names) do
    local field = name == "pk" and meta.pk or meta.by_name[name] or meta.by_attr[name]
    if not field then
      value_error(("%s names '%s', which is no field of %s."):format(what, name, model.__name))
    end
    list[i] = field
  end
  return list
end

--- What ON CONFLICT is told.
local function conflicts(model, opts)
  if opts.ignore_conflicts and opts.update_conflicts then
    value_error("ignore_conflicts and update_conflicts are mutually exclusive.")
  elseif opts.ignore_conflicts then
    return { ignore_conflicts = true }
  elseif not opts.update_conflicts then
    return {}
  end
  if not opts.update_fields or #opts.update_fields == 0 then
    value_error("Fields that will be updated when a row insertion fails must be provided.")
  elseif not opts.unique_fields or #opts.unique_fields == 0 then
    value_error("Unique fields that can trigger the upsert must be provided.")
  end
  local update = fields_of(model, opts.update_fields, "update_fields")
  for _, field in ipairs(update) do
    if field.primary_key then
      value_error("abulk_create() cannot be used with primary keys in update_fields.")
    end
  end
  return { update = update, unique = fields_of(model, opts.unique_fields, "unique_fields") }
end

--- Insert many objects with few statements, in one transaction. Keys are filled in, unless
--- `ignore_conflicts` lets the database skip rows. With `update_conflicts`, a row that has the same
--- `unique_fields` as an object gets its `update_fields`.
---@async
---@param objects (table|rille.models.Instance)[]
---@param opts { batch_size: integer?, ignore_conflicts: boolean?, update_conflicts: boolean?,
---  update_fields: string[]?, unique_fields: string[]? }?
---@return rille.models.Instance[] objects
function Query:abulk_create(objects, opts)
  opts = opts or {}
  check_size(opts.batch_size)
  local told = conflicts(self.model, opts)
  told.batch_size = opts.batch_size
  local made = {}
  for i, object in ipairs(objects) do
    made[i] = getmetatable(object) and object or self.model(object)
    made[i]._db = self.database
    if self.owner and self.owner.field then
      made[i][self.owner.field.name] = self.owner.instance
    end
  end
  if #made > 0 then
    saving.ainsert_many(self:_database(), self.model, made, told)
  end
  return made
end

--- What a field becomes: the row's value, or of some rows an expression.
---@param whens string[]?  WHEN and THEN, by the row's key
local function new_value(statement, field, column, whens)
  if not whens then
    return column
  end
  local sql = ('CASE "new"."column1" %s ELSE %s END'):format(table.concat(whens, " "), column)
  local as = statement.dialect.typed and Statement.type_of(field, statement.dialect)
  return as and ("CAST(%s AS %s)"):format(sql, as) or sql
end

--- The statement that writes these fields of these objects, and its parameters.
---@param query rille.models.Query
---@param nodes table<rille.models.Expression, rille.models.Node>
local function update_many(query, dialect, fields, objects, nodes)
  local meta = query.model._meta
  local statement = Statement.new(query.model, dialect, query)
  local all = { meta.pk, unpack(fields) }
  local casts = {}
  for i, field in ipairs(all) do
    local kind = Statement.type_of(field, dialect)
    casts[i] = dialect.typed and "CAST(%s AS " .. kind .. ")" or "%s"
  end
  local rows, whens = {}, {}
  for i, object in ipairs(objects) do
    local marks = {}
    for j, field in ipairs(all) do
      local node = j > 1 and nodes[saving.expression_of(object, field)]
      local value
      if node then
        whens[field] = whens[field] or {}
        table.insert(
          whens[field],
          ("WHEN %s THEN %s"):format(marks[1], statement:expression(node))
        )
      else
        value = j == 1 and field:write(object.pk) or saving.wire_value(object, field)
      end
      marks[j] = node and casts[j]:format("NULL") or casts[j]:format(statement:param(value))
    end
    rows[i] = "(" .. table.concat(marks, ", ") .. ")"
  end
  if #statement.joins > 0 then
    error(errors.FieldError("abulk_update cannot follow relations in an F; a Subquery can"), 0)
  end
  local sets = {}
  for i, field in ipairs(fields) do
    local column = ('"new"."column%d"'):format(i + 1)
    sets[i] = dialect.quote(field.column)
      .. " = "
      .. new_value(statement, field, column, whens[field])
  end
  local sql = ('UPDATE %s SET %s FROM (VALUES %s) AS "new" WHERE %s.%s = "new"."column1"'):format(
    statement.base,
    table.concat(sets, ", "),
    table.concat(rows, ", "),
    statement.base,
    dialect.quote(meta.pk.column)
  )
  return sql, statement.params
end

--- What the expressions among these attributes mean, and which attributes are any, by object.
--- Raises `NotFetched` for an attribute that an object came without: it would become NULL.
local function expressions_of(query, fields, objects)
  local nodes, unknown = {}, {}
  for _, object in ipairs(objects) do
    local deferred = rawget(object, "_deferred") or {}
    for _, field in ipairs(fields) do
      local given = saving.expression_of(object, field)
      if deferred[field.attr] and rawget(object, field.attr) == nil then
        local _ = object[field.attr] -- raises
      elseif given then
        nodes[given] = nodes[given]
          or resolve.new_value(query, given, "abulk_update", field.name)
        unknown[object] = unknown[object] or {}
        table.insert(unknown[object], field.attr)
      end
    end
  end
  return nodes, unknown
end

--- Write the objects from `first` to `last`: in halves, when their expressions have too many
--- parameters for one statement.
---@async
---@return integer matched
local function aupdate_some(query, database, fields, objects, nodes, first, last)
  local batch = { unpack(objects, first, last) }
  local sql, params = update_many(query, database.dialect, fields, batch, nodes)
  if params.n > MOST_PARAMS and first < last then
    local middle = math.floor((first + last) / 2)
    return aupdate_some(query, database, fields, objects, nodes, first, middle)
      + aupdate_some(query, database, fields, objects, nodes, middle + 1, last)
  end
  local _, matched = database:_arun(sql, params)
  return matched
end

--- Write these fields of many saved objects with few statements. An attribute may be an expression,
--- `F "pages" + 1`, and has to be fetched afterwards.
---@async
---@param objects rille.models.Instance[]
---@param names string[]  fields
---@param opts { batch_size: integer? }?
---@return integer matched
function Query:abulk_update(objects, names, opts)
  check_size(opts and opts.batch_size)
  if type(names) ~= "table" or #names == 0 then
    value_error("Field names must be given to abulk_update().")
  end
  local model = self.model
  local fields = fields_of(model, names, "abulk_update()")
  for _, field in ipairs(fields) do
    if field.primary_key then
      value_error("abulk_update() cannot be used with primary key fields.")
    end
  end
  for i, object in ipairs(objects) do
    if getmetatable(object) ~= model._meta.instance then
      value_error(("object %d of abulk_update() is no %s."):format(i, model.__name))
    elseif object.pk == nil then
      value_error("All abulk_update() objects must have a primary key set.")
    end
  end
  if #objects == 0 then
    return 0
  end
  local database, matched = self:_database(), 0
  local plain = queries.new(model):_with({ order = {} })
  local nodes, unknown = expressions_of(plain, fields, objects)
  local most = math.floor(MOST_PARAMS / (#fields + 1))
  local size = math.min(opts and opts.batch_size or most, most)
  database:atomic(function()
    for first = 1, #objects, size do
      local last = math.min(first + size - 1, #objects)
      matched = matched + aupdate_some(plain, database, fields, objects, nodes, first, last)
    end
  end, { savepoint = false })
  for object, attrs in pairs(unknown) do
    saving.forget(object, attrs)
  end
  return matched
end

return Query
