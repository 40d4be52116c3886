--- What a table is, as data, and the SQL that makes it. Pure.
---
--- A table as data is what models say of themselves (`rille.models.tables`) and what migration
--- files add up to (`rille.migrations`): both become SQL here, so that a database is the same
--- whichever way it was made.
---
--- Constraints and indexes have the names that PostgreSQL would give them, `message_room_id_fkey`;
--- one that would be too long ends in a hash of itself, and is said out loud.

local bit = require("bit")
local errors = require("rille.errors")

---@class rille.db.Column
---@field name string
---@field kind string          of field: "text"; a foreign key has its target's
---@field null boolean?
---@field primary_key boolean?
---@field unique boolean?
---@field index boolean?
---@field references string?   "room.id"; the table may have a schema
---@field on_delete string?    SQL's word, in small letters: "cascade", "set null"
---@field [string] any         what the kind's type takes, such as `max_length`

---@class rille.db.Index
---@field name string?         default: after what it is on
---@field columns string[]
---@field descending table<string, true>?  of these columns
---@field unique boolean?
---@field method string?       on PostgreSQL: "gin"
---@field where rille.db.Text?  SQL: an index of these rows only

--- SQL text, or one for each backend by its name, where they differ.
---@alias rille.db.Text string|table<string, string>

---@class rille.db.Check
---@field name string
---@field sql rille.db.Text

---@class rille.db.Table
---@field name string          may have a schema: "public.room"
---@field columns rille.db.Column[]
---@field unique string[][]    columns that are unique together
---@field indexes rille.db.Index[]
---@field checks rille.db.Check[]

local ddl = {}

local LONGEST = 63 -- bytes of a name in PostgreSQL

--- FNV-1a, of 32 bits.
local function hash(text)
  local h = 0x811c9dc5
  for i = 1, #text do
    h = bit.bxor(h, text:byte(i))
    -- times 0x01000193, in parts that a double holds exactly
    h = bit.tobit(bit.lshift(h, 24) + h * 0x193)
  end
  return bit.tohex(h)
end

