--- An application: settings and routes, checked as a whole.

local class = require("rille.class")
local errors = require("rille.errors")
local origins = require("rille.origins")
local routing = require("rille.routing")

---@class rille.App : rille.Class
---@field router rille.Router
---@field settings table
---@field allowed_origins rille.Origins?
local App = class("App")

local SETTINGS = {
  allowed_origins = "table",
  databases = "table or string",
  layer = "string",
  limits = "table",
  listen = "table or string",
  middleware = "table",
  models = "table",
  on_start = "function",
  on_stop = "function",
  routes = "table",
}

--- What may be limited; the numbers are the core's.
local LIMITS = {
  abandon_grace = true,
  close_timeout = true,
  keepalive_timeout = true,
  mailbox = true,
  max_body = true,
  max_connections = true,
  max_head = true,
  max_message = true,
  max_unsent = true,
  ping_interval = true,
  request_timeout = true,
}

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
  for name, value in pairs(settings.limits or {}) do
    if not LIMITS[name] then
      fail(("unknown limit %q; there are %s"):format(tostring(name), names_of(LIMITS)), name)
    elseif type(value) ~= "number" or value <= 0 then
      fail(("limit %s: a number above 0 expected"):format(name), name)
    end
  end
  if settings.layer and settings.layer ~= "memory:" then
    fail(("layer %q: this version has memory: only"):format(settings.layer), "layer")
  end
end

---@param settings table
function App:init(settings)
  check_settings(settings)
  self.settings = settings
  self.router = routing.Router(settings.routes or {})
  self.middleware = settings.middleware or {}
  self.models = settings.models or {}
  for i, fn in ipairs(self.middleware) do
    if type(fn) ~= "function" then
      fail(("middleware %d is not a function"):format(i))
    end
  end
  if settings.allowed_origins then
    self.allowed_origins = origins.new(settings.allowed_origins)
  end
end

--- Lines for `rille routes`: kind, method, pattern, target.
---@return string[][]
function App:describe_routes()
  local lines = {}
  for _, route in ipairs(self.router.routes) do
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
    lines[#lines + 1] = { route.kind, route.method or "*", route.pattern, name }
  end
  return lines
end

return App
