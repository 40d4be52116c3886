--- Where the MQTT broker is, and as whom it is spoken to.
---
---     mqtt = "mqtt://user:password@broker:1883/?client_id=site-7&session=3600"
---     mqtt = { url = "mqtts://broker", will = { topic = "site-7/up", payload = "0" } }
---
--- What stands in the URL is stronger than what stands beside it. A URL of the command line or the
--- environment is stronger than the script's, and leaves what the script says beside it.

local errors = require("rille.errors")
local topics = require("rille.mqtt.topics")

local M = {}

---@class rille.MqttWill
---@field topic string
---@field payload string?   default ""
---@field qos integer?      default 0
---@field retain boolean?

---@class rille.MqttSettings
---@field url string         mqtt://…, mqtts://…; port 1883, 8883
---@field client_id string?  at most 200 characters; default a random one. That of the connection
---                          which subscribes; those that publish, one per worker, are called so
---                          with -pub0 and so on behind it
---@field version "3.1.1"|"5"|nil  default "3.1.1"
---@field session number?    seconds for which the broker keeps what we have not heard while we are
---                          away; default 0: nothing. With 3.1.1 for as long as the broker likes
---@field keepalive integer? seconds, 5 to 65535, default 60
---@field ack_timeout number? seconds, default 60: a message of QoS 1 is acknowledged when its
---                          handler has ended, at the latest then
---@field ca string?         mqtts: a file in PEM; default the system's authorities
---@field cert string?       mqtts: our certificate,
---@field key string?        and its key, if it is not in the same file
---@field will rille.MqttWill?  published by the broker when it loses the one that subscribes

---@class rille.core.MqttConfig : rille.MqttSettings  for the core; see src/mqtt/config.h

local NUMBERS = {
  session = { 0, 2 ^ 32 - 1, 0 },
  keepalive = { 5, 65535, 60 },
  ack_timeout = { 0.1, 86400, 60 },
}
local STRINGS = { url = true, client_id = true, version = true, ca = true, cert = true, key = true }
local PORTS = { mqtt = 1883, mqtts = 8883 }

-- Of a process's own, so that a reload does not make another client of it.
local random_id

local function fail(message, ...)
  errors.misconfigured("mqtt: " .. message:format(...), "mqtt")
end

