--- MQTT: the broker that the application has, and publishing to it. Who hears it are consumers in
--- the background (`rille.mqtt`, lua/rille/background.lua).

local core = require("rille.core")
local errors = require("rille.errors")
local json = require("rille.json")
local settings = require("rille.mqtt.settings")
local topics = require("rille.mqtt.topics")

local M = {}

---@class rille.MqttMessage  what `mqtt_message(event)` gets
---@field type "mqtt.message"
---@field topic string
---@field payload string
---@field qos integer      with which it was delivered
---@field retain boolean   it was kept by the broker, and is from before the subscription
---@field matches string[] what the filter's wildcards stand for, in their order
---@field properties rille.MqttProperties  of MQTT 5; empty for 3.1.1

---@class rille.MqttReconnected  what `mqtt_reconnected(event)` gets, if it is there
---@field type "mqtt.reconnected"
---@field resumed boolean  the broker has kept the session: no message of QoS 1 or 2 was missed

---@class rille.MqttProperties
---@field content_type string?
---@field response_topic string?
---@field correlation_data string?
---@field message_expiry_interval number?   seconds
---@field payload_format_indicator integer? 1: the payload is UTF-8
---@field user_properties string[][]?       each a name and a value

---@class rille.MqttOptions
---@field qos 0|1|2|nil     default 0
---@field retain boolean?   the broker keeps it for those who subscribe later
---@field timeout number?   seconds to wait for the broker, default 10
---@field properties rille.MqttProperties?  MQTT 5 only

---@class rille.MqttClient
local MqttClient = {}

---@type rille.core.MqttConfig?
local config
---@type rille.core.Broker?
local handle
---@type string?  what the handle was opened with
local opened_with
---@type rille.core.Broker[]  those that a reload has replaced
local replaced = {}

local NO_BROKER = 'there is no broker: give one as mqtt = "mqtt://…" in rille.app, by --mqtt or '
  .. "RILLE_MQTT"

