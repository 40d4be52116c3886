--- Statements without end, each accounted for.
---
---     load.prepare(db)
---     local busy = load.start(db, { writers = 8, readers = 4, transactions = 4 })
---     … hurt the server …
---     busy:stop()
---     busy:check(pg)
---
--- What holds whatever happens to the connections: a write that was confirmed is there once, none
--- is there twice, and half of a transaction never is. A statement may fail only if it may have
--- run, so never with "not sent" and never for want of a connection; a transaction that failed is
--- not there, unless its COMMIT said that the outcome is unknown. A read gives what was asked.

local errors = require("rille.errors")
local models = require("rille.models")
local rille = require("rille")

local load = {}

local Row = models.define("faults_row", { label = models.text() }, { name = "Row" })
local ROWS = 50

---@class spec.Load
---@field confirmed table<integer, true>  writes by their id
---@field failed table<integer, any>      their errors
---@field read_errors any[]
---@field kept table<integer, true>       transactions by their id
---@field broken table<integer, any>      their errors
---@field reads integer                   that succeeded
---@field writes integer                  that were confirmed
local Load = {}
Load.__index = Load

--- Make the tables afresh.
---@async
---@param db rille.db.Database
function load.prepare(db)
  db:aexecute("DROP TABLE IF EXISTS faults_row, faults_write, faults_pair")
  db:aexecute("CREATE TABLE faults_row (id bigint PRIMARY KEY, label text NOT NULL)")
  db:aexecute("INSERT INTO faults_row SELECT i, 'row ' || i FROM generate_series(1, $1) i", ROWS)
  -- No unique index: a second copy shall be seen, not refused.
  db:aexecute("CREATE TABLE faults_write (id bigint NOT NULL)")
  db:aexecute("CREATE TABLE faults_pair (id bigint NOT NULL, half int NOT NULL)")
end

--- Wrong whatever happens: found by a reader, raised by `check`.
local function note(self, text, ...)
  self.wrong[#self.wrong + 1] = text:format(...)
end

local function write(self, id)
  local ok, err = pcall(self.db.aexecute, self.db, "INSERT INTO faults_write VALUES ($1)", id)
  if ok then
    self.confirmed[id] = true
    self.writes = self.writes + 1
  else
    self.failed[id] = err
  end
end

local function transact(self, id)
  local ok, err = pcall(self.db.atomic, self.db, function()
    self.db:aexecute("INSERT INTO faults_pair VALUES ($1, 1)", id)
    self.db:aexecute("INSERT INTO faults_pair VALUES ($1, 2)", id)
  end)
  if ok then
    self.kept[id] = true
  else
    self.broken[id] = err
  end
end

local function row(self, i)
  local found = Row.objects:using(self.db):aget { id = i }
  return found.id, found.label
end

local function raw(self, i)
  local rows = self.db:aquery("SELECT id, label FROM faults_row WHERE id = $1", i)
  return rows[1].id, rows[1].label
end

local function count(self, i)
  local n = Row.objects:using(self.db):filter({ id__lte = i }):acount()
  return n, "row " .. n
end

local KINDS = { row, raw, count }

local function read(self, id)
  local i = id % ROWS + 1
  local ok, found, label = pcall(KINDS[id % #KINDS + 1], self, i)
  if not ok then
    self.read_errors[#self.read_errors + 1] = found
  elseif found ~= i or label ~= "row " .. i then
    note(self, "asked for row %d, got %s (%s)", i, tostring(found), tostring(label))
  else
    self.reads = self.reads + 1
  end
end

--- Start tasks that do one statement (or transaction) after the other, until `stop`.
---@param db rille.db.Database
---@param numbers { writers: integer?, readers: integer?, transactions: integer?, pause: number? }
---@return spec.Load
function load.start(db, numbers)
  local self = setmetatable({
    db = db,
    confirmed = {},
    failed = {},
    kept = {},
    broken = {},
    read_errors = {},
    wrong = {},
    reads = 0,
    writes = 0,
    tasks = {},
    last_id = 0,
    pause = numbers.pause or 0,
  }, Load)
  local function keep(n, job)
    for _ = 1, n or 0 do
      self.tasks[#self.tasks + 1] = rille.spawn(function()
        while not self.over do
          self.last_id = self.last_id + 1
          job(self, self.last_id)
          rille.asleep(self.pause)
        end
      end)
    end
  end
  keep(numbers.writers, write)
  keep(numbers.transactions, transact)
  keep(numbers.readers, read)
  return self
end

--- Let each task finish what it is doing.
---@async
function Load:stop()
  self.over = true
  for _, one in ipairs(self.tasks) do
    one:ajoin()
  end
end

--- How many failed so far.
---@return integer writes
---@return integer transactions
---@return integer reads
function Load:failures()
  local writes, transactions = 0, 0
  for _ in pairs(self.failed) do
    writes = writes + 1
  end
  for _ in pairs(self.broken) do
    transactions = transactions + 1
  end
  return writes, transactions, #self.read_errors
end

local function is_unknown(err)
  return err.message:find("outcome is unknown", 1, true) ~= nil
end

--- May this error end a statement whose connection was lost?
local function check_error(self, err, what)
  if not errors.is_error(err, errors.OperationalError) then
    note(self, "%s failed with %s", what, tostring(err))
  elseif err.message:find("no connection", 1, true) then
    note(self, "%s got no connection: %s", what, err.message)
  elseif what ~= "a transaction" and err.message:find("before the statement was sent", 1, true) then
    note(self, "%s was given up though it was not sent: %s", what, err.message)
  end
end

--- Numbers, one a line, to how often each is there.
local function counted(text)
  local times = {}
  for id in text:gmatch("%d+") do
    id = tonumber(id)
    times[id] = (times[id] or 0) + 1
  end
  return times
end

local function check_writes(self, times)
  for id, err in pairs(self.failed) do
    check_error(self, err, "a write")
    times[id] = times[id] or 0
  end
  for id in pairs(self.confirmed) do
    if times[id] ~= 1 then
      note(self, "write %d was confirmed and is there %d times", id, times[id] or 0)
    end
  end
  for id, n in pairs(times) do
    if n > 1 then
      note(self, "write %d is there %d times", id, n)
    end
  end
end

local function check_transactions(self, firsts, seconds)
  for id in pairs(self.kept) do
    if firsts[id] ~= 1 or seconds[id] ~= 1 then
      note(self, "of transaction %d not both halves are there", id)
    end
  end
  for id, err in pairs(self.broken) do
    check_error(self, err, "a transaction")
    if firsts[id] ~= seconds[id] or (firsts[id] or 0) > 1 then
      note(self, "of transaction %d one half is there, or one too many", id)
    elseif firsts[id] and not is_unknown(err) then
      note(self, "transaction %d is there, but its error said: %s", id, tostring(err))
    end
  end
end

--- Compare what was answered with what is there. Raises a list of all that is wrong.
---@param pg spec.Cluster
function Load:check(pg)
  check_writes(self, counted(pg:sql("SELECT id FROM faults_write")))
  check_transactions(
    self,
    counted(pg:sql("SELECT id FROM faults_pair WHERE half = 1")),
    counted(pg:sql("SELECT id FROM faults_pair WHERE half = 2"))
  )
  for _, err in ipairs(self.read_errors) do
    check_error(self, err, "a read")
  end
  if #self.wrong > 0 then
    local shown = table.concat(self.wrong, "\n", 1, math.min(#self.wrong, 10))
    error(("%d things are wrong, such as\n%s"):format(#self.wrong, shown), 2)
  end
end

return load
