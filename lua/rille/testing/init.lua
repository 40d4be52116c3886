--- What specs of an application need: clients of its consumers, in this very process.
---
---     local testing = require "rille.testing"
---
---     it("says it back", function()
---       local ann = testing.WebsocketCommunicator("examples/echo.lua", "/")
---       assert.is_true(ann:aconnect())
---       ann:asend_to { text_data = "hello" }
---       assert.equal("hello", ann:areceive_from())
---       ann:adisconnect()
---     end)
---
--- A communicator is the other end of a connection that the server takes for an accepted one, so
--- that what runs is what runs in production: handshake, frames, limits, routes, middleware, the
--- consumer's mailbox and its end. Errors of the consumer are raised in the test.

local application = require("rille.testing.application")
local database = require("rille.testing.database")
local opened = require("rille.testing.opened")

--- What a communicator speaks to: an application; its path, as for `rille run`; a consumer class or
--- a function, to which all paths lead; or a live server.
---@alias rille.testing.Target
---| rille.App|string|rille.Class|async fun(request: rille.Scope): ...
---| rille.testing.LiveServer

-- luacheck: push no max line length
---@class rille.testing
---@field WebsocketCommunicator fun(app: rille.testing.Target, path: string, options: rille.testing.WebsocketOptions?): rille.testing.WebsocketCommunicator
---@field HttpCommunicator fun(app: rille.testing.Target, method: string, path: string, options: rille.testing.HttpOptions?): rille.testing.HttpCommunicator
---@field ChannelCommunicator fun(app: rille.App|string, channel: string): rille.testing.ChannelCommunicator
local M = {
  WebsocketCommunicator = require("rille.testing.websocket"),
  HttpCommunicator = require("rille.testing.http"),
  ChannelCommunicator = require("rille.testing.channel"),

  abrowser = require("rille.testing.browser").astart,
  alive_server = require("rille.testing.live").astart,
  astart = application.astart,
  astop = application.astop,
  clock = require("rille.testing.clock"),

  transactional = database.transactional,
  hold_on_commit = database.hold_on_commit,
  arun_on_commit = database.arun_on_commit,
  acapture_on_commit = database.acapture_on_commit,
}
-- luacheck: pop

--- Load an application, for the tests of this file: at its top, so that its databases and tables
--- are there when the first test begins.
---@param app rille.App|string|fun(): rille.App  one; its path as for `rille run`, from the file of
---  the spec when it begins with a dot; or a function that makes one, and may make timers
---@param options { transactional: boolean? }?  transactional: every test of this file is
---@return rille.App
---@return fun(name: string): any require  of its own modules
function M.load(app, options)
  if type(app) == "function" then
    app = application.made_by(app).app
  elseif type(app) == "string" and app:find("^%.") then
    app = ((opened.place():match("^(.*)/") or ".") .. "/" .. app):gsub("^[^/.]+/%.%./?", "")
    app = app ~= "" and app or "."
  end
  local generation = application.settle(app, options)
  local environment = generation.environment
  return generation.app, environment and environment.require or require
end

return M