--- Two settings are the same when this is.
---@param of rille.core.MqttConfig?
---@return string
local function fingerprint(of)
  local parts = {}
  for name, value in pairs(of or {}) do
    parts[#parts + 1] = ("%s=%q"):format(name, tostring(value))
  end
  table.sort(parts)
  return table.concat(parts, "\0")
end

--- The broker, opened when it is first asked for. Raises when there is none.
---@return rille.core.Broker
local function broker()
  if handle then
    return handle
  elseif not config then
    error(errors.MqttError(NO_BROKER), 0)
  end
  local opened, err = core.mqtt.open(config)
  if not opened then
    error(err, 0)
  end
  handle, opened_with = opened, fingerprint(config)
  return handle
end

--- The settings of an application that is being loaded; raises what is wrong with them, changes
--- nothing.
---@param app rille.App
---@param url string?     of the command line or the environment
---@param folder string  the script's
---@return rille.core.MqttConfig?
function M.stage(app, url, folder)
  local staged = settings.compile(app.settings.mqtt, url, folder, (core.worker.place()))
  for _, route in ipairs(app.router.background) do
    if route.kind == "mqtt" and not staged then
      error(errors.ConfigurationError(("route mqtt %q: %s"):format(route.channel, NO_BROKER)), 0)
    end
  end
  if staged and staged.tls then -- are the files there?
    local probe, err = core.mqtt.open(staged)
    if not probe then
      error(errors.ConfigurationError("mqtt: " .. err.message), 0)
    end
    core.mqtt.close(probe)
  end
  return staged
end

--- From now on this broker, or none.
---@param staged rille.core.MqttConfig?
function M.switch(staged)
  config = staged
  if handle and opened_with ~= fingerprint(staged) then
    replaced[#replaced + 1] = handle
    handle = nil
  end
end

--- Consumers have gone over to the new broker: take leave of the old one.
function M.settle()
  while #replaced > 0 do
    core.mqtt.close(table.remove(replaced))
  end
end

--- By which a consumer's broker is told from another.
---@return string
function M.identity()
  return fingerprint(config)
end

--- For people, without the password.
---@return string?
function M.name()
  return config and config.name
end

--- Have a consumer in the background hear a route.
---@param route rille.Route
---@param id number  the consumer's
---@return true? ok
---@return any err
function M.listen(route, id)
  local ok, opened = pcall(broker)
  if not ok then
    return nil, opened
  end
  return core.mqtt.listen(opened, route.channel, route.qos, id)
end

--- `name:N:V:` key value, one behind the other (src/mqtt/properties.h).
local function read_properties(flat)
  local properties, at = {}, 1
  while at <= #flat do
    local _, last, name, n, v = flat:find("^([%l_]+):(%d+):(%d+):", at)
    n, v = tonumber(n), tonumber(v)
    local key = flat:sub(last + 1, last + n)
    local value = flat:sub(last + n + 1, last + n + v)
    if name == "user_property" then
      properties.user_properties = properties.user_properties or {}
      table.insert(properties.user_properties, { key, value })
    elseif name == "message_expiry_interval" or name == "payload_format_indicator" then
      properties[name] = tonumber(value)
    else
      properties[name] = value
    end
    at = last + n + v + 1
  end
  return properties
end

--- Make of what the core tells what a handler gets; for dispatch.
---@param event table
---@param filter string
function M.cook(event, filter)
  if event.type == "mqtt.reconnected" then
    event.resumed = event.resumed == 1
    return
  end
  event.retain = event.retain == 1
  event.matches = topics.matches(filter, event.topic)
  event.properties = read_properties(event.properties)
end

local OPTIONS = { qos = "number", retain = "boolean", timeout = "number", properties = "table" }
local PROPERTIES = {
  content_type = "string",
  response_topic = "string",
  correlation_data = "string",
  message_expiry_interval = "number",
  payload_format_indicator = "number",
  user_properties = "table",
}

local function check_names(given, allowed, what)
  for name, value in pairs(given) do
    if type(value) ~= allowed[name] then
      local names = {}
      for known in pairs(allowed) do
        names[#names + 1] = known
      end
      table.sort(names)
      local told = "apublish: bad %s %s; there are %s"
      error(told:format(what, tostring(name), table.concat(names, ", ")), 4)
    end
  end
end

--- Called by apublish: the mistake is its caller's.
local function check_arguments(topic, payload, options)
  local wrong = topics.topic_error(topic)
  if wrong then
    error("apublish: " .. wrong, 3)
  elseif type(payload) ~= "string" and type(payload) ~= "table" then
    error("apublish: a string expected, or a table (sent as JSON), got " .. type(payload), 3)
  elseif type(options) ~= "table" then
    error("apublish: options are a table, got a " .. type(options), 3)
  end
  check_names(options, OPTIONS, "option")
  local qos, timeout = options.qos or 0, options.timeout or 0
  if qos ~= 0 and qos ~= 1 and qos ~= 2 then
    error("apublish: qos is 0, 1 or 2, not " .. tostring(qos), 3)
  elseif not (timeout >= 0 and timeout <= 1e9) then
    error("apublish: timeout: seconds from 0 to 1e9 expected", 3)
  end
  if options.properties then
    check_names(options.properties, PROPERTIES, "property")
  end
end

local function check(ok, ...)
  if ok then
    return ok, ...
  end
  error((...), 0)
end

--- Publish a message, and wait until it is written (QoS 0), or the broker has it (1, 2: also
--- over a reconnect). Raises `rille.MqttError` when there is no broker, it refuses the message, or
--- does not answer in time; then it may still get it. Goes out at once also inside a transaction.
---@async
---@param topic string
---@param payload string|table  a table is sent as JSON
---@param options rille.MqttOptions?
function MqttClient:apublish(topic, payload, options) -- luacheck: no self
  options = options or {}
  check_arguments(topic, payload, options)
  local to = broker()
  local properties = options.properties
  if properties and next(properties) == nil then -- what came with 3.1.1, passed on
    properties = nil
  elseif properties and not config.v5 then
    error(errors.MqttError('properties are of MQTT 5: say version = "5" in the settings'), 2)
  end
  local body = type(payload) == "table" and json.encode(payload) or payload
  local seconds = options.timeout or 10
  local ok, err = pcall(require("rille.task").atimeout, seconds, function()
    check(core.mqtt.ready(to))
    check(core.mqtt.publish(to, topic, body, options.qos or 0, options.retain, properties))
  end)
  if ok then
    return
  elseif errors.is_error(err, errors.Timeout) then
    err = errors.MqttError(("%s: no answer within %g s"):format(config.name, seconds))
  end
  error(err, 0)
end

M.client = MqttClient

return M
