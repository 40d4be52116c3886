---@meta rille.core.db

--- Databases (src/bind/bind_db.c): handles, statements, pins.

---@class rille.core.Database : userdata  a handle
---@class rille.core.DatabaseEar : userdata    what is said on a channel
---@class rille.core.DatabaseValue : userdata  a parameter that is not plain text

--- What may be a parameter; nil and null are NULL, whole numbers integers, as is cdata of 64 bits.
---@alias rille.core.Parameter
---| string|number|boolean|ffi.cdata*|rille.core.DatabaseValue|lightuserdata|nil

--- Settings of a database. Times are in seconds. They may ride on the URL, where they win:
--- `postgresql://host/name?conn_max_age=60&prepare=false`; what is not named here is libpq's own.
---@class rille.core.DatabaseOptions
---@field name string?               in messages; default "default"
---@field url string                 "postgresql://…" or "sqlite:path"
---@field conn_max_age number|false|nil  since the connection was made, less up to 10 % so that not
---  all end at once; 0: closed at the next boundary; false: for ever; default 3600
---@field conn_health_checks boolean?    look at a connection before its first use after a boundary
---@field max_connections integer?   per worker; default 10, on SQLite 4
---@field min_connections integer?   kept once they were opened; default 0
---@field shared_connections integer?  of max_connections, read-only, for quick reads of the models
---  that go out together; 0: none; default 2, at most half
---@field idle_timeout number?       close what is not used for so long; default 300
---@field acquire_timeout number?    wait for a connection at most so long; default 5
---@field statement_timeout number?  the server gives up what takes longer; default: never
---@field idle_in_transaction_timeout number|false|nil  PostgreSQL ends a transaction that has not
---  said anything for so long; default 300
---@field hold_warning number|false|nil  log a pin that is held and not used for so long; default 10
---@field slow_statement number|false|nil  log a statement that takes longer; default 1
---@field statement_cache_size integer?  statements kept prepared on each connection; default 100
---@field prepare boolean?           PostgreSQL: false prepares nothing on the server
---@field pgbouncer boolean?         PostgreSQL: pgbouncer in transaction mode stands in between:
---  prepares and shares nothing, relies on no session; LISTEN and statement_timeout are refused
---@field coalesce boolean?          PostgreSQL: false sends each read by key as a statement of its own;
---  else those of one turn, on a shared connection, are one
---@field null boolean?              rows of `aquery` hold `rille.null` for NULL; not on the URL

---@class rille.core.DatabaseStats
---@field open integer         connections there are,
---@field idle integer         of these at rest,
---@field busy integer         with a statement,
---@field leased integer       pinned,
---@field connecting integer   on their way
---@field waiting integer      requests in the queue
---@field opened integer       connections ever opened
---@field closed_age integer   closed past conn_max_age
---@field closed_idle integer  closed past idle_timeout
---@field closed_dead integer  found dead
---@field shared integer       of the open ones, read-only, for reads that share
---@field batches integer      messages with reads ever sent on them
---@field reads integer        statements that were asked for and went in these
---@field coalesced integer    of these, reads by key that were sent as one with others,
---@field bulks integer        in so many statements; so `statements - coalesced + bulks` were sent
---@field timeouts integer     requests that waited past acquire_timeout
---@field statements integer   statements ever run
---@field borrows integer      connections ever pinned
---@field cancels integer      statements given up while they ran
---@field errors table<string, integer>  answers that were errors, by class
---@field wait rille.core.Histogram   from asking to being handed a connection
---@field run rille.core.Histogram    from there to the answer
---@field lease rille.core.Histogram  how long connections were pinned
---@field age rille.core.Histogram    how old connections became
---@field bounds number[]             upper bounds of the buckets, in seconds; the last one has none

---@class rille.core.Histogram
---@field count integer
---@field sum number         seconds
---@field buckets integer[]  how many in each, not added up

---@class rille.core.db
local db = {}

--- Raise what `open` would raise with these options, and open nothing.
---@param options rille.core.DatabaseOptions
function db.check(options) end

--- Open a database; connections come when they are needed. Raises what is wrong with the URL or the
--- settings.
---@param options rille.core.DatabaseOptions
---@return rille.core.Database
function db.open(options) end

--- Close it: refuses new work, waits a second for what runs. The handle is of no use afterwards.
---@async
---@param handle rille.core.Database
---@return true
function db.close(handle) end

--- The pool behind `other`, which is no handle any more, takes the place of the one behind
--- `handle`. Events that are under way, and pins, keep the old one until they end.
---@param handle rille.core.Database
---@param other rille.core.Database
function db.exchange(handle, other) end

--- Run a statement on the task's pinned connection, or else on any. NULLs are absent from rows.
--- Integers beyond 2^53 and JSON come as text, arrays as lists.
---@async
---@param handle rille.core.Database
---@param sql string  with $1, $2, …
---@param n integer   how many parameters follow, 0 to 65535
---@param ... rille.core.Parameter
---@return table<string, any>[]? rows
---@return integer|rille.DatabaseError affected
---@return string[]? json     names of the columns that hold JSON, or arrays of it
---@return string[]? columns  names of all columns, when a cell is NULL
function db.query(handle, sql, n, ...) end

--- As `query`, for a SELECT that takes no locks and calls nothing that changes anything.
---@async
---@param handle rille.core.Database
---@param sql string
---@param n integer
---@param ... rille.core.Parameter
---@return table<string, any>[]? rows
---@return integer|rille.DatabaseError affected
---@return string[]? json
function db.read(handle, sql, n, ...) end

