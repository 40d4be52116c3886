--- The databases of the application under test, which are never its own.
---
--- On SQLite each is in memory; on PostgreSQL `test_NAME` is made beside `NAME`, and dropped when
--- the run is over. Each has the tables of the application's models, since `using` may send any
--- model's query to any of them; two names of one database (a replica, say) are one here, too.
---
--- A test runs in one transaction on each, which everything that it starts shares and which is
--- rolled back at its end: that is the core's doing (src/db/stage.c). A transactional one commits,
--- and what it left in any table is removed afterwards.

local Database = require("rille.db").Database
local core = require("rille.core")
local db = require("rille.db")
local errors = require("rille.errors")
local transaction = require("rille.db.transaction")

local driver = core.db

local M = {}

---@type rille.Generation?  whose databases are open
local current
local prepared = false --- its tables are there
local in_test, transactional = false, false
---@type rille.db.Database[]  that are open for it, the default one first
local mine = {}
---@type table<string, rille.db.Database|false>  by name, that were there before
local others = {}
---@type table<string, string>  databases that we have made: URL to name
local made = {}

--- One for each process that runs specs beside others.
local JOB = os.getenv("RILLE_TEST_JOB")

local function split(url)
  local server, name, query = url:match("^(postgres%a*://[^/?]*)/?([^?]*)(.*)$")
  return server, name ~= "" and name or "rille", query
end

--- Where a test finds the database of this URL.
local function test_url(url)
  local server, name, query = split(url)
  if not server then
    return "sqlite::memory:"
  end
  return ("%s/test_%s%s%s"):format(server, name, JOB and "_" .. JOB or "", query)
end

local function test_settings(given)
  local settings = {}
  for key, value in pairs(type(given) == "string" and { url = given } or given) do
    settings[key] = value
  end
  settings.url = test_url(settings.url)
  return settings
end

