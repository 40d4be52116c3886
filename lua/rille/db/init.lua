--- Databases as scripts see them: statements, transactions, and the registry of names.
---
---     local rows = db:aquery("SELECT id, name FROM folder WHERE parent_id = $1", 7)
---     db:atomic(function()
---       db:aexecute("UPDATE folder SET name = $1 WHERE id = $2", "x", 7)
---       db:on_commit(function() … end)
---     end)
---     db:acopy_to("COPY folder TO STDOUT (FORMAT csv)", function(rows) … end)
---
--- A statement outside `atomic` borrows a connection for just itself. `atomic` and `apinned`
--- pin one to the running task; a task that it spawns has connections of its own.
--- Which connection may be used, and when one is closed, is decided in the core.

local class = require("rille.class")
local copy = require("rille.db.copy")
local core = require("rille.core.db")
local rille_core = require("rille.core")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local null = rille_core.null
local check_settings = require("rille.db.settings").check
local transaction = require("rille.db.transaction")
local tables = require("rille.tables")

local db = {}

--- What may be a parameter: nil and `rille.null` (NULL), booleans, numbers, strings (text, and
--- everything that is written as text: numeric, uuid, dates, …), LuaJIT's 64-bit integers like
--- `9007199254740993LL`, and what `db.bytes`, `db.json` and `db.array` make.
---@alias rille.db.Value nil|boolean|number|string|ffi.cdata*|userdata

--- Columns by name. How a cell comes to Lua:
---
---     boolean                  a boolean
---     integers                 a number; beyond 2^53 a string of decimal digits, nothing lost
---     real, double precision   a number, also inf and nan
---     numeric                  a string of decimal digits, as the server wrote it
---     bytea, BLOB              a string
---     json, jsonb              decoded by `rille.json`; null in it is `rille.null`
---     arrays of these          a list marked as by `rille.array`, lists in it for more dimensions;
---                              NULL in it is `rille.null`
---     anything else            a string, as the server writes it: dates as in ISO 8601, times with
---                              a zone in UTC
---     NULL                     absent, or `rille.null` with the setting `null = true`
---
--- A domain comes as what it is based on. Arrays of enums, domains and other types that were made
--- in the database come as text: cast them, `tags::text[]`.
---@alias rille.db.Row table<string, any>

---@class rille.db.Database : rille.Class
---@field name string                 "default", or its key in `databases`
---@field backend "postgresql"|"sqlite"
---@field url string                  without its password
---@field dialect rille.db.Dialect
---@field settings rille.core.DatabaseOptions  as configured
---@field driver table                `rille.core.db`, or what stands in for it in a spec
---@field handle any                  the driver's
---@field held rille.db.Hook[]?       in a test that holds them: on_commit functions that are due
---@field log fun(message: string, level: string?)  for what nobody waits to hear; default "error"
local Database = class("rille.db.Database")
db.Database = Database

local function log(message, level)
  rille_core.log(level or "error", message)
end

--- Open a database. Nothing connects yet. Raises `ConfigurationError` on a bad URL. With the
--- setting `null = true`, which does not ride on the URL, rows of `aquery` hold `rille.null` for
--- NULL.
---@param name string
---@param settings rille.core.DatabaseOptions
---@param driver table?
function Database:init(name, settings, driver)
  check_settings(name, settings)
  driver = driver or core
  local opts = { name = name }
  for key, value in pairs(settings) do
    opts[key] = value
  end
  self.name = name
  self.settings = settings
  self.driver = driver
  self.handle = driver.open(opts)
  self.backend = driver.backend(self.handle)
  self.url = driver.url(self.handle)
  self.dialect = dialects[self.backend]
  self.log = log
end

function Database:__tostring()
  return ("database '%s' (%s)"):format(self.name, self.url)
end

