--- The layer beyond this process: which backend there is, and what holds for every one of them.
---
--- Here is the policy: whether a send waits for a lost connection, when groups are told of, what
--- is logged and counted, who hears that something may have been missed. How messages travel is
--- the backend's (`rille.layer.backend`), which calls the second half of this file.

local core = require("rille.core")
local errors = require("rille.errors")
local messages = require("rille.layer.message")
local task = require("rille.task")

local layer = core.layer

local M = {}

--- Seconds: that the start waits for a connection, that the end may take, and between lines in the
--- log that say the same.
local START, STOP, TELL_EVERY = 2, 2, 10

--- Scheme to backend: the class, or the name of its module.
---@type table<string, string|rille.layer.Backend>
M.schemes = {
  postgres = "rille.layer.postgres",
  postgresql = "rille.layer.postgres",
  redis = "rille.layer.redis",
  rediss = "rille.layer.redis",
  ["redis+unix"] = "rille.layer.redis",
  ["redis+sentinel"] = "rille.layer.redis",
  ["rediss+sentinel"] = "rille.layer.redis",
}

---@type rille.layer.Backend?  nil: this process is alone
M.backend = nil

--- Where groups keep their history for all processes; nil: in memory, each process for itself.
---@type rille.layer.Histories?
M.histories = nil

---@type rille.layer.Options?
local options
local started = false
local is_up, was_up, fresh = false, false, false
---@type rille.Task?
local follower
---@type number?  when the connection was lost
local down_since
---@type table<string, true>  groups that the backend is being told of
local in_flight = {}

-- Settings

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function misconfigured(text, ...)
  error(errors.ConfigurationError(text:format(...)), 0)
end

