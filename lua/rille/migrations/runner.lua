--- Migrations and a database: which have been applied, and applying those that have not.
---
--- Each migration is a transaction: its operations and the note of it in `rille_migrations`. Under
--- the lock that it takes first (PostgreSQL: an advisory lock; SQLite: the only writer's) it looks
--- again whether somebody else has been faster. So of two processes one waits, and finds nothing
--- left to do. It waits outside of a transaction: an open one would stop CREATE INDEX CONCURRENTLY.

local errors = require("rille.errors")
local folder = require("rille.migrations.folder")
local operations = require("rille.migrations.operations")
local postgresql = require("rille.migrations.postgresql")
local sqlite = require("rille.migrations.sqlite")
local task = require("rille.task")

local runner = {}

local LOCK = 7525442613 -- an advisory lock: "rille" in letters
local BACKENDS = { postgresql = postgresql, sqlite = sqlite.kinds }

local CREATE_NOTES = [[
CREATE TABLE IF NOT EXISTS "rille_migrations" (
  "app" text NOT NULL,
  "name" text NOT NULL,
  "applied" text NOT NULL,
  PRIMARY KEY ("app", "name")
)]]

---@class rille.migrations.Step
---@field migration rille.migrations.Migration
---@field forward boolean
---@field deeds rille.migrations.Deed[]?

--- The names of an app's migrations that a database has, as a set.
---@async
---@param database rille.db.Database
---@param app string
---@return table<string, true>
function runner.aapplied(database, app)
  local dialect = database.dialect
  local there = database:aquery(dialect.columns_sql, dialect.columns_param("rille_migrations"))
  local applied = {}
  if #there > 0 then
    local sql = 'SELECT "name" FROM "rille_migrations" WHERE "app" = $1'
    for _, row in ipairs(database:aquery(sql, app)) do
      applied[row.name] = true
    end
  end
  return applied
end

--- The migration that `--to` names: its number, or the begin of its name. "zero": 0.
---@param found rille.migrations.Folder
---@param to string
---@return integer number
function runner.target(found, to)
  if to == "zero" then
    return 0
  end
  local matching = {}
  for _, migration in ipairs(found.migrations) do
    if migration.name == to or tonumber(to) == migration.number then
      return migration.number
    elseif migration.name:sub(1, #to) == to then
      matching[#matching + 1] = migration
    end
  end
  if #matching == 1 then
    return matching[1].number
  end
  local names = {}
  for i, migration in ipairs(found.migrations) do
    names[i] = migration.name
  end
  error(
    errors.ConfigurationError(
      ("%s is %s migration of %s; there are: zero, %s"):format(
        to,
        #matching == 0 and "no" or "more than one",
        found.path,
        table.concat(names, ", ")
      )
    ),
    0
  )
end

--- What is to be done, in order. Without a target everything forward.
---@param found rille.migrations.Folder
---@param applied table<string, true>
---@param target integer?
---@return rille.migrations.Step[]
function runner.plan(found, applied, target)
  local steps = {}
  for i = target and #found.migrations or 0, 1, -1 do
    local migration = found.migrations[i]
    if applied[migration.name] and migration.number > target then
      steps[#steps + 1] = { migration = migration, forward = false }
    end
  end
  for _, migration in ipairs(found.migrations) do
    if not applied[migration.name] and (not target or migration.number <= target) then
      steps[#steps + 1] = { migration = migration, forward = true }
    end
  end
  return steps
end

--- The state before a migration: of those with smaller numbers.
local function state_before(found, migration)
  local earlier = {}
  for _, other in ipairs(found.migrations) do
    if other.number < migration.number then
      earlier[#earlier + 1] = other
    end
  end
  return folder.state(earlier)
end

---@class rille.migrations.Deed  an operation, ready to be done
---@field op rille.migrations.Operation
---@field index integer      in its file
---@field statements (string|rille.migrations.Rebuild|function)[]

--- The statements of `run` for a backend.
local function work_of(op, backend)
  local work = op.work
  if type(work) == "table" and (work.postgresql ~= nil or work.sqlite ~= nil) then
    work = work[backend]
  end
  if work == nil then
    return {}
  end
  return type(work) == "table" and work or { work }
end

local function statements_of(op, before, after, backend)
  if op.kind == "run" then
    return work_of(op, backend)
  end
  return BACKENDS[backend][op.kind](op, before, after)
end

--- What a step does, complete, before anything is done.
---@param found rille.migrations.Folder
---@param step rille.migrations.Step
---@param backend "postgresql"|"sqlite"
---@return rille.migrations.Deed[]
function runner.deeds(found, step, backend)
  local deeds = {}
  local migration = step.migration
  folder.advance(migration, state_before(found, migration), function(op, i, before, after)
    local place = i
    if not step.forward then
      local inverse = operations.inverse(op, before)
      if not inverse then
        local why = "there is no way back: it has no `reverse`"
        error(errors.ConfigurationError(folder.blame(migration, i, why)), 0)
      end
      op, before, after = inverse, after, before
      place = 1
    end
    local ok, statements = pcall(statements_of, op, before, after, backend)
    if not ok then
      local why = errors.is_error(statements) and statements.message or tostring(statements)
      error(errors.ConfigurationError(folder.blame(migration, i, why)), 0)
    end
    table.insert(deeds, step.forward and #deeds + 1 or place, {
      op = op,
      index = i,
      statements = statements,
    })
  end)
  return deeds
end

local function with_traceback(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- A rebuild takes along what the migrations know of; refuse to lose what they do not.
local function acheck_columns(database, step)
  local known = {}
  for _, column in ipairs(step.before.columns) do
    known[column.name] = true
  end
  local dialect = database.dialect
  local name = dialect.columns_param(step.rebuild)
  for _, row in ipairs(database:aquery(dialect.columns_sql, name)) do
    if not known[row.name] then
      local told = "the table has a column '%s' that no migration has made, and SQLite needs a new"
        .. " table for this: tell a migration of it, as m.run {{}, state = {m.add_column(…)}}"
      error(errors.ConfigurationError(told:format(row.name)), 0)
    end
  end
end

local function arun_statement(database, statement)
  if type(statement) == "function" then
    local ok, err = xpcall(statement, with_traceback, database)
    if not ok then
      error(err, 0)
    end
  elseif type(statement) == "table" then
    acheck_columns(database, statement)
    local hanging = database:aquery(sqlite.HANGING, statement.rebuild)
    for _, sql in ipairs(sqlite.rebuild(statement, hanging)) do
      database:aexecute(sql)
    end
  else
    database:aexecute(statement)
  end
end

--- Say which operation it was, in the error that it raised.
local function blamed(err, migration, deed, tail)
  local why = errors.is_error(err) and err.message or tostring(err)
  local text = folder.blame(migration, deed.index, why) .. tail
  if not errors.is_error(err) then
    err = errors.Error(text)
  end
  err.message, err.of_operation = text, true
  return err
end

local UNTOUCHED = " (undone: the database is as it was before this migration)"
local TOUCHED = " (outside of a transaction: what came before it in this migration is done)"

local function ado(database, migration, deeds)
  for _, deed in ipairs(deeds) do
    for _, statement in ipairs(deed.statements) do
      local ok, err = pcall(arun_statement, database, statement)
      if not ok then
        error(blamed(err, migration, deed, migration.transaction and UNTOUCHED or TOUCHED), 0)
      end
    end
  end
end

local function anote(database, step, app)
  local name = step.migration.name
  if step.forward then
    local now = os.date("!%Y-%m-%dT%H:%M:%SZ")
    local sql = 'INSERT INTO "rille_migrations" ("app", "name", "applied") VALUES ($1, $2, $3)'
    database:aexecute(sql, app, name, now)
  else
    database:aexecute('DELETE FROM "rille_migrations" WHERE "app" = $1 AND "name" = $2', app, name)
  end
end

--- Rows that refer to nothing, after foreign keys have been off.
local function acheck_references(database)
  local broken = database:aquery("SELECT * FROM pragma_foreign_key_check LIMIT 1")[1]
  if broken then
    local told = "a row of '%s' refers to a row of '%s' that is not there"
      .. " (PRAGMA foreign_key_check shows all)"
    error(errors.IntegrityError(told:format(broken.table, broken.parent)), 0)
  end
end

--- Is there something among the statements that foreign keys must be off for?
local function takes_tables_away(deeds)
  for _, deed in ipairs(deeds) do
    for _, statement in ipairs(deed.statements) do
      if type(statement) == "table" then
        return true
      end
    end
    if deed.statements.drops then
      return true
    end
  end
  return false
end

local BUSY = errors.OperationalError("the database is locked: another process migrates it")

--- On SQLite BEGIN IMMEDIATE has locked already.
local function alock(database, how)
  if database.backend == "postgresql" then
    local sql = ('SELECT %s(%d) AS "got"'):format(how, LOCK)
    if not database:aquery(sql)[1].got then
      error(BUSY, 0)
    end
  end
end

--- One step, if it is still to be done.
local function astep(database, found, step, fake)
  local migration, deeds = step.migration, fake and {} or step.deeds
  local function is_due()
    database:aexecute(CREATE_NOTES)
    return (runner.aapplied(database, found.app)[migration.name] or false) ~= step.forward
  end
  if not migration.transaction and not fake then
    return database:apinned(function()
      alock(database, "pg_try_advisory_lock")
      if is_due() then
        ado(database, migration, deeds)
        anote(database, step, found.app)
        return true
      end
    end)
  end
  local off = database.backend == "sqlite" and takes_tables_away(deeds)
  return database:apinned(function(conn)
    if off then
      conn:aexecute("PRAGMA foreign_keys = OFF") -- which means nothing inside a transaction
    end
    return conn:atomic(function()
      alock(database, "pg_try_advisory_xact_lock")
      if database.backend == "postgresql" then
        conn:aexecute("SET LOCAL statement_timeout = 0")
        conn:mark_dirty() -- the core's own clock is for statements of handlers
      end
      if not is_due() then
        return false
      end
      ado(database, migration, deeds)
      if off then
        local ok, err = pcall(acheck_references, database)
        if not ok then
          error(blamed(err, migration, deeds[#deeds], UNTOUCHED), 0)
        end
      end
      anote(database, step, found.app)
      return true
    end, { durable = true })
  end)
end

local PAUSE, SILENT = 0.1, 2 -- seconds

--- Again while somebody else has the lock. SQLite gives up after a while by itself.
local function apatiently(tell, fn)
  local waited = 0
  while true do
    local ok, result = pcall(fn)
    if ok then
      return result
    end
    local locked = errors.is_error(result, errors.OperationalError)
      and not result.of_operation
      and tostring(result.message):find("locked", 1, true)
    if not locked then
      error(result, 0)
    end
    if waited <= SILENT and waited + PAUSE > SILENT then
      tell("waiting: " .. result.message)
    end
    waited = waited + PAUSE
    task.asleep(PAUSE)
  end
end

--- Tables of a first migration that are there already: those that rille made before the app had
--- migrations. All of them, with the same columns: true; none: false. Anything else raises.
local function aknows_first(database, migration)
  local dialect, there, lacking = database.dialect, {}, {}
  for _, op in ipairs(migration.operations) do
    if op.kind == "create_table" then
      local described, columns = op.described, {}
      local name = dialect.columns_param(described.name)
      for _, row in ipairs(database:aquery(dialect.columns_sql, name)) do
        columns[row.name] = true
      end
      local missing = {}
      for _, column in ipairs(described.columns) do
        missing[#missing + 1] = not columns[column.name] and column.name or nil
      end
      if next(columns) == nil then
        lacking[#lacking + 1] = described.name
      elseif #missing > 0 then
        local told = "%s would make the table '%s', which is there, without the column '%s'"
        local text = told:format(migration.name, described.name, missing[1])
        error(errors.ConfigurationError(text), 0)
      else
        there[#there + 1] = described.name
      end
    end
  end
  if #there > 0 and #lacking > 0 then
    local told = "%s would make the tables '%s', which is there, and '%s', which is not:"
      .. " make or drop one of them by hand, then --fake it or not"
    local text = told:format(migration.name, there[1], lacking[1])
    error(errors.ConfigurationError(text), 0)
  end
  return #there > 0
end

--- Does a migration only make tables?
local function only_creates(migration)
  for _, op in ipairs(migration.operations) do
    local closes_circle = op.kind == "alter_column" and op.column.references
    if op.kind ~= "create_table" and not closes_circle then
      return false
    end
  end
  return #migration.operations > 0
end

--- Do what is to be done, step by step, telling of each that was. What cannot be done at all, such
--- as a way back that there is not, raises before anything is.
---@async
---@param database rille.db.Database
---@param found rille.migrations.Folder
---@param opts { target: integer?, fake: boolean?, tell: fun(text: string)? }
---@return integer done  how many steps
function runner.amigrate(database, found, opts)
  local tell, done = opts.tell or function() end, 0
  local applied = runner.aapplied(database, found.app)
  local first_time = next(applied) == nil
  local steps = runner.plan(found, applied, opts.target)
  for _, step in ipairs(opts.fake and {} or steps) do
    step.deeds = runner.deeds(found, step, database.backend)
  end
  for _, step in ipairs(steps) do
    local migration, fake = step.migration, opts.fake
    local verb = (step.forward and "applied " or "undone ")
    if first_time and step.forward and not fake and migration == found.migrations[1] then
      if only_creates(migration) and aknows_first(database, migration) then
        fake = true
        tell(("%s: its tables are there already, as it would make them"):format(migration.name))
      end
    end
    local was_done = apatiently(tell, function()
      return astep(database, found, step, fake)
    end)
    if was_done then
      done = done + 1
      tell((fake and "noted as " or "") .. verb .. migration.name)
    end
  end
  return done
end

return runner