--- JSON text, or lists of it.
local function decode_cell(decode, cell)
  if type(cell) == "string" then
    return decode(cell)
  elseif type(cell) == "table" then
    for i, element in ipairs(cell) do
      cell[i] = decode_cell(decode, element)
    end
  end
  return cell
end

local function decode_columns(rows, names)
  local decode = require("rille.json").decode
  for _, row in ipairs(rows) do
    for _, name in ipairs(names) do
      row[name] = decode_cell(decode, row[name])
    end
  end
end

local function fill_nulls(rows, names)
  for _, row in ipairs(rows) do
    for _, name in ipairs(names) do
      if row[name] == nil then
        row[name] = null
      end
    end
  end
end

local UNDEFINED_FUNCTION = "42883"
-- What a message says is not there, and the extension that has it.
local EXTENSIONS = {
  { " unaccent%(", "unaccent" },
  { "similarity%(", "pg_trgm" },
  { " <?<?<%-> ", "pg_trgm" },
  { " %%>?>? ", "pg_trgm" },
}

--- Say which extension would know a function or an operator that PostgreSQL does not.
local function name_extension(err)
  if err.sqlstate ~= UNDEFINED_FUNCTION then
    return
  end
  for _, entry in ipairs(EXTENSIONS) do
    local pattern, extension = unpack(entry)
    if err.message:find(pattern) then
      local told = " (it comes with an extension: CREATE EXTENSION %s)"
      err.message = err.message .. told:format(extension)
      return
    end
  end
end

--- A statement has failed. `state` is the pin's.
local function fail(state, err)
  transaction.mark(state, err)
  name_extension(err)
  error(err, 0)
end

--- Have the driver's function `run` send a statement.
---@async
---@return rille.db.Row[] rows
---@return integer affected
---@return string[]? columns  of all of them; absent when there is no NULL
local function asend(self, state, run, sql, n, ...)
  local rows, affected, json_columns, columns = run(self.handle, sql, n, ...)
  if not rows then
    fail(state, affected) -- nil, err
  elseif json_columns then
    decode_columns(rows, json_columns)
  end
  return rows, affected, columns
end

--- The same with parameters in a table.
---@async
local function asend_params(self, run, sql, params, n)
  local state = self.driver.pin_state(self.handle)
  transaction.check(state, self)
  if n == 1 then
    return asend(self, state, run, sql, n, params[1])
  elseif n == 2 then
    return asend(self, state, run, sql, n, params[1], params[2])
  end
  return asend(self, state, run, sql, n, unpack(params, 1, n))
end

--- Run a statement that the library wrote. `params` has its length in `n`.
---@async
---@param sql string
---@param params { n: integer, [integer]: rille.db.Value }
---@return rille.db.Row[] rows
---@return integer affected
function Database:_arun(sql, params)
  return asend_params(self, self.driver.query, sql, params, params.n)
end

--- As `_arun`, for a SELECT that the library built: it changes nothing and locks nothing.
---@async
---@param sql string
---@param params table<integer, rille.db.Value>  no other key of it is read
---@param n integer?  how many of them; default `params.n`
---@return rille.db.Row[] rows
function Database:_aread(sql, params, n)
  return (asend_params(self, self.driver.read, sql, params, n or params.n))
end

--- As `_aread`, for a row that `sql` gives to a key, its only parameter. Reads of many tasks that
--- differ in their key alone may go to the server as `many`, once for all of them.
---@async
---@param sql string
---@param many string     gives the rows of all keys in an array, `$1`
---@param column integer  which one of its columns holds the key, counted from 1
---@param key rille.db.Value
---@return rille.db.Row|rille.db.Row[]|nil row  the list of them, if there are several
---@return integer how_many
function Database:_aread_by_key(sql, many, column, key)
  local read, handle, state = self.driver.read_by_key, self.handle, nil
  local row, how_many, json_columns = read(handle, sql, many, column, key)
  if row == false then
    state = self.driver.pin_state(handle)
    transaction.check(state, self)
    row, how_many, json_columns = read(handle, sql, many, column, key, true)
  end
  if json_columns then
    decode_columns(how_many == 1 and { row } or row, json_columns)
  elseif type(how_many) ~= "number" then
    fail(state, how_many)
  end
  return row, how_many
