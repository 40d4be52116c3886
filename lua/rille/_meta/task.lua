---@meta rille.core.task

--- Tasks (src/bind/bind_task.c).

---@class rille.core.task
---@field handle table  the metatable of handles; `rille.task` puts the methods in
local task = {}

--- Start a task at the end of this turn. With an id it dies with that consumer.
---@param fn async fun(): ...
---@param id number?
---@return rille.Task?
---@return rille.Closed? err  there is no such consumer any more
function task.spawn(fn, id) end

--- For the library: a task that belongs to no consumer, survives reloads, and is cancelled when
--- the worker has nothing more to say, after `on_stop`.
---@param fn async fun()
---@return rille.Task
function task.serve(fn) end

--- Wait for a task's end. One task may wait for another at a time, and none for itself.
---@async
---@param handle rille.Task
---@return true?
---@return any ...  what its function returned, or the error it raised
function task.join(handle) end

--- Have its waits raise `rille.Cancelled` from now on. Nothing when it has ended.
---@param handle rille.Task
function task.cancel(handle) end

---@param handle rille.Task
---@return boolean
function task.done(handle) end

--- The consumer that the running task is for.
---@return number? id  of its scope; nil: it is for none
function task.owner() end

--- Raise what a wait would raise here, and do nothing else.
function task.may_wait() end

--- The running task's own table, which lives as long as it does.
---@param make boolean?  make it if there is none
---@return table?
function task.own(make) end

---@async
---@param seconds number  0 to 1e9
---@return true?
---@return rille.Error? err
function task.sleep(seconds) end

--- After so many seconds the task's waits raise `rille.Timeout`, until `undeadline`.
---@param seconds number  0 to 1e9
---@return lightuserdata token  to be given back once, by the same task
function task.deadline(seconds) end

---@param token lightuserdata
---@return boolean  had it passed?
function task.undeadline(token) end

return task
