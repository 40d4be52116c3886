--- What the URL of a Redis says, checked: a pure function.
---
---     redis://[user:password@]host[:6379][/db][?parameters]           rediss:// with TLS
---     unix:///path[?parameters], unix:@name, redis+unix:…             a Unix socket
---     redis+sentinel://[user:password@]host[:26379],host…/service[/db]
---     rediss+sentinel://                                              with TLS, the Sentinels too
---
--- | parameter | meaning | default |
--- | --- | --- | --- |
--- | `db` | number of the database | 0 |
--- | `username`, `password` | instead of those in front of the host | none |
--- | `timeout` | seconds to wait for a reply | 5 |
--- | `connect_timeout` | seconds to look up, connect, shake hands and log in | 3 |
--- | `keepalive` | seconds of silence after which the server is asked whether it is there | 15 |
--- | `ca` | TLS: a file of those who may vouch for the server | the system's |
--- | `cert`, `key` | TLS: our certificate and its key | none |
--- | `verify` | TLS: `full`, or `none` to believe everybody | full |
--- | `servername` | TLS: the name in the server's certificate | the host |
--- | `sentinel_username`, `sentinel_password` | what the Sentinels want to hear | nothing |
---
--- User, password, path and values are percent-decoded.

local errors = require("rille.errors")

local M = {}

---@class rille.redis.Address
---@field host string?
---@field port integer?
---@field path string?  of a Unix socket; "@name" in the abstract namespace

---@class rille.redis.Settings
---@field display string             the URL without its parameters, its user and its password
---@field addresses rille.redis.Address[]  one; or those of the Sentinels
---@field service string?            what the Sentinels call the master
---@field tls table?                 see `rille.core.redis.Tls`; its `name` only if one was given
---@field db integer
---@field username string?
---@field password string?
---@field sentinel_username string?
---@field sentinel_password string?
---@field timeout number             seconds, as the two below
---@field connect_timeout number
---@field keepalive number

local SCHEMES = {
  redis = {},
  rediss = { tls = true },
  unix = { unix = true },
  ["redis+unix"] = { unix = true },
  ["redis+sentinel"] = { sentinel = true },
  ["rediss+sentinel"] = { sentinel = true, tls = true },
}

local MAX_SENTINELS = 32
local MAX_SECONDS = 86400

--- What is wrong, without a word of what stands in front of the parameters: a password that is not
--- percent-encoded may have ended up anywhere there.
local function fail(message, ...)
  errors.misconfigured(("the URL of a Redis: " .. message):format(...))
end

--- Percent-decoded text without NUL, which is what a C string can hold.
local function decode(text, what)
  if text:find("%%%X") or text:find("%%.%X") or text:find("%%.?$") then
    fail("%s: a %% is not followed by two hexadecimal digits", what)
  end
  local decoded = text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end)
  if decoded:find("%z") then
    fail("%s: has a NUL in it", what)
  end
  return decoded
end

local function text(value, what)
  if value == "" then
    fail("%s is empty", what)
  end
  return value
end

local function seconds(value, what)
  local number = tonumber(value)
  if not number or not (number > 0 and number <= MAX_SECONDS) then
    fail("%s: seconds above 0 and up to %d expected, got '%s'", what, MAX_SECONDS, value)
  end
  return number
end

local function database(value)
  local number = value:find("^%d+$") and tonumber(value)
  if not number or number > 2 ^ 31 then
    fail("the database is a number, as in redis://localhost/0")
  end
  return number
end

local function verification(value)
  if value ~= "full" and value ~= "none" then
    fail("verify: 'full' or 'none' expected, got '%s'", value)
  end
  return value
end

--- Every parameter: how it is read, and where it makes sense.
local PARAMETERS = {
  db = { read = database },
  username = { read = text },
  password = { read = text },
  timeout = { read = seconds },
  connect_timeout = { read = seconds },
  keepalive = { read = seconds },
  ca = { read = text, only = "tls" },
  cert = { read = text, only = "tls" },
  key = { read = text, only = "tls" },
  verify = { read = verification, only = "tls" },
  servername = { read = text, only = "tls" },
  sentinel_username = { read = text, only = "sentinel" },
  sentinel_password = { read = text, only = "sentinel" },
}

local ONLY = { tls = "rediss: alone has", sentinel = "redis+sentinel: alone has" }

