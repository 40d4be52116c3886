--- Where a communicator's bytes go.

local LiveServer = require("rille.testing.live")
local Stream = require("rille.testing.stream")
local application = require("rille.testing.application")

local M = {}

--- A connection to what a communicator was given: over a socket to a live server, else the other
--- end of one that the server takes for accepted.
---@async
---@param app rille.App|string|rille.Class|function|rille.testing.LiveServer
---@return rille.testing.Stream
function M.aopen(app)
  if getmetatable(app) == LiveServer then
    return Stream.adial(app.host, app.port)
  end
  application.ause(app)
  return Stream.pair()
end

--- The headers that a request has by itself.
---@param app any
---@param headers table<string, string|string[]>|nil
---@return table<string, string|string[]>
function M.headers(app, headers)
  local all = {}
  if getmetatable(app) == LiveServer then
    all.host = ("%s:%d"):format(app.host, app.port)
  end
  for name, value in pairs(headers or {}) do
    all[name:lower()] = value
  end
  return all
end

return M