local function known()
  local names = { "will" }
  for name in pairs(NUMBERS) do
    names[#names + 1] = name
  end
  for name in pairs(STRINGS) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

local function check_will(will)
  if type(will) ~= "table" then
    fail("will is a %s, not a table with topic and payload", type(will))
  end
  for name in pairs(will) do
    if name ~= "topic" and name ~= "payload" and name ~= "qos" and name ~= "retain" then
      fail("will has %q; it takes topic, payload, qos and retain", tostring(name))
    end
  end
  local wrong = topics.topic_error(will.topic)
  if wrong then
    fail("will: topic: %s", wrong)
  end
  local payload, qos = will.payload or "", will.qos or 0
  if type(payload) ~= "string" or #payload > 65535 then
    fail("will: payload: a string of at most 65535 bytes expected")
  elseif qos ~= 0 and qos ~= 1 and qos ~= 2 then
    fail("will: qos is 0, 1 or 2, not %s", tostring(qos))
  end
end

local function check_value(name, value)
  local range = NUMBERS[name]
  if range then
    if type(value) ~= "number" or not (value >= range[1] and value <= range[2]) then
      local told = "%s: a number from %.15g to %.15g expected, got %s"
      fail(told, name, range[1], range[2], tostring(value))
    end
  elseif STRINGS[name] then
    if type(value) ~= "string" or value == "" then
      fail("%s: a string expected, got %s", name, value == "" and "an empty one" or type(value))
    end
  elseif name == "will" then
    check_will(value)
  else
    fail("unknown setting %q; there are %s", tostring(name), known())
  end
end

local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function split_host(authority)
  local host, port = authority:match("^%[([%x:.%%%w]+)%]:?(%d*)$")
  if not host then
    host, port = authority:match("^([^:%[%]]+):?(%d*)$")
  end
  return host, port
end

--- The parts of a URL: into `to`, which already has what stands beside it.
local function read_url(url, to)
  local scheme, rest = url:match("^(%w+)://(.*)$")
  local default = PORTS[scheme or ""]
  if not default then
    fail("a URL begins with mqtt:// or mqtts://")
  end
  local authority, query = rest:match("^([^/?#]*)/?%??([^#]*)$")
  local login, place = (authority or ""):match("^(.*)@(.-)$")
  local host, port = split_host(place or authority or "")
  port = port ~= "" and tonumber(port) or default
  if not host or port < 1 or port > 65535 then
    fail("a URL is mqtt://user:password@host:port/?setting=value")
  end
  to.tls = scheme == "mqtts"
  to.host, to.port = decode(host), port
  local shown = host:find(":", 1, true) and "[" .. host .. "]" or host
  to.name = ("%s://%s:%d"):format(scheme, shown, port)
  if login then
    local user, password = login:match("^([^:]*):?(.*)$")
    to.user = decode(user)
    to.password = login:find(":", 1, true) and decode(password) or nil
  end
  for pair in (query or ""):gmatch("[^&]+") do
    local name, value = pair:match("^([%w_]+)=(.*)$")
    if not name or name == "url" or name == "will" then
      fail("%s is no setting for a URL; there are %s", name or "what has no =", known())
    end
    value = decode(value)
    to[name] = NUMBERS[name] and (tonumber(value) or value) or value
    check_value(name, to[name])
  end
end

local function random_name()
  if not random_id then
    local file = assert(io.open("/dev/urandom", "rb"))
    random_id = "rille-" .. file:read(8):gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
    file:close()
  end
  return random_id
end

--- Paths begin at the script's folder.
local function absolute(path, folder)
  return path and (path:sub(1, 1) == "/" and path or (folder or ".") .. "/" .. path)
end

--- Raises what is wrong with a script's settings. The URL may still come from elsewhere.
---@param given string|rille.MqttSettings
function M.check(given)
  M.compile(given, type(given) == "table" and not given.url and "mqtt://localhost" or nil)
end

--- For the core: everything, checked and with its default; nil when there is no broker.
---@param given string|rille.MqttSettings|nil
---@param url string?    of the command line or the environment
---@param folder string? the script's
---@param place integer? the worker's number
---@return rille.core.MqttConfig?
function M.compile(given, url, folder, place)
  local beside = type(given) == "table" and given or { url = given }
  local config = {}
  for name, value in pairs(beside) do
    check_value(name, value)
    config[name] = value
  end
  url = url or beside.url
  if not url then
    if next(beside) ~= nil then
      fail("url is missing: mqtt://host")
    end
    return nil
  end
  read_url(url, config)
  for name, range in pairs(NUMBERS) do
    config[name] = config[name] or range[3]
  end
  local version = config.version or "3.1.1"
  if version ~= "3.1.1" and version ~= "5" then
    fail("version is 3.1.1 or 5, not %s", version)
  elseif config.session > 0 and not config.client_id then
    fail("a session needs a client_id, by which the broker knows it again")
  elseif #(config.client_id or "") > 200 then
    fail("client_id has more than 200 characters")
  elseif not config.tls and (config.ca or config.cert or config.key) then
    fail("ca, cert and key are for mqtts://")
  elseif config.key and not config.cert then
    fail("a key, but no cert that it belongs to")
  end
  local will = config.will or {}
  local id = config.client_id or random_name()
  return {
    name = config.name,
    host = config.host,
    port = config.port,
    tls = config.tls,
    user = config.user,
    password = config.password,
    ear_id = id,
    mouth_id = ("%s-pub%d"):format(id, place or 0),
    v5 = version == "5",
    session = config.session,
    keepalive = config.keepalive,
    ack_timeout = config.ack_timeout,
    ca = absolute(config.ca, folder),
    cert = absolute(config.cert, folder),
    key = absolute(config.key, folder),
    will_topic = will.topic,
    will_payload = will.payload or "",
    will_qos = will.qos or 0,
    will_retain = will.retain or false,
  }
end

return M
