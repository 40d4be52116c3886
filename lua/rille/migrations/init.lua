--- What a migration file is written with.
---
---     local m = require("rille.migrations")
---
---     return m.migration("notes", {
---       m.create_table("note", {
---         { "id", "auto" },
---         { "title", "text", max_length = 80 },
---         { "author_id", "bigint", null = true, index = true,
---           references = "person.id", on_delete = "set null" },
---       }, { unique = { { "author_id", "title" } }, indexes = { { "title", "id" } } }),
---       m.run {
---         function(db) db:aexecute("INSERT INTO note (title) VALUES ($1)", "hello") end,
---         reverse = "DELETE FROM note",
---       },
---     })
---
--- A column is its name, its kind of field, and options: `null`, `primary_key`, `unique`, `index`,
--- `references = "table.column"` with `on_delete` in SQL's words, and what the kind takes, such as
--- `max_length`. Every operation knows its way back; that of `run` must be said.

local columns = require("rille.migrations.columns")

---@class rille.migrations.Migration
---@field app string           whose it is: what `rille_migrations` knows it by
---@field operations rille.migrations.Operation[]
---@field transaction boolean
---@field name string?         "0002_note_title"; by its file
---@field number integer?

local Migration = {}
Migration.__index = Migration

local m = { Migration = Migration }

--- Where a file calls us: "0002_note_title.lua:5".
local function place()
  for level = 3, 20 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return nil
    elseif info.currentline > 0 and not info.source:find("rille/migrations/init.lua", 1, true) then
      return ("%s:%d"):format(info.short_src:match("[^/]*$"), info.currentline)
    end
  end
end

local function operation(kind, fields)
  fields.kind, fields.place = kind, place()
  return fields
end

local function check_table(name, level)
  if not columns.is_table(name) then
    error(("a table's name is a string, not %s"):format(tostring(name)), level + 1)
  end
end

local function check_name(value, what, level)
  if type(value) ~= "string" or value == "" then
    error(("%s must be a string, not %s"):format(what, tostring(value)), level + 1)
  end
end

local function read_column(given, level)
  local ok, column = pcall(columns.read, given)
  if not ok then
    error(column, level + 1)
  end
  return column
end

local function check_names(names, level)
  if type(names) ~= "table" or #names == 0 then
    error('columns are a list of names: { "author_id", "title" }', level + 1)
  end
  for _, name in ipairs(names) do
    check_name(name, "the name of a column", level + 1)
  end
  return names
end

