--- `rille makemigrations APP`: what has changed in the models, as the next file of `migrations`.

local apps = require("rille.migrations.app")
local columns = require("rille.migrations.columns")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local files = require("rille.tools.files")
local loader = require("rille.loader")
local operations = require("rille.migrations.operations")
local schema = require("rille.models.schema")
local writer = require("rille.migrations.writer")

local tool = {}

local function fail(text, ...)
  error(errors.ConfigurationError(text:format(...)), 0)
end

--- "a=b" given on the command line, as a table; each must find its use.
local function pairs_of(list, flag)
  local given = {}
  for _, word in ipairs(list or {}) do
    local from, to = word:match("^([^=]+)=(.*)$")
    if not from then
      fail("--%s %s: a = is missing", flag, word)
    end
    given[from] = to
  end
  return given
end

--- The field of a column; nil: of a table between, or of none.
local function field_of(models, table_name, column)
  for _, model in ipairs(schema.with_between(models)) do
    if model._meta.table == table_name then
      for _, field in ipairs(model._meta.fields) do
        if field.column == column.name then
          return field
        end
      end
    end
  end
end

--- A word of the command line or the terminal, as a value of the column.
local function value_of(word, column)
  local sql = word:match("^sql:(.*)$")
  if sql then
    return { sql = sql }
  elseif column.kind == "boolean" and (word == "true" or word == "false") then
    return word == "true"
  elseif column.kind == "json" then
    return require("rille.json").decode(word)
  end
  local numeric = column.kind == "integer" or column.kind == "bigint" or column.kind == "float"
  return numeric and tonumber(word) or word
end

--- Does it fit? Raises what does not.
local function fits(value, column)
  columns.literal(value, column, dialects.postgresql)
  return value
end

--- What a field gives by itself.
local function default_of(field, column)
  if not field then
    return nil
  end
  if field.auto_now or field.auto_now_add then
    return field:current_time()
  end
  local value = field:make_default()
  if type(value) == "table" and column.kind == "array" then
    return next(value) == nil and { sql = "'{}'" } or nil
  end
  return value
end

--- Answers from the command line, the fields, and whoever sits at the terminal.
---@param context rille.tools.Context
---@param models rille.models.Model[]
local function choices_of(context, models)
  local renames, fills = pairs_of(context.options.rename, "rename"), {}
  for place, word in pairs(pairs_of(context.options.fill, "fill")) do
    fills[place] = word
  end
  local quiet = context.options.check
  local used = {}
  local choices = {}

  function choices.renamed(what, from, to, alike)
    if renames[from] then
      used[from] = used[from] or renames[from] == to
      return renames[from] == to
    elseif not alike or quiet then
      return false
    elseif context.terminal then
      local question = ("Was the %s %s renamed to %s? [y/N] "):format(what, from, to)
      return context.ask(question):lower():find("^y") ~= nil
    end
    local told = "%s goes and %s comes; if it was renamed, say --rename %s=%s"
    context.hint(told:format(from, to, from, to))
    return false
  end

  function choices.fill(table_name, column)
    local place = table_name .. "." .. column.name
    if quiet then
      return nil
    elseif fills[place] then
      used[place] = true
      return fits(value_of(fills[place], column), column)
    end
    local field = field_of(models, table_name, column)
    local value = default_of(field, column)
    if value ~= nil then
      if column.unique and not (type(value) == "table" and value.sql) then
        local told = "%s is unique, and all rows that are there would get the same value: if there"
          .. " may be several, say --fill %s=sql:… with SQL that makes one for each"
        context.hint(told:format(place, place))
      end
      return fits(value, column)
    elseif context.terminal then
      local question = ("Existing rows need a value in %s (sql:… for SQL): "):format(place)
      return fits(value_of(context.ask(question), column), column)
    end
    local told = "%s cannot be NULL, and the field has no default for the rows that are there: give"
      .. " it one, say null = true, or --fill %s=VALUE"
    fail(told, place, place)
  end

  function choices.check_use()
    for _, given in ipairs({ renames, fills }) do
      for place, word in pairs(given) do
        if not used[place] then
          fail("%s=%s: nothing of the kind is in these changes", place, word)
        end
      end
    end
  end

  return choices
end

local function check_name(name)
  if not name:match("^[%w_]+$") then
    fail("--name %s: letters, digits and _ only", name)
  end
  return name
end

---@async
---@param context rille.tools.Context
---@return integer
function tool.run(context)
  local options = context.options
  local generation = context.load(context.words[1])
  local found = apps.folder(generation)
  local known = found and found.migrations or {}
  local list = {}
  if not options.empty then
    local choices = choices_of(context, generation.app.models)
    list = apps.missing(generation, found, choices)
    if not options.check then
      choices.check_use()
    end
  end
  if #list == 0 and not options.empty then
    context.say("no changes")
    return 0
  end
  local number = #known > 0 and known[#known].number + 1 or 1
  local name = options.name and check_name(options.name) or writer.name(list, #known == 0)
  local file = ("%04d_%s.lua"):format(number, name)
  local path = loader.migrations(generation)
  local text = writer.file(found and found.app or apps.name(generation), list)
  if options["dry-run"] then
    context.say(("-- %s/%s\n%s"):format(path, file, (text:gsub("\n$", ""))))
    return 0
  end
  if not options.check then
    files.write(path .. "/" .. file, text)
  end
  context.say((options.check and "not in a migration yet:" or path .. "/" .. file))
  for _, op in ipairs(list) do
    context.say("  " .. operations.describe(op))
  end
  return options.check and 1 or 0
end

return tool
