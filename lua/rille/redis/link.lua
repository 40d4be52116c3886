--- One connection to a Redis at a time, and a task that keeps it; see `rille.redis`.

local class = require("rille.class")
local connect = require("rille.redis.connect")
local core = require("rille.core")
local errors = require("rille.errors")
local new_bell = require("rille.redis.bell")

local wires, task = core.redis, core.task

local DEFAULT_QUEUE = 10000
local READ_ONLY = "READONLY" -- what a master says that is none any more
local BACKOFF_FIRST, BACKOFF_MOST = 0.1, 5 -- seconds; as the pools of databases

---@class rille.redis.Options
---@field name string?         for the log and, with CLIENT SETNAME, the server; default "rille"
---@field outage ("fail"|"wait")?  commands while there is no connection raise at once, or wait for
---                            one for as long as their patience lasts; default "wait"
---@field patience number?     seconds for a command, waiting included; default the URL's `timeout`
---@field subscriber boolean?
---@field queue integer?       a subscriber's messages that nobody has taken, at most; default 10000
---@field on_up (async fun(link: rille.redis.Link, again: boolean))?  it is there; runs ahead
---                            of commands that wait, on a link that works already
---@field on_down fun(err: rille.RedisUnavailable)?  the connection broke, or the first attempt
---                            failed: once per outage
---@field on_outcome fun(note: string, err: rille.RedisError?)?  see `apost`

---@class rille.redis.Stats
---@field up boolean
---@field connects integer      so far
---@field failures integer      to connect, since it was last connected
---@field pending integer       commands without a reply
---@field queued integer        messages that nobody has taken
---@field dropped integer       messages that found the queue full, so far
---@field abandoned integer     replies that nobody waited for any more, so far
---@field where string          the server that it is, or was last, connected to
---@field last_error string?    of the present outage

---@class rille.redis.Link : rille.Class
---@field settings rille.redis.Settings
---@field name string
---@field patience number       seconds
---@field protected _wire rille.core.redis.Wire?  while it is up
---@field protected _connects integer
---@field protected _closed boolean
local Link = class("rille.redis.Link")

local function unavailable(message)
  return errors.RedisUnavailable(message, { may_have_run = false })
end

---@param settings rille.redis.Settings
---@param options rille.redis.Options
function Link:init(settings, options)
  self.settings = settings
  self.name = options.name or "rille"
  self.patience = options.patience or settings.timeout
  self._fails_fast = options.outage == "fail"
  self._queue = options.queue or DEFAULT_QUEUE
  self._on_up, self._on_down = options.on_up, options.on_down
  self._on_outcome = options.on_outcome
  self._trusted = {} -- kind of command to the wire that one was confirmed on
  self._wire = nil
  self._where = settings.display
  self._connects, self._failures = 0, 0
  self._dropped, self._abandoned = 0, 0 -- of the connections before this one
  self._why = nil -- rille.RedisUnavailable of the present outage
  self._warned = false -- the log has told of the present outage
  self._closed = false
  self._bell = new_bell() -- rings when it goes up, and when it is closed
  self._task = nil
  self._digests = {} -- of scripts, as the server calls them
end

--- The present connection

--- Forget a wire that is of no use any more.
function Link:_drop(wire)
  local figures = wires.figures(wire)
  self._dropped = self._dropped + figures.dropped
  self._abandoned = self._abandoned + figures.abandoned
  wires.close(wire)
  if self._wire == wire then
    self._wire = nil
  end
end

--- The wire, once there is one. Raises when there is none within `seconds`, or at once if the link
--- is closed or does not wait.
---@async
---@param seconds number
---@param patiently boolean?  wait even if the link does not
---@return rille.core.redis.Wire
---@return number left  seconds
function Link:_await(seconds, patiently)
  if self._wire then
    return self._wire, seconds
  elseif not self._closed and (patiently or not self._fails_fast) then
    task.sleep(0) -- the loop's clock stands still while we run
    local deadline = core.now() + seconds
    while not self._wire and not self._closed and core.now() < deadline do
      self._bell:await(deadline - core.now())
    end
    seconds = deadline - core.now()
  end
  if self._wire then
    return self._wire, math.max(seconds, 0.001)
  elseif self._closed then
    error(unavailable("Redis: the link was closed"), 0)
  end
  local why = self._why and self._why.message or "Redis: not connected yet"
  error(unavailable(why .. " (the command was not sent)"), 0)
end

