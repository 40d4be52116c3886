--- Tables for models: what is missing is created, nothing is ever changed or dropped.
---
--- `statements` is pure; `acreate_missing` runs it for the tables that a database lacks, and
--- `acheck` says in sentences what a database lacks.

local ddl = require("rille.db.ddl")
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

--- Targets before what refers to them; otherwise in the order given. Where foreign keys form a
--- cycle, some refer to what comes later. Targets that are not in the list are not added.
---@param models rille.models.Model[]
---@return rille.models.Model[]
---@return table<string, table<string, true>> circular  by table: columns that refer to a later one
function schema.in_order(models)
  local described, names, of_table = {}, {}, {}
  for _, model in ipairs(models) do
    local name, columns = model._meta.table, {}
    if not described[name] then
      names[#names + 1] = name
      described[name], of_table[name] = { columns = columns }, {}
      for i, field in ipairs(model._meta.fields) do
        columns[i] = tables.column(field)
      end
    end
    table.insert(of_table[name], model) -- another one may be for a part of its columns
  end
  local list, circular = ddl.in_order(described, names)
  local ordered = {}
  for _, name in ipairs(list) do
    for _, model in ipairs(of_table[name]) do
      ordered[#ordered + 1] = model
    end
  end
  return ordered, circular
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

--- The statements that make these tables, all of which are missing. Foreign keys that close a cycle
--- come last, where the database checks that a target is there.
---@param models rille.models.Model[]
---@param dialect rille.db.Dialect
---@return string[] statements
---@return string[] names  of the tables, in the order that they are made in
local function statements_of_all(models, dialect)
  local ordered, circular = schema.in_order(models)
  local statements, names, later = {}, {}, {}
  for i, model in ipairs(ordered) do
    local described = tables.of(model)
    names[i] = described.name
    for j, column in ipairs(described.columns) do
      if circular[described.name][column.name] and dialect.targets_first then
        described.columns[j] = ddl.without_reference(column)
        later[#later + 1] = ddl.add_reference(described.name, column, dialect)
      end
    end
    for _, sql in ipairs(ddl.create(described, dialect, true)) do
      statements[#statements + 1] = sql
    end
  end
  for _, sql in ipairs(later) do
    statements[#statements + 1] = sql
  end
  return statements, names
end

--- Make the tables that are missing, with their indexes, in one transaction. Tables that exist
--- are left as they are. Of several who find the same missing, one makes them and the others wait.
--- When nothing is missing, nothing is locked.
---@async
---@param database rille.db.Database
---@param models rille.models.Model[]
---@return string[] created  names of tables
function schema.acreate_missing(database, models)
  local missing = amissing(database, schema.with_between(models))
  if #missing == 0 then
    return {}
  end
  local lock = database.dialect.lock_tables
  return database:atomic(function()
    if lock then
      database:aquery(lock)
    end
    missing = amissing(database, missing) -- somebody may have been faster
    local statements, created = statements_of_all(missing, database.dialect)
    for _, sql in ipairs(statements) do
      database:aexecute(sql)
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
