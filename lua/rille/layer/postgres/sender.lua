--- What a worker tells other processes: one statement at a time, with all that has gathered since
--- the one before.
---
--- So what one sender sends to one receiver stays in order, and many who send at once cost little
--- more than one. Whoever sends waits for the statement that has his message. A notification has
--- at most 7999 bytes; what is longer is put into a table first, where those who are told of it
--- look it up.

local core = require("rille.core")
local db = require("rille.db")

local base64, task = core.base64, core.task

local NOTE = 7900 -- bytes of one: the rest is for its number
local BATCH, BYTES = 500, 1024 * 1024 -- notes in a statement, and their bytes, at most

---@class rille.layer.postgres.Note
---@field name string  who is told: those who have this name
---@field note string
---@field ticket userdata  of who waits
---@field processes integer?  that were told
---@field err any?

---@class rille.layer.postgres.Sender
---@field waiting rille.layer.postgres.Note[]
local Sender = {}
Sender.__index = Sender

---@param database rille.db.Database
---@param sql rille.layer.postgres.Statements
---@param process string   who is not told
---@param unique string    what the names of long messages begin with
---@param expiry integer   seconds that they are kept
---@return rille.layer.postgres.Sender
function Sender.new(database, sql, process, unique, expiry)
  local self = setmetatable({ db = database, sql = sql, process = process }, Sender)
  self.unique, self.expiry, self.kept = unique, expiry, 0
  self.waiting, self.busy = {}, false
  return self
end

--- Tell those who have a name of a message for one of theirs.
---@async
---@param name string   "g:GROUP", or what a worker's channels begin with
---@param kind "g"|"c"  a group, or a channel
---@param target string  its name
---@param body string
---@return integer processes  that were told
function Sender:asend(name, kind, target, body)
  local note = kind .. target .. " " .. base64.encode(body)
  if #note > NOTE then
    self.kept = self.kept + 1
    local id = self.unique .. self.kept
    self.db:_arun(self.sql.keep, { n = 3, id, db.bytes(body), self.expiry })
    note = kind:upper() .. target .. " " .. id
  end
  local one = { name = name, note = note, ticket = task.ticket() }
  self.waiting[#self.waiting + 1] = one
  if not self.busy then
    self.busy = true
    task.serve(function()
      self:empty()
    end)
  end
  local ok, why = task.await(one.ticket)
  if not ok then
    error(why, 0)
  elseif one.err then
    error(one.err, 0)
  end
  return one.processes
end

--- Those who wait, in two: who comes first, and who has to wait for another statement.
local function split(waiting)
  local batch, rest, bytes = {}, {}, 0
  for _, one in ipairs(waiting) do
    bytes = bytes + #one.note
    local fits = #batch == 0 or (#batch < BATCH and bytes <= BYTES)
    local list = fits and batch or rest
    list[#list + 1] = one
  end
  return batch, rest
end

function Sender:send(batch)
  local numbers, names, notes = {}, {}, {}
  for i, one in ipairs(batch) do
    numbers[i], names[i], notes[i] = i, one.name, one.note
    one.processes = 0
  end
  local told = self.db:_arun(self.sql.send, {
    n = 4,
    self.process,
    db.array(numbers),
    db.array(names),
    db.array(notes),
  })
  for _, row in ipairs(told) do
    local one = batch[row.i]
    one.processes = one.processes + 1
  end
end

--- As long as somebody waits.
---@async
function Sender:empty()
  while #self.waiting > 0 do
    local batch
    batch, self.waiting = split(self.waiting)
    local ok, err = pcall(self.send, self, batch)
    for _, one in ipairs(batch) do
      one.err = not ok and err or nil
      task.wake(one.ticket)
    end
  end
  self.busy = false
end

return Sender