--- The name of a constraint or an index.
---@param table_name string
---@param columns string[]
---@param what "key"|"fkey"|"idx"|"pkey"
---@return string
function ddl.name(table_name, columns, what)
  local parts = { table_name:match("[^.]+$") }
  for _, column in ipairs(columns) do
    parts[#parts + 1] = column
  end
  local name = table.concat(parts, "_") .. "_" .. what
  if #name <= LONGEST then
    return name
  end
  local tail = "_" .. hash(name) .. "_" .. what
  return name:sub(1, LONGEST - #tail):gsub("[\128-\255]+$", "") .. tail
end

--- "room.id" to "room" and "id".
---@param references string
---@return string table_name
---@return string column
function ddl.target(references)
  return references:match("^(.*)%.([^.]+)$")
end

local function quoted(columns, dialect)
  local list = {}
  for i, column in ipairs(columns) do
    list[i] = dialect.quote(column)
  end
  return table.concat(list, ", ")
end

local function text_for(dialect, text)
  return type(text) == "table" and text[dialect.name] or text
end

--- A column's type. Raises `NotSupportedError` where the backend has no such type.
---@param column rille.db.Column
---@param dialect rille.db.Dialect
---@return string
function ddl.type_of(column, dialect)
  if column.max_length then
    return dialect.text_type(dialect.quote(column.name), column.max_length)
  elseif column.max_digits then
    local numeric = dialect.types.numeric
    return ("%s(%d, %d)"):format(numeric, column.max_digits, column.decimal_places)
  elseif column.kind == "array" then
    if not dialect.arrays then
      error(
        errors.NotSupportedError(
          ("the column '%s' holds arrays, which need PostgreSQL; %s has none"):format(
            column.name,
            dialect.name
          )
        ),
        0
      )
    end
    return dialect.types[column.of] .. "[]"
  end
  return dialect.types[column.kind]
end

--- `CONSTRAINT name ` where the database itself would choose another one.
local function named(table_name, columns, what, dialect)
  local plain = table_name:match("[^.]+$") .. "_" .. table.concat(columns, "_") .. "_" .. what
  if #plain <= LONGEST then
    return ""
  end
  return "CONSTRAINT " .. dialect.quote(ddl.name(table_name, columns, what)) .. " "
end

--- What a foreign key says behind its column.
---@param column rille.db.Column
---@param dialect rille.db.Dialect
---@return string
function ddl.references(column, dialect)
  local target, key = ddl.target(column.references)
  return ("REFERENCES %s (%s) ON DELETE %s"):format(
    dialect.quote_table(target),
    dialect.quote(key),
    (column.on_delete or "no action"):upper()
  )
end

--- A column, as CREATE TABLE says it.
---@param table_name string
---@param column rille.db.Column
---@param dialect rille.db.Dialect
---@return string
function ddl.column(table_name, column, dialect)
  local sql = dialect.quote(column.name)
  if column.kind == "auto" then
    return sql .. " " .. dialect.auto
  end
  sql = sql .. " " .. ddl.type_of(column, dialect)
  if column.primary_key then
    sql = sql .. " PRIMARY KEY"
  end
  sql = sql .. (column.null and "" or " NOT NULL")
  if column.unique and not column.primary_key then
    sql = sql .. " " .. named(table_name, { column.name }, "key", dialect) .. "UNIQUE"
  end
  if column.references then
    local name = named(table_name, { column.name }, "fkey", dialect)
    sql = sql .. " " .. name .. ddl.references(column, dialect)
  end
  return sql
end

--- `UNIQUE (…)` of several columns.
---@param table_name string
---@param columns string[]
---@param dialect rille.db.Dialect
---@return string
function ddl.unique(table_name, columns, dialect)
  local name = named(table_name, columns, "key", dialect)
  return ("%sUNIQUE (%s)"):format(name, quoted(columns, dialect))
end

---@param check rille.db.Check
---@param dialect rille.db.Dialect
---@return string
function ddl.check(check, dialect)
  local sql = text_for(dialect, check.sql)
  return ("CONSTRAINT %s CHECK (%s)"):format(dialect.quote(check.name), sql)
end

--- The name of an index. It lives in its table's schema.
---@param table_name string
---@param index rille.db.Index
---@return string
function ddl.index_name(table_name, index)
  return index.name or ddl.name(table_name, index.columns, index.unique and "key" or "idx")
end

---@param table_name string
---@param index rille.db.Index
---@param dialect rille.db.Dialect
---@param missing boolean?  only if there is none of this name
---@return string
function ddl.create_index(table_name, index, dialect, missing)
  local columns = {}
  for i, column in ipairs(index.columns) do
    local descending = index.descending and index.descending[column]
    columns[i] = dialect.quote(column) .. (descending and " DESC" or "")
  end
  return ("CREATE %sINDEX %s%s ON %s%s (%s)%s"):format(
    index.unique and "UNIQUE " or "",
    missing and "IF NOT EXISTS " or "",
    dialect.quote(ddl.index_name(table_name, index)),
    dialect.quote_table(table_name),
    index.method and dialect.index_methods and " USING " .. index.method or "",
    table.concat(columns, ", "),
    index.where and " WHERE " .. text_for(dialect, index.where) or ""
  )
end

--- Every index of a table: those of single columns, then the others.
---@param described rille.db.Table
---@return rille.db.Index[]
function ddl.indexes(described)
  local list = {}
  for _, column in ipairs(described.columns) do
    if column.index then
      list[#list + 1] = { columns = { column.name } }
    end
  end
  for _, index in ipairs(described.indexes) do
    list[#list + 1] = index
  end
  return list
end

--- Tables before those that refer to them, and the foreign keys that close a circle.
---@param tables table<string, rille.db.Table>
---@param names string[]
---@return string[] ordered
---@return table<string, table<string, true>> circular  by table: columns that refer to a later one
function ddl.in_order(tables, names)
  local listed, state, ordered, circular = {}, {}, {}, {}
  for _, name in ipairs(names) do
    listed[name], circular[name] = true, {}
  end
  local function visit(name)
    state[name] = "open"
    for _, column in ipairs(tables[name].columns) do
      local target = column.references and ddl.target(column.references)
      if target and target ~= name and listed[target] then
        if not state[target] then
          visit(target)
        elseif state[target] == "open" then
          circular[name][column.name] = true
        end
      end
    end
    state[name] = "done"
    ordered[#ordered + 1] = name
  end
  for _, name in ipairs(names) do
    if not state[name] then
      visit(name)
    end
  end
  return ordered, circular
end

--- The same column, which refers to nothing.
---@param column rille.db.Column
---@return rille.db.Column
function ddl.without_reference(column)
  local plain = {}
  for key, value in pairs(column) do
    plain[key] = value
  end
  plain.references, plain.on_delete = nil, nil
  return plain
end

--- ALTER TABLE, which gives a column that is there its foreign key. PostgreSQL.
---@param table_name string
---@param column rille.db.Column
---@param dialect rille.db.Dialect
---@return string
function ddl.add_reference(table_name, column, dialect)
  return ("ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (%s) %s"):format(
    dialect.quote_table(table_name),
    dialect.quote(ddl.name(table_name, { column.name }, "fkey")),
    dialect.quote(column.name),
    ddl.references(column, dialect)
  )
end

--- CREATE TABLE, alone.
---@param described rille.db.Table
---@param dialect rille.db.Dialect
---@param missing boolean?  only if there is none
---@param name string?      under another name
---@return string
function ddl.create_table(described, dialect, missing, name)
  local lines = {}
  for _, column in ipairs(described.columns) do
    lines[#lines + 1] = ddl.column(described.name, column, dialect)
  end
  for _, columns in ipairs(described.unique) do
    lines[#lines + 1] = ddl.unique(described.name, columns, dialect)
  end
  for _, check in ipairs(described.checks) do
    lines[#lines + 1] = ddl.check(check, dialect)
  end
  return ("CREATE TABLE %s%s (\n  %s\n)"):format(
    missing and "IF NOT EXISTS " or "",
    dialect.quote_table(name or described.name),
    table.concat(lines, ",\n  ")
  )
end

--- The statements that make a table and its indexes.
---@param described rille.db.Table
---@param dialect rille.db.Dialect
---@param missing boolean?  what is there already is left as it is
---@return string[]
function ddl.create(described, dialect, missing)
  local statements = { ddl.create_table(described, dialect, missing) }
  for _, index in ipairs(ddl.indexes(described)) do
    statements[#statements + 1] = ddl.create_index(described.name, index, dialect, missing)
  end
  return statements
end

return ddl
