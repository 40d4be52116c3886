--- What groups are like: `groups` of an application.
---
---     groups = {
---       ["room.*"] = { history = { size = 100, ttl = 300 } },
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

local DEFAULT = { size = 100, ttl = 300, stamp = true }
local MOST = { size = 100000, ttl = 1e9 }

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

--- The rules for the core, checked. Raises where the script says what makes no sense.
---@param given table<string, { history: rille.HistorySettings|boolean|nil }>
---@return rille.core.HistoryRule[]
function M.compile(given)
  local rules = {}
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
      if option ~= "history" then
        fail(("%s: no option %q; there is history"):format(where, tostring(option)), option)
      end
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
  return rules
end

return M
