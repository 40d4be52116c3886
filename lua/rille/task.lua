--- Tasks: waiting, running things side by side, deadlines.

local core = require("rille.core")
local errors = require("rille.errors")

local task = core.task

local M = {}

--- The error of a core call, raised at the caller of our caller; its results otherwise.
local function check(ok, ...)
  if ok then
    return ...
  end
  error((...), 3)
end

---@class rille.Task
local Task = task.handle

--- Have its next wait raise `rille.Cancelled`. Nothing happens if it has ended.
function Task:cancel()
  task.cancel(self)
end

--- Wait for its end.
---@async
---@return any ...  what its function returned; raises what it raised
function Task:ajoin()
  return check(task.join(self))
end

---@return boolean
function Task:is_done()
  return task.done(self)
end

--- Start a task that nobody owns. It begins at the end of this turn; an error in it is logged
--- unless somebody joins.
---@param fn async fun()
---@return rille.Task
function M.spawn(fn)
  if type(fn) ~= "function" then
    error("spawn needs a function, got " .. type(fn), 2)
  end
  return task.spawn(fn)
end

--- Let others run for a while.
---@async
---@param seconds number  0 to 1e9; 0 gives everybody else a turn
function M.asleep(seconds)
  check(task.sleep(seconds))
end

--- Run `fn` in this task, for at most `seconds`. Whatever it waits for then is cancelled (a query
--- on the server, too) and `rille.Timeout` is raised.
---@async
---@param seconds number
---@param fn async fun(): ...
---@return any ...  what fn returned
function M.atimeout(seconds, fn)
  local token = task.deadline(seconds)
  local function finish(ok, ...)
    local passed = task.undeadline(token)
    if ok then
      return ...
    end
    if passed and errors.is_error((...), errors.Timeout) then
      error(errors.Timeout(("no result within %g seconds"):format(seconds)), 2)
    end
    error((...), 0)
  end
  return finish(pcall(fn))
end

--- Run functions side by side and wait for all. The first error cancels the others and is raised.
---@async
---@param functions (async fun(): any)[]
---@return any[]  the first result of each, in their order (nil where there was none)
function M.agather(functions)
  local handles, results = {}, {}
  for i, fn in ipairs(functions) do
    handles[i] = task.spawn(fn)
  end
  for i, handle in ipairs(handles) do
    local ok, value = task.join(handle)
    if not ok then
      for _, other in ipairs(handles) do
        task.cancel(other)
      end
      error(value, 2)
    end
    results[i] = value
  end
  return results
end

return M