--- The default one first.
local function names_of(databases)
  local names = {}
  for name in pairs(databases) do
    names[#names + 1] = name ~= "default" and name or nil
  end
  table.sort(names)
  table.insert(names, 1, "default")
  return names
end

--- The same for two names of one database, whatever settings ride on its URL.
local function identity(given)
  local url = type(given) == "string" and given or given.url
  local server, name = split(url)
  if server then
    return server .. "/" .. name
  end
  return url ~= "sqlite::memory:" and url:match("^[^?]*") or {}
end

local function stage(on)
  for _, one in ipairs(mine) do
    one.held = nil
    if on then
      driver.stage(one.handle)
    end
  end
end

--- Whoever had the names before has them again.
local function give_names_back()
  for name, before in pairs(others) do
    db.databases[name] = before or nil
  end
  current, mine, others, prepared = nil, {}, {}, false
end

--- Have done with those that are open.
function M.leave()
  for _, one in ipairs(mine) do
    core.task.spawn_detached(function()
      one:aclose()
    end)
  end
  give_names_back()
end

--- Open what a generation names.
---@param generation rille.Generation
function M.have(generation)
  if generation == current then
    return
  end
  M.leave()
  local known = {}
  for _, name in ipairs(names_of(generation.databases)) do
    local given = generation.databases[name]
    local key = identity(given)
    if not known[key] then
      known[key] = Database(name, test_settings(given))
      mine[#mine + 1] = known[key]
    end
    others[name] = rawget(db.databases, name) or false
    db.databases[name] = known[key]
  end
  current = generation
  stage(in_test and not transactional)
end

--- On its server, from a database that each server has.
local function ado(url, fn)
  local server, name, query = split(url)
  local outer = Database("maintenance", { url = ("%s/postgres%s"):format(server, query) })
  local ok, err = pcall(fn, outer, '"' .. name:gsub('"', '""') .. '"')
  outer:aclose()
  if not ok then
    error(err, 0)
  end
end

local function adrop(url)
  ado(url, function(outer, quoted)
    outer:aexecute(("DROP DATABASE IF EXISTS %s WITH (FORCE)"):format(quoted))
  end)
end

local function amake(one)
  local url = one.settings.url
  if one.backend == "postgresql" and not made[url] then
    adrop(url)
    ado(url, function(outer, quoted)
      outer:aexecute("CREATE DATABASE " .. quoted)
    end)
    made[url] = one.name
  end
end

--- The models whose tables a database can have: one that is for PostgreSQL cannot be on SQLite.
local function fitting(models, dialect)
  local schema = require("rille.models.schema")
  local list = {}
  for _, model in ipairs(models) do
    local ok, err = pcall(schema.statements, model, dialect)
    if ok then
      list[#list + 1] = model
    elseif not errors.is_error(err, errors.NotSupportedError) then
      error(err, 0)
    end
  end
  return list
end

--- The tables of a database: the default one has them as a server makes them. Another of its kind
--- has the same migrations; one of another kind has what it can of the models.
local function acreate_tables(one)
  local app, default = current.app, mine[1]
  local migrations = current.files[1] and require("rille.migrations.app")
  if migrations and one == default then
    migrations.abring(current, one, function() end)
    return
  end
  local found = migrations and one.backend == default.backend and migrations.folder(current)
  if found and found.migrations[1] then
    require("rille.migrations.runner").amigrate(one, found, { tell = function() end })
  elseif app.models[1] then
    local models = one == default and app.models or fitting(app.models, one.dialect)
    require("rille.models.schema").acreate_missing(one, models)
  end
end

--- See that the databases and their tables are there.
---@async
function M.aprepare()
  if prepared or not current then
    return
  end
  for _, one in ipairs(mine) do
    amake(one)
    acreate_tables(one)
  end
  prepared = not in_test -- else the tables go with the test's transaction
end

---@return boolean
function M.is_in_test()
  return in_test
end

--- The test commits: there is no transaction around it.
function M.transactional()
  if not in_test then
    error("testing.transactional: in a test, or in before_each", 3)
  elseif transactional then
    return
  end
  transactional = true
  for _, one in ipairs(mine) do
    driver.unstage(one.handle)
  end
end

local TABLES = {
  sqlite = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
    .. " ESCAPE '\\'",
  postgresql = "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()",
}

--- Empty the tables that hold anything.
local function atruncate(one)
  local touched, quoted = {}, {}
  for _, row in ipairs(one:aquery(TABLES[one.backend])) do
    local name = '"' .. row.name:gsub('"', '""') .. '"'
    local may_empty = row.name ~= "rille_migrations" -- what has been applied stays so
    if may_empty and one:aquery(("SELECT 1 AS one FROM %s LIMIT 1"):format(name))[1] then
      touched[#touched + 1], quoted[#quoted + 1] = row.name, name
    end
  end
  if not touched[1] then
    return
  elseif one.backend == "postgresql" then
    one:aexecute(("TRUNCATE %s RESTART IDENTITY CASCADE"):format(table.concat(quoted, ", ")))
    return
  end
  one:apinned(function()
    one:aexecute("PRAGMA foreign_keys = OFF")
    for _, name in ipairs(quoted) do
      one:aexecute("DELETE FROM " .. name)
    end
    if one:aquery("SELECT 1 AS one FROM sqlite_master WHERE name = 'sqlite_sequence'")[1] then
      for _, name in ipairs(touched) do
        one:aexecute("DELETE FROM sqlite_sequence WHERE name = $1", name)
      end
    end
    one:aexecute("PRAGMA foreign_keys = ON")
  end)
end

--- A test begins.
---@async
function M.abegin()
  M.aprepare()
  in_test, transactional = true, false
  stage(true)
end

--- It has ended: undo what it did. Raises when its transaction was lost.
---@async
function M.aend()
  in_test = false
  local lost
  for _, one in ipairs(mine) do
    one.held = nil
    if transactional then
      atruncate(one)
    else
      local ok, err = driver.unstage(one.handle)
      lost = lost or not ok and err
    end
  end
  if lost then
    error(lost, 0)
  end
end

--- The run is over.
---@async
function M.aclose()
  for _, one in ipairs(mine) do
    one:aclose()
  end
  give_names_back()
  for url in pairs(made) do
    adrop(url)
  end
end

--- From now on, in this test, what `on_commit` was given waits for `arun_on_commit`.
function M.hold_on_commit()
  for _, one in ipairs(mine) do
    one.held = one.held or {}
  end
end

--- Run `hooks` as after a commit; what they give to `on_commit` waits if it did before.
local function arun(one, hooks)
  local held = one.held
  one.held = nil
  local ok, err = pcall(transaction.run_hooks, one, hooks)
  one.held = held
  if not ok then
    error(err, 0)
  end
end

--- Run what waits.
---@async
---@return integer  so many
function M.arun_on_commit()
  local count = 0
  for _, one in ipairs(mine) do
    local hooks = one.held or {}
    one.held = one.held and {}
    count = count + #hooks
    arun(one, hooks)
  end
  return count
end

--- Call a function, and keep what it gives to `on_commit`, as Django's captureOnCommitCallbacks.
---@async
---@param fn async fun()
---@param options { execute: boolean? }?  execute: run them, when the function has returned
---@return fun()[]  in the order in which they came
function M.acapture_on_commit(fn, options)
  local before, captured, functions = {}, {}, {}
  for _, one in ipairs(mine) do
    before[one], one.held = one.held or false, {}
  end
  local ok, err = pcall(fn)
  for one, held in pairs(before) do
    captured[one], one.held = one.held, held or nil
    for _, hook in ipairs(captured[one]) do
      functions[#functions + 1] = hook.fn
    end
  end
  if not ok then
    error(err, 0)
  end
  for one, hooks in pairs(options and options.execute and captured or {}) do
    arun(one, hooks)
  end
  return functions
end

return M
