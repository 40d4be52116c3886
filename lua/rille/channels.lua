--- Background channels: jobs that consumers without a peer work off, one event each.
---
---     rille.channel("thumbnails", Thumbnails, { concurrency = 4, retry = { times = 3 } })
---     rille.channel_layer:asend("thumbnails", { type = "make", photo = 7 })
---
--- `concurrency` consumers of a process, spread over its workers, take messages from one line; each
--- message goes to one of them. With a layer on Redis the line is filled from there: processes
--- share a channel. A handler that raises is logged and, by `retry`, tried again, here; in the end
--- the message goes to the channel `dead_letter`, or is lost, which the log says. At most once:
--- what a process had in hand or in line when it died is gone, and so is what a drain has cut off.

local Scope = require("rille.scope")
local core = require("rille.core")
local errors = require("rille.errors")
local layer = require("rille.layer")
local routing = require("rille.routing")

local channel, consumer, task = core.channel, core.consumer, core.task
local fail = errors.misconfigured

local M = {}

---@class rille.ChannelRetry
---@field times integer    tries after the first
---@field delay number?    seconds before the first of them; default 1
---@field factor number?   by which each further delay is longer; default 2
---@field max_delay number?  default 300
---@field jitter number?   part of the delay, from 0 to 1, that is random; default 0.1

---@class rille.ChannelOptions
---@field concurrency integer?  events at a time in this process; default 1: in order
---@field capacity integer?     messages that wait in this process; default 100
---@field policy "drop_newest"|"drop_oldest"|nil  for what does not fit; default drop_newest
---@field timeout number?       seconds for an event: then it raises `rille.Timeout` where it waits
---@field retry rille.ChannelRetry?  default: no further try
---@field dead_letter string?   channel that gets what failed for good

---@class rille.DeadLetter  what the channel of dead letters gets
---@field type "dead.letter"
---@field channel string
---@field message table   the one that failed
---@field attempts integer
---@field error string    of the last

local RETRY = { times = 0, delay = 1, factor = 2, max_delay = 300, jitter = 0.1 }
local MOST = { times = 1000, delay = 1e6, factor = 100, max_delay = 1e6, jitter = 1 }

local function check_number(where, name, value, low, high, whole)
  local good = type(value) == "number" and value >= low and value <= high
  if not good or (whole and value % 1 ~= 0) then
    local told = "%s: %s: a %snumber from %g to %g expected, got %s"
    fail(told:format(where, name, whole and "whole " or "", low, high, tostring(value)))
  end
  return value
end

local function read_retry(where, given)
  local retry = {}
  if type(given) ~= "table" then
    fail(("%s: retry is a table, got a %s"):format(where, type(given)))
  end
  for name in pairs(given) do
    if not RETRY[name] then
      fail(("%s: retry has no %q"):format(where, tostring(name)))
    end
  end
  for name, default in pairs(RETRY) do
    local value = given[name] == nil and default or given[name]
    retry[name] = check_number(where, "retry." .. name, value, 0, MOST[name], name == "times")
  end
  return retry
end

local KNOWN = { "concurrency", "capacity", "policy", "timeout", "retry", "dead_letter" }

