--- Waiting inside a script's own coroutines.
---
--- The core parks a task by a yield of one private value, the sentinel. A coroutine that the
--- script made would hand that yield to the script instead; so the resuming functions pass it
--- on to the coroutine around them, and pass what the wait brought back in. A generator over
--- queries therefore just works, at 20 ns a resume.
---
--- A coroutine that stands inside something that belongs to one task (a transaction) may be bound
--- to it; whoever then resumes it must have leave.

local core = require("rille.core")

local sentinel = core.sentinel
local raw_create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield

--- Coroutines that wait: until what they wait for is here, nobody else may resume them.
local waiting = setmetatable({}, { __mode = "k" })

--- Why a coroutine may not be resumed now: functions that answer nil when it may. Weak on both
--- sides, since the function leads back to its coroutine, on whose stack it is kept.
local bound = setmetatable({}, { __mode = "kv" })

local pass

local function go_on(co, ...)
  waiting[co] = nil
  return pass(co, raw_resume(co, ...))
end

function pass(co, ok, ...)
  if ok and (...) == sentinel then
    waiting[co] = true
    return go_on(co, raw_yield(sentinel))
  end
  return ok, ...
end

local function resume(co, ...)
  if waiting[co] then
    return false, "cannot resume a coroutine that waits: another task has resumed it"
  end
  local refuse = bound[co]
  local err = refuse and refuse()
  if err then
    return false, err
  end
  return pass(co, raw_resume(co, ...))
end

local function raise(co, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if type(err) == "string" then
    err = debug.traceback(co, err) -- the stack in there is lost with the coroutine
  end
  error(err, 0)
end

local M = {}

--- Until `unbind`, have the running coroutine resumed only while `refuse` answers nil; otherwise it
--- is the error of the one who tries. One that is bound already stays so.
---@param refuse fun(): any  the caller keeps it on its stack until `unbind`
---@return thread? bound  for `unbind`
function M.bind(refuse)
  local co = coroutine.running()
  if co and not bound[co] then
    bound[co] = refuse
    return co
  end
end

---@param co thread?  from `bind`
function M.unbind(co)
  if co then
    bound[co] = nil
  end
end

--- Replace `coroutine.resume` and `coroutine.wrap`, once per state.
function M.install()
  coroutine.resume = resume

  function coroutine.wrap(fn)
    local co = raw_create(fn)
    return function(...)
      return raise(co, resume(co, ...))
    end
  end
end

return M