--- Run an operation of the core on the wire; again on the next one as long as the server cannot
--- have heard of it and there is time.
---@async
function Link:_run(seconds, operation, ...)
  local wire
  while true do
    wire, seconds = self:_await(seconds)
    local result, err = operation(wire, seconds, ...)
    if result ~= nil then
      return result
    end
    local unsent = err.may_have_run == false
    if unsent and self._wire == wire then
      self._wire = nil -- the link's task has yet to hear of it
    elseif err.code == READ_ONLY then
      wires.close(wire)
    end
    if not unsent or self._fails_fast then
      error(err, 0)
    end
  end
end

local function reply_of(reply)
  if reply ~= core.null then
    return reply
  end
end

--- Commands

--- One command. Commands of a turn leave together; replies come back in order.
---@async
---@param ... string|number
---@return any reply  nil for a nil reply; inside arrays that is `rille.null`
function Link:acall(...)
  return reply_of(self:_run(self.patience, wires.call, ...))
end

--- Several commands in one go, nothing of others between them. What the server refuses is a
--- `rille.RedisError` in its place.
---@async
---@param commands (string|number)[][]
---@return any[] replies  nil replies are `rille.null`
function Link:apipeline(commands)
  local replies = self:_run(self.patience, wires.pipeline, commands)
  for _, reply in ipairs(replies) do
    if type(reply) == "table" and reply.code == READ_ONLY and self._wire then
      wires.close(self._wire)
    end
  end
  return replies
end

--- A command whose refusal is an answer: a script that is not there, or not allowed.
---@return boolean ok
---@return any reply
function Link:_try(...)
  local ok, reply = pcall(self.acall, self, ...)
  if not ok and reply.code ~= "NOSCRIPT" and reply.code ~= "NOPERM" then
    error(reply, 0)
  end
  return ok, reply
end

--- A command that waits on the server for at most `seconds` (which stand among its arguments, too).
--- It wants a link of its own: whoever calls meanwhile waits behind it. A task that gives up closes
--- the connection, so that nothing is taken from the server for nobody.
---@async
---@param seconds number
---@param ... string|number
---@return any reply
function Link:ablock(seconds, ...)
  return reply_of(self:_run(self.patience + seconds, wires.block, ...))
end

--- Run a script on the server, which is sent there once: EVALSHA, and EVAL when the server does not
--- know it any more, or its user may do nothing else.
---@async
---@param script string
---@param keys string[]
---@param ... string|number
---@return any reply
function Link:aeval(script, keys, ...)
  local words, n = { unpack(keys) }, #keys
  for i = 1, select("#", ...) do
    words[n + i] = (select(i, ...))
  end
  return self:arun(script, n, words)
end

--- The same with everything in one list.
---@async
---@param script string
---@param keys integer  how many of the words are keys: the first
---@param words (string|number)[]
---@return any reply
function Link:arun(script, keys, words)
  local digest = self._digests[script]
  if digest == nil then
    local ok, loaded = self:_try("SCRIPT", "LOAD", script)
    digest = ok and loaded
    self._digests[script] = digest -- false: not allowed
  end
  if digest then
    local ok, reply = self:_try("EVALSHA", digest, keys, unpack(words))
    if ok then
      return reply
    end
  end
  return self:acall("EVAL", script, keys, unpack(words))
end

--- Posting

function Link:_post(kind, note, ...)
  local wire = self._wire
  return wire
    and self._trusted[kind] == wire
    and wires.post(wire, self.patience, note, ...)
end

--- There was a reply to one: the next may be posted.
function Link:_trust(kind, reply)
  self._trusted[kind] = self._wire
  return reply
end

--- A command for whose reply the caller need not wait: it returns when the command is on its way,
--- behind all that was asked before. Waits for the reply all the same, and raises what is wrong, if
--- no other has been confirmed since the link is up, or since one was refused; and if 512 have no
--- reply yet.
---
--- `on_outcome`, without which this is of no use, is told of each that was refused, or that had no
--- reply when the connection broke (it may have run then); and if a note was given, of a reply 0.
---@async
---@param note string?  for `on_outcome`
---@param ... string|number
---@return any reply  nil: nobody waited for it
function Link:apost(note, ...)
  if self:_post("command", note, ...) then
    return nil
  end
  return self:_trust("command", self:acall(...))
end

--- The same of a script.
---@async
---@param note string?
---@param script string
---@param keys integer  how many of the words are keys: the first
---@param words (string|number)[]
---@return any reply
function Link:apost_script(note, script, keys, words)
  local digest = self._digests[script]
  if digest and self:_post(script, note, "EVALSHA", digest, keys, unpack(words)) then
    return nil
  end
  return self:_trust(script, self:arun(script, keys, words))
