--- A model's table, as data: see `rille.db.Table`.

local fields = require("rille.models.fields")

local tables = {}

--- The column of a field.
---@param field rille.models.Field
---@return rille.db.Column
function tables.column(field)
  local storage = field:storage()
  local column = { name = field.column, kind = storage.kind, null = field.null or nil }
  for _, option in ipairs(fields.type_options) do
    column[option] = storage[option]
  end
  if field.kind == "foreign_key" then
    local meta = field:target()._meta
    column.kind = storage.kind == "auto" and "bigint" or storage.kind
    column.references = meta.table .. "." .. meta.pk.column
    column.on_delete = field.on_delete:lower()
  end
  if field.primary_key then
    column.primary_key = true
  elseif field.unique then
    column.unique = true
  elseif field.index or field.kind == "foreign_key" then
    column.index = true
  end
  return column
end

local function columns_of(meta, names)
  local columns = {}
  for i, name in ipairs(names) do
    local field = name == "pk" and meta.pk or meta.by_name[name] or meta.by_attr[name]
    columns[i] = field.column
  end
  return columns
end

--- The table of a model. Foreign keys have an index.
---@param model rille.models.Model
---@return rille.db.Table
function tables.of(model)
  local meta = model._meta
  local described = { name = meta.table, columns = {}, unique = {}, indexes = {}, checks = {} }
  for i, field in ipairs(meta.fields) do
    described.columns[i] = tables.column(field)
  end
  for i, group in ipairs(meta.unique_together) do
    described.unique[i] = columns_of(meta, group)
  end
  for i, group in ipairs(meta.indexes) do
    described.indexes[i] = { columns = columns_of(meta, group) }
  end
  return described
end

return tables
