--- Databases with a pool of their own, for one test:
---
---     after_each(databases.close_all)
---     local db = databases.open("test", { url = url }, { max_connections = 3 })

local Database = require("rille.db").Database
local errors = require("rille.errors")
local raised = require("spec.support.raised")

local databases = {}

local opened = {}

--- Open one.
---@param name string      in its messages
---@param settings table   with a url
---@param more table?      settings that win over these
---@return rille.db.Database
function databases.open(name, settings, more)
  local given = {}
  for _, some in ipairs { settings, more or {} } do
    for key, value in pairs(some) do
      given[key] = value
    end
  end
  local db = Database(name, given)
  opened[#opened + 1] = db
  return db
end

--- What keeps one from connecting: asks with more and more patience until there was an answer, for
--- a busy machine may need some for the first attempt.
---@async
---@param open fun(acquire_timeout: number): rille.db.Database
---@return string why
---@return rille.OperationalError err
function databases.refusal(open)
  local why, err
  for _, seconds in ipairs { 0.4, 4, 40 } do
    local db = open(seconds)
    err = raised.by(db.aquery, db, "SELECT 1")
    why = raised.is(errors.OperationalError, err)
    if not why:find("no connection came free", 1, true) then
      break
    end
  end
  return why, err
end

--- Close one now.
---@async
---@param db rille.db.Database
function databases.close(db)
  for i, one in ipairs(opened) do
    if one == db then
      table.remove(opened, i)
    end
  end
  db:aclose()
end

--- Close all that are open.
---@async
function databases.close_all()
  for i = #opened, 1, -1 do
    table.remove(opened, i):aclose()
  end
end

return databases