end

--- Wait until all that was posted has its reply.
---@async
function Link:asettle()
  self:acall("PING")
end

function Link:_tell_outcomes(wire)
  for note, err in wires.outcome, wire do
    if err then
      self._trusted = {}
    end
    self._on_outcome(note, err)
  end
end

-- Its life

---@return boolean
function Link:is_up()
  return self._wire ~= nil
end

--- Wait until it is connected and logged in; raises `rille.RedisUnavailable`.
---@async
---@param seconds number?  default its patience
function Link:aready(seconds)
  self:_await(seconds or self.patience, true)
end

--- Whoever waits on it hears of it. Safe to call twice; never waits.
function Link:close()
  if self._closed then
    return
  end
  self._closed = true
  if self._wire then
    self:_drop(self._wire)
  end
  self._bell:ring()
  task.cancel(self._task)
end

---@return rille.redis.Stats
function Link:stats()
  local figures = self._wire and wires.figures(self._wire)
  return {
    up = self._wire ~= nil,
    connects = self._connects,
    failures = self._failures,
    pending = figures and figures.pending or 0,
    queued = figures and figures.queued or 0,
    dropped = self._dropped + (figures and figures.dropped or 0),
    abandoned = self._abandoned + (figures and figures.abandoned or 0),
    where = self._where,
    last_error = self._why and self._why.message,
  }
end

--- The task that keeps it connected

--- It is connected: what `on_up` does comes before everybody else.
function Link:_up(wire, where)
  local again = self._connects > 0
  self._where = where
  self:_greet(wire)
  if self._on_up then
    self._on_up(setmetatable({ _wire = wire, _fails_fast = true }, { __index = self }), again)
  end
  if self._warned then
    core.log("info", ("Redis (%s): connected to %s again"):format(self.name, where))
  end
  self._connects = self._connects + 1
  self._failures, self._why, self._warned = 0, nil, false
  self._wire = wire
  if self._on_outcome then
    task.serve(function()
      self:_tell_outcomes(wire)
    end)
  end
  self._bell:ring()
end

--- What comes before `on_up`, for those who inherit.
function Link:_greet() end

function Link:_down(err)
  local first = self._why == nil
  self._failures = self._failures + 1
  self._why = err
  if not self._warned and err.detail ~= "given up" then
    self._warned = true
    core.log("warn", ("Redis (%s): %s; trying again"):format(self.name, err.message))
  end
  if first and self._on_down then
    local ok, problem = pcall(self._on_down, err)
    if not ok then
      local text = core.describe(problem)
      core.log("error", ("Redis (%s): on_down failed: %s"):format(self.name, text))
    end
  end
end

--- Wait for the wire's end, for so long. nil: it is there still.
local function await_end(wire, seconds)
  local token = task.deadline(seconds)
  local ok, _, why = pcall(wires.lost, wire)
  local passed = task.undeadline(token)
  why = ok and why or _
  if errors.is_error(why, errors.RedisError) then
    return why
  elseif not passed or errors.is_error(why, errors.Cancelled) then
    error(why, 0)
  end
end

--- Until the wire ends; a server that is silent for long is asked whether it is there.
---@return rille.RedisUnavailable why
function Link:_watch(wire)
  local keepalive = self.settings.keepalive
  while true do
    local why = await_end(wire, keepalive)
    if why then
      return why
    end
    local figures = wires.figures(wire)
    if figures.pending == 0 and figures.silent >= keepalive then
      wires.call(wire, self.settings.timeout, "PING") -- if it fails, so does the wire
    end
  end
end

--- One connection from its beginning to its end.
---@return rille.RedisUnavailable why
function Link:_live()
  local wire, where = connect.aconnect(self.settings, self.name, self._queue)
  if not wire then
    return errors.is_error(where, errors.RedisError) and where or error(where, 0)
  end
  local ok, why = pcall(function()
    self:_up(wire, where)
    return self:_watch(wire)
  end)
  self:_drop(wire)
  if ok or errors.is_error(why, errors.RedisError) then
    return why
  elseif errors.is_error(why, errors.Cancelled) then
    error(why, 0)
  end
  return unavailable("Redis: what is done when it is up failed: " .. core.describe(why))
end

--- For the task that is the link's: until it is closed.
function Link:_keep()
  while not self._closed do
    local why = self:_live()
    if not self._closed then
      self:_down(why)
      task.sleep(core.backoff(self._failures, BACKOFF_FIRST, BACKOFF_MOST))
    end
  end
end

return Link
