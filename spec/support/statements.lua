--- How many statements something takes.

local M = {}

local WAYS = { "_aread", "_aread_by_key", "_arun" } -- of a database

--- Run `fn`, which may wait.
---@async
---@param database rille.db.Database  whose models it uses
---@param fn async fun(): any
---@return integer sent
---@return any result  what it returned first
function M.count(database, fn)
  local sent = 0
  for _, name in ipairs(WAYS) do
    local method = database[name]
    database[name] = function(...)
      sent = sent + 1
      return method(...)
    end
  end
  local ok, result = pcall(fn)
  for _, name in ipairs(WAYS) do
    database[name] = nil -- the class's again
  end
  assert(ok, result)
  return sent, result
end

return M
