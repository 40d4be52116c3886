--- Where the core's events enter Lua. Each function here runs as a task of its own.

local Origins = require("rille.origins")
local Scope = require("rille.scope")
local answer = require("rille.answer")
local channels = require("rille.channels")
local core = require("rille.core")
local direct = require("rille.consumer.direct")
local generations = require("rille.generations")
local json = require("rille.json")
local layer = require("rille.layer")
local loader = require("rille.loader")
local moving = require("rille.moving")
local mqtt = require("rille.mqtt")
local outside = require("rille.layer.outside")
local presence = require("rille.presence")
local proxies = require("rille.proxies")
local recovery = require("rille.recovery")
local timers = require("rille.timers")

local consumer = core.consumer

local M = {}

---@type rille.Generation  the newest code that serves
local current
---@type rille.DevPages?  rille dev's
M.pages = nil

local TEXT = { ["content-type"] = "text/plain; charset=utf-8" }

--- Answer with what a function route returned.
local function respond(scope, status, body, headers)
  if status == nil and consumer.answered(scope._id) then
    return -- it answered by itself
  end
  if type(status) ~= "number" then
    local told = "a route returned a %s where a status was expected; return 200 and a body"
    error(told:format(type(status)), 0)
  end
  local default = "text/plain; charset=utf-8"
  if type(body) == "table" then
    body, default = json.encode(body), "application/json"
  elseif body ~= nil and type(body) ~= "string" then
    local told = "a route returned a %s as body; return a string or a table (sent as JSON)"
    error(told:format(type(body)), 0)
  end
  local fields = {}
  local typed = body == nil or body == ""
  for name, value in pairs(headers or {}) do
    fields[name] = value
    typed = typed or (type(name) == "string" and name:lower() == "content-type")
    typed = typed or (type(value) == "table" and tostring(value[1]):lower() == "content-type")
  end
  if not typed then
    fields["content-type"] = default
  end
  local ok, err = answer(scope._id, status, fields, body)
  if not ok then
    error(err, 0)
  end
end

--- A new instance of a class, in its groups, which answers from now on.
local function make_consumer(app, cls, scope)
  local anew = app.middleware[1] == nil and Scope.is_bare(scope)
  local self = cls:open(scope, anew)
  local groups = self.groups
  if groups then
    for _, group in ipairs(groups) do
      layer:agroup_add(group, self.channel_name)
    end
  end
  consumer.bind(scope._id, self, cls:defines("websocket_send"))
  return self
end

--- Run the rest of the first event with a new instance of a class.
local function open_consumer(app, cls, scope, compression)
  local self = make_consumer(app, cls, scope)
  if scope.type == "websocket" then
    if compression then
      consumer.compression(scope._id, compression)
    end
    self:connect()
    if not consumer.answered(scope._id) then
      consumer.accept(scope._id)
    end
  else
    self:handle(scope)
  end
end

local function not_found(scope)
  consumer.respond(scope._id, 404, TEXT, "Not Found\n")
end

