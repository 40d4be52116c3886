--- Tasks: waiting, running things side by side, deadlines.

local core = require("rille.core")
local errors = require("rille.errors")
local transaction = require("rille.db.transaction")

local task = core.task

local M = {}

--- The error of a core call, raised as it is; its results otherwise.
local function check(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

--- Called by functions of this file: the mistake is their caller's.
local function check_seconds(name, seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    error(("%s: seconds from 0 to 1e9 expected, got %s"):format(name, tostring(seconds)), 3)
  end
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
  check_seconds("asleep", seconds)
  check(task.sleep(seconds))
end

--- Run `fn` in this task, for at most `seconds`. Whatever it waits for then is cancelled (a query
--- on the server, too) and `rille.Timeout` is raised.
---@async
---@param seconds number
---@param fn async fun(): ...
---@return any ...  what fn returned
function M.atimeout(seconds, fn)
  check_seconds("atimeout", seconds)
  if type(fn) ~= "function" then
    error("atimeout needs a function, got " .. type(fn), 2)
  end
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

--- Run functions side by side and wait for all. The first error, in time, cancels the others and is
--- raised when they have ended, too.
---
--- Each function is a task of its own, and a transaction belongs to one task: inside `atomic`,
--- their statements on that database raise `TransactionManagementError`, rather than be kept when
--- the block is rolled back. What they send through the layer waits for the block's commit.
---@async
---@param functions (async fun(): any)[]
---@return any[]  the first result of each, in their order (nil where there was none)
function M.agather(functions)
  if type(functions) ~= "table" then
    error("agather needs a list of functions, got a " .. type(functions), 2)
  end
  for i, fn in ipairs(functions) do
    if type(fn) ~= "function" then
      error(("agather needs functions, got a %s at %d"):format(type(fn), i), 2)
    end
  end
  task.may_wait() -- or nobody would wait for what we start

  local pins = transaction.pins()
  local handles, results = {}, {}
  local failure
  local function fail(err)
    if failure then
      return
    end
    failure = { err }
    for _, handle in ipairs(handles) do
      task.cancel(handle)
    end
  end
  for i, fn in ipairs(functions) do
    handles[i] = task.spawn(function()
      transaction.keep_off(pins)
      local ok, value = pcall(fn)
      if ok then
        results[i] = value
      else
        fail(value)
      end
    end)
  end
  for _, handle in ipairs(handles) do
    local ok, err = task.join(handle)
    if not ok then -- it was us who had to stop
      fail(err)
      break
    end
  end
  if failure then
    error(failure[1], 0)
  end
  return results
end

return M
