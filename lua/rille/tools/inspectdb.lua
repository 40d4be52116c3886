--- `rille inspectdb`: models for the tables of a database, on standard output.

local db = require("rille.db")
local inspect = require("rille.inspect")

local tool = {}

---@async
---@param context rille.tools.Context
---@return integer
function tool.run(context)
  local words, database, own = context.words
  local named = context.options.database
  if named and named:find(":", 1, true) then
    own = db.Database("default", { url = named })
    database = own
  elseif #words == 0 then
    context.hint("which database? rille inspectdb APP, or --database URL")
    return 2
  else
    context.load(table.remove(words, 1))
    database = db.get(named)
  end
  local tables = inspect.atables(database, words)
  io.stdout:write(inspect.module(tables, database.backend, database.url))
  if own then
    own:aclose()
  end
  return 0
end

return tool
