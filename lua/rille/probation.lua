--- When code that was just loaded is taken back by itself:
---
---     rille.app { rollback = { errors = 0.05, within = 60, at_least = 20 }, … }
---
--- For `within` seconds, and as long as it is on trial, it is watched: when it has handled
--- `at_least` events, the part of them that raised may be larger than in the code before by no more
--- than `errors`. All workers count together (src/host/probation.h).

local errors = require("rille.errors")

local M = {}

---@class rille.Probation
---@field errors number    0.001 to 1: a part of the events
---@field within number    1 to 86400 seconds
---@field at_least number  1 to 1e9 events

local SETTINGS = {
  errors = { default = 0.05, low = 0.001, high = 1 },
  within = { default = 60, low = 1, high = 86400 },
  at_least = { default = 20, low = 1, high = 1e9 },
}

--- Check `rollback` of `rille.app`; raises where the script says so.
---@param given table<string, number>
---@return rille.Probation
function M.compile(given)
  local made = {}
  for name, value in pairs(given) do
    local setting = SETTINGS[name]
    if not setting then
      local told = "rollback: no setting %q; there are at_least, errors and within"
      errors.misconfigured(told:format(tostring(name)), "rollback")
    elseif type(value) ~= "number" or not (value >= setting.low and value <= setting.high) then
      local told = "rollback: %s: a number from %g to %g expected"
      errors.misconfigured(told:format(name, setting.low, setting.high), "rollback")
    end
  end
  for name, setting in pairs(SETTINGS) do
    made[name] = given[name] or setting.default
  end
  return made
end

return M
