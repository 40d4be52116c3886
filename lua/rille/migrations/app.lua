--- The tables of an application: by its migrations, or, as long as it has none, those that are
--- missing.

local State = require("rille.migrations.state")
local core = require("rille.core")
local diff = require("rille.migrations.diff")
local errors = require("rille.errors")
local folder = require("rille.migrations.folder")
local fs = require("rille.core").fs
local loader = require("rille.loader")
local operations = require("rille.migrations.operations")
local runner = require("rille.migrations.runner")
local schema = require("rille.models.schema")
local tables = require("rille.models.tables")

local app = {}

--- What it is called, as long as no file of its migrations says so: its folder, or its script.
---@param generation rille.Generation
---@return string
function app.name(generation)
  local script = (generation.files[1] or "app.lua"):match("([^/]*)%.lua$")
  local path = fs.realpath(generation.folder) or generation.folder
  return script ~= "app" and script or path:match("([^/]+)/*$") or "app"
end

--- Its folder of migrations; nil: there is none.
---@param generation rille.Generation
---@return rille.migrations.Folder?
function app.folder(generation)
  return folder.read(loader.migrations(generation), generation.environment)
end

--- What its models want there to be.
---@param models rille.models.Model[]
---@return rille.migrations.State
function app.wanted(models)
  local state = State()
  for _, model in ipairs(schema.with_between(models)) do
    if model._meta.managed then
      local ok, why = pcall(state.add, state, tables.of(model))
      if not ok then
        error(errors.ConfigurationError(model.__name .. ": " .. tostring(why)), 0)
      end
    end
  end
  return state
end

--- Whoever asks nothing.
local SILENT = {
  renamed = function()
    return false
  end,
  fill = function() end,
}

--- The operations that the migrations lack.
---@param generation rille.Generation
---@param found rille.migrations.Folder?
---@param choices rille.migrations.Choices?
---@return rille.migrations.Operation[]
function app.missing(generation, found, choices)
  local from = folder.state(found and found.migrations or {})
  return diff(from, app.wanted(generation.app.models), choices or SILENT)
end

local MOST_TOLD = 3

local function warn_of_missing(generation, found)
  local list = app.missing(generation, found)
  if #list == 0 then
    return
  end
  local words = {}
  for i = 1, math.min(#list, MOST_TOLD) do
    words[i] = operations.describe(list[i])
  end
  local more = #list > MOST_TOLD and ", …" or ""
  local told = "the models are ahead of the migrations (%s%s): rille makemigrations writes the next"
  core.log("warn", told:format(table.concat(words, ", "), more))
end

--- Bring a database to what the application wants, as a server does before it serves.
---@async
---@param generation rille.Generation
---@param database rille.db.Database
---@param tell fun(text: string)
function app.abring(generation, database, tell)
  local found = app.folder(generation)
  if found and #found.migrations > 0 then
    runner.amigrate(database, found, { tell = tell })
    warn_of_missing(generation, found)
    return
  end
  for _, name in ipairs(schema.acreate_missing(database, generation.app.models)) do
    tell(("created %s in %s"):format(name, database.url))
  end
end

return app
