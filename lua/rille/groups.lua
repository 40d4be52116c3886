--- What groups are like: `groups` of an application.
---
---     groups = {
---       ["room.*"] = { history = { size = 100, ttl = 300 }, presence = { linger = 30 } },
---       ["room.lobby"] = { history = { size = 1000, ttl = 3600 } },
---     }
---
--- A name is a group's, or with a star at its end stands for all whose names begin so; the exact
--- name counts before the longest beginning.

local errors = require("rille.errors")

local M = {}

---@class rille.HistorySettings
---@field size integer?   messages that are kept, default 100
---@field ttl number?     seconds for which each is, default 300
---@field stamp boolean?  the text of a `websocket.send` gets a field "history" with its place;
---                       default true

---@class rille.PresenceSettings
---@field linger number?   seconds for which a key whose last connection has gone is still present,
---                        default 10
---@field events boolean?  members are told who joins, changes and leaves; default true

local DEFAULT = { size = 100, ttl = 300, stamp = true }
local MOST = { size = 100000, ttl = 1e9 }
local PRESENCE = { linger = 10, events = true }

local fail = errors.misconfigured

local function check_number(where, name, value)
  local whole = name == "size"
  if type(value) ~= "number" or not (value > 0 and value <= MOST[name]) then
    fail(("%s: %s: a number above 0 expected, at most %.0f"):format(where, name, MOST[name]), name)
  elseif whole and value % 1 ~= 0 then
    fail(("%s: %s: a whole number expected"):format(where, name), name)
  end
end

---@param where string
---@param given rille.HistorySettings|true
local function check_history(where, given)
  if given == true then
    return DEFAULT
  elseif type(given) ~= "table" then
    fail(("%s: history: a table or true expected, got a %s"):format(where, type(given)), "history")
  end
  local settings = {}
  for name, value in pairs(DEFAULT) do
    settings[name] = value
  end
  for name, value in pairs(given) do
    if DEFAULT[name] == nil then
      local told = "%s: history has no %q; there are size, stamp and ttl"
      fail(told:format(where, tostring(name)), name)
    elseif name == "stamp" then
      if type(value) ~= "boolean" then
        fail(("%s: stamp: true or false expected"):format(where), name)
      end
    else
      check_number(where, name, value)
    end
    settings[name] = value
  end
  return settings
end

---@param where string
local function check_presence(where, given)
  if type(given) ~= "table" then
    fail(("%s: presence: a table expected, got a %s"):format(where, type(given)), "presence")
  end
  for name, value in pairs(given) do
    if name == "linger" then
      if type(value) ~= "number" or not (value >= 0 and value <= 86400) then
        fail(("%s: linger: seconds expected, 0 to 86400"):format(where), name)
      end
    elseif name ~= "events" then
      local told = "%s: presence has no %q; there are events and linger"
      fail(told:format(where, tostring(name)), name)
    elseif type(value) ~= "boolean" then
      fail(("%s: events: true or false expected"):format(where), name)
    end
  end
  local linger, events = given.linger, given.events
  return { linger = linger or PRESENCE.linger, events = events == nil or events }
end

---@class rille.PresenceRule : rille.PresenceSettings
---@field name string
---@field open boolean

--- What holds for a group, of rules as `compile` makes them: that of its name, or of the longest
--- beginning.
---@generic Rule
---@param rules Rule[]
---@param group string
---@return Rule?
function M.find(rules, group)
  local best
  for _, rule in ipairs(rules) do
    if not rule.open and rule.name == group then
      return rule
    elseif rule.open and group:sub(1, #rule.name) == rule.name then
      best = (not best or #rule.name > #best.name) and rule or best
    end
  end
  return best
end

--- The rules, checked. Raises where the script says what makes no sense.
---@param given table<string, { history: rille.HistorySettings|boolean|nil, presence: table? }>
---@return rille.core.HistoryRule[]
---@return rille.PresenceRule[]
function M.compile(given)
  local rules, presences = {}, {}
  for name, options in pairs(given) do
    local where = ("groups: %q"):format(tostring(name))
    if type(name) ~= "string" or not name:find("^[%w_.-]*%*?$") or name == "" or #name > 99 then
      local told = "%s: a group's name has 1 to 99 letters, digits, hyphens, underscores or dots; "
        .. "a star at the end stands for any rest"
      fail(told:format(where), name)
    elseif type(options) ~= "table" then
      fail(("%s: a table expected, got a %s"):format(where, type(options)), name)
    end
    for option in pairs(options) do
      if option ~= "history" and option ~= "presence" then
        local told = "%s: no option %q; there are history and presence"
        fail(told:format(where, tostring(option)), option)
      end
    end
    if options.presence ~= nil then
      local presence = check_presence(where, options.presence)
      presence.name, presence.open = name:gsub("%*$", ""), name:sub(-1) == "*"
      presences[#presences + 1] = presence
    end
    if options.history then
      local history = check_history(where, options.history)
      rules[#rules + 1] = {
        name = name:gsub("%*$", ""),
        open = name:sub(-1) == "*",
        size = history.size,
        ttl = history.ttl,
        stamp = history.stamp,
      }
    end
  end
  return rules, presences
end

return M
