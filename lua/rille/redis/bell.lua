--- Tasks that wait until something has changed. Each joins a sleep, which ringing cuts short; then
--- they look again.

local task = require("rille.core").task

---@class rille.redis.Bell
---@field private _sleeps table<rille.Task, true>
local Bell = {}
Bell.__index = Bell

--- Wait until it rings, `seconds` at most.
---@async
---@param seconds number
function Bell:await(seconds)
  local sleep = task.spawn(function()
    task.sleep(seconds)
  end)
  self._sleeps[sleep] = true
  local ok, err = pcall(task.join, sleep)
  self._sleeps[sleep] = nil
  task.cancel(sleep)
  if not ok then -- it is us who are not to wait any more
    error(err, 0)
  end
end

function Bell:ring()
  for sleep in pairs(self._sleeps) do
    task.cancel(sleep)
  end
end

return function()
  return setmetatable({ _sleeps = {} }, Bell)
end
