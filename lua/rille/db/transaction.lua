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
--- Giving the connection back is enough then: the core rolls back what it finds open.

local errors = require("rille.errors")

---@class rille.db.Transaction  what a pin remembers; the table is the core's
---@field depth integer?         atomic blocks open; nil or 0: none
---@field savepoints integer?    savepoints open
---@field needs_rollback boolean?
---@field cause any              the error that set needs_rollback
---@field hooks rille.db.Hook[]? to be called after COMMIT

---@alias rille.db.Hook { fn: function, robust: boolean }

local transaction = {}

local BROKEN = "An error occurred in the current transaction. You can't execute queries until"
  .. " the end of the 'atomic' block."
local DURABLE = "A durable atomic block cannot be nested within another atomic block."

--- Are we inside `atomic` on this pin?
---@param state rille.db.Transaction?
---@return boolean
function transaction.is_open(state)
  return state ~= nil and (state.depth or 0) > 0
end

--- Raise if the transaction can only be rolled back.
---@param state rille.db.Transaction?
function transaction.check(state)
  if state and state.needs_rollback then
    error(errors.TransactionManagementError(BROKEN, { cause = state.cause }), 0)
  end
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
local function try(db, sql)
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

--- Call `fn(...)` on a connection that is pinned to this task, and give it back if this call
--- pinned it. Raises whatever `fn` raises.
---@async
---@param db rille.db.Database
---@param where string
---@param fn fun(state: rille.db.Transaction): table  must not raise
---@return table results  what `fn` returned
function transaction.with_pin(db, where, fn)
  local state = db.driver.pin_state(db.handle)
  if state then
    return fn(state)
  end
  local ok, err = db.driver.pin(db.handle, where)
  if not ok then
    error(err, 0)
  end
  local ran, results = pcall(fn, db.driver.pin_state(db.handle))
  db.driver.unpin(db.handle)
  if not ran then
    error(results, 0)
  end
  return results
end

--- Forget the hooks that were registered after there were `count`.
local function drop_hooks(state, count)
  for i = #state.hooks, count + 1, -1 do
    state.hooks[i] = nil
  end
end

--- The outermost block: BEGIN, the function, COMMIT or ROLLBACK.
local function outermost(db, state, fn)
  local began, err = try(db, db.dialect.begin)
  if not began then
    error(err, 0)
  end
  state.depth, state.savepoints, state.hooks = 1, 0, {}
  state.needs_rollback, state.cause = nil, nil

  local results = transaction.collect(xpcall(fn, keep_traceback))
  local commit = results.ok and not state.needs_rollback
  local committed = false
  state.depth, state.needs_rollback, state.cause = 0, nil, nil
  if commit then
    committed, err = try(db, "COMMIT")
    if not committed then
      results = { ok = false, n = 1, err }
    end
  end
  if not committed then
    state.hooks = {}
    try(db, "ROLLBACK") -- if it cannot be sent, the core rolls back on return
  end
  return results
end

--- A nested block. Between the marks, `state` tells of this block alone.
local function nested(db, state, fn, wants_savepoint)
  local savepoint
  local hooks = #state.hooks
  if wants_savepoint and not state.needs_rollback then
    -- Named by depth, not by a serial number: the same text is prepared once.
    local name = ('"rille_%d"'):format(state.savepoints + 1)
    local ok, err = try(db, "SAVEPOINT " .. name)
    if not ok then
      transaction.mark(state, err)
      error(err, 0)
    end
    savepoint = name
    state.savepoints = state.savepoints + 1
  end
  state.depth = state.depth + 1
  local results = transaction.collect(xpcall(fn, keep_traceback))
  state.depth = state.depth - 1

  if not savepoint then
    if not results.ok then
      transaction.mark(state, results[1])
      drop_hooks(state, hooks)
    end
    return results
  end
  state.savepoints = state.savepoints - 1
  if results.ok and not state.needs_rollback then
    local ok, err = try(db, "RELEASE SAVEPOINT " .. savepoint)
    if ok then
      return results
    end
    results = { ok = false, n = 1, err }
  end
  local cause = state.cause or results[1]
  state.needs_rollback, state.cause = nil, nil
  drop_hooks(state, hooks)
  if
    not try(db, "ROLLBACK TO SAVEPOINT " .. savepoint)
    or not try(db, "RELEASE SAVEPOINT " .. savepoint)
  then
    transaction.mark(state, cause) -- then only the whole can be rolled back
  end
  return results
end

--- After COMMIT, on no connection in particular.
local function run_hooks(db, hooks)
  for _, hook in ipairs(hooks) do
    if hook.robust then
      local ok, err = pcall(hook.fn)
      if not ok then
        db.log(("error in an on_commit function of %s: %s"):format(tostring(db), tostring(err)))
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
  local results = transaction.with_pin(db, transaction.place_of(fn), function(state)
    if transaction.is_open(state) then
      if durable then
        error(errors.TransactionManagementError(DURABLE), 0)
      end
      return nested(db, state, fn, wants_savepoint)
    end
    local ended = outermost(db, state, fn)
    hooks, state.hooks = state.hooks, nil
    return ended
  end)
  if not results.ok then
    error(results[1], 0)
  end
  if hooks then
    run_hooks(db, hooks)
  end
  return unpack(results, 1, results.n)
end

--- See `Database:on_commit`.
---@param db rille.db.Database
---@param hook rille.db.Hook
function transaction.on_commit(db, hook)
  local state = db.driver.pin_state(db.handle)
  if transaction.is_open(state) then
    state.hooks[#state.hooks + 1] = hook
  else
    run_hooks(db, { hook })
  end
end

--- What a script must not say by itself while a block is open: it would end the transaction
--- behind the block's back. Savepoints of its own are fine.
local FORBIDDEN = {
  BEGIN = true,
  START = true,
  COMMIT = true,
  END = true,
  ROLLBACK = true,
  ABORT = true,
}

---@param state rille.db.Transaction?
---@param sql string
function transaction.check_raw(state, sql)
  if not transaction.is_open(state) then
    return
  end
  local first, second = sql:match("^%s*(%a+)%s*(%a*)")
  first, second = (first or ""):upper(), (second or ""):upper()
  local to_savepoint = first == "ROLLBACK" and second == "TO"
  local two_phase = first == "PREPARE" and second == "TRANSACTION"
  if FORBIDDEN[first] and not to_savepoint or two_phase then
    error(
      errors.TransactionManagementError("This is forbidden when an 'atomic' block is active."),
      0
    )
  end
end

return transaction
