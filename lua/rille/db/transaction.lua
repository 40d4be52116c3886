--- `atomic`: one pinned connection, BEGIN to COMMIT, savepoints when nested.
---
--- The core pins a connection to the running task and keeps a table with the pin; what a
--- transaction needs to remember lives there, so it goes away with the pin whatever
--- happens. The rules are Django's:
---
---     block            ends well                ends with an error
---     outermost        COMMIT                   ROLLBACK
---     nested           RELEASE the savepoint    ROLLBACK TO it, then RELEASE
---     without one      nothing                  marks the block around it for rollback
---
--- A statement that fails marks the innermost block for rollback: until that block ends,
--- further statements raise `TransactionManagementError`, and a block so marked is rolled
--- back even when it ends well (its script caught the error).
---
--- A cancelled task cannot talk to the database any more, since every `a` call raises.
--- Giving the connection back is enough then: the core rolls back what it finds open. Only a
--- COMMIT that is under way is waited for: one given up half way might have been done.
---
--- A pin belongs to one task, and to the code that runs inside the function it was taken for. The
--- task's other tasks have connections of their own, except those of `agather`, whose statements
--- would look like part of the block around it: they raise. A coroutine that yields from inside
--- a block takes the block along: until it is resumed, statements of its task raise, too; another
--- task cannot resume it; and when a block around it ends first, it is over.

local core = require("rille.core")
local coroutines = require("rille.coroutine")
local errors = require("rille.errors")

---@class rille.db.Transaction  what a pin remembers; the table is the core's
---@field db rille.db.Database
---@field top rille.db.Frame?    the innermost function that is running on this pin
---@field coroutine thread?      that pinned; the core logs its stack if it leaves the pin behind
---@field began string?          traceback of a BEGIN by hand; the core logs it instead
---@field copying boolean?       a COPY is under way
---@field depth integer?         atomic blocks open; nil or 0: none
---@field savepoints integer?    savepoints open
---@field needs_rollback boolean?
---@field cause any              the error that set needs_rollback
---@field hooks rille.db.Hook[]? to be called after COMMIT

---@class rille.db.Frame  a function that `atomic` or `apinned` is running
---@field outer rille.db.Frame?
---@field coroutine thread?  where it runs
---@field place string       where the script's function begins
---@field refuses fun(): rille.Error?  why its coroutine may not be resumed now
---@field over boolean?      one around it has ended
---@field depth integer      of the state, when it began
---@field savepoints integer

---@alias rille.db.Hook { fn: function, robust: boolean }

local transaction = {}

local BROKEN = "An error occurred in the current transaction. You can't execute queries until"
  .. " the end of the 'atomic' block."
local DURABLE = "A durable atomic block cannot be nested within another atomic block."
local SUSPENDED = "%s is pinned by a function that has yielded in a coroutine of its own (atomic"
  .. " or apinned, begun in the function at %s). Resume that coroutine to its end first, or collect"
  .. " what it yields before you go on: outside of it nothing may run on its connection"
local FOREIGN = "this coroutine is inside atomic or apinned on %s, begun by another task in the"
  .. " function at %s: a pinned connection belongs to the task that pinned it. Resume the coroutine"
  .. " there, or begin the block in here"
local OVER = "this coroutine was left inside atomic or apinned on %s (begun in the function at %s),"
  .. " and the block around it has ended: it cannot go on"
local LEFT = "a coroutine that began a block inside of this one on %s (in the function at %s) has"
  .. " yielded and was never resumed: rolled back"
local GATHERED = "agather began this task inside atomic on %s, and a transaction belongs to one"
  .. " task: this statement would not be part of it. Run such statements in the block itself, one"
  .. " after the other, or give the task a connection of its own with spawn"
local BY_HAND = "a transaction that was begun by hand is open on %s: end it before atomic"
local ENDED = "the transaction on %s has ended before its block: something else has committed it or"
  .. " rolled it back"
local UNPINNED = "%s has no effect on a connection that is borrowed for one statement: use atomic,"
  .. " or apinned to say it by hand"

--- Are we inside `atomic` on this pin?
---@param state rille.db.Transaction?
---@return boolean
function transaction.is_open(state)
  return state ~= nil and (state.depth or 0) > 0
end

local function refuse(text, db, place)
  error(errors.TransactionManagementError(text:format(tostring(db), place)), 0)
end

--- Has the function that pinned yielded to us? Then we are outside of it.
local function is_suspended(state)
  local co = state.top and state.top.coroutine
  return co ~= nil and coroutine.status(co) == "suspended"
end

