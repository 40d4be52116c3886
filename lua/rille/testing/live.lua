--- An application that is really served, in this process, for clients that come from outside.

local application = require("rille.testing.application")
local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local opened = require("rille.testing.opened")

---@class rille.testing.LiveServer : rille.Class, rille.testing.Opened
---@field host string
---@field port integer
---@field url string     "http://127.0.0.1:49152"
---@field ws_url string  "ws://127.0.0.1:49152"
local LiveServer = class("rille.testing.LiveServer")

--- Serve an application on a free port of 127.0.0.1, and have it do what it does by itself, until
--- `aclose`, or the test's end. Its consumers share the test's transaction. What they raise is
--- logged, as in production. A communicator takes it in an application's place.
---@async
---@param what rille.App|string
---@return rille.testing.LiveServer
function LiveServer.astart(what)
  application.astart(what)
  local self = LiveServer()
  self.host = "127.0.0.1"
  self.port = errors.check(core.testing.listen())
  self.url = ("http://%s:%d"):format(self.host, self.port)
  self.ws_url = ("ws://%s:%d"):format(self.host, self.port)
  return opened.note(self)
end

--- Accept no more, and stop what `astart` has started.
---@async
function LiveServer:aclose()
  core.testing.unlisten()
  application.astop()
end

function LiveServer:remains() end

function LiveServer:drop()
  core.testing.unlisten()
end

return LiveServer
