--- `rille migrate APP`: bring a database to what the migrations say; as long as there are none,
--- create the tables that are missing.

local apps = require("rille.migrations.app")
local db = require("rille.db")
local errors = require("rille.errors")
local loader = require("rille.loader")
local operations = require("rille.migrations.operations")
local runner = require("rille.migrations.runner")
local schema = require("rille.models.schema")

local tool = {}

--- `--database` is the URL of the default one, or the name of another.
local function split(word)
  if word and word:find(":", 1, true) then
    return word, nil
  end
  return nil, word
end

local function acreate_missing(context, generation, database)
  for _, name in ipairs({ "to", "plan", "fake" }) do
    if context.options[name] then
      local told = "--%s is for migrations, and there is no folder %s:"
        .. " rille makemigrations makes it"
      error(errors.ConfigurationError(told:format(name, loader.migrations(generation))), 0)
    end
  end
  local created = schema.acreate_missing(database, generation.app.models)
  if #created == 0 then
    context.say(("nothing to create in %s"):format(database.url))
  else
    context.say(("created in %s: %s"):format(database.url, table.concat(created, ", ")))
  end
end

local function show_plan(context, found, applied, target)
  local steps = runner.plan(found, applied, target)
  for _, step in ipairs(steps) do
    context.say((step.forward and "apply " or "undo  ") .. step.migration.name)
    for _, op in ipairs(step.migration.operations) do
      context.say("  " .. operations.describe(op))
    end
  end
  if #steps == 0 then
    context.say("nothing to do")
  end
end

---@async
---@param context rille.tools.Context
---@return integer
function tool.run(context)
  local options = context.options
  local url, name = split(options.database)
  local generation = context.load(context.words[1], url)
  local database = db.get(name)
  local found = apps.folder(generation)
  if not found or #found.migrations == 0 then
    acreate_missing(context, generation, database)
    return 0
  end
  local target = options.to and runner.target(found, options.to)
  if options.plan then
    show_plan(context, found, runner.aapplied(database, found.app), target)
    return 0
  end
  local done = runner.amigrate(database, found, {
    target = target,
    fake = options.fake,
    tell = context.say,
  })
  if done == 0 then
    context.say(("nothing to do in %s"):format(database.url))
  end
  return 0
end

return tool
