--- Commands that do something about a project and end: `rille makemigrations`, `migrate`,
--- `inspectdb`, `types`, `new`. Here their words are read; each has a file beside this one.

local core = require("rille.core")
local errors = require("rille.errors")

local tools = {}

---@class rille.tools.Context
---@field words string[]                 what is no option
---@field options table<string, any>     by name: true, a string, or a list of what was repeated
---@field load fun(app: string, database: string?): rille.Generation
---@field database string?               the URL of DATABASE_URL
---@field say fun(text: string)          a line on standard output
---@field hint fun(text: string)         a line on standard error
---@field terminal boolean               is there somebody to ask?
---@field ask fun(question: string): string

-- How an option is given.
local SWITCH, VALUE, LIST = "switch", "value", "list"

---@type table<string, { options: table<string, string>, least: integer, most: integer }>
local KNOWN = {
  makemigrations = {
    options = {
      name = VALUE,
      empty = SWITCH,
      check = SWITCH,
      ["dry-run"] = SWITCH,
      rename = LIST,
      fill = LIST,
    },
    least = 1,
    most = 1,
    usage = "APP [--name NAME] [--empty] [--check] [--dry-run] [--rename A=B]… [--fill A.B=VALUE]…",
  },
  migrate = {
    options = { to = VALUE, plan = SWITCH, fake = SWITCH, database = VALUE },
    least = 1,
    most = 1,
    usage = "APP [--to NUMBER|zero] [--plan] [--fake] [--database NAME|URL]",
  },
  inspectdb = {
    options = { database = VALUE },
    least = 0,
    most = math.huge,
    usage = "APP [TABLE…] | --database URL [TABLE…]",
  },
  types = { options = {}, least = 1, most = 1, usage = "APP" },
  new = { options = {}, least = 1, most = 1, usage = "FOLDER" },
}

--- A mistake on the command line.
local Usage = errors.Error:extend("Usage")

local function misused(name, text, ...)
  local told = text:format(...)
  error(Usage(("%s\nusage: rille %s %s"):format(told, name, KNOWN[name].usage)), 0)
end

--- Tell words from options.
local function parse(name, arguments)
  local known = KNOWN[name]
  local words, options, i = {}, {}, 2
  while arguments[i] do
    local argument = arguments[i]
    local option, value = argument:match("^%-%-([^=]+)=?(.*)$")
    local given = option and argument:find("=", 1, true) ~= nil
    local how = option and known.options[option]
    if not option and argument:sub(1, 1) == "-" and argument ~= "-" or option and not how then
      misused(name, "unknown option '%s'", argument)
    elseif not option then
      words[#words + 1] = argument
    elseif how == SWITCH then
      if given then
        misused(name, "no value is taken by --%s", option)
      end
      options[option] = true
    else
      if not given then
        i = i + 1
        value = arguments[i] or misused(name, "a value is missing behind --%s", option)
      end
      if how == LIST then
        options[option] = options[option] or {}
        table.insert(options[option], value)
      else
        options[option] = value
      end
    end
    i = i + 1
  end
  if #words < known.least or #words > known.most then
    misused(name, #words < known.least and "something is missing" or "too many words")
  end
  return words, options
end

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function hint(text)
  io.stderr:write("rille: ", text, "\n")
end

--- Ask whoever sits there. Blocks: nobody else is served by a command.
local function ask(question)
  io.stdout:write(question)
  io.stdout:flush()
  return io.stdin:read("*l") or ""
end

local function with_traceback(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- Run one.
---@async
---@param arguments string[]  its name and its words
---@param load fun(app: string, database: string?): rille.Generation
---@param database string?    DATABASE_URL
---@return integer  exit status: 2 for a mistake on the command line
function tools.run(arguments, load, database)
  local name = arguments[1]
  local ok, status = xpcall(function()
    local words, options = parse(name, arguments)
    return require("rille.tools." .. name).run({
      words = words,
      options = options,
      load = load,
      database = database,
      say = say,
      hint = hint,
      ask = ask,
      terminal = core.fs.is_terminal(0) and core.fs.is_terminal(1),
    })
  end, with_traceback)
  if ok then
    return status or 0
  end
  hint(errors.is_error(status) and status.message or tostring(status))
  return errors.is_error(status, Usage) and 2 or 1
end

return tools
