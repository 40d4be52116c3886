--- The layer on PostgreSQL: LISTEN and NOTIFY between processes, for who runs nothing else.
---
--- Each process listens to a channel of its own, on one connection for all its workers; the first
--- worker has it, and says to the others when it is lost and there again. Each worker writes into a
--- table which groups have members there. Who sends to a group notifies, in one statement, each
--- other process that has any; its own has the message through memory. Nothing is kept for who is
--- away: whose connection was lost has missed what was said, and its members are told so.
---
--- A process says every few seconds that it lives, and thereby to itself something, so that a
--- connection which hears nothing any more is found out. What it has in the tables goes with it, or
--- lapses.

local Asking = require("rille.layer.asking")
local Backend = require("rille.layer.backend")
local Leader = require("rille.layer.postgres.leader")
local Log = require("rille.layer.postgres.log")
local Queues = require("rille.layer.postgres.queues")
local Sender = require("rille.layer.postgres.sender")
local core = require("rille.core")
local database = require("rille.db")
local errors = require("rille.errors")
local messages = require("rille.layer.message")
local outside = require("rille.layer.outside")
local settings_of = require("rille.layer.postgres.settings")
local statements = require("rille.layer.postgres.statements")

local layer = core.layer

local UNKNOWN = "nothing is known of it yet"

---@class rille.layer.postgres.Postgres : rille.layer.Backend
---@field settings rille.layer.postgres.Settings
---@field sql rille.layer.postgres.Statements
---@field db rille.db.Database
---@field own string      "specific.<32 hexadecimal digits>!": of this worker's channels
---@field others string[] the same of the process's other workers
---@field process string  32 hexadecimal digits
---@field state { type: string, up: boolean, why: string? }  what the leader says of it
local Postgres = Backend:extend("Postgres")

Postgres.queues = true
Postgres.has_logs = true
Postgres.failures = errors.DatabaseError

---@param options rille.layer.Options
function Postgres.check(options)
  settings_of.read(options)
end

--- Whether a statement whose connection was lost has run, nobody knows.
function Postgres.in_doubt(err)
  return errors.is_error(err, errors.OperationalError)
end

---@param options rille.layer.Options
function Postgres:init(options)
  Backend.init(self, options)
  self.settings = settings_of.read(options)
  self.sql = statements.of(self.settings.prefix)
  self.db = database.Database(settings_of.NAME, self.settings.database)
end

---@async
function Postgres:astart()
  local prefixes = outside.prefixes()
  self.own = prefixes[1]
  self.others = { unpack(prefixes, 2) }
  table.sort(prefixes)
  local leader = prefixes[1]
  self.process = leader:match("%x%x%x%x+")
  local unique = self.own:match("%x%x%x%x+") .. "."
  self.sender = Sender.new(self.db, self.sql, self.process, unique, self.settings.expiry)
  self.queues_here = Queues.new(self.db, self.sql, self.process)
  self.asking = Asking.new(self.own, function(channel, message)
    return self:notify_channel(channel, message)
  end)
  self.state = { type = "rille.layer", up = false, why = UNKNOWN }
  outside.serve(function()
    self:hear_workers()
  end)
  if leader == self.own then
    Leader(self):start()
  else
    self:tell_worker(leader, { type = "rille.hello", from = self.own })
  end
end

-- Between the process's workers

--- A message for a worker's own channel.
function Postgres:tell_worker(prefix, message)
  layer.send(Asking.channel(prefix), messages.encode(message, 1))
end

function Postgres:tell_workers(message)
  self:take_own(message)
  for _, prefix in ipairs(self.others) do
    self:tell_worker(prefix, message)
  end
end

--- What came to this worker's own channel: of another worker here, or a question of another
--- process.
function Postgres:take_own(message)
  if message.type == "rille.layer" and message.up then
    outside.up()
    for channel in pairs(self.queues_here.open) do
      self.queues_here:look(channel)
    end
  elseif message.type == "rille.layer" then
    outside.down(message.why)
  elseif message.type == "rille.hello" and self.state.why ~= UNKNOWN then
    self:tell_worker(message.from, self.state)
  elseif message.type == "rille.queue" then
    self.queues_here:look(message.channel)
  elseif message.type == "rille.missed" then
    layer.tell_members()
    self:miss_log()
  elseif message.type == "rille.log" then
    if self.log then
      self.log:hear(message.group, message.note)
    end
  else
    self.asking:take(message)
  end
