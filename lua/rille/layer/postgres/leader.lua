--- The worker that listens for its process: it keeps the process known to others, hears what they
--- say to it, and hands that on to all the process's workers.

local Backend = require("rille.layer.backend")
local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local messages = require("rille.layer.message")
local outside = require("rille.layer.outside")
local sync = require("rille.sync")
local task = require("rille.task")

local base64 = core.base64

local ALIVE = 15 -- seconds at most between signs of life
local AGAIN = { 0.1, 5 } -- seconds between attempts to be there: first, and at most
local TRIES = 3 -- to look up a long message

---@class rille.layer.postgres.Leader : rille.Class
---@field layer rille.layer.postgres.Postgres
---@field ear rille.core.DatabaseEar
---@field hears boolean         is its channel listened to?
---@field heard_itself boolean  since the last sign of life
---@field filled table<string, true>  channels of which the workers are told at the end of the turn
local Leader = class("Leader")

---@param layer rille.layer.postgres.Postgres
function Leader:init(layer)
  self.layer = layer
  self.news, self.filled = sync.event(), {}
end

--- Begin; nobody waits for the connection here.
function Leader:start()
  self:open_ear()
  outside.serve(function()
    self:stay()
  end)
end

---@async
---@return rille.db.Row[]
function Leader:run(name, ...)
  return self.layer.db:_arun(self.layer.sql[name], { n = select("#", ...), ... })
end

-- Being there

--- There is something in a channel: told once for all that is said in a turn.
function Leader:tell_of_queue(channel)
  if not next(self.filled) then
    outside.serve(function()
      local filled = self.filled
      self.filled = {}
      for name in pairs(filled) do
        self.layer:tell_workers { type = "rille.queue", channel = name }
      end
    end)
  end
  self.filled[channel] = true
end

--- The layer is there, or not; why, of each attempt.
function Leader:set_up(up, why)
  local is_new = self.layer.state.up ~= up
  self.layer.state = { type = "rille.layer", up = up, why = why }
  if is_new then
    self.layer:tell_workers(self.layer.state)
  elseif not up then
    outside.down(why)
  end
end

--- Something has been missed, by anybody here.
function Leader:miss(n, why)
  outside.drop(n, "lost", why)
  self.layer:tell_workers { type = "rille.missed" }
end

function Leader:open_ear()
  local ear, err = core.db.ear(self.layer.db.handle, self.layer.sql.channel .. self.layer.process)
  if not ear then
    error(err, 0)
  end
  self.ear, self.hears = ear, false
  outside.serve(function()
    self:listen(ear)
  end)
end

--- Hear what is said to this process, for as long as the ear is open.
---@async
function Leader:listen(ear)
  for kind, payload, missed in core.db.ear_next, ear do
    if missed then
      self:miss(missed, "more was said than there is room for")
    end
    if kind == "said" then
      Backend.safely(self, "take", payload)
    else
      self.hears = kind == "heard"
      if not self.hears then
        self:set_up(false, payload)
      end
      self.news:set()
    end
  end
end

---@async
function Leader:create_tables()
  if self:run("are_there")[1].there then
    return
  end
  local ok, err = pcall(self.layer.db.atomic, self.layer.db, function()
    self:run("create_alone")
    for _, sql in ipairs(self.layer.sql.tables) do
      self.layer.db:_arun(sql, { n = 0 })
    end
  end)
  if ok then
    core.log("info", ("layer %s: created its tables"):format(self.layer.options.name))
  elseif errors.is_error(err, errors.ProgrammingError) then
    local told = "its tables are missing and cannot be created (%s); whoever may create them has "
      .. "`rille run` do it once, with this layer"
    error(errors.OperationalError(told:format(err.message)), 0)
  else
    error(err, 0)
  end
end

--- Be there, for others to see.
---@async
function Leader:arrive()
  self:create_tables()
  self:run("register", self.layer.process, self.layer.settings.group_expiry)
  self.heard_itself = true
end

--- Say that we are still there, and sweep up what nobody wants any more.
---@async
function Leader:live_on()
  if not self.heard_itself then
    core.db.ear_close(self.ear)
    self:open_ear()
    error(errors.OperationalError("what it says is not heard any more"), 0)
  end
  self.heard_itself = false
  local rows = self:run("go_on", self.layer.process, self.layer.settings.group_expiry)
  if #rows == 0 then
    error(errors.OperationalError("it was away for too long, and has been forgotten"), 0)
  end
  for name in pairs(self.layer.sql) do
    if name:find("^sweep_") then
      self:run(name)
    end
  end
  self.layer:tell_workers(self.layer.state) -- should one of them not have heard
end

--- Wait for news of the connection, for at most so many seconds.
---@async
function Leader:rest(seconds)
  pcall(task.atimeout, seconds, function()
    self.news:await()
  end)
  core.task.may_wait() -- raises if it was us who was cancelled
  self.news:clear()
end

--- Be there while we are heard, and say so.
---@async
function Leader:stay()
  local again = AGAIN[1]
  while true do
    local step = self.layer.state.up and self.live_on or self.arrive
    local ok, err = true, nil
    if self.hears then
      ok, err = pcall(step, self)
    end
    if not ok and not errors.is_error(err, errors.DatabaseError) then
      error(err, 0) -- cancelled, or a mistake of ours
    elseif not ok then
      self:set_up(false, err.message)
      again = math.min(2 * again, AGAIN[2])
    elseif self.hears then
      self:set_up(true)
      again = AGAIN[1]
    end
    local alive = math.min(self.layer.settings.group_expiry / 3, ALIVE)
    self:rest(ok and alive or again * (0.5 + core.random()))
  end
end

-- Hearing

--- What a notification stands for. nil: it could not be had
---@async
function Leader:fetch(id)
  for i = 1, TRIES do
    local ok, rows = pcall(self.layer.db._arun, self.layer.db, self.layer.sql.fetch, { n = 1, id })
    if ok and rows[1] then
      return rows[1].body
    elseif ok then
      outside.drop(1, "expired", "a message had waited for too long when it was looked up")
      return nil
    elseif not errors.is_error(rows, errors.DatabaseError) then
      error(rows, 0)
    elseif i == TRIES then
      self:miss(1, "a message cannot be looked up: " .. rows.message)
    end
    task.asleep(AGAIN[1])
  end
end

--- What was said to this process: a number, and "g" or "c", whom it is for, and the message; in
--- capitals, where that is found. "q": there is something in a channel; "h": in a group's history;
--- "e": our own echo.
---@async
function Leader:take(payload)
  local kind, target, rest = payload:match("^%d+ (%a)(%S*) ?(.*)$")
  if kind == "e" then
    self.heard_itself = true
    return
  elseif kind == "q" then
    self:tell_of_queue(target)
    return
  elseif kind == "h" then
    self.layer:tell_workers { type = "rille.log", group = target, note = rest }
    return
  end
  local body
  if kind == "G" or kind == "C" then
    body = self:fetch(rest)
    if not body then
      return
    end
  else
    body = base64.decode(rest)
  end
  local message, why = messages.unpack(body or "")
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. why)
  elseif kind:lower() == "g" then
    outside.deliver_to_all(target, message)
  elseif target == self.layer.asking.name then
    self.layer.asking:take(message)
  else
    outside.deliver_or_drop(target, message)
  end
end

return Leader
