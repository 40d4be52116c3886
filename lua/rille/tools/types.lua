--- `rille types APP`: what an editor needs to complete and to check, in the folder `.rille` beside
--- the script: declarations of the models, and rille's own annotated files.

local files = require("rille.tools.files")
local library = require("rille.core.library")
local types = require("rille.types")

local tool = {}

local IGNORE = "# Made by `rille types`.\n*\n"

--- Write them to a folder.
---@param folder string
---@param models rille.models.Model[]
function tool.write(folder, models)
  files.write(folder .. "/.gitignore", IGNORE)
  files.write(folder .. "/models.lua", types.text(models, library))
  for path, text in pairs(library) do
    files.write(folder .. "/library/" .. path, text)
  end
end

---@async
---@param context rille.tools.Context
---@return integer
function tool.run(context)
  local generation = context.load(context.words[1])
  local folder = generation.folder .. "/.rille"
  tool.write(folder, generation.app.models)
  local n = #generation.app.models
  local told = "%s: declarations of rille and of %d model%s; in .luarc.json:"
  context.say(told:format(folder, n, n == 1 and "" or "s"))
  context.say('  "workspace.library": [".rille"]')
  return 0
end

return tool