end

---@async
function Postgres:hear_workers()
  local channel = layer.new_channel(Asking.NAME)
  while true do
    local encoded = layer.take(channel)
    if encoded then
      self:safely("take_own", messages.decode(encoded))
    else
      errors.check(layer.await_message(channel))
    end
  end
end

-- Groups

---@async
---@param changes rille.layer.Changes
function Postgres:afollow(changes)
  local function names(groups, channels)
    local list = {}
    for _, group in ipairs(groups) do
      list[#list + 1] = "g:" .. group
    end
    for _, channel in ipairs(channels) do
      list[#list + 1] = "q:" .. channel
    end
    return list
  end
  local function run(sql, ...)
    self.db:_arun(sql, { n = select("#", ...), ... })
  end
  local open = self.queues_here.open
  local come = names(changes.joined, changes.opened)
  if changes.all then
    come[#come + 1] = self.own
    for group in pairs(self.log and self.log.followed or {}) do
      come[#come + 1] = "h:" .. group
    end
    run(self.sql.follow_all, self.own, self.process, database.array(come))
    self:miss_log()
    for channel in pairs(open) do
      open[channel] = nil
    end
  else
    local gone = names(changes.left, changes.closed)
    if #gone > 0 then
      run(self.sql.unfollow, self.own, database.array(gone))
    end
    if #come > 0 then
      run(self.sql.follow, self.own, self.process, database.array(come))
    end
  end
  for _, channel in ipairs(changes.closed) do
    open[channel] = nil
  end
  for _, channel in ipairs(changes.opened) do
    open[channel] = true
    self.queues_here:look(channel)
  end
end

---@return rille.layer.Log
function Postgres:open_log()
  self.log = Log(self)
  return self.log
end

--- What was added to logs may have been missed.
function Postgres:miss_log()
  if self.log then
    self.log:miss()
  end
end

---@async
---@param group string
---@param channel string
function Postgres:agroup_add(group, channel)
  if not self.asking:aplace("join", group, channel) then
    Backend.agroup_add(self, group, channel)
  end
end

---@async
---@param group string
---@param channel string
function Postgres:agroup_discard(group, channel)
  self.asking:aplace("leave", group, channel)
end

---@async
---@param group string
---@return string[]
function Postgres:agroup_members(group)
  local workers = self:attempt(function()
    return self.db:_arun(self.sql.workers, { n = 2, "g:" .. group, self.process })
  end)
  return self.asking:amembers(group, function(message)
    local asked = 0
    for _, row in ipairs(workers) do
      asked = asked + self:notify_channel(Asking.channel(row.worker), message)
    end
    return asked
  end)
end

---@async
---@param group string
---@return integer
function Postgres:agroup_count(group)
  return #self:agroup_members(group)
end

-- Sending

--- To a channel of another process's worker. -> how many have been told: one, or none
---@async
function Postgres:notify_channel(channel, message)
  return self:attempt(function()
    local name = channel:match("^[^!]*!")
    return self.sender:asend(name, "c", channel, messages.pack(message))
  end)
end

---@async
---@param channel string
---@param message table
function Postgres:asend(channel, message)
  if channel:find("!", 1, true) then
    if self:notify_channel(channel, message) == 0 then
      outside.drop_unheard(channel)
    end
    return
  end
  local there = self:attempt(function()
    return self.queues_here:aput(channel, messages.pack(message), self.settings)
  end)
  if not there then
    outside.drop(1, "full", ("channel %s is full"):format(channel))
  end
end

---@async
---@param group string
---@param message table
function Postgres:agroup_send(group, message)
  self:attempt(function()
    self.sender:asend("g:" .. group, "g", group, messages.pack(message))
  end)
end

-- The end

--- Nothing of this worker stays, and of its process nothing when it is the last.
---@async
function Postgres:astop()
  if not outside.is_up() then
    return
  end
  self.db:atomic(function()
    self.db:_arun(self.sql.leave_alone, { n = 1, self.process })
    self.db:_arun(self.sql.leave, { n = 1, self.own })
    self.db:_arun(self.sql.leave_last, { n = 1, self.process })
  end)
end

return Postgres