--- As `read`, of a row by its key. With others that name the same `many` and wait for a shared
--- connection in the same turn it may go as that, once for all.
---@async
---@param handle rille.core.Database
---@param sql string      the key is its $1
---@param many string     the same for the keys of an array, $1
---@param column integer  of the result of `many`, counted from 1: the one that holds the key
---@param key rille.core.Parameter
---@param anyhow boolean?  without it false at once, and nothing is read, if the task has a pin or a
---                        table of its own: somebody has to look whether it may
---@return table<string, any>|false|nil row  where there are several: the list of them
---@return integer|rille.DatabaseError how_many
---@return string[]? json
function db.read_by_key(handle, sql, many, column, key, anyhow) end

--- Pin a connection to this task, until `unpin` or its end. One pin per task and database: a second
--- raises.
---@async
---@param handle rille.core.Database
---@param where string?  where it began, for messages
---@param writes boolean?  for a transaction that may write: SQLite has one at a time
---@return true?
---@return rille.DatabaseError? err
function db.pin(handle, where) end

--- Give the connection back; what is open on it is rolled back. Nothing without a pin.
---@param handle rille.core.Database
---@return boolean? open  was a transaction open?
function db.unpin(handle) end

--- A table that lives as long as the pin; nothing without one.
---@param handle rille.core.Database
---@return table?
function db.pin_state(handle) end

--- The tables of all pins of the running task.
---@return table ...
function db.pins() end

--- What transaction there is on the pinned connection, as the server says; nil: none, or no pin.
---@param handle rille.core.Database
---@return "open"|"failed"|nil
function db.transaction(handle) end

--- What a statement plainly changes of its session: "SET", "an advisory lock", …
---@param sql string
---@return string?
function db.session_change(sql) end

--- Session state was changed: have it reset when the pin ends.
---@param handle rille.core.Database
function db.mark_dirty(handle) end

--- A consumer in the background hears what is said on a channel, until it leaves: events of type
--- `notify`, with `channel`, `payload` and `pid`; and `notify.gap`, with `channel`, when it may have
--- missed something.
---@param handle rille.core.Database
---@param channel string  1 to 63 bytes
---@param id number
---@return true?
---@return rille.Error? err
function db.listen(handle, channel, id) end

--- Hear what is said on a channel, note by note (src/bind/bind_db_ear.c); PostgreSQL only. One
--- connection serves all who listen to a database, and is dialled anew whenever it is lost.
---@param handle rille.core.Database
---@param channel string  1 to 63 bytes
---@return rille.core.DatabaseEar?
---@return rille.Error? err
function db.ear(handle, channel) end

--- Wait for the next note, for one task at a time. "heard": from here on nothing is missed, and the
--- same after each "lost", which says why, once for each attempt to listen that has failed.
---@async
---@param ear rille.core.DatabaseEar
---@return "said"|"heard"|"lost"|nil kind
---@return string|rille.Error payload
---@return integer? missed  before it, since more than 32 MiB had waited here
function db.ear_next(ear) end

---@param ear rille.core.DatabaseEar
function db.ear_close(ear) end

--- Begin a COPY on the task's pinned connection; PostgreSQL only. What this and the other functions
--- of COPY give: rows that came out, or true when there is room for rows to go in; false and the
--- number of rows when it is over; nil and the error when it failed.
---@async
---@param handle rille.core.Database
---@param sql string
---@param way "out"|"in"
---@return string|boolean|nil rows
---@return integer|rille.DatabaseError|nil count
function db.copy_open(handle, sql, way) end

--- Wait for the rows that come next. Until then the server has to wait.
---@async
---@param handle rille.core.Database
---@return string|false|nil rows  whole ones, about 64 KiB
---@return integer|rille.DatabaseError|nil count
function db.copy_next(handle) end

--- Send rows, and wait until there is room for more.
---@async
---@param handle rille.core.Database
---@param rows string  may be cut anywhere
---@return boolean? room
---@return integer|rille.DatabaseError|nil count
function db.copy_put(handle, rows) end

--- No more rows go in: wait for the end.
---@async
---@param handle rille.core.Database
---@return false? over
---@return integer|rille.DatabaseError|nil count
function db.copy_end(handle) end

--- Give up the COPY, if one is under way: nothing of it stays. The next statement on the connection
--- waits until it is clean.
---@param handle rille.core.Database
function db.copy_abort(handle) end

--- Test mode: until `unstage` every statement is part of one transaction, on one connection that
--- nothing closes; begun when it is first used.
---@param handle rille.core.Database
function db.stage(handle) end

--- The end of it, rolled back.
---@param handle rille.core.Database
---@return true?
---@return rille.Error?  the connection was lost meanwhile
function db.unstage(handle) end

--- The boundary between events, by hand, for every database of the worker.
function db.close_old() end

---@param text string
---@return rille.core.DatabaseValue  bytes (bytea, BLOB)
function db.bytes(text) end

---@param text string
---@return rille.core.DatabaseValue  JSON
function db.json(text) end

--- Raises on holes, and on what is neither a list nor an element.
---@param items any[]  may hold lists; null is NULL
---@return rille.core.DatabaseValue  an array (PostgreSQL only)
function db.array(items) end

---@param handle rille.core.Database
---@return "postgresql"|"sqlite"
function db.backend(handle) end

---@param handle rille.core.Database
---@return string
function db.name(handle) end

--- The URL, without the password.
---@param handle rille.core.Database
---@return string
function db.url(handle) end

---@param handle rille.core.Database
---@return rille.core.DatabaseStats
function db.stats(handle) end

return db