local function known_schemes()
  local names = { "memory:" }
  for scheme in pairs(M.schemes) do
    names[#names + 1] = scheme .. ":"
  end
  table.sort(names)
  return table.concat(names, ", ")
end

---@return rille.layer.Backend
local function class_of(scheme)
  local found = M.schemes[scheme]
  return type(found) == "string" and require(found) or found
end

--- What a URL asks for, checked; nil for `memory:`. Raises `ConfigurationError`.
---@param url string
---@return rille.layer.Options?
function M.parse(url)
  if url == "memory:" then
    return nil
  end
  local scheme = url:match("^(%a[%w+.-]*):")
  if not scheme or not M.schemes[scheme] then
    local got = scheme and ("this version has no layer %s:"):format(scheme) or "a URL expected"
    misconfigured("layer: %s; there are %s", got, known_schemes())
  end
  local head, text = url:match("^([^?]*)%??(.*)$")
  local query = {}
  for word in text:gmatch("[^&]+") do
    local name, value = word:match("^([^=]*)=?(.*)$")
    query[unescape(name)] = unescape(value)
  end
  local outage, seconds = query.outage or "fail", query.outage_timeout or "5"
  if outage ~= "fail" and outage ~= "wait" then
    misconfigured("layer: outage is fail or wait, not '%s'", outage)
  end
  local timeout = tonumber(seconds)
  if not (timeout and timeout > 0 and timeout <= 3600) then
    misconfigured("layer: outage_timeout is seconds, above 0 and at most 3600, not '%s'", seconds)
  end
  query.outage, query.outage_timeout = nil, nil
  local parsed = {
    url = url,
    name = head:gsub("//[^,]*@", "//"),
    scheme = scheme,
    query = query,
    outage = outage,
    outage_timeout = timeout,
  }
  class_of(scheme).check(parsed)
  return parsed
end

--- Can groups keep their history there? Each process would count for itself. Raises
--- `ConfigurationError`.
---@param parsed rille.layer.Options?
---@param rules rille.core.HistoryRule[]
function M.check_histories(parsed, rules)
  if parsed and rules[1] and not class_of(parsed.scheme).has_logs then
    local told = "layer: groups that keep their history (%s%s) need a layer that does so, too; "
      .. "%s: does not, memory: does"
    misconfigured(told, rules[1].name, rules[1].open and "*" or "", parsed.scheme)
  end
end

-- The log

local told = {}

--- A warning, and at most one of its kind in ten seconds: the next says how many there were.
---@param kind string
---@param text string
local function tell(kind, text)
  local last = told[kind] or { n = 0, at = -TELL_EVERY }
  told[kind] = last
  last.n = last.n + 1
  if core.now() - last.at < TELL_EVERY then
    return
  end
  local more = last.n > 1 and (" (%d times)"):format(last.n) or ""
  core.log("warn", ("layer %s: %s%s"):format(options.name, text, more))
  last.n, last.at = 0, core.now()
end

-- Starting and stopping

--- Tell the backend once of everything or of what has changed since the last time.
---@async
local function follow_once()
  local all = fresh
  fresh = false
  local joined, left, opened, closed = layer.changes()
  if all then
    left, closed = {}, {}
    joined, opened = layer.present()
  end
  if not all and #joined + #left + #opened + #closed == 0 then
    return layer.await("changes")
  end
  for _, group in ipairs(joined) do
    in_flight[group] = true
  end
  local changes = { joined = joined, left = left, opened = opened, closed = closed, all = all }
  local ok, err = pcall(function()
    if M.histories then
      M.histories:afollow(joined, left)
    end
    M.backend:afollow(changes)
  end)
  in_flight = {}
  if ok and all and was_up then
    layer.tell_members()
  end
  was_up = was_up or ok
  if not ok then
    fresh = true
    if is_up then
      tell("follow", "cannot follow groups: " .. core.describe(err))
      task.asleep(1)
    end
  end
  layer.ring("round")
end

---@async
local function follow()
  while true do
    if is_up then
      follow_once()
    else
      layer.ring("round") -- nobody need wait for it now
      layer.await("state")
    end
  end
end

--- Wait for the connection, for so many seconds.
---@async
---@return boolean  is it there?
local function await_up(seconds)
  pcall(task.atimeout, seconds, function()
    while not is_up do
      layer.await("state")
    end
  end)
  core.task.may_wait() -- raises if it was us who was cancelled
  return is_up
end

--- Which groups keep their history, from now on: where the backend keeps it, or in memory.
---@param parsed rille.layer.Options?  what joins the processes, or will
---@param rules rille.core.HistoryRule[]
function M.set_histories(parsed, rules)
  local alone = not parsed -- before the start; a reload changes no layer
  if started then
    alone = not M.backend
  end
  layer.rules(alone and rules or {})
  if M.histories then
    M.histories:set_rules(rules)
  elseif M.backend and rules[1] then
    M.histories = require("rille.layer.histories")(M.backend:open_log(), rules)
    M.histories:set_rules(rules)
  end
end

--- Begin, on this worker. Returns when there is a connection, or soon.
---@async
---@param parsed rille.layer.Options?
---@param rules rille.core.HistoryRule[]?  which groups keep their history
function M.start(parsed, rules)
  started = true
  if not parsed then
    return
  end
  options = parsed
  M.backend = class_of(options.scheme)(options)
  layer.open()
  M.set_histories(parsed, rules or {})
  local class = class_of(options.scheme)
  if class.presences then
    require("rille.presence").share(class.presences(options))
  end
  M.backend:astart()
  follower = M.serve(follow)
  if not await_up(START) then
    was_up = true -- who joins before there is a connection may miss something
    tell("start", "not reached yet; serving without it")
  end
end

--- The end: whoever else is there should not wait for us.
---@async
function M.stop()
  if not M.backend then
    return
  end
  local ok, err = pcall(task.atimeout, STOP, function()
    follower:cancel()
    pcall(follower.ajoin, follower)
    M.backend:astop()
    if M.histories then
      M.histories:close()
    end
    require("rille.presence").close()
  end)
  if not ok and is_up then
    tell("stop", "traces of this worker may be left: " .. core.describe(err))
  end
end

---@return string?  what is in use, to compare with; not for messages
function M.url()
  return options and options.url
end

-- Sending

--- Wait for a lost connection as the settings say; raise when there is none then.
---@async
local function require_connection()
  if is_up or (options.outage == "wait" and await_up(options.outage_timeout)) then
    return
  end
  layer.count_up("refused", 1)
  tell("refused", "messages are refused, there is no connection")
  error(errors.LayerError(("the layer %s cannot be reached"):format(options.name)), 0)
end

--- Through the backend, which exists.
---@async
---@param method "asend"|"agroup_send"
---@param name string
---@param message table
function M.send(method, name, message)
  require_connection()
  M.backend[method](M.backend, name, message)
  layer.count_up("sent", 1)
end

--- Have a channel of another process join or leave a group, through the backend, which exists.
---@async
---@param method "agroup_add"|"agroup_discard"
---@param group string
---@param channel string
function M.place(method, group, channel)
  require_connection()
  M.backend[method](M.backend, group, channel)
end

--- Is a channel for the backend to reach?
---@param channel string
---@return boolean
function M.reaches(channel)
  local backend = M.backend
  if not backend then
    return false
  end
  return not layer.has(channel) or (backend.queues and not channel:find("!", 1, true))
end

--- A group was joined: return when messages of other processes come, or cannot for now.
---@async
---@param group string
function M.settle(group)
  while M.backend and is_up and (fresh or in_flight[group] or layer.is_changing(group)) do
    layer.await("round")
  end
end

-- What backends call

--- Have a function run as a task that belongs to no consumer and survives reloads. It is cancelled
--- after `on_stop`. What it raises is logged; it is not started again.
---@param fn async fun()
---@return rille.Task
function M.serve(fn)
  return core.task.serve(fn)
end

--- The connection is there, or there again.
function M.up()
  if is_up then
    return
  end
  is_up, fresh = true, true
  layer.up(true)
  if down_since then
    core.log("info", ("layer %s: back after %.1f s"):format(options.name, core.now() - down_since))
  end
  down_since = nil
  layer.ring("state")
  layer.ring("changes")
end

--- It is lost, or could not be had; why, for the log. To be said of each attempt.
---@param why string
function M.down(why)
  if is_up then
    is_up = false
    down_since = core.now()
    layer.up(false)
    layer.count_up("outages", 1)
    core.log("warn", ("layer %s: the connection is lost: %s"):format(options.name, why))
    layer.ring("state")
    layer.ring("changes")
    layer.ring("round")
    return
  end
  tell("down", "cannot be reached: " .. why)
end

---@return boolean
function M.is_up()
  return is_up
end

--- What others have sent is theirs to get wrong.
local function encode_theirs(message)
  local ok, body, text, bytes = pcall(messages.encode, message, 1)
  if ok then
    return body, text, bytes
  end
  layer.count_up("malformed", 1)
  tell("malformed", "a message of another process is dropped: " .. tostring(body))
end

local function deliver(send, name, message)
  local body, text, bytes = encode_theirs(message)
  if not body then
    return 0, 1, true
  end
  layer.count_up("received", 1)
  local ok, delivered, dropped = pcall(send, name, body, text, bytes)
  if ok then
    return delivered, dropped
  end
  layer.count_up("malformed", 1)
  tell("malformed", "a message of another process is dropped: " .. tostring(delivered))
  return 0, 1, true
end

--- A message of another process for this worker's members of a group.
---@param group string
---@param message table
---@return integer delivered
---@return integer dropped
function M.deliver_group(group, message)
  return deliver(layer.group_send_here, group, message)
end

--- The same for those of all this process's workers, of a backend that hears once for them.
---@param group string
---@param message table
---@return integer delivered
---@return integer dropped
function M.deliver_to_all(group, message)
  return deliver(layer.group_send, group, message)
end

--- A message of another process for a channel of this process.
---@param channel string
---@param message table
---@return integer delivered  1 also when it is on its way to another worker
---@return integer dropped    0, and 0 delivered: nobody has it
---@return boolean? malformed  nobody could have had it: it has been counted and told of
function M.deliver(channel, message)
  return deliver(layer.send, channel, message)
end

--- A line for the log, which also backends have some of.
M.tell = tell

--- So many messages are known to be lost, and why: what they are counted under, and what the log
--- says.
---@param n integer
---@param reason "full"|"expired"|"unheard"|"malformed"|"lost"
---@param why string
function M.drop(n, reason, why)
  layer.count_up(reason, n)
  tell(reason, why)
end

--- Nobody has the channel that a message was for.
---@param channel string
function M.drop_unheard(channel)
  M.drop(1, "unheard", ("nobody has the channel %s"):format(channel))
end

--- As `deliver`, of a message that nobody keeps until somebody has the channel.
---@param channel string
---@param message table
function M.deliver_or_drop(channel, message)
  local delivered, dropped = M.deliver(channel, message)
  if delivered + dropped == 0 then
    M.drop_unheard(channel)
  end
end

--- All groups with members on this worker, and the open channels with names of their own.
M.present = layer.present

--- What the names of this process's channels begin with, this worker's first: "specific.<32
--- hexadecimal digits>!". Behind it is what the worker knows a channel by.
M.prefixes = layer.prefixes

--- Is the channel of this process?
M.is_ours = layer.has

return M