local function known(others)
  local names = {}
  for name in pairs(PARAMETERS) do
    names[#names + 1] = name
  end
  for name in pairs(others) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

--- "a=1&b=2" as a table of what is ours, and one of what is the caller's.
local function read_query(query, kind, others)
  local ours, theirs = {}, {}
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name = decode(name, "a parameter")
    value = decode(value:gsub("%+", " "), name)
    local parameter = PARAMETERS[name]
    if ours[name] ~= nil or theirs[name] ~= nil then
      fail("%s is given twice", name)
    elseif others[name] then
      theirs[name] = value
    elseif not parameter then
      local told = name:find("^[%w_]+$") and ("unknown parameter '%s'"):format(name)
      fail("%s; there are %s", told or "a parameter that is none", known(others))
    elseif parameter.only and not kind[parameter.only] then
      fail("%s a parameter %s", ONLY[parameter.only], name)
    else
      ours[name] = parameter.read(value, name)
    end
  end
  return ours, theirs
end

local function read_port(port, default)
  if port == "" then
    return default
  end
  local number = port:find("^%d+$") and tonumber(port)
  if not number or number < 1 or number > 65535 then
    fail("a port is a number from 1 to 65535")
  end
  return number
end

local function read_host(part, default_port)
  local host, port = part:match("^%[([%x:%.]+)%]:?(%d*)$")
  if not host then
    host, port = part:match("^([^:%[%]]+):?(.*)$")
  end
  if not host then
    fail("what should be a host is none; an IPv6 address stands in brackets: [::1]:6379")
  end
  return { host = decode(host, "the host"), port = read_port(port, default_port) }
end

local function read_hosts(hosts, kind)
  if hosts == "" then
    hosts = "localhost"
  end
  if not kind.sentinel then
    return { read_host(hosts, 6379) }
  end
  local addresses = {}
  for part in (hosts .. ","):gmatch("([^,]*),") do
    addresses[#addresses + 1] = read_host(part, 26379)
  end
  if #addresses > MAX_SENTINELS then
    fail("more than %d Sentinels", MAX_SENTINELS)
  end
  return addresses
end

--- "user:password" in front of the host.
local function read_user(userinfo)
  local user, password = userinfo:match("^([^:]*):?(.*)$")
  user, password = decode(user, "the user"), decode(password, "the password")
  return user ~= "" and user or nil, password ~= "" and password or nil
end

--- What stands behind the hosts: "/db", or "/service/db".
local function read_path(settings, path, kind)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    parts[#parts + 1] = decode(part, "the path")
  end
  if kind.sentinel then
    settings.service = table.remove(parts, 1)
    if not settings.service then
      fail("the name of the service is missing, as in redis+sentinel://host/mymaster")
    end
  end
  settings.db = parts[1] and database(parts[1])
  if parts[2] then
    fail("the path has one part too many")
  end
end

local function read_place(settings, rest, kind)
  local authority, path = rest:match("^//([^/]*)(.*)$")
  if not authority and not kind.unix then
    fail("it begins with %s://", kind.scheme)
  end
  local userinfo, hosts
  if authority then
    userinfo, hosts = authority:match("^(.*)@([^@]*)$")
    settings.username, settings.password = read_user(userinfo or "")
  end
  hosts = hosts or authority
  if not kind.unix then
    settings.addresses = read_hosts(hosts, kind)
    settings.display = ("%s://%s%s"):format(kind.scheme, hosts, path)
    read_path(settings, path, kind)
    return
  end
  path = decode(authority and path or rest, "the path")
  if (hosts or "") ~= "" or not path:find("^[/@].") then
    fail("the path of a Unix socket is absolute: unix:///run/redis.sock, or unix:@name")
  elseif #path > 107 then
    fail("the path of a Unix socket has at most 107 bytes")
  end
  settings.addresses = { { path = path } }
  settings.display = "unix:" .. path
end

--- Raises `rille.ConfigurationError`: one sentence that never has a password in it.
---@param url string
---@param others string[]?  parameters that are the caller's to read
---@return rille.redis.Settings
---@return table<string, string> values  of the others
function M.parse(url, others)
  if type(url) ~= "string" then
    fail("a string expected, got a %s", type(url))
  end
  local scheme, rest = url:match("^([%w+]+):(.*)$")
  local kind = SCHEMES[scheme]
  if not kind then
    fail("it begins with redis:, rediss:, unix:, redis+sentinel: or rediss+sentinel:%s",
      scheme and ", not with " .. scheme .. ":" or "")
  elseif rest:find("[%c ]") then
    fail("has a space or a control character in it")
  elseif rest:find("#", 1, true) then
    fail("has a # in it, which is written %%23")
  end
  local is_other = {}
  for _, name in ipairs(others or {}) do
    is_other[name] = true
  end

  local place, query = rest:match("^([^?]*)%??(.*)$")
  local shape = { scheme = scheme, tls = kind.tls, unix = kind.unix, sentinel = kind.sentinel }
  local settings = {}
  read_place(settings, place, shape)
  local ours, theirs = read_query(query, shape, is_other)
  for _, name in ipairs { "db", "username", "password" } do
    if settings[name] ~= nil and ours[name] ~= nil then
      fail("%s is given twice", name)
    end
    settings[name] = settings[name] == nil and ours[name] or settings[name]
  end
  if settings.username and not settings.password then
    fail("there is a user without a password (a password alone is written :password@)")
  elseif ours.sentinel_username and not ours.sentinel_password then
    fail("sentinel_username is given without sentinel_password")
  elseif ours.key and not ours.cert then
    fail("key is given without cert")
  end
  settings.db = settings.db or 0
  settings.sentinel_username = ours.sentinel_username
  settings.sentinel_password = ours.sentinel_password
  settings.timeout = ours.timeout or 5
  settings.connect_timeout = ours.connect_timeout or 3
  settings.keepalive = ours.keepalive or 15
  settings.tls = kind.tls
      and {
        ca = ours.ca,
        cert = ours.cert,
        key = ours.key,
        name = ours.servername,
        verify = ours.verify ~= "none",
      }
    or nil
  return settings, theirs
end

return M
