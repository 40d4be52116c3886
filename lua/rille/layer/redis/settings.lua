--- What a `redis://` layer is told, with channels_redis's names and meanings.
---
---     redis://localhost:6379/0
---     redis://one,redis://two?mode=pubsub&prefix=site
---
--- Several servers are several URLs with commas between them, in the order that all processes
--- share. The parameters behind them hold for all; those that are not the layer's are the client's
--- (`rille.redis`).

local parameters = require("rille.layer.parameters")
local redis = require("rille.redis")

local fail = parameters.fail

local M = {}

---@class rille.layer.redis.Settings
---@field servers rille.redis.Settings[]
---@field mode "core"|"pubsub"     which of channels_redis's layers
---@field prefix string            of all keys and topics
---@field expiry integer           seconds that a message waits; core
---@field group_expiry integer     seconds that a membership holds unless renewed; core
---@field capacity integer         messages that wait for a process or channel; core
---@field channel_capacity { [1]: string, [2]: integer }[]  globs of names, and their capacity; the
---                                first that matches; core
---@field symmetric_encryption_keys string[]  the first encrypts, all decrypt

local DEFAULTS = {
  mode = "core",
  prefix = "asgi",
  expiry = 60,
  group_expiry = 86400,
  capacity = 100,
}
local LEAST = { expiry = 1, group_expiry = 2, capacity = 1 }

--- Several URLs in one string: a comma separates them when another scheme follows.
local function urls_of(text)
  local urls = {}
  for url in (text:gsub(",%s*(%a[%w+]*:)", "\n%1") .. "\n"):gmatch("%s*([^\n]+)\n") do
    urls[#urls + 1] = url
  end
  return urls
end

local function escape(text)
  return (text:gsub("[^%w._~/-]", function(character)
    return ("%%%02X"):format(character:byte())
  end))
end

--- What the client is to make of its parameters, behind one of the URLs.
local function url_with(head, query)
  local words = {}
  for name, value in pairs(query) do
    words[#words + 1] = escape(name) .. "=" .. escape(value)
  end
  table.sort(words)
  return #words == 0 and head or head .. "?" .. table.concat(words, "&")
end

local function capacities_of(text)
  local list = {}
  for word in text:gmatch("[^,]+") do
    local glob, number = word:match("^([^:]+):(%d+)$")
    if not glob then
      fail("channel_capacity is GLOB:NUMBER,…, not '%s'", text)
    end
    list[#list + 1] = { glob, tonumber(number) }
  end
  return list
end

local function keys_of(text)
  local keys = {}
  for key in text:gmatch("[^,]+") do
    keys[#keys + 1] = key
  end
  if #keys == 0 then
    fail("symmetric_encryption_keys is a list with commas, the first of which encrypts")
  end
  return keys
end

--- Take what the layer was told apart and check it. Raises one sentence.
---@param options rille.layer.Options
---@return rille.layer.redis.Settings
function M.read(options)
  local query = {}
  for name, value in pairs(options.query) do
    query[name] = value
  end
  local function take(name)
    local value = query[name]
    query[name] = nil
    return value
  end
  local settings = { servers = {} }
  for name, default in pairs(DEFAULTS) do
    local given = take(name) or default
    settings[name] = LEAST[name] and parameters.number(name, given, LEAST[name]) or given
  end
  if settings.mode ~= "core" and settings.mode ~= "pubsub" then
    fail("mode is core or pubsub, not '%s'", settings.mode)
  end
  settings.channel_capacity = capacities_of(take("channel_capacity") or "")
  local keys = take("symmetric_encryption_keys")
  settings.symmetric_encryption_keys = keys and keys_of(keys) or {}
  for i, url in ipairs(urls_of((options.url:match("^[^?]*")))) do
    settings.servers[i] = redis.parse(url_with(url, query))
  end
  return settings
end

--- The Lua pattern of a glob as Python's fnmatch has it.
local function pattern_of(glob)
  local pattern = glob:gsub("%[!?[^%]]+%]", function(set)
    return "\0" .. set:sub(2, -2):gsub("^!", "^"):gsub("%%", "%%%%") .. "\1"
  end)
  pattern = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0")
  pattern = pattern:gsub("%z([^\1]*)\1", function(set)
    return "[" .. set:gsub("^%%%^", "^"):gsub("%%%-", "-") .. "]"
  end)
  return "^" .. pattern:gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

--- How many messages may wait on a channel.
---@param settings rille.layer.redis.Settings
---@return fun(channel: string): integer
function M.capacities(settings)
  local patterns = {}
  for i, pair in ipairs(settings.channel_capacity) do
    patterns[i] = pattern_of(pair[1])
  end
  return function(channel)
    for i, pattern in ipairs(patterns) do
      if channel:find(pattern) then
        return settings.channel_capacity[i][2]
      end
    end
    return settings.capacity
  end
end

return M
