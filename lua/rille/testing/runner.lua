--- busted inside the runtime: the whole run is one task, so an `it` may call any `a` function.

local core = require("rille.core")
local opened = require("rille.testing.opened")

local M = {}

--- busted ends with `os.exit`; unwind to here instead, with the status.
local Exit = {}

--- What is left of a test once it has ended; it may take a turn or two to unwind.
local function asettle()
  local census
  for _ = 1, 200 do
    census = core.worker.census()
    if census.consumers == 0 and census.tasks <= 1 and census.leases == 0 then
      return true
    end
    core.task.sleep(0.01)
  end
  return false
end

--- In words: what a communicator has left, or else what is alive.
local function aremains()
  local left = opened.remains()
  opened.drop_all()
  if asettle() or left[1] then
    return left
  end
  for _, name in pairs(core.testing.consumers()) do
    left[#left + 1] = "a consumer, " .. name
  end
  for _, place in ipairs(core.task.places()) do
    left[#left + 1] = "a task, spawned at " .. place
  end
  for _, place in ipairs(core.testing.leases()) do
    left[#left + 1] = "a borrowed connection of a database, pinned in the function at " .. place
  end
  if not left[1] then
    left[1] = ("%d tasks"):format(core.worker.census().tasks - 1)
  end
  return left
end

--- Have every busted core that is made fail tests that leave something behind.
local function watch_for_leaks()
  local new_core = require("busted.core")
  package.loaded["busted.core"] = function()
    local busted = new_core()
    busted.subscribe({ "test", "end" }, function(element, parent, status)
      local left = aremains()
      if status == "success" and left[1] then
        local told = "the test left behind " .. table.concat(left, "\n  and ")
        local trace = { message = told, traceback = "" }
        busted.publish({ "failure", element.descriptor }, element, parent, told, trace)
      end
      return nil, true
    end, { priority = 1 })
    return busted
  end
end

--- Run specs.
---@async
---@param arguments string[]  busted's own; without a path: spec
---@return integer  exit status
function M.run(arguments)
  local real_exit = os.exit
  _G.arg = { [0] = "rille test" }
  for i, value in ipairs(arguments) do
    _G.arg[i] = value
  end
  os.exit = function(code)
    error(setmetatable({ code = (code == true or code == nil) and 0 or code or 1 }, Exit), 0)
  end
  if not pcall(require, "busted") then
    error("rille test needs busted, which is not installed (Debian's package: lua-busted)", 0)
  end
  watch_for_leaks()
  local ok, err = pcall(function()
    require("busted.runner")({ standalone = false })
  end)
  os.exit = real_exit
  if ok then
    return 0
  elseif getmetatable(err) == Exit then
    return err.code
  elseif err == nil then -- busted's own way of saying that tests failed
    return 1
  end
  error(err, 0)
end

return M
