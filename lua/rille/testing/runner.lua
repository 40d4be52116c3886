--- busted inside the runtime: the whole run is one task, so an `it` may call any `a` function.

local core = require("rille.core")

local M = {}

--- busted ends with `os.exit`; unwind to here instead, with the status.
local Exit = {}

--- How the world looked before a test, and must look after it.
local function settle()
  -- what a test just ended may take a turn or two to unwind
  for _ = 1, 200 do
    local census = core.worker.census()
    if census.consumers == 0 and census.tasks <= 1 and census.leases == 0 then
      return nil
    end
    core.task.sleep(0.01)
  end
  local census = core.worker.census()
  return ("left behind: %d consumers, %d tasks, %d borrowed connections"):format(
    census.consumers,
    census.tasks - 1,
    census.leases
  )
end

--- Run specs.
---@async
---@param arguments string[]  busted's own; default: spec
---@return integer  exit status
function M.run(arguments)
  local real_exit = os.exit
  _G.arg = { [0] = "rille test" }
  for i, value in ipairs(arguments) do
    _G.arg[i] = value
  end
  os.exit = function(code)
    error(setmetatable({ code = code == true and 0 or code == false and 1 or code or 0 }, Exit), 0)
  end
  package.loaded["busted.runner"] = nil
  local ok, err = pcall(function()
    local busted = require("busted")
    busted.subscribe({ "test", "end" }, function(_, _, status)
      local leak = status == "success" and settle()
      if leak then
        busted.publish({ "failure" }, busted.context.get(), nil, leak, leak)
      end
      return nil, true
    end, { priority = 1 })
    require("busted.runner")({ standalone = false })
  end)
  os.exit = real_exit
  if not ok and getmetatable(err) == Exit then
    return err.code
  end
  if not ok then
    error(err, 0)
  end
  return 0
end

return M
