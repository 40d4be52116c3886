--- Routes: what a path leads to. Patterns are those of Django's `path()`.
---
---     /rooms/<slug:room>/<int:id>
---
--- `str` (the default) is anything but a slash, `int` digits, `slug` letters, digits, hyphens and
--- underscores, `uuid` a UUID, `path` anything. Captures arrive typed. The first match wins.

local class = require("rille.class")
local compression = require("rille.compression")
local errors = require("rille.errors")
local limits = require("rille.limits")
local topics = require("rille.mqtt.topics")

local M = {}

local UUID = ("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"):gsub("%-", "%%-"):gsub("h", "%%x")

--- An integer that a number holds exactly: rounded, it would name another row.
local function to_int(digits)
  local number = tonumber(digits)
  return (number < 2 ^ 53 or digits:match("^0*(.*)$") == "9007199254740992") and number or nil
end

--- A converter that gives nil does not match.
local CONVERTERS = {
  str = { pattern = "([^/]+)" },
  int = { pattern = "(%d+)", convert = to_int },
  slug = { pattern = "([%w_-]+)" },
  uuid = { pattern = "(" .. UUID .. ")", convert = string.lower },
  path = { pattern = "(.+)" },
}

local fail = errors.misconfigured

--- The Lua pattern of a route's pattern, and its captures in order.
local function compile(pattern)
  local names, converters, seen = {}, {}, {}
  local lua, at = "^", 1
  while true do
    local from, to, inside = pattern:find("<([^<>]*)>", at)
    local literal = pattern:sub(at, (from or 0) - 1)
    if literal:find("[<>]") then
      fail(("bad route %q: a < or > without its counterpart"):format(pattern))
    end
    lua = lua .. literal:gsub("%p", "%%%0")
    if not from then
      break
    end
    local kind, name = inside:match("^(%w+):([%a_][%w_]*)$")
    if not kind then
      kind, name = "str", inside:match("^[%a_][%w_]*$")
    end
    if not name then
      fail(("bad route %q: <%s> is neither <name> nor <type:name>"):format(pattern, inside))
    end
    local converter = CONVERTERS[kind]
    if not converter then
      local told = "bad route %q: no type %q; there are str, int, slug, uuid and path"
      fail(told:format(pattern, kind))
    end
    if seen[name] then
      fail(("bad route %q: <%s> twice"):format(pattern, name))
    end
    seen[name] = true
    names[#names + 1], converters[#converters + 1] = name, converter
    lua, at = lua .. converter.pattern, to + 1
  end
  return lua .. "$", names, converters
end

---@class rille.Route
---@field kind "http"|"websocket"|"notify"|"mqtt"|"timer"|"channel"
---@field method string?   only this one (GET answers HEAD, too)
---@field pattern string?  of paths; without one a consumer runs in the background:
---@field channel string?  of notify; of mqtt the filter
---@field qos integer?     of mqtt
---@field database string? its name, of notify
---@field target function|rille.Class
---@field compression rille.core.Compression|false|nil  of websocket; nil: as the app says
---@field limits table<string, any>?  its own, see rille.limits
---@field limits_set integer?  its number among the application's
---@field place integer?       where the core has these limits
---@field pinned boolean?      its connections stay with their generation of the code
---@field canary number?       percent of new connections that a new generation gets at first

local function check_pattern(pattern)
  if type(pattern) ~= "string" then
    fail("a route's pattern is a string, got " .. type(pattern))
  end
  if pattern:sub(1, 1) ~= "/" then
    fail(("bad route %q: a pattern begins with a slash"):format(pattern))
  end
  compile(pattern)
end

local function consumer_bases()
  local websocket = require("rille.consumer.websocket")
  local http = require("rille.consumer.http")
  local events = require("rille.consumer.events")
  return websocket.WebsocketConsumer, http.HttpConsumer, events.EventStreamConsumer
end

local function extends(target, base)
  while type(target) == "table" do
    if target == base then
      return true
    end
    target = rawget(target, "super")
  end
  return false
end

--- What a route wants of a reload: whether it pins, the percent of its canary. Raises.
local function read_policy(route, policy)
  if policy == "swap" or policy == "pin" then
    return policy == "pin" or nil
  end
  local canary = type(policy) == "table" and policy.canary
  for name in pairs(type(policy) == "table" and policy or {}) do
    canary = name == "canary" and canary
  end
  if type(canary) ~= "number" or not (canary > 0 and canary <= 100) then
    local told = 'route %q: reload is "swap", "pin" or { canary = 5 }, percent up to 100'
    fail(told:format(route.pattern))
  end
  return nil, canary < 100 and canary or nil -- all of them are no trial
end

--- The options of a route that paths lead to, checked; what is none of these is a limit.
local function take_options(route, options)
  if options == nil then
    return route
  elseif type(options) ~= "table" then
    fail(("route %q: options are a table, got a %s"):format(route.pattern, type(options)))
  end
  local own = {}
  for name, value in pairs(options) do
    if name == "reload" then
      route.pinned, route.canary = read_policy(route, value)
    elseif name == "compression" and route.kind == "websocket" then
      local where = ("route %q: compression"):format(route.pattern)
      route.compression = compression.compile(value, where) or false
    else
      own[name] = value
    end
  end
  limits.check(own, route.kind, ("route %q"):format(route.pattern))
  route.limits = next(own) ~= nil and own or nil
  return route
end

--- What stands where a consumer was expected, for the message. A name that is misspelt, or defined
--- further down, is nil.
local function got(value)
  if value == nil then
    return "got nil: nothing of that name is known there"
  elseif type(value) == "table" and value.__name and value.super then
    return ("got %s, which extends %s"):format(value.__name, value.super.__name)
  end
  return "got a " .. type(value)
end

local function new_http(method, pattern, target, options)
  check_pattern(pattern)
  local _, HttpConsumer, EventStreamConsumer = consumer_bases()
  if extends(target, EventStreamConsumer) then
    if method and method ~= "GET" then
      fail(("route %q: an event stream answers GET only"):format(pattern))
    end
    method = "GET"
  elseif type(target) ~= "function" and not extends(target, HttpConsumer) then
    local told = "route %q: a function or a class that extends HttpConsumer or "
      .. "EventStreamConsumer expected, %s"
    fail(told:format(pattern, got(target)))
  end
  local route = { kind = "http", method = method, pattern = pattern, target = target }
  return take_options(route, options)
end

--- A route for WebSockets.
---@param pattern string
---@param consumer rille.Class  extends WebsocketConsumer
---@param options table<string, any>?  `compression`, a boolean or `rille.Compression` (true: the
---  default, whatever the app says); `reload`, what other code means for its connections: "swap",
---  the default, "pin" (they stay with the code they began in) or `{ canary = 5 }` (percent of new
---  ones that get it, until it is promoted); and limits of its own: `{ max_message = 4096, … }`
---@return rille.Route
function M.websocket(pattern, consumer, options)
  check_pattern(pattern)
  local WebsocketConsumer = consumer_bases()
  if not extends(consumer, WebsocketConsumer) then
    local told = "route %q: a class that extends WebsocketConsumer expected, %s"
    fail(told:format(pattern, got(consumer)))
  end
  return take_options({ kind = "websocket", pattern = pattern, target = consumer }, options)
end

--- Raise unless it is a class for the background, with a method for what it is told.
---@param cls any
---@param where string    for the message
---@param method string?
---@param instead string? "a function or ": what else would do
function M.check_background(cls, where, method, instead)
  local WebsocketConsumer, HttpConsumer, EventStreamConsumer = consumer_bases()
  if
    not extends(cls, require("rille.consumer"))
    or extends(cls, WebsocketConsumer)
    or extends(cls, HttpConsumer)
    or extends(cls, EventStreamConsumer)
  then
    local told = "%s: %sa class that extends Consumer itself expected, %s"
    fail(told:format(where, instead or "", got(cls)))
  end
  if method and not cls:defines(method) then
    fail(("%s: %s has no method %s(event)"):format(where, cls.__name, method))
  end
end

--- A consumer in the background that hears what is said on a channel of a database with NOTIFY. It
--- answers `notify(event)`, with `channel`, `payload` and `pid`; and, if it likes,
--- `notify_gap(event)` when it may have missed something, because the connection was lost or its
--- mailbox full.
---@param channel string   1 to 63 bytes, exactly as NOTIFY says it
---@param consumer rille.Class  extends Consumer, and defines notify
---@param options { database: string? }?  default "default"
---@return rille.Route
function M.notify(channel, consumer, options)
  if type(channel) ~= "string" then
    fail("a notify route's channel is a string, got " .. type(channel))
  elseif #channel < 1 or #channel > 63 or channel:find("\0", 1, true) then
    fail(("route notify %q: a channel's name has 1 to 63 bytes"):format(channel))
  end
  M.check_background(consumer, ("route notify %q"):format(channel), "notify")
  local database = "default"
  for name, value in pairs(type(options) == "table" and options or { options }) do
    if name ~= "database" or type(value) ~= "string" then
      fail(("route notify %q: the only option is { database = name }"):format(channel))
    end
    database = value
  end
  return { kind = "notify", channel = channel, database = database, target = consumer }
end

--- A consumer in the background that hears what is published at the MQTT broker on topics that
--- match a filter. It answers `mqtt_message(event)` (`rille.MqttMessage`); and, if it likes,
--- `mqtt_reconnected(event)` when the connection had been lost.
---@param filter string   as `sensors/+/temp`, `sensors/#` or `$share/GROUP/sensors/#`
---@param consumer rille.Class  extends Consumer, and defines mqtt_message
---@param options { qos: 0|1|2|nil }?  the most to be delivered with; default 0
---@return rille.Route
function M.mqtt(filter, consumer, options)
  local wrong = topics.filter_error(filter)
  if wrong then
    fail(("route mqtt %q: %s"):format(tostring(filter), wrong))
  end
  M.check_background(consumer, ("route mqtt %q"):format(filter), "mqtt_message")
  local qos = 0
  for name, value in pairs(type(options) == "table" and options or { options }) do
    if name ~= "qos" or (value ~= 0 and value ~= 1 and value ~= 2) then
      fail(("route mqtt %q: the only option is { qos = 0, 1 or 2 }"):format(filter))
    end
    qos = value
  end
  return { kind = "mqtt", channel = filter, qos = qos, target = consumer }
end

--- A route for HTTP requests of any method.
---@param pattern string
---@param target rille.Class|async fun(request: rille.Scope): ...  a class that extends
---  HttpConsumer, or EventStreamConsumer (then of GET only), or a function that returns status,
---  body and headers
---@param options table<string, any>?  `reload`, as of `websocket`; and limits of its own:
---  `{ max_body = 100, … }`
---@return rille.Route
function M.http(pattern, target, options)
  return new_http(nil, pattern, target, options)
end

-- M.get, M.post and so on: the same for one method.
for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
  M[method] = function(pattern, target, options)
    return new_http(method:upper(), pattern, target, options)
  end
end

--- Files of a folder under a prefix.
---@param prefix string  "/static/"
---@param folder string  relative to the script's folder
---@param options rille.StaticOptions?
---@return rille.Route
function M.static(prefix, folder, options)
  check_pattern(prefix)
  if type(folder) ~= "string" or folder == "" then
    fail(("route %q: the name of a folder expected"):format(prefix))
  end
  local static = require("rille.static")
  if options ~= nil and type(options) ~= "table" then
    fail(("route %q: options are a table, got a %s"):format(prefix, type(options)))
  end
  for name, value in pairs(options or {}) do
    local want = static.OPTIONS[name]
    if not want or not want:find(type(value), 1, true) then
      local told = "route %q: bad option %s; there are cache_control, index, fallback and "
        .. "precompressed"
      fail(told:format(prefix, tostring(name)))
    end
  end
  local root = require("rille.loader").resolve(folder)
  local serve = static.new(root, options)
  local base = prefix:gsub("/+$", "")
  return {
    { kind = "http", method = "GET", pattern = base .. "/<path:file>", target = serve },
    { kind = "http", method = "GET", pattern = base .. "/", target = serve },
  }
end

--- Routes under a prefix.
---@param prefix string
---@param routes rille.Route[]
---@return rille.Route[]
function M.include(prefix, routes)
  check_pattern(type(prefix) == "string" and prefix .. "/" or prefix)
  local out = {}
  for _, route in ipairs(M.flatten(routes)) do
    local copy = {}
    for key, value in pairs(route) do
      copy[key] = value
    end
    copy.pattern = route.pattern and (prefix .. route.pattern):gsub("//+", "/")
    out[#out + 1] = copy
  end
  return out
end

--- Routes may be given as lists of lists. Raises on what is no route.
---@param routes table
---@return rille.Route[]
function M.flatten(routes)
  local flat = {}
  local function add(item)
    if type(item) ~= "table" then
      fail("routes are made by rille.websocket, rille.http, …; got a " .. type(item))
    elseif item.kind then
      flat[#flat + 1] = item
    else
      for key in pairs(item) do
        if type(key) ~= "number" then
          fail(("routes are a list; got one under the name %q"):format(tostring(key)))
        end
      end
      for i = 1, table.maxn(item) do
        if item[i] == nil then
          fail(("route %d is nil"):format(i))
        end
        add(item[i])
      end
    end
  end
  add(routes)
  return flat
end

---@class rille.Router
---@field routes rille.Route[]
---@field background rille.Route[]  those that no path leads to
---@field channels rille.Route[]    of background channels
local Router = class("Router")

---@param routes rille.Route[]
function Router:init(routes)
  self.routes = M.flatten(routes)
  self.by_kind = { http = {}, websocket = {} }
  self.background = {}
  self.channels = {}
  for _, route in ipairs(self.routes) do
    if route.pattern then
      self:_add(route)
    elseif route.kind ~= "timer" then -- these are the generation's, wherever they are made
      self:_add_background(route)
    end
  end
end

function Router:_add(route)
  local entry = { route = route, method = route.method }
  if route.pattern:find("<", 1, true) then
    entry.lua, entry.names, entry.converters = compile(route.pattern)
  else
    entry.path = route.pattern
  end
  table.insert(self.by_kind[route.kind], entry)
end

function Router:_add_background(route)
  if route.kind == "channel" then
    for _, other in ipairs(self.channels) do
      if other.channel == route.channel then
        fail(("channel %q: twice"):format(route.channel))
      end
    end
    table.insert(self.channels, route)
    return
  end
  local cls = route.target
  for _, other in ipairs(self.background) do
    local same = other.kind == route.kind
      and other.channel == route.channel
      and other.database == route.database
    if same and other.target.module == cls.module and other.target.__name == cls.__name then
      fail(("route %s %q: twice for %s"):format(route.kind, route.channel, cls.__name))
    end
  end
  table.insert(self.background, route)
end

--- The captures by name, or nil when one of them is none.
local function captures_of(entry, first, ...)
  if not first then
    return nil
  end
  local values, kwargs = { first, ... }, {}
  for i, name in ipairs(entry.names) do
    local convert = entry.converters[i].convert
    local value = values[i]
    if convert then
      value = convert(value)
    end
    if value == nil then
      return nil
    end
    kwargs[name] = value
  end
  return kwargs
end

--- What `path` leads to.
---@param kind "http"|"websocket"
---@param path string
---@param method string?
---@return rille.Route? route
---@return table<string, any>|string[]|nil kwargs  of the route; without a route, the methods that
---  there are
function Router:match(kind, path, method)
  local allowed
  for _, entry in ipairs(self.by_kind[kind]) do
    local kwargs = entry.lua and captures_of(entry, path:match(entry.lua))
    if kwargs or entry.path == path then
      local wanted = entry.method
      if not wanted or wanted == method or (wanted == "GET" and method == "HEAD") then
        return entry.route, kwargs
      end
      allowed = allowed or {}
      allowed[#allowed + 1] = wanted
    end
  end
  return nil, allowed
end

M.Router = Router

return M
