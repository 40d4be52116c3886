--- Operations as statements of SQLite. Pure.
---
--- What its ALTER TABLE cannot do is done as its documentation says: a new table, the rows copied,
--- the old one dropped, the new one renamed. Such a step is a table with `rebuild`; `rebuild` below
--- makes its statements, once somebody has looked which triggers and indexes of others there are.
--- Foreign keys must be off meanwhile (dropping a table would delete what refers to its rows), and
--- are checked at the end.

local State = require("rille.migrations.state")
local columns = require("rille.migrations.columns")
local ddl = require("rille.db.ddl")
local dialect = require("rille.db.dialect").sqlite
local tables = require("rille.tables")

local quote, quote_table = dialect.quote, dialect.quote_table

---@class rille.migrations.Rebuild
---@field rebuild string                name of the table
---@field before rille.db.Table
---@field after rille.db.Table
---@field sources table<string, string> SQL for columns that are not simply copied

local sqlite = {}

---@type table<string, fun(op, before: rille.migrations.State, after): (string|table)[]>
local kinds = {}
sqlite.kinds = kinds

local function rebuild(table_name, before, after, sources)
  return {
    {
      rebuild = table_name,
      before = before:get(table_name),
      after = after:get(table_name),
      sources = sources or {},
    },
  }
end

local function drop_index(table_name, index)
  return "DROP INDEX " .. quote(ddl.index_name(table_name, index))
end

--- Indexes have names made of the table's and its columns'; a renaming makes them anew.
local function rename_indexes(before, after, statements)
  local new = ddl.indexes(after)
  for i, index in ipairs(ddl.indexes(before)) do
    if ddl.index_name(before.name, index) ~= ddl.index_name(after.name, new[i]) then
      statements[#statements + 1] = drop_index(before.name, index)
      statements[#statements + 1] = ddl.create_index(after.name, new[i], dialect)
    end
  end
  return statements
end

function kinds.create_table(op)
  return ddl.create(op.described, dialect)
end

function kinds.drop_table(op)
  return { "DROP TABLE " .. quote_table(op.table), drops = true }
end

function kinds.rename_table(op, before, after)
  local sql = ("ALTER TABLE %s RENAME TO %s"):format(quote_table(op.table), quote(op.to))
  return rename_indexes(before:get(op.table), after:get(op.to), { sql })
end

function kinds.add_column(op, before, after)
  local column = op.column
  if not column.null or column.unique or column.primary_key or op.fill ~= nil then
    local fill = op.fill ~= nil and columns.literal(op.fill, column, dialect) or nil
    return rebuild(op.table, before, after, { [column.name] = fill })
  end
  local statements = {
    ("ALTER TABLE %s ADD COLUMN %s"):format(
      quote_table(op.table),
      ddl.column(op.table, column, dialect)
    ),
  }
  if column.index then
    statements[2] = ddl.create_index(op.table, { columns = { column.name } }, dialect)
  end
  return statements
end

function kinds.rename_column(op, before, after)
  local sql = ("ALTER TABLE %s RENAME COLUMN %s TO %s"):format(
    quote_table(op.table),
    quote(op.column),
    quote(op.to)
  )
  return rename_indexes(before:get(op.table), after:get(op.table), { sql })
end

function kinds.drop_column(op, before, after)
  return rebuild(op.table, before, after)
end

function kinds.alter_column(op, before, after)
  local old, new = State.deep_copy((before:column(op.table, op.column.name))), op.column
  local index, only = old.index, { columns = { new.name } }
  old.index = new.index
  if not op.using and tables.same(old, new) then
    if new.index and not index then
      return { ddl.create_index(op.table, only, dialect) }
    end
    return index and not new.index and { drop_index(op.table, only) } or {}
  end
  local source = op.using
  if op.fill ~= nil then
    source = ("COALESCE(%s, %s)"):format(
      source or quote(new.name),
      columns.literal(op.fill, new, dialect)
    )
  end
  return rebuild(op.table, before, after, { [new.name] = source })
end

for _, kind in ipairs({ "add_unique", "drop_unique", "add_check", "drop_check" }) do
  kinds[kind] = function(op, before, after)
    return rebuild(op.table, before, after)
  end
end

function kinds.add_index(op)
  return { ddl.create_index(op.table, op.index, dialect) }
end

function kinds.drop_index(op)
  return { drop_index(op.table, op.index) }
end

--- What hangs on a table in the database and goes with it when it is dropped. One parameter: its
--- name.
sqlite.HANGING = "SELECT \"type\", \"name\", \"sql\" FROM \"sqlite_schema\""
  .. " WHERE \"tbl_name\" = $1 AND \"type\" IN ('index', 'trigger') AND \"sql\" IS NOT NULL"

--- The statements of a rebuild.
---@param step rille.migrations.Rebuild
---@param hanging { type: string, name: string, sql: string }[]  the rows of `HANGING`
---@return string[]
function sqlite.rebuild(step, hanging)
  local before, after = step.before, step.after
  local temporary = "rille_new_" .. step.rebuild
  local names, values = {}, {}
  for _, column in ipairs(after.columns) do
    local source = step.sources[column.name]
    if source or State.find_column(before, column.name) then
      names[#names + 1] = quote(column.name)
      values[#values + 1] = source or quote(column.name)
    end
  end
  local old, new = quote_table(step.rebuild), quote(temporary)
  local statements = { ddl.create_table(after, dialect, false, temporary) }
  local function say(sql, ...)
    statements[#statements + 1] = sql:format(...)
  end
  if #names > 0 then
    local into, from = table.concat(names, ", "), table.concat(values, ", ")
    say("INSERT INTO %s (%s) SELECT %s FROM %s", new, into, from, old)
  end
  local key = State.find_column(before, after.columns[1].name)
  if key and key.kind == "auto" and after.columns[1].kind == "auto" then
    -- Keys of rows that were deleted are not given out again.
    local copied, name = "'" .. temporary:gsub("'", "''") .. "'", step.rebuild:gsub("'", "''")
    say("DELETE FROM sqlite_sequence WHERE name = %s", copied)
    say(
      "INSERT INTO sqlite_sequence (name, seq) SELECT %s, seq FROM sqlite_sequence"
        .. " WHERE name = '%s'",
      copied,
      name
    )
  end
  say("DROP TABLE %s", old)
  say("PRAGMA legacy_alter_table = ON") -- the new name touches nothing but this table
  say("ALTER TABLE %s RENAME TO %s", new, old)
  say("PRAGMA legacy_alter_table = OFF")
  local own = {}
  for _, described in ipairs({ before, after }) do
    for _, index in ipairs(ddl.indexes(described)) do
      own[ddl.index_name(described.name, index)] = true
    end
  end
  for _, index in ipairs(ddl.indexes(after)) do
    statements[#statements + 1] = ddl.create_index(after.name, index, dialect)
  end
  for _, thing in ipairs(hanging) do
    if not (thing.type == "index" and own[thing.name]) then
      statements[#statements + 1] = thing.sql
    end
  end
  return statements
end

return sqlite
