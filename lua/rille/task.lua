--- Tasks: waiting, running things side by side, deadlines, scopes, shields.
---
--- A task belongs to something that ends it: to the consumer it was spawned in, to the scope or the
--- `agather` that waits for it, or to the worker. Ending is a `rille.Cancelled` in its next wait,
--- and in every one after that; a query that it waits for is cancelled on the server. `pcall` sees
--- it; what has to be put right behind it, and has to wait for that, does so in `ashield`.

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

local function check_function(name, fn)
  if type(fn) ~= "function" then
    error(("%s needs a function, got %s"):format(name, type(fn)), 3)
  end
end

--- Start a task. It begins at the end of this turn. It ends with the consumer in which it is
--- spawned; outside of one, or detached, with the worker. An error in it is logged, with where it
--- was spawned, unless somebody joins; it hurts nobody else.
---@param fn async fun()
---@param options { detached: boolean }?  detached: it outlives the consumer
---@return rille.Task
function M.spawn(fn, options)
  check_function("spawn", fn)
  local handle = (options and options.detached and task.spawn_detached or task.spawn_here)(fn)
  return handle
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
  check_function("atimeout", fn)
  local token -- last, here and below: what follows it must not fail for want of memory
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
  token = task.deadline(seconds)
  return finish(pcall(fn))
end

-- Scopes

---@class rille.TaskScope
---@field private pending integer  tasks that have not ended
---@field private handles table<rille.Task, true>  these
---@field private token lightuserdata|false  while the scope's function runs
---@field private family userdata
---@field private ticket userdata  of whoever waits for the last of them
---@field private over boolean
---@field private failed boolean
---@field private failure any      the first error in it
---@field private stopped boolean  by `cancel`
local TaskScope = {}
TaskScope.__index = TaskScope

function TaskScope:_end_tasks()
  for handle in pairs(self.handles) do
    task.cancel(handle)
  end
  if self.token then
    task.trip(self.token)
  end
end

function TaskScope:_fail(err)
  if not self.failed and not self.stopped then
    self.failed, self.failure = true, err
    self:_end_tasks()
  end
end

--- Start a task that ends before the scope does. An error in it ends the others.
---@param fn async fun(): ...
---@return rille.Task
function TaskScope:spawn(fn)
  check_function("spawn", fn)
  if self.over then
    error("spawn: the scope has ended", 2)
  end
  local pins = transaction.pins()
  local handle
  local function run()
    transaction.keep_off(pins)
    return fn()
  end
  local function finish(ok, ...)
    self.handles[handle], self.pending = nil, self.pending - 1
    if self.pending == 0 then
      task.wake(self.ticket)
    end
    if not ok then
      self:_fail((...))
      error((...), 0)
    end
    return ...
  end
  handle = task.spawn_child(function()
    return finish(pcall(run))
  end, self.family)
  self.pending = self.pending + 1 -- it begins later
  self.handles[handle] = true
  if self.failed or self.stopped then
    task.cancel(handle)
  end
  return handle
end

--- End all of it: its tasks, and its function where it waits. `ascope` then returns without an
--- error, when they have ended.
function TaskScope:cancel()
  if not self.failed and not self.stopped and not self.over then
    self.stopped = true
    self:_end_tasks()
  end
end

--- Wait for its tasks. Whoever ends us meanwhile, ends them first.
function TaskScope:_await_tasks()
  local shielded = false
  while self.pending > 0 do
    local ok, err = task.await(self.ticket)
    if not ok then
      self:_fail(err)
      self:_end_tasks()
      if not shielded then
        task.shield()
        shielded = true
      end
    end
  end
  if shielded then
    task.unshield()
  end
end

--- Run `fn` with a scope for tasks: it returns when `fn` and all the scope's tasks have. The first
--- error in any of them cancels the others, and is raised when these have ended, too.
---@async
---@param fn async fun(scope: rille.TaskScope): ...
---@return any ...  what fn returned; nothing after scope:cancel()
function M.ascope(fn)
  check_function("ascope", fn)
  local scope = setmetatable({
    pending = 0,
    handles = {},
    token = false,
    ticket = task.ticket(),
    over = false,
    failed = false,
    failure = false,
    stopped = false,
    family = task.family(),
  }, TaskScope)

  local function finish(ok, ...)
    task.undeadline(scope.token)
    scope.token = false
    if not ok then
      scope:_fail((...))
    end
    scope:_await_tasks()
    scope.over = true
    task.disband(scope.family)
    if scope.failed then
      error(scope.failure, 0)
    elseif not scope.stopped then
      return ...
    end
  end
  scope.token = task.deadline(1e9)
  return finish(pcall(fn, scope))
end

--- Run `fn` for at most so many seconds without noticing that this task is cancelled, or that a
--- deadline around it passes: for what has to be put right even then. Those are noticed behind it.
--- Only the end of a drain is stronger.
---@async
---@param seconds number  0 to 1e9
---@param fn async fun(): ...
---@return any ...  what fn returned
function M.ashield(seconds, fn)
  check_seconds("ashield", seconds)
  check_function("ashield", fn)
  local function finish(ok, ...)
    task.unshield()
    if not ok then
      error((...), 0)
    end
    return ...
  end
  task.shield()
  return finish(pcall(M.atimeout, seconds, fn))
end

---@class rille.GatherOptions
---@field errors "first"|"collect"|nil  default first: the first error ends the others
---@field limit integer?  so many at a time; default all

local function check_gather(functions, options)
  if type(functions) ~= "table" then
    error("agather needs a list of functions, got a " .. type(functions), 3)
  end
  for i, fn in ipairs(functions) do
    if type(fn) ~= "function" then
      error(("agather needs functions, got a %s at %d"):format(type(fn), i), 3)
    end
  end
  local how, limit = options.errors or "first", options.limit or math.huge
  if how ~= "first" and how ~= "collect" then
    error("agather: errors is first or collect, not " .. tostring(how), 3)
  elseif type(limit) ~= "number" or limit < 1 then
    error("agather: limit is a number from 1, not " .. tostring(limit), 3)
  end
  return how, limit
end

--- Run functions side by side and wait for all. The first error, in time, cancels the others and is
--- raised when they have ended, too; unless errors are collected.
---
--- Each function is a task of its own, and a transaction belongs to one task: inside `atomic`,
--- their statements on that database raise `TransactionManagementError`, rather than be kept when
--- the block is rolled back. What they send through the layer waits for the block's commit.
---@async
---@param functions (async fun(): any)[]
---@param options rille.GatherOptions?
---@return any[] results  the first result of each, in their order (nil where there was none)
---@return table<integer, any>? errors  when they are collected: by the place of who raised them
function M.agather(functions, options)
  local how, limit = check_gather(functions, options or {})
  task.may_wait() -- or nobody would wait for what we start

  local results, errs = {}, {}
  local at, count = 0, #functions
  M.ascope(function(scope)
    local function run_next()
      at = at + 1
      local i = at
      if how == "first" then
        results[i] = functions[i]()
        return
      end
      local ok, value = pcall(functions[i])
      if ok then
        results[i] = value
      else
        errs[i] = value
        task.may_wait() -- a cancelled one does not go on with the next
      end
    end
    for _ = 1, math.min(limit, count) do
      scope:spawn(function()
        while at < count do
          run_next()
        end
      end)
    end
  end)
  return results, how == "collect" and errs or nil
end

return M