--- The running task's own table. `gathered_in`: the pins of the tasks whose `agather` waits for it.
local own = core.task and core.task.own or function() end
local pins = require("rille.core.db").pins

--- For the running task, raise if it may not use this database now.
---@param state rille.db.Transaction?  of its pin
---@param db rille.db.Database
local function check_place(state, db)
  if state then
    if is_suspended(state) then
      refuse(SUSPENDED, db, state.top.place)
    end
    return
  end
  local mine = own()
  if mine and mine.gathered_in then
    for _, outer in ipairs(mine.gathered_in) do
      if outer.db == db and transaction.is_open(outer) then
        refuse(GATHERED, db)
      end
    end
  end
end

--- Raise if the running task may not run a statement now.
---@param state rille.db.Transaction?  of its pin
---@param db rille.db.Database
function transaction.check(state, db)
  check_place(state, db)
  if state and state.needs_rollback then
    error(errors.TransactionManagementError(BROKEN, { cause = state.cause }), 0)
  end
end

--- The pins whose functions we are inside of, the innermost first: the running task's own, then
--- those of the tasks that gather it. nil when there are none.
---@return rille.db.Transaction[]?
function transaction.pins()
  local mine = own()
  local outer = mine and mine.gathered_in
  local taken = { pins() } -- in the order in which they were
  if #taken == 0 then
    return outer
  end
  local states = {}
  for i = #taken, 1, -1 do
    if not is_suspended(taken[i]) then
      states[#states + 1] = taken[i]
    end
  end
  for _, state in ipairs(outer or {}) do
    states[#states + 1] = state
  end
  return states
end

--- Have the running task keep off the transactions of the one that gathers it.
---@param states rille.db.Transaction[]?  `pins()` of that one
function transaction.keep_off(states)
  if states then
    own(true).gathered_in = states
  end
end

--- Call `fn` when every transaction around the caller has been committed, on whatever database, and
--- never if one is rolled back.
---@param fn fun()
---@return boolean later  false: there is none, and nothing was done
function transaction.after_all(fn)
  for _, state in ipairs(transaction.pins() or {}) do
    if transaction.is_open(state) then
      local function go_on()
        return transaction.after_all(fn) or fn()
      end
      state.hooks[#state.hooks + 1] = { fn = go_on, robust = false }
      return true
    end
  end
  return false
end

--- A statement failed, or a block that has no savepoint of its own did.
function transaction.mark(state, cause)
  if transaction.is_open(state) and not state.needs_rollback then
    state.needs_rollback, state.cause = true, cause
  end
end

--- Run one of our own statements. Never raises.
---@async
---@return boolean ok
---@return any err
local function attempt(db, sql)
  local ran, rows, err = pcall(db.driver.query, db.handle, sql, 0)
  if ran and rows then
    return true
  end
  return false, ran and err or rows
end

--- Where `fn` begins, to name the borrower of a connection in messages.
---@param fn function
---@return string
function transaction.place_of(fn)
  local info = debug.getinfo(fn, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

--- `pcall`, its results in a table with `n`.
---@return { ok: boolean, n: integer, [integer]: any }
function transaction.collect(ok, ...)
  return { ok = ok, n = select("#", ...), ... }
end

--- An error object has no position; note where it was raised while the stack still shows it.
local function keep_traceback(err)
  if errors.is_error(err) and err.traceback == nil then
    err.traceback = debug.traceback("", 2)
  end
  return err
end

--- `fn` begins on the pin.
---@return rille.db.Frame
local function enter(state, place)
  local frame = {
    outer = state.top,
    coroutine = coroutine.running(),
    place = place,
    depth = state.depth or 0,
    savepoints = state.savepoints or 0,
  }
  state.top = frame
  return frame
end

--- It has ended. So have, whether they know it or not, those that began inside and have not.
local function leave(state, frame)
  local at = state.top
  while at and at ~= frame do
    at.over = true
    at = at.outer
  end
  state.top = frame.outer
  state.depth, state.savepoints = frame.depth, frame.savepoints
end

--- The results of a function in which everything that began inside has ended; else an error.
---@return { ok: boolean, n: integer, [integer]: any } results
function transaction.unless_left(db, state, frame, results)
  if state.top == frame or not results.ok then
    return results
  end
  local err = errors.TransactionManagementError(LEFT:format(tostring(db), state.top.place))
  return { ok = false, n = 1, err }
end

--- Call `fn(state, frame)` on a connection that is pinned to this task, and give it back if this
--- call pinned it. Raises whatever `fn` raises.
---@async
---@param db rille.db.Database
---@param place string  where the script's function begins
---@param fn fun(state: rille.db.Transaction, frame: rille.db.Frame): table  must not raise
---@param writes boolean?  it is for a transaction that may write
---@return table results  what `fn` returned
---@return boolean open   a transaction was open when the pin went, and was rolled back
function transaction.with_pin(db, place, fn, writes)
  local driver, handle = db.driver, db.handle
  local state = driver.pin_state(handle)
  local takes = state == nil
  check_place(state, db)
  if takes then
    local ok, err = driver.pin(handle, place, writes)
    if not ok then
      error(err, 0)
    end
    state = driver.pin_state(handle)
    state.db, state.coroutine = db, coroutine.running()
  end
  local frame = enter(state, place)
  function frame.refuses()
    local text = frame.over and OVER or driver.pin_state(handle) ~= state and FOREIGN
    return text and errors.TransactionManagementError(text:format(tostring(db), place)) or nil
  end
  local bound = coroutines.bind(frame.refuses)
  local ran, results = pcall(fn, state, frame)
  coroutines.unbind(bound)
  leave(state, frame)
  local open = takes and driver.unpin(handle)
  if not ran then
    error(results, 0)
  end
  return results, open or false
end

--- Forget the hooks that were registered after there were `count`.
local function drop_hooks(state, count)
  for i = #state.hooks, count + 1, -1 do
    state.hooks[i] = nil
  end
end

--- The outermost block: BEGIN, the function, COMMIT or ROLLBACK.
local function outermost(db, state, frame, fn)
  if db.driver.transaction(db.handle) then
    refuse(BY_HAND, db)
  end
  local began, err = attempt(db, db.dialect.begin)
  if not began then
    error(err, 0)
  end
  state.depth, state.savepoints, state.hooks = 1, 0, {}
  state.needs_rollback, state.cause = nil, nil

  local results = transaction.collect(xpcall(fn, keep_traceback))
  results = transaction.unless_left(db, state, frame, results)
  local commit = results.ok and not state.needs_rollback
  local committed = false
  state.depth, state.needs_rollback, state.cause = 0, nil, nil
  if commit and db.driver.transaction(db.handle) == nil then
    commit, results = false, { ok = false, n = 1 }
    results[1] = errors.TransactionManagementError(ENDED:format(tostring(db)))
  end
  if commit then
    committed, err = attempt(db, "COMMIT")
    if not committed then
      results = { ok = false, n = 1, err }
    end
  end
  if not committed then
    state.hooks = {}
    local _, why = attempt(db, "ROLLBACK") -- if it cannot be sent, the core rolls back on return
    local stopped = errors.is_error(why, errors.Cancelled) or errors.is_error(why, errors.Timeout)
    if results.ok and stopped then
      results = { ok = false, n = 1, why } -- which the function has swallowed
    end
  end
  return results
end

--- A nested block. Between the marks, `state` tells of this block alone.
local function nested(db, state, frame, fn, wants_savepoint)
  local savepoint
  local hooks = #state.hooks
  if wants_savepoint and not state.needs_rollback then
    -- Named by depth, not by a serial number: the same text is prepared once.
    local name = ('"rille_%d"'):format(state.savepoints + 1)
    local ok, err = attempt(db, "SAVEPOINT " .. name)
    if not ok then
      transaction.mark(state, err)
      error(err, 0)
    end
    savepoint = name
    state.savepoints = state.savepoints + 1
  end
  state.depth = state.depth + 1
  local results = transaction.collect(xpcall(fn, keep_traceback))
  results = transaction.unless_left(db, state, frame, results)
  state.depth = frame.depth

  if not savepoint then
    if not results.ok then
      transaction.mark(state, results[1])
      drop_hooks(state, hooks)
    end
    return results
  end
  state.savepoints = frame.savepoints
  if results.ok and not state.needs_rollback then
    local ok, err = attempt(db, "RELEASE SAVEPOINT " .. savepoint)
    if ok then
      return results
    end
    results = { ok = false, n = 1, err }
  end
  local cause = state.cause or results[1]
  state.needs_rollback, state.cause = nil, nil
  drop_hooks(state, hooks)
  if
    not attempt(db, "ROLLBACK TO SAVEPOINT " .. savepoint)
    or not attempt(db, "RELEASE SAVEPOINT " .. savepoint)
  then
    transaction.mark(state, cause) -- then only the whole can be rolled back
  end
  return results
end

local function describe(err)
  return debug.traceback(tostring(err), 2)
end

--- After COMMIT, on no connection in particular; or, in a test that holds them, when it says so.
---@param db rille.db.Database
---@param hooks rille.db.Hook[]
function transaction.run_hooks(db, hooks)
  for _, hook in ipairs(hooks) do
    if db.held then
      db.held[#db.held + 1] = hook
    elseif hook.robust then
      local ok, text = xpcall(hook.fn, describe)
      if not ok then
        db.log(("error in an on_commit function of %s: %s"):format(tostring(db), text))
      end
    else
      hook.fn()
    end
  end
end

--- See `Database:atomic`.
---@async
---@param db rille.db.Database
---@param fn function
---@param opts { savepoint: boolean?, durable: boolean? }?
function transaction.atomic(db, fn, opts)
  local durable = opts and opts.durable
  local wants_savepoint = not opts or opts.savepoint ~= false
  local hooks
  local results = transaction.with_pin(db, transaction.place_of(fn), function(state, frame)
    if transaction.is_open(state) then
      if durable then
        error(errors.TransactionManagementError(DURABLE), 0)
      end
      return nested(db, state, frame, fn, wants_savepoint)
    end
    local ended = outermost(db, state, frame, fn)
    hooks, state.hooks = state.hooks, nil
    return ended
  end, true)
  if not results.ok then
    error(results[1], 0)
  end
  if hooks then
    transaction.run_hooks(db, hooks)
  end
  return unpack(results, 1, results.n)
end

--- See `Database:on_commit`.
---@param db rille.db.Database
---@param hook rille.db.Hook
function transaction.on_commit(db, hook)
  local state = db.driver.pin_state(db.handle)
  check_place(state, db)
  if transaction.is_open(state) then
    state.hooks[#state.hooks + 1] = hook
  else
    transaction.run_hooks(db, { hook })
  end
end

--- What begins or ends a transaction. Inside a block a script must not say it by itself: it would
--- end the transaction behind the block's back. Savepoints of its own are fine. Without a pin it
--- would go to a connection that is cleaned right behind it.
local FORBIDDEN = {
  BEGIN = true,
  START = true,
  COMMIT = true,
  END = true,
  ROLLBACK = true,
  ABORT = true,
}

--- The statement from its first word on.
local function without_comments(sql)
  local at, before = 1, nil
  while at ~= before do
    before = at
    at = sql:match("^[%s;(]+()", at) or at
    at = sql:match("^%-%-[^\n]*()", at) or at
    at = sql:match("^/%*.-%*/()", at) or at
  end
  return at
end

--- Changes of a session that somebody wanted to last. (PRAGMA, CALL and DO are often said for other
--- reasons.)
local WANTED = {
  ["SET"] = true,
  ["LISTEN"] = true,
  ["PREPARE"] = true,
  ["ATTACH"] = true,
  ["set_config()"] = true,
  ["an advisory lock"] = true,
  ["a temporary object"] = true,
  ["a temporary table"] = true,
  ["a cursor WITH HOLD"] = true,
}

local RESET = "%s outside of apinned, on %s: the connection was borrowed for this statement alone,"
  .. " and is reset behind it. (Said once for this line.)"

--- Lines whose statement lost its effect, and was logged.
local logged = {}

--- A statement without a pin changes a session that nobody keeps: say so, once for each line.
local function warn_of_reset(db, change)
  local at = 4 -- 1: us, check_raw, aquery
  local info = debug.getinfo(at, "Sl")
  local line = info and ("%s:%d"):format(info.source, info.currentline) or ""
  if not logged[line] then
    logged[line] = true
    db.log(debug.traceback(RESET:format(change, tostring(db)), at), "warn")
  end
end

--- Look at a statement that the script wrote itself.
---@param state rille.db.Transaction?
---@param db rille.db.Database
---@param sql string
function transaction.check_raw(state, db, sql)
  local change = not state and db.driver.session_change(sql)
  if change and WANTED[change] then
    warn_of_reset(db, change)
  end
  local first, second, third = sql:match("^(%a+)%s*(%a*)%s*(%a*)", without_comments(sql))
  first, second, third = (first or ""):upper(), (second or ""):upper(), (third or ""):upper()
  local optional = second == "WORK" or second == "TRANSACTION"
  local to_savepoint = first == "ROLLBACK" and (optional and third or second) == "TO"
  local two_phase = first == "PREPARE" and second == "TRANSACTION"
  if not (FORBIDDEN[first] and not to_savepoint or two_phase) or second == "PREPARED" then
    return
  elseif transaction.is_open(state) then
    error(
      errors.TransactionManagementError("This is forbidden when an 'atomic' block is active."),
      0
    )
  elseif not state then
    error(errors.TransactionManagementError(UNPINNED:format(first)), 0)
  elseif first == "BEGIN" or first == "START" then
    state.began = debug.traceback("By hand:", 3)
  end
end

return transaction
