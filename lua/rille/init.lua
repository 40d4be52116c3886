--- rille: consumers in Lua on a C core.
---
---     local rille = require "rille"
---
---     return rille.app {
---       routes = { rille.get("/", function() return 200, "hello\n" end) },
---     }
---
--- Functions whose name begins with `a` (and `atomic`) may suspend the task that calls them; no
--- other does.

local App = require("rille.app")
local channels = require("rille.channels")
local core = require("rille.core")
local db = require("rille.db")
local errors = require("rille.errors")
local events = require("rille.consumer.events")
local http = require("rille.consumer.http")
local json = require("rille.json")
local layer = require("rille.layer")
local log = require("rille.log")
local presence = require("rille.presence")
local mqtt = require("rille.mqtt")
local publish = require("rille.publish")
local routing = require("rille.routing")
local sync = require("rille.sync")
local task = require("rille.task")
local timers = require("rille.timers")
local websocket = require("rille.consumer.websocket")

---@alias rille.Target rille.Class|async fun(request: rille.Scope): ...
---@alias rille.HttpRoute
---| fun(pattern: string, target: rille.Target, limits: table<string, any>?): rille.Route
---@alias rille.NotifyRoute
---| fun(channel: string, consumer: rille.Class, options: table?): rille.Route

---@alias rille.MqttRoute
---| fun(filter: string, consumer: rille.Class, options: { qos: 0|1|2|nil }?): rille.Route

---@class rille.Module
---@field get rille.HttpRoute      answers HEAD, too
---@field post rille.HttpRoute
---@field put rille.HttpRoute
---@field patch rille.HttpRoute
---@field delete rille.HttpRoute
---@field notify rille.NotifyRoute
---@field mqtt rille.MqttRoute
---@field db rille.db.Database     the default database; it exists once the app is loaded
---@field databases table<string, rille.db.Database>
---@field atomic async fun(fn: async fun(): (...), options: table?): ...  see `Database:atomic`
---@field on_commit fun(fn: fun(), options: table?)
---@field close_old_connections fun()
---@field is_error fun(err: any, cls: rille.Class?): boolean
---@field Error rille.Error        and below it:
---@field Closed rille.Error
---@field MqttError rille.Error
---@field Cancelled rille.Error
---@field Timeout rille.Error
---@field LayerError rille.Error
---@field ConfigurationError rille.Error
---@field BadRequest rille.Error
---@field DatabaseError rille.Error
---@field OperationalError rille.Error
---@field IntegrityError rille.Error
---@field ProtectedError rille.Error   of adelete, with the `objects` that keep what they refer to
---@field RestrictedError rille.Error
---@field DataError rille.Error
---@field ProgrammingError rille.Error
---@field TransactionManagementError rille.Error
---@field NotSupportedError rille.Error
---@field RedisError rille.Error
---@field RedisUnavailable rille.Error
---@field FieldError rille.Error
---@field ValueError rille.Error
---@field NotFetched rille.Error
---@field ObjectDoesNotExist rille.Error
---@field MultipleObjectsReturned rille.Error
local rille = {
  version = core.version,

  WebsocketConsumer = websocket.WebsocketConsumer,
  JsonWebsocketConsumer = websocket.JsonWebsocketConsumer,
  HttpConsumer = http.HttpConsumer,
  EventStreamConsumer = events.EventStreamConsumer,
  Consumer = require("rille.consumer"),

  websocket = routing.websocket,
  http = routing.http,
  get = routing.get,
  post = routing.post,
  put = routing.put,
  patch = routing.patch,
  delete = routing.delete,
  static = routing.static,
  include = routing.include,
  notify = routing.notify,
  publish = publish.route,
  mqtt = routing.mqtt,
  channel = channels.route,
  every = timers.every,
  cron = timers.cron,
  after = timers.after,

  log = log,
  metrics = require("rille.metrics"),

  asleep = task.asleep,
  atimeout = task.atimeout,
  agather = task.agather,
  spawn = task.spawn,
  ascope = task.ascope,
  ashield = task.ashield,
  queue = sync.queue,
  semaphore = sync.semaphore,
  event = sync.event,

  channel_layer = layer,
  presence = presence.Presence,
  mqtt_client = mqtt.client,
  worker = require("rille.worker"),
  json = json,
  null = core.null,
  array = json.array,
}

for name, value in pairs(errors) do
  if type(value) == "table" then
    rille[name] = value
  end
end
rille.is_error = errors.is_error

--- An application: what a script returns. Raises `rille.ConfigurationError` for what it cannot be.
---@param settings rille.Settings
---@return rille.App
function rille.app(settings)
  return App(settings)
end

for _, name in ipairs { "atomic", "on_commit", "close_old_connections", "databases" } do
  rille[name] = db[name]
end

--- `rille.db` is the default database; it exists once the app is loaded.
return setmetatable(rille, {
  __index = function(_, name)
    if name == "db" then
      return db.databases.default
    end
  end,
})