local function read_options(where, given)
  if type(given) ~= "table" then
    fail(("%s: options are a table, got a %s"):format(where, type(given)))
  end
  local known = {}
  for _, name in ipairs(KNOWN) do
    known[name] = true
  end
  for name in pairs(given) do
    if not known[name] then
      local told = "%s: no option %q; there are %s"
      fail(told:format(where, tostring(name), table.concat(KNOWN, ", ")))
    end
  end
  local policy, dead = given.policy or "drop_newest", given.dead_letter
  if policy ~= "drop_newest" and policy ~= "drop_oldest" then
    fail(("%s: policy is drop_newest or drop_oldest, not %s"):format(where, tostring(policy)))
  elseif dead ~= nil and (type(dead) ~= "string" or not dead:find("^[%w_.-]+$") or #dead > 99) then
    fail(("%s: dead_letter is the name of a channel"):format(where))
  end
  return {
    concurrency = check_number(where, "concurrency", given.concurrency or 1, 1, 10000, true),
    capacity = check_number(where, "capacity", given.capacity or 100, 1, 1e6, true),
    timeout = given.timeout and check_number(where, "timeout", given.timeout, 0.001, 1e9),
    retry = read_retry(where, given.retry or {}),
    policy = policy,
    dead_letter = dead,
  }
end

--- A route: a consumer class for a channel's messages.
---@param name string  1 to 99 letters, digits, hyphens, underscores, dots
---@param class rille.Class  extends Consumer; a message's type says which method answers
---@param options rille.ChannelOptions?
---@return rille.Route
function M.route(name, class, options)
  if type(name) ~= "string" or not name:find("^[%w_.-]+$") or #name > 99 then
    local told = "channel %s: a name has 1 to 99 letters, digits, hyphens, underscores or dots"
    fail(told:format(type(name) == "string" and ("%q"):format(name) or "of type " .. type(name)))
  end
  local where = ("channel %q"):format(name)
  routing.check_background(class, where)
  local read = read_options(where, options or {})
  return { kind = "channel", channel = name, target = class, options = read }
end

-- What runs

---@class rille.ChannelWorker  one consumer of a channel, and the task that feeds it
---@field name string
---@field origin rille.Origin
---@field puller rille.Task
---@field taking boolean   it waits for a message; not: one is under way
---@field stopped boolean?

---@type table<string, { route: rille.Route, workers: rille.ChannelWorker[] }>
local living = {}

---@class rille.ChannelJob
---@field name string   of the channel
---@field body string
---@field done boolean? its handler has returned
---@field error string? or what it raised, in words,
---@field raised any    and as it was

--- Messages under way on this worker, by number.
---@type table<integer, rille.ChannelJob>
local jobs = {}
local last_job = 0

--- A message for a handler; for dispatch. It is the whole of its task.
---@async
---@param self rille.Consumer
---@param event { number: integer }
function M.run(self, event)
  local job = jobs[event.number]
  local one = living[job.name]
  local timeout = one and one.route.options.timeout
  if timeout then
    task.deadline(timeout)
  end
  local ok, err = xpcall(function()
    self:dispatch(layer.decode(job.body))
  end, function(err)
    job.error, job.raised = core.describe(err), err
    return type(err) == "string" and debug.traceback(err, 2) or err
  end)
  if not ok then
    error(err, 0)
  end
  job.done = true
end

local function bury(name, job, attempt, options)
  local why = job.error or "it did not come to an end"
  local told = "channel %s: a message failed %d time%s and is given up: %s"
  core.log("error", told:format(name, attempt, attempt == 1 and "" or "s", why))
  if not options.dead_letter then
    return
  end
  local ok, delivered = pcall(layer.asend, layer, options.dead_letter, {
    type = "dead.letter",
    channel = name,
    message = layer.decode(job.body),
    attempts = attempt,
    error = why,
  })
  if not ok or delivered == 0 then
    local lost = "channel %s: nobody takes its dead letters from %s%s"
    local reason = ok and "" or ": " .. core.describe(delivered)
    core.log("error", lost:format(name, options.dead_letter, reason))
  end
end

--- Try again later, or no more.
local function fail_job(name, job, attempt)
  local one = living[name]
  local options = one and one.route.options or { retry = RETRY }
  local retry = options.retry
  if attempt > retry.times then
    return bury(name, job, attempt, options)
  end
  local delay = math.min(retry.delay * retry.factor ^ (attempt - 1), retry.max_delay)
  delay = delay * (1 - retry.jitter * core.random())
  task.spawn_detached(function()
    if task.sleep(delay) and living[name] then
      channel.put(name, job.body, attempt)
    else
      local told = "channel %s: a message that waited to be tried again is lost at the end"
      core.log("warn", told:format(name))
    end
  end)
end

--- Have a consumer handle a message, to the end.
---@async
---@param id number
---@param name string
---@param body string
---@return rille.ChannelJob
---@return boolean? handled  false: it was cancelled; nil: the consumer leaves
function M.aperform(id, name, body)
  last_job = last_job + 1
  local number = last_job
  local job = { name = name, body = body }
  jobs[number] = job
  local handled = channel.work(id, number)
  jobs[number] = nil
  return job, handled
end

--- Take one message, and see it through.
---@return boolean  false: no more
local function pull(worker)
  worker.taking = true
  local body, attempt = channel.take(worker.name)
  worker.taking = false
  if not body then
    return false
  elseif body == true then
    return not worker.stopped
  end
  local job, handled = M.aperform(worker.origin.scope._id, worker.name, body)
  if job.done then
    return not worker.stopped
  elseif handled == nil then -- it leaves: for another one
    if living[worker.name] then
      channel.put(worker.name, body, attempt)
    end
    return false
  elseif handled == false and worker.stopped then
    return false
  end
  fail_job(worker.name, job, attempt + 1)
  return not worker.stopped
end

--- A consumer of a route, which waits for messages.
---@param route rille.Route
---@return rille.Origin
function M.consumer(route)
  local scope = Scope.background {
    type = "channel",
    channel = route.channel,
    _route = route.channel,
  }
  local origin = { target = route.target, scope = scope }
  scope._id = consumer.background(origin, true)
  return origin
end

local function open(route)
  local worker = { name = route.channel, origin = M.consumer(route), taking = true }
  worker.puller = task.spawn_detached(function()
    while pull(worker) do
    end
  end)
  return worker
end

local function close(worker, why)
  worker.stopped = true
  if worker.taking then
    worker.puller:cancel()
  end
  consumer.close(worker.origin.scope._id, 1012, why)
end

--- This worker's part of so many.
local function share(concurrency)
  local id, count = core.worker.place()
  return math.floor(concurrency / count) + (id < concurrency % count and 1 or 0)
end

--- Have the consumers that these routes ask for, as far as they are this worker's, and no others.
---@param routes rille.Route[]
function M.follow(routes)
  local before = living
  living = {}
  for _, route in ipairs(routes) do
    local options = route.options
    channel.open(route.channel, options.capacity, options.policy == "drop_oldest")
    local old = before[route.channel]
    local workers, wanted = {}, share(options.concurrency)
    local old_class = old and old.route.target
    local same = old
      and old_class.module == route.target.module
      and old_class.__name == route.target.__name
    for i, worker in ipairs(old and old.workers or {}) do
      if same and i <= wanted then
        worker.origin.target = route.target
        workers[i] = worker
      else
        close(worker, "its route is another")
      end
    end
    living[route.channel] = { route = route, workers = workers }
    while #workers < wanted do
      workers[#workers + 1] = open(route)
    end
  end
  for name, old in pairs(before) do
    if not living[name] then
      for _, worker in ipairs(old.workers) do
        close(worker, "its route is gone")
      end
      channel.close(name)
    end
  end
end

--- Those of the routes that this process receives from. Raises on a name that is none.
---@param routes rille.Route[]
---@param only string?  names, with commas between; nil: all
---@return rille.Route[]
function M.choose(routes, only)
  if not only then
    return routes
  end
  local chosen, names = {}, {}
  for _, route in ipairs(routes) do
    names[#names + 1] = route.channel
  end
  for name in only:gmatch("[^,%s]+") do
    local found
    for _, route in ipairs(routes) do
      found = route.channel == name and route or found
    end
    if not found then
      local told = "--only-channels: there is no channel %q; there are: %s"
      local all = #names > 0 and table.concat(names, ", ") or "none"
      error(errors.ConfigurationError(told:format(name, all)), 0)
    end
    chosen[#chosen + 1] = found
  end
  return chosen
end

return M
