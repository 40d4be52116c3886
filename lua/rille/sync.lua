--- Between tasks of a worker: queues, semaphores, events. All serve who waits first first; whoever
--- is cancelled while waiting leaves the line and has taken nothing.
---
--- They are values of one Lua state: tasks of another worker are reached through the layer.

local core = require("rille.core")
local errors = require("rille.errors")

local task = core.task

local M = {}

-- A line of those who wait

--- Wait at the end of a line, with what the others should know of it.
---@return any  what was handed over
local function await(line, entry)
  entry.ticket = task.ticket()
  line[#line + 1] = entry
  local ok, value = task.await(entry.ticket)
  if ok then
    return value
  end
  for i, other in ipairs(line) do
    if other == entry then
      table.remove(line, i)
      break
    end
  end
  error(value, 0)
end

--- The first of a line who still waits gets a value, and leaves it.
---@return table?  its entry; nil: nobody waits
local function serve(line, value)
  while line[1] do
    local entry = table.remove(line, 1)
    if task.wake(entry.ticket, value) then
      return entry
    end
  end
end

-- Queues

---@class rille.Queue
---@field private items any[]
---@field private first integer
---@field private last integer
---@field private capacity integer
---@field private givers table[]
---@field private takers table[]
---@field private closed boolean
local Queue = {}
Queue.__index = Queue

--- A queue: values go in at one end, each is taken once at the other.
---@param capacity integer?  values that wait in it; default 1
---@return rille.Queue
function M.queue(capacity)
  capacity = capacity or 1
  if type(capacity) ~= "number" or capacity ~= capacity or capacity < 1 then
    error("queue: a capacity of 1 or more expected, got " .. tostring(capacity), 2)
  end
  return setmetatable({
    items = {},
    first = 1,
    last = 0,
    capacity = capacity,
    givers = {},
    takers = {},
    closed = false,
  }, Queue)
end

function Queue:_push(value)
  self.last = self.last + 1
  self.items[self.last] = value
end

local function check_value(value)
  if value == nil then
    error("a queue holds no nil", 3)
  end
end

--- Put a value in if there is room, or somebody waits for one.
---@param value any  not nil
---@return boolean  false: there is no room, or it is closed
function Queue:put(value)
  check_value(value)
  if self.closed then
    return false
  elseif serve(self.takers, value) then
    return true
  elseif self:len() >= self.capacity then
    return false
  end
  self:_push(value)
  return true
end

--- Put a value in, as soon as there is room. Raises `rille.Closed` when the queue is.
---@async
---@param value any  not nil
function Queue:aput(value)
  check_value(value)
  task.may_wait()
  if self:put(value) then
    return
  end
  if self.closed or not await(self.givers, { value = value }) then
    error(errors.Closed("the queue is closed"), 2)
  end
end

--- Take what is there.
---@return any  nil: nothing
function Queue:get()
  if self.last < self.first then
    return nil
  end
  local value = self.items[self.first]
  self.items[self.first] = nil
  self.first = self.first + 1
  local giver = serve(self.givers, true)
  if giver then
    self:_push(giver.value)
  end
  return value
end

--- Take the next value, as soon as there is one.
---@async
---@return any  nil: it is closed, and empty
function Queue:aget()
  task.may_wait()
  local value = self:get()
  if value == nil and not self.closed then
    value = await(self.takers, {})
  end
  return value
end

--- `for value in queue:aiter() do`: until it is closed, and empty.
---@return async fun(): any
function Queue:aiter()
  return function()
    return self:aget()
  end
end

--- Nothing more goes in; what is in it can be taken. Who waits to put something in gets
--- `rille.Closed`.
function Queue:close()
  self.closed = true
  while serve(self.takers, nil) or serve(self.givers, false) do
  end
end

---@return integer  values that wait to be taken
function Queue:len()
  return self.last - self.first + 1
end

-- Semaphores

---@class rille.Semaphore
---@field private free integer
---@field private line table[]
local Semaphore = {}
Semaphore.__index = Semaphore

--- So many at a time; 1 makes a lock.
---@param count integer
---@return rille.Semaphore
function M.semaphore(count)
  if type(count) ~= "number" or count ~= count or count < 1 then
    error("semaphore: a count of 1 or more expected, got " .. tostring(count), 2)
  end
  return setmetatable({ free = count, line = {} }, Semaphore)
end

--- Wait for one's turn. `release` gives it back; `awith` does both.
---@async
function Semaphore:aacquire()
  task.may_wait()
  if self.free > 0 then
    self.free = self.free - 1
    return
  end
  await(self.line, {})
end

function Semaphore:release()
  if not serve(self.line, true) then
    self.free = self.free + 1
  end
end

--- Run a function in one's turn, whatever becomes of it.
---@async
---@param fn async fun(): ...
---@return any ...  what fn returned
function Semaphore:awith(fn)
  self:aacquire()
  local function finish(ok, ...)
    self:release()
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(fn))
end

-- Events

---@class rille.Event
---@field private is_on boolean
---@field private line table[]
local Event = {}
Event.__index = Event

--- Something that happens once, until it is cleared.
---@return rille.Event
function M.event()
  return setmetatable({ is_on = false, line = {} }, Event)
end

--- It has happened: all who wait go on.
function Event:set()
  self.is_on = true
  while serve(self.line, true) do
  end
end

function Event:clear()
  self.is_on = false
end

---@return boolean
function Event:is_set()
  return self.is_on
end

--- Wait until it has happened.
---@async
function Event:await()
  task.may_wait()
  if not self.is_on then
    await(self.line, {})
  end
end

return M
