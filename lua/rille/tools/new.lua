--- `rille new FOLDER`: a project to begin with, which runs, passes its own tests and is known to
--- the editor.

local errors = require("rille.errors")
local files = require("rille.tools.files")
local fs = require("rille.core").fs
local project = require("rille.tools.project")
local types = require("rille.tools.types")

local tool = {}

local function fail(text, ...)
  error(errors.ConfigurationError(text:format(...)), 0)
end

---@async
---@param context rille.tools.Context
---@return integer
function tool.run(context)
  local folder = context.words[1]:gsub("(.)/+$", "%1")
  local name = (fs.realpath(folder) or folder):match("[^/]+$") or ""
  if not name:match("^%a[%w_-]*$") then
    fail("'%s' cannot be the name of a project: letters, digits, - and _", name)
  end
  local there = fs.list(folder)
  if there and #there > 0 then
    fail("%s is there already, and not empty", folder)
  end
  local made = {}
  for path, text in pairs(project) do
    path = path:gsub("@NAME@", name)
    files.write(folder .. "/" .. path, (text:gsub("@NAME@", name)))
    made[#made + 1] = path
  end
  table.sort(made)
  local generation = context.load(folder)
  types.write(folder .. "/.rille", generation.app.models)
  context.say(("%s: %s"):format(folder, table.concat(made, " ")))
  context.say(("Now: cd %s && rille dev ."):format(folder))
  return 0
end

return tool
