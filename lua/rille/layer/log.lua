--- Logs of groups, for all processes: the interface, which a backend that `has_logs` opens.
---
--- A log has an epoch, a random name for one life of it, and entries with offsets 1, 2, 3 …, of
--- which the newest are there. What a rule says (`size`, `ttl`) may be another after a reload.

local class = require("rille.class")

---@class rille.layer.Mark  where to read from
---@field epoch string?    with an offset: behind that; without one: at the end,
---@field offset integer?
---@field last integer?    or so many before it
---@field most integer     entries

---@class rille.layer.Log : rille.Class
local Log = class("Log")

--- Add a message, and tell it to all who follow, in one step: these hear the log in its order.
---@async
---@param group string
---@param rule rille.core.HistoryRule
---@param epoch string   for a log that begins
---@param payload string
---@return string epoch
---@return integer offset
function Log:aadd(group, rule, epoch, payload)
  error("this log adds nothing")
end

--- What stands behind a mark.
---@async
---@param group string
---@param rule rille.core.HistoryRule
---@param epoch string  for a log that begins
---@param mark rille.layer.Mark
---@return string epoch
---@return integer offset   behind which the entries stand
---@return boolean gap      what was behind the mark is gone; offset is the end
---@return string[] entries payloads
function Log:aread(group, rule, epoch, mark)
  error("this log reads nothing")
end

--- Returns when `anext` tells of all that is added from now on.
---@async
---@param group string
function Log:afollow(group) end

---@async
---@param group string
function Log:aleave(group) end

--- What is added to logs that are followed, one after another. "gap": something may have been
--- missed; nil: it is closed.
---@async
---@return "said"|"gap"|nil kind
---@return string? group
---@return string? epoch
---@return integer? offset
---@return string? payload  nil: to be read
function Log:anext() end

function Log:close() end

return Log
