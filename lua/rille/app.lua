--- An application: settings and routes, checked as a whole.

local class = require("rille.class")
local compression = require("rille.compression")
local database = require("rille.db.settings")
local errors = require("rille.errors")
local groups = require("rille.groups")
local limits = require("rille.limits")
local mqtt = require("rille.mqtt.settings")
local origins = require("rille.origins")
local outside = require("rille.layer.outside")
local probation = require("rille.probation")
local proxies = require("rille.proxies")
local publish = require("rille.publish")
local routing = require("rille.routing")
local tls = require("rille.tls")

---@class rille.App : rille.Class
---@field router rille.Router
---@field settings table
---@field allowed_origins rille.Origins?
---@field histories rille.core.HistoryRule[]  which groups keep their history
---@field presences rille.PresenceRule[]
---@field probation rille.Probation?  when it is to be rolled back by itself
---@field compression rille.core.Compression?  of WebSockets whose route says nothing else
local App = class("App")

--- What `rille.app` takes; README's Settings has the flags that are stronger, and the defaults.
---@class rille.Settings
---@field admin string?  address that tells how it goes, in any form of `listen`
---@field allowed_origins string[]?  whose pages may open WebSockets beside its own host's
---@field compression rille.Compression|boolean|nil  of WebSockets
---@field control string?  path of the control socket, with `,mode=0660 ,user= …`; or "off"
---@field databases string|table<string, string|table>|nil  URL of the default one; or all by name
---@field groups table<string, table>?  which groups keep a history, and who is present
---@field layer string?  URL of what joins several processes
---@field limits table<string, number|string|false>?  by name; seconds and bytes
---@field listen string|string[]|nil  addresses
---@field middleware (fun(scope: table, next: fun(scope: table): any): any)[]?  outermost first
---@field models table[]?
---@field mqtt string|rille.MqttSettings|nil  the broker
---@field on_start fun()?  a task in each worker, before it accepts anybody
---@field on_stop fun()?  likewise, after the last one has gone
---@field publish_token string|string[]|nil  16 bytes or more: who may publish from outside
---@field rollback rille.Probation?  when new code is taken back by itself
---@field root_path string?  routes are below it, as a proxy sees them
---@field routes table[]?  in the order they are tried
---@field tls rille.TlsSettings?
---@field trusted_proxies string|string[]|nil  networks whose headers are believed
---@field workers integer?  threads, 1 to 256

local SETTINGS = {
  admin = "string",
  allowed_origins = "table",
  compression = "table or boolean",
  control = "string",
  databases = "table or string",
  groups = "table",
  layer = "string",
  limits = "table",
  listen = "table or string",
  middleware = "table",
  models = "table",
  mqtt = "table or string",
  on_start = "function",
  on_stop = "function",
  publish_token = "string or table",
  rollback = "table",
  root_path = "string",
  routes = "table",
  tls = "table",
  trusted_proxies = "table or string",
  workers = "number",
}

local MOST_WORKERS = 256

local function names_of(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

local fail = errors.misconfigured

local function check_settings(settings)
  if type(settings) ~= "table" then
    fail("rille.app needs a table of settings, got " .. type(settings))
  end
  for name, value in pairs(settings) do
    local want = SETTINGS[name]
    if not want then
      fail(("unknown setting %q; there are %s"):format(tostring(name), names_of(SETTINGS)), name)
    elseif not want:find(type(value), 1, true) then
      fail(("setting %s: a %s expected, got a %s"):format(name, want, type(value)), name)
    end
  end
  local workers = settings.workers or 1
  if not (workers >= 1 and workers <= MOST_WORKERS and workers % 1 == 0) then
    fail(("workers: a whole number from 1 to %d expected"):format(MOST_WORKERS), "workers")
  end
  limits.check(settings.limits or {})
  for name, given in pairs(type(settings.databases) == "table" and settings.databases or {}) do
    if type(given) == "table" then
      database.check(tostring(name), given)
    end
  end
  proxies.check(settings)
  if settings.mqtt then
    mqtt.check(settings.mqtt)
  end
  if settings.tls then
    tls.check(settings.tls)
  end
  local wrong = settings.publish_token and publish.objection(settings.publish_token)
  if wrong then
    fail("publish_token: " .. wrong, "publish_token")
  end
  local ok, err = pcall(outside.parse, settings.layer or "memory:")
  if not ok then
    fail(errors.is_error(err) and err.message or tostring(err), "layer")
  end
end

---@param settings rille.Settings
function App:init(settings)
  check_settings(settings)
  self.settings = settings
  self.compression = compression.compile(settings.compression, "compression")
  self.histories, self.presences = groups.compile(settings.groups or {})
  self.probation = settings.rollback and probation.compile(settings.rollback)
  self.router = routing.Router(settings.routes or {})
  self.middleware = settings.middleware or {}
  self.models = settings.models or {}
  for name in pairs(self.middleware) do
    if type(name) ~= "number" then
      fail(("middleware %s is not in the list, but beside it"):format(tostring(name)), name)
    end
  end
  for i = 1, table.maxn(self.middleware) do
    if type(self.middleware[i]) ~= "function" then
      fail(("middleware %d is not a function"):format(i), "middleware")
    end
  end
  if settings.allowed_origins then
    self.allowed_origins = origins.new(settings.allowed_origins)
  end
end

--- Lines for `rille routes`: kind, method (or database, QoS, or where), pattern (or channel, filter
--- or name), target.
---@param timers rille.Timer[]?
---@return string[][]
function App:describe_routes(timers)
  local lines, routes = {}, {}
  for _, route in ipairs(self.router.routes) do
    routes[#routes + 1] = route.kind ~= "timer" and route or nil
  end
  for _, timer in ipairs(timers or {}) do
    routes[#routes + 1] = timer
  end
  for _, route in ipairs(routes) do
    local target = route.target
    local name
    if type(target) == "table" and target.__name then
      name = target.__name
    elseif type(target) == "table" then
      name = tostring(target)
    else
      local info = debug.getinfo(target, "S")
      name = ("%s:%d"):format(info.short_src:match("[^/]*$"), info.linedefined)
    end
    local where = route.database or route.method or route.qos and "qos " .. route.qos
    local what = route.pattern or route.channel or route.name
    lines[#lines + 1] = { route.kind, where or route.each or "*", what, name }
  end
  return lines
end

return App
