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

--- For tasks that end with the running one.
---@return userdata
function task.family() end

--- The same, in a family that is not over. Its errors are the family's to tell.
---@param fn async fun(): ...
---@param family userdata
---@return rille.Task
function task.spawn_child(fn, family) end

--- The end of a family: tasks that there still are, are cancelled.
---@param family userdata
function task.disband(family) end

--- The same, of the worker, speaking for no consumer.
---@param fn async fun(): ...
---@return rille.Task
function task.spawn_detached(fn) end

--- The same, with the consumer that the running task is of, if there is one.
---@param fn async fun(): ...
---@return rille.Task
function task.spawn_here(fn) end

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

--- Have the waits inside of a deadline raise `rille.Cancelled`, from any task.
---@param token lightuserdata  not yet given back
function task.trip(token) end

--- From here to `unshield` the task notices neither a cancel nor deadlines from outside.
function task.shield() end

function task.unshield() end

--- Where each task was spawned, as "app.lua:12", that has not ended and is no consumer's.
---@return string[]
function task.places() end

--- Something to wait with, once.
---@return userdata
function task.ticket() end

--- Wait with a ticket, which the caller keeps meanwhile.
---@async
---@param ticket userdata
---@return true?
---@return any  what `wake` handed over, or the error
function task.await(ticket) end

--- Hand something to whoever waits with a ticket; they have it then, whatever happens to them.
---@param ticket userdata
---@param value any?
---@return boolean  did somebody wait?
function task.wake(ticket, value) end

return task
