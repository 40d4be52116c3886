--- Writing to the log.
---
---     local log = require("rille").log
---     log.info("paid", { order = 7, amount = 12.5 })
---
--- One line per call: the message, then the fields, sorted by name, as `order=7` or as members of a
--- JSON object (`--log-format json`). Inside a handler, and in tasks that one has started, the line
--- also names the route, the consumer and the request's id, by itself. What is below `--log-level`
--- costs next to nothing: nothing is formatted.
---
--- Control characters are escaped, so what a client has sent may be logged as it is; in text a
--- line that a message goes on with is indented.

local core = require("rille.core")

local RANK = { debug = 1, info = 2, warn = 3, error = 4, off = 5 }
local threshold = RANK[core.log_level()]

---@class rille.Log
---@field debug fun(message: any, fields: table<string, any>?)
---@field info fun(message: any, fields: table<string, any>?)
---@field warn fun(message: any, fields: table<string, any>?)
---@field error fun(message: any, fields: table<string, any>?)
---@operator call(any): nil
local log = {}

--- Lists, so that the core reads them in order and no metamethod runs meanwhile.
local function in_order(fields)
  local names, values = {}, {}
  for name in pairs(fields) do
    if type(name) ~= "string" then
      error(("log: fields have names, got a %s"):format(type(name)), 3)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = fields[name]
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      value = core.describe(value)
    end
    values[i] = value
  end
  return names, values
end

for level, rank in pairs(RANK) do
  if level ~= "off" then
    log[level] = function(message, fields)
      if rank < threshold then
        return
      end
      if fields == nil then
        return core.log(level, tostring(message))
      elseif type(fields) ~= "table" then
        error(("log.%s: a table of fields expected, got a %s"):format(level, type(fields)), 2)
      end
      core.log(level, tostring(message), in_order(fields))
    end
  end
end

--- Would a line of this level be written?
---@param level "debug"|"info"|"warn"|"error"
---@return boolean
function log.enabled(level)
  return (RANK[level] or error("log.enabled: no level " .. tostring(level), 2)) >= threshold
end

--- `rille.log(message, level)`: a line, of level info unless it says otherwise.
return setmetatable(log, {
  __call = function(_, message, level)
    core.log(level or "info", tostring(message))
  end,
})