local function check_options(given, known, level)
  for name in pairs(given or {}) do
    if not known[name] then
      local names = {}
      for option in pairs(known) do
        names[#names + 1] = tostring(option)
      end
      table.sort(names)
      error(
        ("there is no option '%s'; there are: %s"):format(
          tostring(name),
          table.concat(names, ", ")
        ),
        level + 1
      )
    end
  end
  return given or {}
end

local OF_INDEX = { name = true, where = true, unique = true, method = true }

--- `{ "title", "-id", name = "…", where = "…", unique = true, method = "gin" }`
local function read_index(given, level)
  check_names(given, level + 1)
  local index = { columns = {} }
  for key, value in pairs(given) do
    if OF_INDEX[key] then
      index[key] = value or nil
    elseif type(key) ~= "number" then
      error(("an index has no option '%s'"):format(tostring(key)), level + 1)
    end
  end
  for i, name in ipairs(given) do
    local column = name:match("^%-(.+)") or name
    index.columns[i] = column
    if column ~= name then
      index.descending = index.descending or {}
      index.descending[column] = true
    end
  end
  return index
end

--- SQL text, or one for each backend.
local function check_text(text, what, level)
  if type(text) ~= "string" and type(text) ~= "table" then
    error(("%s is SQL, not a %s"):format(what, type(text)), level + 1)
  end
end

--- A migration. `app` is the same in all files of a folder.
---@param app string
---@param operations rille.migrations.Operation[]
---@param options { transaction: boolean? }?  `transaction = false` for what cannot be in one, such
---  as CREATE INDEX CONCURRENTLY: what has been done when an operation fails stays
---@return rille.migrations.Migration
function m.migration(app, operations, options)
  check_name(app, "the name of the app", 2)
  if type(operations) ~= "table" then
    error("a migration needs a list of operations", 2)
  end
  for i, op in ipairs(operations) do
    if type(op) ~= "table" or not op.kind then
      error(("operation %d is none: it is made by m.create_table and the like"):format(i), 2)
    end
  end
  options = check_options(options, { transaction = true }, 2)
  return setmetatable({
    app = app,
    operations = operations,
    transaction = options.transaction ~= false,
  }, Migration)
end

---@param name string
---@param given table[]  columns
---@param options { unique: string[][]?, indexes: table[]?, checks: table<string, rille.db.Text>? }?
---@return rille.migrations.Operation
function m.create_table(name, given, options)
  check_table(name, 2)
  options = check_options(options, { unique = true, indexes = true, checks = true }, 2)
  local described = { name = name, columns = {}, unique = {}, indexes = {}, checks = {} }
  if type(given) ~= "table" then
    error("create_table needs a list of columns", 2)
  end
  for i, column in ipairs(given) do
    described.columns[i] = read_column(column, 2)
  end
  for i, names in ipairs(options.unique or {}) do
    described.unique[i] = check_names(names, 2)
  end
  for i, index in ipairs(options.indexes or {}) do
    described.indexes[i] = read_index(index, 2)
  end
  for check, sql in pairs(options.checks or {}) do
    check_text(sql, "a check", 2)
    described.checks[#described.checks + 1] = { name = check, sql = sql }
  end
  table.sort(described.checks, function(a, b)
    return a.name < b.name
  end)
  return operation("create_table", { described = described, table = name })
end

--- The table and what is in it. Back, it is made again, empty.
---@param name string
---@return rille.migrations.Operation
function m.drop_table(name)
  check_table(name, 2)
  return operation("drop_table", { table = name })
end

---@param name string
---@param to string
---@return rille.migrations.Operation
function m.rename_table(name, to)
  check_table(name, 2)
  check_table(to, 2)
  return operation("rename_table", { table = name, to = to })
end

--- `fill` is what existing rows get: a value, or `{ sql = "…" }`. A column that cannot be NULL
--- needs it, unless the table is empty.
---@param name string
---@param column table
---@param options { fill: any }?
---@return rille.migrations.Operation
function m.add_column(name, column, options)
  check_table(name, 2)
  options = check_options(options, { fill = true }, 2)
  return operation("add_column", {
    table = name,
    column = read_column(column, 2),
    fill = options.fill,
  })
end

--- Back, the column is made again; `fill` is what rows get in it then.
---@param name string
---@param column string
---@param options { fill: any }?
---@return rille.migrations.Operation
function m.drop_column(name, column, options)
  check_table(name, 2)
  check_name(column, "the name of a column", 2)
  options = check_options(options, { fill = true }, 2)
  return operation("drop_column", { table = name, column = column, fill = options.fill })
end

--- A column is to be like this from now on. `fill` is what rows get that have NULL where it is no
--- longer allowed; `using` is SQL for the value in the new type, `reverse_using` for the way back.
---@param name string
---@param column table
---@param options { fill: any, using: string?, reverse_using: string? }?
---@return rille.migrations.Operation
function m.alter_column(name, column, options)
  check_table(name, 2)
  options = check_options(options, { fill = true, using = true, reverse_using = true }, 2)
  return operation("alter_column", {
    table = name,
    column = read_column(column, 2),
    fill = options.fill,
    using = options.using,
    reverse_using = options.reverse_using,
  })
end

---@param name string
---@param column string
---@param to string
---@return rille.migrations.Operation
function m.rename_column(name, column, to)
  check_table(name, 2)
  check_name(column, "the name of a column", 2)
  check_name(to, "the new name", 2)
  return operation("rename_column", { table = name, column = column, to = to })
end

for _, kind in ipairs({ "add_unique", "drop_unique" }) do
  --- `m.add_unique("note", { "author_id", "title" })`
  m[kind] = function(name, names)
    check_table(name, 2)
    return operation(kind, { table = name, columns = check_names(names, 2) })
  end
end

for _, kind in ipairs({ "add_index", "drop_index" }) do
  --- `m.add_index("note", { "title", "-id", name = "note_titles", where = "title <> ''" })`; also
  --- `unique = true`, and on PostgreSQL `method = "gin"`. "-": descending.
  m[kind] = function(name, index)
    check_table(name, 2)
    return operation(kind, { table = name, index = read_index(index, 2) })
  end
end

--- A condition that holds for every row.
---@param name string
---@param check string  its name
---@param sql rille.db.Text  one text, or { postgresql = …, sqlite = … }
---@return rille.migrations.Operation
function m.add_check(name, check, sql)
  check_table(name, 2)
  check_name(check, "the name of a check", 2)
  check_text(sql, "the condition", 2)
  return operation("add_check", { table = name, name = check, sql = sql })
end

---@param name string
---@param check string
---@return rille.migrations.Operation
function m.drop_check(name, check)
  check_table(name, 2)
  check_name(check, "the name of a check", 2)
  return operation("drop_check", { table = name, name = check })
end

local WORK = "a statement, a list of statements, a function, or { postgresql = …, sqlite = … }"

local function check_work(work, level)
  local kind = type(work)
  if kind ~= "string" and kind ~= "function" and kind ~= "table" then
    error(("run needs %s, not a %s"):format(WORK, kind), level + 1)
  end
  return work
end

--- Anything else: a statement (one, without parameters), a list of them, a function, or one of
--- these for each backend. A function is called with the database, inside the transaction. Without
--- `reverse` there is no way back; `reverse = {}` says that nothing needs to be done. `state` has
--- operations that say what it did to the tables, and are not run themselves.
---@param given { [1]: any, reverse: any, state: rille.migrations.Operation[]? }
---@return rille.migrations.Operation
function m.run(given)
  if type(given) ~= "table" then
    error("run needs a table: { work, reverse = … }", 2)
  end
  check_options(given, { true, reverse = true, state = true }, 2)
  check_work(given[1], 2)
  if given.reverse ~= nil then
    check_work(given.reverse, 2)
  end
  return operation("run", { work = given[1], reverse = given.reverse, state = given.state })
end

return m
