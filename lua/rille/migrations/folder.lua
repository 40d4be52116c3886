--- The folder `migrations` beside a script: numbered Lua files, and what they add up to.

local State = require("rille.migrations.state")
local errors = require("rille.errors")
local fs = require("rille.core").fs
local migrations = require("rille.migrations")
local operations = require("rille.migrations.operations")

local folder = {}

---@class rille.migrations.Folder
---@field path string
---@field app string?      whose the files are; nil: there is none
---@field migrations rille.migrations.Migration[]  by number

local function fail(text, ...)
  error(errors.ConfigurationError(text:format(...)), 0)
end

--- One file. `environment` is where its globals are.
---@param path string
---@param name string  "0001_initial"
---@param environment table
---@return rille.migrations.Migration
local function load_file(path, name, environment)
  local chunk, why = loadfile(path)
  if not chunk then
    fail("%s", why)
  end
  setfenv(chunk, environment)
  local ok, migration = xpcall(chunk, function(err)
    return type(err) == "string" and debug.traceback(err, 2) or err
  end)
  if not ok then
    error(errors.is_error(migration) and migration or errors.ConfigurationError(migration), 0)
  end
  if type(migration) ~= "table" or getmetatable(migration) ~= migrations.Migration then
    fail('%s does not return m.migration("app", { … })', path)
  end
  migration.name, migration.number = name, tonumber(name:match("^%d+"))
  return migration
end

--- Read the files of a folder; nil when there is no such folder.
---@param path string
---@param environment table
---@return rille.migrations.Folder?
function folder.read(path, environment)
  local names, err, errno = fs.list(path)
  if not names then
    if errno == "ENOENT" then
      return nil
    end
    fail("cannot read the folder %s: %s", path, err.message)
  end
  local found = { path = path, migrations = {} }
  for _, file in ipairs(names) do
    local name = file:match("^(%d%d%d%d_[%w_]+)%.lua$")
    if not name and file:find("%.lua$") then
      fail("%s/%s: the name of a migration is like 0002_note_title.lua", path, file)
    elseif name then
      local migration = load_file(path .. "/" .. file, name, environment)
      local before = found.migrations[#found.migrations]
      if before and before.number == migration.number then
        local told = "%s: %s and %s have the same number; give the later one the next number"
        fail(told, path, before.name, name)
      elseif before and before.app ~= migration.app then
        local told = "%s: %s is of app '%s', but %s is of '%s'"
        fail(told, path, before.name, before.app, name, migration.app)
      end
      found.app = migration.app
      found.migrations[#found.migrations + 1] = migration
    end
  end
  return found
end

--- What went wrong with an operation, with its file and line.
---@param migration rille.migrations.Migration
---@param i integer
---@param why string
---@return string
function folder.blame(migration, i, why)
  local op = migration.operations[i]
  return ("%s, operation %d (%s): %s"):format(
    op.place or migration.name .. ".lua",
    i,
    operations.describe(op),
    why
  )
end

--- Apply a migration to a state, and tell of every operation `fn(op, i, before, after)`; with it,
--- the state that was given stays as it is.
---@param migration rille.migrations.Migration
---@param state rille.migrations.State
---@param fn (fun(op: rille.migrations.Operation, i: integer, before: rille.migrations.State,
---  after: rille.migrations.State))?
---@return rille.migrations.State
function folder.advance(migration, state, fn)
  for i, op in ipairs(migration.operations) do
    local after = fn and state:copy() or state
    local ok, why = pcall(operations.apply, op, after)
    if not ok then
      fail("%s", folder.blame(migration, i, tostring(why)))
    end
    if fn then
      fn(op, i, state, after)
    end
    state = after
  end
  return state
end

--- What migrations add up to.
---@param list rille.migrations.Migration[]
---@return rille.migrations.State
function folder.state(list)
  local state = State()
  for _, migration in ipairs(list) do
    state = folder.advance(migration, state)
  end
  return state
end

return folder
