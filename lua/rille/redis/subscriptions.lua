--- A link that subscribes; see `rille.redis`.
---
--- What is wanted is kept here, and what the server does for us follows it: after a reconnect all
--- of it is subscribed again before the link counts as up. What was said meanwhile is lost, since
--- Redis keeps nothing; whoever reads hears of the gap where it was.

local Link = require("rille.redis.link")
local core = require("rille.core")
local errors = require("rille.errors")

local wires, task = core.redis, core.task

local AT_ONCE = 500 -- names in one command
local IN_A_ROW = 128 -- messages that were there already, before others have their turn
local FOR_EVER = 1e9 -- seconds
local OPPOSITE = { subscribe = "unsubscribe", psubscribe = "punsubscribe" }

---@class rille.redis.Subscriptions : rille.redis.Link
local Subscriptions = Link:extend("rille.redis.Subscriptions")

function Subscriptions:init(settings, options)
  Link.init(self, settings, options)
  self._wanted = { subscribe = {}, psubscribe = {} } -- sets of names
  self._reading = nil -- the wire that messages are taken from
  self._seen = 1 -- which connection that was, counted as `connects`
  self._held = nil -- a message behind a gap that was told
  self._row = 0
end

--- Those of the names that are wanted still, or that are not any more.
local function only(names, set, wanted)
  local out = {}
  for _, name in ipairs(names) do
    if (set[name] ~= nil) == wanted then
      out[#out + 1] = name
    end
  end
  return out
end

--- In as many commands as it takes. -> true | nil, error
local function ask(wire, seconds, verb, names)
  for first = 1, #names, AT_ONCE do
    local some = { unpack(names, first, math.min(first + AT_ONCE - 1, #names)) }
    local ok, err = wires.subscription(wire, seconds, verb, some)
    if not ok then
      return nil, err
    end
  end
  return true
end

--- What is wanted, on a new wire.
function Subscriptions:_greet(wire)
  for verb, set in pairs(self._wanted) do
    local names = {}
    for name in pairs(set) do
      names[#names + 1] = name
    end
    local ok, err = ask(wire, self.patience, verb, names)
    if not ok then
      error(err, 0)
    end
  end
  if self._connects == 0 then
    self._reading = wire -- from now on, also if nobody asks before it breaks
  end
end

--- What nobody has taken of a connection that nobody reads is lost.
function Subscriptions:_drop(wire)
  if wire ~= self._reading then
    self._dropped = self._dropped + wires.figures(wire).queued
  end
  Link._drop(self, wire)
end

local function subscribe(self, verb, names)
  local set = self._wanted[verb]
  for _, name in ipairs(names) do
    set[name] = true
  end
  local ok, err = pcall(self._run, self, self.patience, function(wire, seconds)
    return ask(wire, seconds, verb, only(names, set, true))
  end)
  if ok then
    return
  end
  if not errors.is_error(err, errors.RedisUnavailable) then -- refused, or we gave up
    for _, name in ipairs(names) do
      set[name] = nil
    end
  end
  error(err, 0)
end

local function unsubscribe(self, verb, names)
  local set = self._wanted[verb]
  for _, name in ipairs(names) do
    set[name] = nil
  end
  local wire = self._wire
  if wire then -- else the next one never hears of them
    local _, err = ask(wire, self.patience, OPPOSITE[verb], only(names, set, false))
    if err and not errors.is_error(err, errors.RedisUnavailable) then
      error(err, 0)
    end
  end
end

--- Subscribe; waits for the server to confirm. What is subscribed is so again after every
--- reconnect. When it raises for want of a connection the wish stands all the same.
---@async
---@param ... string
function Subscriptions:asubscribe(...)
  subscribe(self, "subscribe", { ... })
end

---@async
---@param ... string
function Subscriptions:aunsubscribe(...)
  unsubscribe(self, "subscribe", { ... })
end

---@async
---@param ... string  glob patterns
function Subscriptions:apsubscribe(...)
  subscribe(self, "psubscribe", { ... })
end

---@async
---@param ... string
function Subscriptions:apunsubscribe(...)
  unsubscribe(self, "psubscribe", { ... })
end

--- A wire to read from, and whether there is a gap in front of it. nil: the link is closed.
function Subscriptions:_source()
  while not self._reading do
    if self._wire then
      local gap = self._connects > self._seen
      self._reading, self._seen = self._wire, self._connects
      return self._reading, gap
    elseif self._closed then
      return nil
    end
    self._bell:await(FOR_EVER)
  end
  return self._reading, false
end

--- The next message; one task may wait at a time, and it waits through reconnects. A "gap" says
--- that messages may be missing here: the connection was lost and everything is subscribed again,
--- or the queue was full; then `channel` is how many were dropped.
---@async
---@return "message"|"gap"|nil kind  nil: the link was closed
---@return string|integer|nil channel
---@return string? payload
---@return string? pattern
function Subscriptions:anext()
  self._row = self._row + 1
  if self._row % IN_A_ROW == 0 then
    task.sleep(0)
  end
  local held = self._held
  if held then
    self._held = nil
    return "message", unpack(held, 1, 3)
  end
  while true do
    local wire, gap = self:_source()
    if not wire then
      return nil
    elseif gap then
      return "gap"
    end
    local channel, payload, pattern, missed = wires.next(wire)
    if missed then
      self._held = { channel, payload, pattern }
      return "gap", missed
    elseif channel then
      return "message", channel, payload, pattern
    end
    if not errors.is_error(payload, errors.RedisUnavailable) then -- we are not to wait any more
      error(payload, 0)
    end
    self._reading = nil
    if self._wire == wire then
      self._wire = nil -- the link's task has yet to hear of it
    end
  end
end

return Subscriptions