end

--- As `_arun`, for text that a script wrote.
---@async
local function asend_raw(self, sql, ...)
  local state = self.driver.pin_state(self.handle)
  transaction.check_raw(state, self, sql)
  transaction.check(state, self)
  return asend(self, state, self.driver.query, sql, select("#", ...), ...)
end

local function check_sql(sql, name)
  if type(sql) ~= "string" then
    error(("%s needs SQL text, not %s"):format(name, type(sql)), 3)
  end
end

--- Run a statement with `$1` parameters on every backend. Raises a `DatabaseError`.
---@async
---@param sql string
---@param ... rille.db.Value
---@return rille.db.Row[] rows
function Database:aquery(sql, ...)
  check_sql(sql, "aquery")
  local rows, _, columns = asend_raw(self, sql, ...)
  if columns and self.settings.null then
    fill_nulls(rows, columns)
  end
  return rows
end

--- As `aquery`, for the number of rows inserted, updated or deleted.
---@async
---@param sql string
---@param ... rille.db.Value
---@return integer affected
function Database:aexecute(sql, ...)
  check_sql(sql, "aexecute")
  local _, affected = asend_raw(self, sql, ...)
  return affected or 0
end

--- Say something on a channel, to all who listen: `rille.notify` routes of this or another process,
--- LISTEN of any session. Inside `atomic` it is heard when the transaction commits, and vanishes
--- with a rollback. Raises `NotSupportedError` on SQLite.
---@async
---@param channel string  1 to 63 bytes
---@param payload string|table|nil  default ""; a table travels as JSON. Raises `DataError` when it
---  has more than 7999 bytes
function Database:anotify(channel, payload)
  if type(channel) ~= "string" or #channel < 1 or #channel > 63 then
    error("anotify needs the name of a channel, of 1 to 63 bytes", 2)
  end
  if self.backend ~= "postgresql" then
    error(errors.NotSupportedError(("%s has no NOTIFY, PostgreSQL has"):format(tostring(self))), 2)
  end
  if type(payload) == "table" then
    payload = require("rille.json").encode(payload)
  elseif payload ~= nil and type(payload) ~= "string" then
    error(("anotify needs a string or a table as payload, not a %s"):format(type(payload)), 2)
  end
  payload = payload or ""
  if #payload > 7999 then
    local told = "a payload of %d bytes for channel %s: NOTIFY takes at most 7999"
    error(errors.DataError(told:format(#payload, channel)), 2)
  end
  self:_arun("SELECT pg_notify($1, $2)", { n = 2, channel, payload })
end

--- Run `COPY … TO STDOUT` and call `sink(rows)` with what comes: strings of whole rows in the
--- format that the statement asks for, about 64 KiB each. The sink may wait; meanwhile nothing is
--- read, the server has to wait too, and memory stays bounded.
---
--- Inside `atomic` it runs on the pinned connection, else one is pinned until the end: the sink
--- itself cannot use this database, except from another task. When the sink raises, or the task is
--- cancelled or timed out, the COPY is cancelled and the same error raised. A `statement_timeout`
--- counts what the sink takes, too. PostgreSQL only: raises `NotSupportedError` on SQLite.
---@async
---@param sql string
---@param sink async fun(rows: string)
---@return integer rows  how many went
function Database:acopy_to(sql, sink)
  check_sql(sql, "acopy_to")
  if type(sink) ~= "function" then
    error(("acopy_to needs a function for its rows, not %s"):format(type(sink)), 2)
  end
  return copy.to(self, sql, sink)
end

--- Run `COPY … FROM STDIN` with rows from `source`: a string, a list of strings, or a function that
--- returns the next string, and nil when there are no more. Strings may be cut anywhere, also in
--- the middle of a row. The function may wait, and is asked for more when the server has taken what
--- came before.
---
--- All rows go in, or none. A row that the server refuses raises (`DataError`, `IntegrityError`, …)
--- before the source is asked for much more (servers before 14: when it has ended), and the message
--- says which line it was. When the source raises, or
--- the task is cancelled or timed out, nothing goes in and the same error is raised. For the rest
--- see `acopy_to`.
---@async
---@param sql string
---@param source string|string[]|async fun(): string?
---@return integer rows  how many went
function Database:acopy_from(sql, source)
  check_sql(sql, "acopy_from")
  local kind = type(source)
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then
    error(("acopy_from needs a string, a list or a function, not %s"):format(kind), 2)
  end
  return copy.from(self, sql, source)
end

--- Run `fn` in a transaction and return its results. Commits when it returns, rolls back when
--- it raises (and raises the same error) or is cancelled. Inside another block it is a
--- savepoint. A lost connection at COMMIT raises `OperationalError`, and its message says
--- that the outcome is unknown.
---
--- When a statement fails and `fn` catches the error, the block can only be rolled back: other
--- statements raise `TransactionManagementError`, and the end of the block rolls back
--- without another error. Wrap what may fail in a block of its own.
---
--- The transaction is this task's. A task that `fn` starts with `spawn` has connections of its
--- own: it does not see what `fn` has not committed, may wait for its locks, and what it writes
--- stays when `fn` is rolled back. In a task that `agather` starts in here, statements on this
--- database raise, since they look as if they were part of the block; other databases are fine. So
--- do statements of this task while a coroutine that began a block in here has yielded, and so does
--- resuming such a coroutine from another task.
---
--- A task that is cancelled while COMMIT is under way, or whose deadline passes, learns first how
--- the COMMIT went: it returns from here when that was well, and its next wait raises.
---@async
---@param fn fun(): any
---@param opts { savepoint: boolean?, durable: boolean? }?  `savepoint = false`: join the block
---       around instead; `durable`: raise instead of being nested
---@return any ...
function Database:atomic(fn, opts)
  if type(fn) ~= "function" then
    error(("atomic needs a function, not %s"):format(type(fn)), 2)
  end
  return transaction.atomic(self, fn, opts)
end

--- Call `fn` after the outermost block commits, in order of registration; never if a block
--- around this call is rolled back. Without a transaction, call it now. An error in it stops
--- those behind it and is raised from `atomic`; with `robust` it is logged instead.
---@param fn fun()
---@param opts { robust: boolean? }?
function Database:on_commit(fn, opts)
  if type(fn) ~= "function" then
    error(("on_commit needs a function, not %s"):format(type(fn)), 2)
  end
  transaction.on_commit(self, { fn = fn, robust = opts ~= nil and opts.robust == true })
end

--- Is the running task inside `atomic` on this database?
---@return boolean
function Database:in_atomic_block()
  return transaction.is_open(self.driver.pin_state(self.handle))
end

local OTHERS_PIN = "this connection of %s is pinned to another task, and only that one may use it;"
  .. " here, use the database itself, or apinned for a connection of this task's own"
local LEFT_OPEN = "apinned has ended with a transaction open on %s: rolled back. Its function is"
  .. " at %s.\n%s"

--- What `apinned` hands to its function: the database, as long as the pin lasts.
---@class rille.db.Pinned
local Pinned = class("rille.db.Pinned")

function Pinned:init(database)
  self._db = database
  self._state = database.driver.pin_state(database.handle)
end

--- The database, if this task is the one that pinned, and still does.
local function database_of(pinned)
  local database = pinned._db
  if not database then
    error("this connection was given back when the function of apinned ended", 3)
  elseif database.driver.pin_state(database.handle) ~= pinned._state then
    error(errors.TransactionManagementError(OTHERS_PIN:format(tostring(database))), 0)
  end
  return database
end

for _, name in ipairs({
  "aquery",
  "aexecute",
  "anotify",
  "acopy_to",
  "acopy_from",
  "atomic",
  "on_commit",
}) do
  Pinned[name] = function(self, ...)
    local database = database_of(self)
    return database[name](database, ...)
  end
end

--- Session state was changed in a way that the core cannot see; have it reset on return.
--- Statements that plainly change it (SET, LISTEN, …) are noticed anyway.
function Pinned:mark_dirty()
  local database = database_of(self)
  database.driver.mark_dirty(database.handle)
end

--- Run `fn(conn)` with one connection pinned to this task, without a transaction, for session
--- state. What `fn` left behind is reset before anybody else sees the connection. A transaction may
--- be begun and ended in it by hand; one that is still open when `fn` returns is rolled back, and
--- logged with the place where it was begun.
---@async
---@param fn fun(conn: rille.db.Pinned): any
---@return any ...
function Database:apinned(fn)
  if type(fn) ~= "function" then
    error(("apinned needs a function, not %s"):format(type(fn)), 2)
  end
  local place = transaction.place_of(fn)
  local conn, began
  local results, open = transaction.with_pin(self, place, function(state, frame)
    conn = Pinned(self)
    local results = transaction.collect(pcall(fn, conn))
    began = state.began
    return transaction.unless_left(self, state, frame, results)
  end)
  conn._db = nil
  if not results.ok then
    error(results[1], 0)
  elseif open then
    self.log(LEFT_OPEN:format(tostring(self), place, began or ""))
  end
  return unpack(results, 1, results.n)
end

--- Close what is past `conn_max_age` or unusable; never a connection pinned by a transaction.
--- The core calls this around every event; by hand it may be called at any time.
function Database:close_old_connections()
  self.driver.close_old(self.handle)
end

--- Close every connection; the object is of no use afterwards. An application's own databases are
--- closed by the core when it stops.
---@async
function Database:aclose()
  local ok, err = self.driver.close(self.handle)
  if not ok then
    error(err, 2)
  end
end

--- Figures: the pool's connections now, what there has been since the start, and histograms of
--- waits, statements, pins and ages. See `rille.core.DatabaseStats`.
---@return rille.core.DatabaseStats
function Database:stats()
  return self.driver.stats(self.handle)
end

-- Registry --------------------------------------------------------------------------

--- Open databases by name. An unknown name raises.
---@type table<string, rille.db.Database>
db.databases = setmetatable({}, {
  __index = function(databases, name)
    local known = {}
    for key in pairs(databases) do
      known[#known + 1] = key
    end
    table.sort(known)
    error(
      errors.ConfigurationError(
        ("there is no database '%s'; configured: %s"):format(
          tostring(name),
          #known > 0 and table.concat(known, ", ") or "none"
        )
      ),
      0
    )
  end,
})

--- A database that is to have other settings: the pool that has them, and is not used yet.
---@class rille.db.Change
---@field database rille.db.Database
---@field settings rille.core.DatabaseOptions
---@field handle any  the driver's

local ENGINE = "database '%s' is open on %s; to have it on %s needs a restart"
local MEMORY = "database '%s' is in memory, and would be lost: other settings need a restart"

--- Open a pool with other settings beside the one that is used.
---@param database rille.db.Database
---@return rille.db.Change
local function prepare(database, settings)
  local driver = database.driver
  local opts = { name = database.name }
  for key, value in pairs(settings) do
    opts[key] = value
  end
  local handle = driver.open(opts)
  local backend, url = driver.backend(handle), driver.url(handle)
  local change = { database = database, settings = settings, handle = handle }
  local wrong
  if backend ~= database.backend then
    wrong = ENGINE:format(database.name, database.backend, backend)
  elseif url == "sqlite::memory:" and database.url == url then
    wrong = MEMORY:format(database.name)
  end
  if wrong then
    db.discard({}, { change })
    error(errors.ConfigurationError(wrong), 0)
  end
  return change
end

--- Open the databases of an application. One that is open already with the same settings stays
--- open, with its connections: pools survive a reload. One with other settings is made ready to
--- have them, and has them when `commit` says so; another engine, and what is in memory, are
--- refused. What is wrong with any raises `ConfigurationError`, and changes nothing.
---@param settings table<string, string|rille.core.DatabaseOptions>  by name; a string is its URL
---@param driver table?
---@return string[] opened  names of those that were not open before
---@return rille.db.Change[] changes
function db.configure(settings, driver)
  local wanted = {}
  for name, given in pairs(settings) do
    given = type(given) == "string" and { url = given } or given
    if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then
      error(errors.ConfigurationError(("'%s' is no name for a database"):format(tostring(name))), 0)
    end
    if type(given) ~= "table" or type(given.url) ~= "string" then
      error(errors.ConfigurationError(("database '%s' needs a url"):format(name)), 0)
    end
    check_settings(name, given)
    wanted[name] = given
  end
  local opened, changes = {}, {}
  local ok, err = pcall(function()
    for name, given in pairs(wanted) do
      local open = rawget(db.databases, name)
      if not open then
        db.databases[name] = Database(name, given, driver)
        opened[#opened + 1] = name
      elseif not tables.same(open.settings, given) then
        changes[#changes + 1] = prepare(open, given)
      end
    end
  end)
  if not ok then
    db.discard(opened, changes)
    error(err, 0)
  end
  return opened, changes
end

--- Have databases what `configure` made ready for them.
---@param changes rille.db.Change[]
function db.commit(changes)
  for _, change in ipairs(changes) do
    local database = change.database
    database.driver.exchange(database.handle, change.handle)
    database.settings = change.settings
    database.url = database.driver.url(database.handle)
  end
end

--- Close what `configure` opened, and nobody has used.
---@param opened string[]
---@param changes rille.db.Change[]
function db.discard(opened, changes)
  local function close(driver, handle)
    rille_core.task.spawn_detached(function()
      driver.close(handle)
    end)
  end
  for _, name in ipairs(opened) do
    local database = db.forget(name)
    close(database.driver, database.handle)
  end
  for _, change in ipairs(changes) do
    close(change.database.driver, change.handle)
  end
end

--- There is no database of this name any more. What was `configure`d and not used can be closed.
---@param name string
---@return rille.db.Database?
function db.forget(name)
  local database = rawget(db.databases, name)
  db.databases[name] = nil
  return database
end

--- The database of this name, or `which` itself if it is one.
---@param which string|rille.db.Database|nil  default: "default"
---@return rille.db.Database
function db.get(which)
  if class.is_instance(which, Database) then
    return which
  end
  return db.databases[which or "default"]
end

--- Bytes as a parameter of `aquery` and `aexecute`: a plain string is text.
---@param bytes string
---@return userdata
function db.bytes(bytes)
  return core.bytes(bytes)
end

--- Anything as a JSON parameter of `aquery` and `aexecute`.
---@param value any
---@return userdata
function db.json(value)
  return core.json(require("rille.json").encode(value))
end

--- A list as a parameter for an array type: of numbers, strings, booleans, `db.bytes`, `db.json`,
--- 64-bit integers, and lists of these for more dimensions, at most six. `rille.null` is NULL; a
--- list with holes raises. SQLite has no arrays: there the statement raises `NotSupportedError`.
---@param items any[]
---@return userdata
function db.array(items)
  return core.array(items)
end

-- The default database, as `rille.atomic` and its sisters -----------------------------

--- `Database:atomic` on the default database.
---@async
function db.atomic(fn, opts)
  return db.get():atomic(fn, opts)
end

--- `Database:on_commit` on the default database.
function db.on_commit(fn, opts)
  return db.get():on_commit(fn, opts)
end

--- `Database:close_old_connections` on every database.
function db.close_old_connections()
  core.close_old()
end

return db
