--- Settings that count at the start only. A reload that brings others goes on without them, and
--- says so once.

local core = require("rille.core")

local M = {}

local NAMES = { "admin", "control", "layer", "listen", "workers" }

--- What each was at the start, as text, and what was told of it last.
---@type table<string, string>
local begun = {}
---@type table<string, string>
local told = {}

local function text_of(value)
  return type(value) == "table" and table.concat(value, ", ") or tostring(value or "the default")
end

--- The code that starts.
---@param settings table  of `rille.app`
function M.note(settings)
  for _, name in ipairs(NAMES) do
    begun[name] = text_of(settings[name])
    told[name] = begun[name]
  end
end

--- Code that takes over: tell what it would have otherwise, unless that was told already.
---@param settings table
---@param given table<string, boolean>  those that the command line or the environment has fixed
function M.tell(settings, given)
  for _, name in ipairs(NAMES) do
    local wanted = text_of(settings[name])
    if wanted ~= told[name] and not given[name] then
      told[name] = wanted
      if wanted ~= begun[name] then
        local message = "%s: %s is for the next start; a reload does not change it (now: %s)"
        core.log("warn", message:format(name, wanted, begun[name]))
      end
    end
  end
end

return M
