--- Tables for models: what is missing is created, nothing is ever changed or dropped.
---
--- `statements` is pure; `acreate_missing` runs it for the tables that a database lacks, and
--- `acheck` says in sentences what a database lacks.

local ddl = require("rille.db.ddl")
local errors = require("rille.errors")
local tables = require("rille.models.tables")

local schema = {}

--- The statements that make a model's table and its indexes, as far as they are missing.
---@param model rille.models.Model
---@param dialect rille.db.Dialect
---@return string[]
function schema.statements(model, dialect)
  return ddl.create(tables.of(model), dialect, true)
end

--- These models, and those of the tables that their many-to-many fields had made.
---@param models rille.models.Model[]
---@return rille.models.Model[]
function schema.with_between(models)
  local all, listed = {}, {}
  for i, model in ipairs(models) do
    all[i], listed[model] = model, true
  end
  for _, model in ipairs(models) do
    for _, many in ipairs(model._meta.many_list) do
      local through = many:between()
      if through._meta.auto_created and not listed[through] then
        all[#all + 1], listed[through] = through, true
      end
    end
  end
  return all
end

--- Targets before what refers to them; otherwise in the order given. A model that refers to
--- itself is fine; a cycle of several raises `ConfigurationError` and names it. Targets that
--- are not in the list are not added.
---@param models rille.models.Model[]
---@return rille.models.Model[]
function schema.in_order(models)
  local listed, done, ordered, trail = {}, {}, {}, {}
  for _, model in ipairs(models) do
    listed[model] = true
  end

  local function visit(model)
    if done[model] then
      return
    end
    for i, passed in ipairs(trail) do
      if passed == model then
        local names = {}
        for j = i, #trail do
          names[#names + 1] = trail[j].__name
        end
        names[#names + 1] = model.__name
        error(
          errors.ConfigurationError(
            "foreign keys form a cycle, so no table can be made first: "
              .. table.concat(names, " -> ")
          ),
          0
        )
      end
    end
    trail[#trail + 1] = model
    for _, field in ipairs(model._meta.fields) do
      local target = field.kind == "foreign_key" and field:target()
      if target and target ~= model and listed[target] then
        visit(target)
      end
    end
    trail[#trail] = nil
    done[model] = true
    ordered[#ordered + 1] = model
  end

  for _, model in ipairs(models) do
    visit(model)
  end
  return ordered
end

--- The columns that a table has, as a set; nil when there is no such table.
---@async
local function acolumns(database, model)
  local dialect = database.dialect
  local name = dialect.columns_param(model._meta.table)
  local columns
  for _, row in ipairs(database:aquery(dialect.columns_sql, name)) do
    columns = columns or {}
    columns[row.name] = true
  end
  return columns
end

--- A table that is somebody else's (`managed = false`) is never missing.
local function amissing(database, models)
  local missing = {}
  for _, model in ipairs(models) do
    if model._meta.managed and not acolumns(database, model) then
      missing[#missing + 1] = model
    end
  end
  return missing
end

--- Make the tables that are missing, with their indexes, in one transaction. Tables that exist
--- are left as they are. When nothing is missing, nothing is locked.
---@async
---@param database rille.db.Database
---@param models rille.models.Model[]
---@return string[] created  names of tables
function schema.acreate_missing(database, models)
  local missing = amissing(database, schema.in_order(schema.with_between(models)))
  if #missing == 0 then
    return {}
  end
  return database:atomic(function()
    local created = {}
    for _, model in ipairs(amissing(database, missing)) do -- somebody may have been faster
      for _, sql in ipairs(schema.statements(model, database.dialect)) do
        database:aexecute(sql)
      end
      created[#created + 1] = model._meta.table
    end
    return created
  end)
end

--- What the database lacks for these models; an empty list when nothing.
---@async
---@param database rille.db.Database
---@param models rille.models.Model[]
---@return string[] sentences
function schema.acheck(database, models)
  local sentences = {}
  for _, model in ipairs(schema.with_between(models)) do
    local meta = model._meta
    local columns = acolumns(database, model)
    if not columns then
      sentences[#sentences + 1] = ("%s has no table '%s' for %s."):format(
        tostring(database),
        meta.table,
        model.__name
      )
    else
      for _, field in ipairs(meta.fields) do
        if not columns[field.column] then
          sentences[#sentences + 1] = ("The table '%s' has no column '%s' for %s.%s."):format(
            meta.table,
            field.column,
            model.__name,
            field.name
          )
        end
      end
    end
  end
  return sentences
end

return schema