--- The path is there, but not for this method: say for which. OPTIONS only asks.
local function other_methods(scope, methods)
  local allow = {}
  for _, method in ipairs(methods) do
    allow[#allow + 1] = not allow[method] and method or nil
    allow[method] = true
    if method == "GET" then
      allow[#allow + 1] = not allow.HEAD and "HEAD" or nil
      allow.HEAD = true
    end
  end
  allow[#allow + 1] = not allow.OPTIONS and "OPTIONS" or nil
  local headers = { allow = table.concat(allow, ", ") }
  if scope.method == "OPTIONS" then
    return 204, nil, headers
  end
  return 405, "Method Not Allowed\n", headers
end

--- What `OPTIONS *` asks for: of the whole server.
local METHODS = { "GET", "POST", "PUT", "PATCH", "DELETE" }

--- What it is counted under in the metrics.
local function number_of(kind, pattern, target)
  local name = type(target) == "table" and rawget(target, "__name") or ""
  return core.worker.route(kind, pattern, name)
end

--- The path as the routes have it: that of the request, unless middleware has put another in the
--- scope.
local function path_of(scope, path)
  path = rawget(scope, "path") or path
  local root = scope.root_path
  if root ~= "" then
    path = proxies.below(scope.path, root) or scope.path
  end
  return path
end

--- Innermost: what the path leads to.
---@param generation rille.Generation  the one that the request began in
local function run_route(generation, scope, path)
  local app = generation.app
  path = path_of(scope, path)
  local route, kwargs = app.router:match(scope.type, path, scope.method)
  if not route then
    if kwargs then
      return other_methods(scope, kwargs)
    end
    if path == "*" and scope.method == "OPTIONS" then
      return other_methods(scope, METHODS)
    end
    return not_found(scope)
  end
  if kwargs then
    scope.url_route = { kwargs = kwargs }
  end
  consumer.route(scope._id, generation.numbers[route])
  if route.place and not consumer.limit(scope._id, route.place) then
    return
  end
  if route.pinned then
    consumer.pin(scope._id)
  end
  local target = route.target
  if type(target) == "function" then
    return target(scope)
  end
  local compression = route.compression
  if compression == nil then
    compression = app.compression
  end
  return open_consumer(app, target, scope, compression)
end

local function run_middleware(generation, scope, path, i)
  local fn = generation.app.middleware[i]
  if not fn then
    return run_route(generation, scope, path)
  end
  return fn(scope, function(inner)
    return run_middleware(generation, inner or scope, path, i + 1)
  end)
end

--- Looks for the two headers by itself: asking the scope for all would keep them for as long as the
--- connection lives.
local function refuse_origin(generation, scope, fields)
  local origin = core.http.field(fields, "origin")
  if not origin then
    return false
  end
  local own = core.http.via(fields, "host") or core.http.field(fields, "host")
  local origins = generation.app.allowed_origins
  if Origins.allow(origins, origin, own, consumer.secure(scope._id)) then
    return false
  end
  core.log(
    "warn",
    ("refused a WebSocket for %s: origin %s, host %s (allowed: %s; see allowed_origins)"):format(
      scope.path,
      origin,
      tostring(own),
      origins and table.concat(origins.list, ", ") or "the server's own host"
    )
  )
  consumer.respond(scope._id, 403, TEXT, "Forbidden\n")
  return true
end

local function finish(scope, status, ...)
  if status ~= nil then
    respond(scope, status, ...)
  end
end

--- A request or a handshake. What raises here is logged by the core and answered with 500, or with
--- 400 when it is a `BadRequest`. (No pcall: the traceback should begin where the error did.)
---@async
---@param id number
---@param kind "http"|"websocket"
---@param method string
---@param path string?   decoded; nil: it cannot be
---@param fields string  "name\0value\0…", as Scope.new takes it
function M.open(id, kind, method, path, fields)
  local scope = Scope.new(id, kind, method, fields, current.app.root_path)
  if not path then
    consumer.respond(id, 400, TEXT, "Bad Request\n")
    return
  end
  if M.pages and kind == "http" and M.pages.answer(id, method, fields) then
    return
  end
  local generation = current
  if generations.trial then
    generation = generations.choose(kind, path_of(scope, path), method)
    consumer.run(id, generation.number)
  end
  if kind == "websocket" and refuse_origin(generation, scope, fields) then
    return
  end
  return finish(scope, run_middleware(generation, scope, path, 1))
end

--- A handler has failed, and a browser waits for its answer.
---@param text string   what the log says
---@param again boolean  may it ask once more by itself?
---@return string?  HTML
function M.page(text, again)
  return M.pages and M.pages.of_handler(text, again)
end

--- A message from the client, and those behind it that were read with it: each is an event of its
--- own, though not a coroutine.
---@async
---@param self rille.WebsocketConsumer
---@param text string?
---@param bytes string?
function M.receive(self, text, bytes)
  repeat
    getmetatable(self).receive(self, text, bytes)
    text, bytes = direct.following()
  until text == nil and bytes == nil
end

--- A message from the layer, perhaps one that its group keeps.
---@async
---@param self rille.Consumer
---@param encoded string
---@param group string?
---@param epoch string?
---@param offset integer?
function M.message(self, encoded, group, epoch, offset)
  local message = layer.decode(encoded)
  if group then
    if recovery.has_seen(self, group, epoch, offset) then
      return
    end
    message.history = { group = group, epoch = epoch, offset = offset }
  end
  return self:dispatch(message)
end

--- A consumer without a peer begins.
---@async
---@param _ number  its id, which the scope has, too
---@param origin rille.Origin
function M.background(_, origin)
  local scope = origin.scope
  consumer.route(scope._id, number_of(scope.type, scope.channel, origin.target))
  make_consumer(current.app, origin.target, scope)
end

--- A WebSocket moves to another process: all there is of it.
---@param self rille.WebsocketConsumer
---@param groups string[]
---@return string
function M.leave(self, groups)
  return moving.pack(self, groups)
end

--- And in. Its route is that of its path by now; without one, or without its class, the core closes
--- it.
---@async
---@param id number
---@param text string
function M.arrive(id, text)
  local record = moving.unpack(text)
  local generation = current
  local scope = Scope.new(id, "websocket", nil, (record.scope or record.self)._fields)
  for name, value in pairs(record.scope or {}) do
    rawset(scope, name, value)
  end
  local route = generation.app.router:match("websocket", path_of(scope, scope.path))
  local cls = generation.classes[record.class]
  if not route or not cls then
    return
  end
  consumer.route(id, generation.numbers[route])
  if route.place then
    consumer.limit(id, route.place)
  end
  if route.pinned then
    consumer.pin(id)
  end
  local self = record.self
  self._id = id
  self.scope = record.scope and scope or nil
  setmetatable(self, cls)
  consumer.bind(id, self, cls:defines("websocket_send"))
  for _, group in ipairs(record.groups) do
    layer:agroup_add(group, self.channel_name)
  end
  if cls.on_reload then
    self:on_reload(record.generation)
  end
end

--- What is told to those who want to know, and to nobody else.
local OPTIONAL = {
  ["notify.gap"] = "notify_gap",
  ["layer.reconnected"] = "layer_reconnected",
  ["mqtt.reconnected"] = "mqtt_reconnected",
}

--- What the source of such a consumer tells, or the layer of itself.
---@async
---@param self rille.Consumer
---@param event { type: string, [string]: any }
function M.event(self, event)
  if event.type == "reload" then
    return -- it has its new class by now
  end
  local optional = OPTIONAL[event.type]
  if optional and not getmetatable(self):defines(optional) then
    return
  end
  if event.type:find("^mqtt%.") then
    mqtt.cook(event, self.scope.filter)
  elseif event.type == "timer" then
    return timers.run(self, event)
  elseif event.type == "channel.job" then
    return channels.run(self, event)
  end
  return self:dispatch(event)
end

--- The end.
---@async
---@param self rille.Consumer
---@param code integer
---@param reason string
function M.disconnect(self, code, reason)
  presence.left(self._id)
  return self:disconnect(code, reason)
end

--- Would a consumer be in the same groups by both?
local function same_groups(old, cls)
  local before, after = old.groups or {}, cls.groups or {}
  for i = 1, math.max(#before, #after) do
    if before[i] ~= after[i] then
      return false
    end
  end
  return true
end

--- Groups of the class, which were joined for the consumer: others now.
---@async
local function change_groups(self, old, cls)
  local before, after = {}, {}
  for _, group in ipairs(old.groups or {}) do
    before[group] = true
  end
  for _, group in ipairs(cls.groups or {}) do
    after[group] = true
    if not before[group] then
      layer:agroup_add(group, self.channel_name)
    end
  end
  for group in pairs(before) do
    if not after[group] then
      layer:agroup_discard(group, self.channel_name)
    end
  end
end

--- What else is to be done, which may wait or raise.
---@async
local function migrate(self, old, cls, number)
  if not same_groups(old, cls) and rawget(self, "groups") == nil then
    change_groups(self, old, cls)
  end
  if cls.on_reload then
    self:on_reload(number)
  end
end

--- The class that a consumer is to have, the number of its generation, and that of the one that it
--- runs. No class: it is gone. The same class: it has it.
local function heir_of(self)
  local old = getmetatable(self)
  local number, route = consumer.generation(self._id)
  local to = generations.destination(number, route)
  if not to then
    return old, number, number
  end
  return rawget(old, "library") and old or loader.successor(to, old), to.number, number
end

--- The first event after a change of the code: the new class takes over `self`, then the event goes
--- on. `disconnect` runs in any case: an `on_reload` that raises before it does so in vain.
---@async
---@param entry async fun(self: rille.Consumer, ...)  one of the above
---@param self rille.Consumer
---@param ... any  the entry's other arguments
function M.adopt(entry, self, ...)
  local old = getmetatable(self)
  local cls, to, number = heir_of(self)
  if not cls and entry ~= M.disconnect then
    consumer.close(self._id, 1012, "the code that served this is gone")
    return
  elseif cls == old then
    consumer.run(self._id, to)
  elseif cls then
    setmetatable(self, cls)
    consumer.run(self._id, to, cls:defines("websocket_send"))
    if entry ~= M.disconnect then
      migrate(self, old, cls, number)
    else
      local ok, err = xpcall(migrate, debug.traceback, self, old, cls, number)
      if not ok then
        core.log("error", ("%s:on_reload failed: %s"):format(cls.__name, core.describe(err)))
      end
    end
  end
  return entry(self, ...)
end

--- One that waits for nothing but an event: its class now, unless that has something to do.
local function adopt_idle(self)
  local old = getmetatable(self)
  local cls, to = heir_of(self)
  if cls == old then
    consumer.run(self._id, to)
  elseif
    cls
    and not cls.on_reload
    and same_groups(old, cls)
    and consumer.is_idle(self._id)
  then
    setmetatable(self, cls)
    consumer.run(self._id, to, cls:defines("websocket_send"))
  else
    consumer.nudge(self._id)
  end
end

local AT_ONCE = 100 -- consumers that are looked at before others have a turn

--- After a change: nobody keeps the old code, or waits for `on_reload`, only because nothing
--- happens on a connection.
---@async
function M.adopt_all()
  local at = 0
  repeat
    local selfs
    selfs, at = core.worker.stale(at, AT_ONCE)
    for _, self in ipairs(selfs) do
      adopt_idle(self)
    end
  until not at or not core.task.sleep(0)
end

--- Serve otherwise from the next event on.
---@param generation rille.Generation
---@param change rille.Change?  default "replace"
function M.switch(generation, change)
  generations.make(change or "replace", generation)
  current = generations.serving
  outside.set_histories(current.layer, current.app.histories)
  presence.rules = current.app.presences
  core.worker.entries(M)
end

---@return rille.Generation
function M.current()
  return current
end

return M
