--- A model's table, as data: see `rille.db.Table`.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local dialects = require("rille.db.dialect")
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
  column.of = storage.of and storage.of.kind
  if field.kind == "foreign_key" then
    local meta = field:target()._meta
    column.kind = storage.kind == "auto" and "bigint" or storage.kind
    column.references = meta.table .. "." .. meta.pk.column
    column.on_delete = field:database_action():lower()
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

--- A condition as SQL, where nothing can be a parameter: one text, or one for each backend.
local function condition_sql(model, condition)
  local node, texts, text = conditions.build({ model = model }, condition), {}, nil
  for name, dialect in pairs(dialects) do
    text = compile.condition(model, dialect, node)
    texts[name] = text
  end
  for _, other in pairs(texts) do
    if other ~= text then
      return texts
    end
  end
  return text
end

local function describe_index(model, index)
  local names, descending = {}, nil
  for i, given in ipairs(index.fields) do
    names[i] = given:gsub("^%-", "")
  end
  local columns = columns_of(model._meta, names)
  for i, given in ipairs(index.fields) do
    if given ~= names[i] then
      descending = descending or {}
      descending[columns[i]] = true
    end
  end
  return {
    name = index.name,
    columns = columns,
    descending = descending,
    method = index.method,
    unique = index.kind == "unique" or nil,
    where = index.condition and condition_sql(model, index.condition),
  }
end

local function describe_constraint(model, constraint, described)
  if constraint.kind == "check" then
    described.checks[#described.checks + 1] =
      { name = constraint.name, sql = condition_sql(model, constraint.condition) }
  elseif constraint.name or constraint.condition then
    described.indexes[#described.indexes + 1] = describe_index(model, constraint)
  else
    described.unique[#described.unique + 1] = columns_of(model._meta, constraint.fields)
  end
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
  for i, index in ipairs(meta.indexes) do
    described.indexes[i] = describe_index(model, index)
  end
  for _, constraint in ipairs(meta.constraints) do
    describe_constraint(model, constraint, described)
  end
  return described
end

return tables
