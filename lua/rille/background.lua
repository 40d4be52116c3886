--- Consumers without a peer: those that the routes of an application ask for.
---
--- A route and its class make one consumer, which lives as long as both are there: over a reload it
--- keeps its `self`, and takes the new class as a connection does, before its next event.

local Scope = require("rille.scope")
local core = require("rille.core")
local db = require("rille.db")
local errors = require("rille.errors")
local mqtt = require("rille.mqtt")

local consumer = core.consumer

local M = {}

---@class rille.Origin  what dispatch makes a consumer of
---@field target rille.Consumer
---@field scope rille.Scope

---@type table<string, rille.Origin>
local living = {}

local function key_of(route)
  local cls = route.target
  local of = route.database or mqtt.identity() .. "\0" .. route.qos
  return table.concat({ route.kind, of, route.channel, cls.module, cls.__name }, "\0")
end

local function check_notify(route)
  local database = rawget(db.databases, route.database)
  if not database then
    local told = "route notify %q: there is no database '%s'"
    error(errors.ConfigurationError(told:format(route.channel, route.database)), 0)
  end
  if database.backend ~= "postgresql" then
    local told = "route notify %q: %s has no LISTEN and NOTIFY, PostgreSQL has"
    error(errors.ConfigurationError(told:format(route.channel, tostring(database))), 0)
  end
end

--- Can the routes of an application be followed? Raises what is in the way; changes nothing.
---@param routes rille.Route[]
function M.check(routes)
  for _, route in ipairs(routes) do
    if route.kind == "notify" then
      check_notify(route)
    end
  end
end

--- What a consumer hears, by the kind of its route.
local SOURCES = {}

function SOURCES.notify(route, id)
  return core.db.listen(db.get(route.database).handle, route.channel, id)
end

SOURCES.mqtt = mqtt.listen

local function open(route)
  local scope = Scope.background {
    type = route.kind,
    channel = route.channel,
    database = route.database,
    filter = route.kind == "mqtt" and route.channel or nil,
    broker = route.kind == "mqtt" and mqtt.name() or nil,
    _route = route.kind .. " " .. route.channel,
  }
  local origin = { target = route.target, scope = scope }
  scope._id = consumer.background(origin)
  local ok, err = SOURCES[route.kind](route, scope._id)
  if not ok then
    core.log("error", ("route %s %q: %s"):format(route.kind, route.channel, tostring(err)))
  end
  return origin
end

--- Have a consumer for each of these routes, and no other. The new ones come before the old ones
--- go, so that nothing is missed on a channel that goes over from one to another. One worker of a
--- process calls this: each would hear everything.
---@param routes rille.Route[]
function M.follow(routes)
  local before = living
  living = {}
  for _, route in ipairs(routes) do
    local key = key_of(route)
    local origin = before[key] or open(route)
    origin.target = route.target
    living[key] = origin
  end
  for key, origin in pairs(before) do
    if not living[key] then
      consumer.close(origin.scope._id, 1012, "its route is gone")
    end
  end
end

return M
