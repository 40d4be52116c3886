--- The application under test: what the worker dispatches to.
---
--- There is one at a time. A communicator makes its own the one; consumers of another that are
--- still there go on with their own classes.

local App = require("rille.app")
local background = require("rille.background")
local channels = require("rille.channels")
local class = require("rille.class")
local core = require("rille.core")
local database = require("rille.testing.database")
local dispatch = require("rille.dispatch")
local loader = require("rille.loader")
local routing = require("rille.routing")
local timers = require("rille.timers")
local WebsocketConsumer = require("rille.consumer.websocket").WebsocketConsumer

local M = {}

--- What was made of what a test has named.
---@type table<any, rille.Generation>
local generations = setmetatable({}, { __mode = "k" })

--- An application in which every path leads to a target.
local function app_around(target)
  local route = routing.http
  if class.is_instance(type(target) == "table" and setmetatable({}, target), WebsocketConsumer) then
    route = routing.websocket
  end
  return App { routes = { route("/", target), route("/<path:path>", target) } }
end

local function generation_around(app)
  return {
    folder = ".",
    modules = {},
    classes = {},
    files = {},
    timers = {},
    app = app,
  }
end

--- The generation of an application, of a script's path, of a consumer class or of a function.
---@param what rille.App|string|rille.Class|function
---@return rille.Generation
function M.generation(what)
  local key = type(what) == "string" and core.fs.realpath(what) or what -- one, however it is named
  local known = generations[key]
  if known then
    return known
  end
  local made
  if type(what) == "string" then
    made = loader.load(what, 1)
    generations[made.app] = made
  elseif getmetatable(what) == App then
    made = generation_around(what)
  elseif type(what) == "table" or type(what) == "function" then
    made = generation_around(app_around(what))
  else
    local told = "an application expected, its path, a consumer class or a function; got a %s"
    error(told:format(type(what)), 0)
  end
  made.keeps_classes = true
  generations[key] = made
  return made
end

--- Have events be dispatched to it.
---@param what rille.App|string|rille.Class|function
---@return rille.Generation
function M.use(what)
  local generation = M.generation(what)
  if dispatch.current() ~= generation then
    local program = require("rille.program") -- which requires what requires us
    generation.number = core.worker.generation() + 1
    program.try(generation)
    dispatch.switch(generation)
    database.have(generation)
  end
  return generation
end

--- Likewise, of what a function returns, which is run as a script is loaded: it may make timers.
---@param fn fun(): rille.App
---@return rille.Generation
function M.made_by(fn)
  local generation = loader.run(fn, 1)
  generation.keeps_classes = true
  generations[generation.app] = generation
  return generation
end

--- Likewise, with all that it needs.
---@async
function M.ause(what)
  M.use(what)
  database.aprepare()
end

---@type rille.App?  what the tests of this file begin with
local home
local home_options = {}

--- Outside of a test: what each test of this file begins with.
---@param what rille.App|string
---@param options { transactional: boolean? }?
---@return rille.Generation
function M.settle(what, options)
  local generation = M.use(what)
  if not database.is_in_test() then
    home, home_options = generation.app, options or {}
  elseif options and options.transactional then
    database.transactional()
  end
  return generation
end

--- A test begins.
---@async
function M.abegin()
  if home then
    M.use(home)
  end
  database.abegin()
  if home_options.transactional then
    database.transactional()
  end
end

--- The file is over.
function M.leave()
  home, home_options = nil, {}
  database.leave()
end

---@type rille.Generation?  that does what it does by itself
local started

--- Have an application do what it does by itself: `on_start`, timers, consumers of channels,
--- notifications and brokers. Until `astop`, or the test's end.
---@async
---@param what rille.App|string
function M.astart(what)
  M.astop()
  M.ause(what)
  started = M.use(what)
  local app = started.app
  if app.settings.on_start then
    app.settings.on_start()
  end
  channels.follow(app.router.channels)
  background.follow(app.router.background)
  timers.follow(started.timers)
end

--- The end of it, `on_stop` and all.
---@async
function M.astop()
  if not started then
    return
  end
  local app = started.app
  started = nil
  timers.follow {}
  background.follow {}
  channels.follow {}
  if app.settings.on_stop then
    app.settings.on_stop()
  end
end

return M
