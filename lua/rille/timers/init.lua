--- Timers: functions that run by the clock.
---
---     rille.every(60, expire_sessions)
---     rille.cron("30 4 * * MON-FRI", report, { timezone = "Europe/Berlin", timeout = 600 })
---     rille.after(5, warm_up)
---
--- They are made while the script loads, in `routes` or anywhere else, and begin when that code
--- begins to serve: on one worker of the process, or on each. A timer is a consumer without a peer:
--- the database boundary is before each run, an error is logged with its traceback and counted, and
--- the next run comes. Runs of one timer never overlap; those that would are skipped and counted.
---
--- Over a reload a timer is known by its name (what it says, if it has none). With the same
--- schedule it keeps its phase and runs the new code from its next run on; with another it begins
--- anew; gone, it ends. A run under way ends in the code that it began in.

local Consumer = require("rille.consumer")
local Scope = require("rille.scope")
local core = require("rille.core")
local errors = require("rille.errors")
local loader = require("rille.loader")
local routing = require("rille.routing")
local time = require("rille.models.time")

local consumer = core.consumer
local fail = errors.misconfigured

local M = {}

local LONGEST = 1e9 -- seconds; for ever, nearly
local LOOK_AGAIN = 30 -- seconds: no longer sleep, since somebody may set the clock
local SET_BACK = 3 * 3600 -- seconds: more than that, and the clock was wrong before
local TELL_EVERY = 10 -- seconds: skipped runs are told no oftener

---@class rille.TimerOptions
---@field name string?      in logs and metrics, and what it is known by after a reload
---@field each "process"|"worker"|nil  where it runs; default process: on one of its workers
---@field timeout number?   seconds for a run: then it raises `rille.Timeout` where it waits
---@field jitter number?    seconds: each run is late by a random part of it
---@field immediate boolean?  of `every`: the first run is at once
---@field timezone string?  of `cron`; default "UTC"

---@class rille.TimerEvent  what a run gets
---@field type "timer"
---@field name string
---@field due number      when it should have begun, in seconds since 1970
---@field skipped integer runs since the last one that did not begin

---@class rille.Timer : rille.Route
---@field kind "timer"
---@field name string
---@field how "every"|"cron"|"after"
---@field schedule string   what must be the same for it to keep its phase
---@field target fun(event: rille.TimerEvent)|rille.Class
---@field seconds number?   of every and after
---@field cron rille.Cron?
---@field each "process"|"worker"
---@field jitter number
---@field timeout number?
---@field immediate boolean

local OPTIONS = {
  every = { immediate = "boolean" },
  cron = { timezone = "string" },
  after = {},
}
local COMMON = { name = "string", each = "string", timeout = "number", jitter = "number" }

local function check_seconds(where, what, seconds, low)
  if type(seconds) ~= "number" or not (seconds >= low and seconds <= LONGEST) then
    local told = "%s: %s: seconds from %g to %g expected, got %s"
    fail(told:format(where, what, low, LONGEST, tostring(seconds)))
  end
end

local function check_options(how, where, options)
  if type(options) ~= "table" then
    fail(("%s: options are a table, got a %s"):format(where, type(options)))
  end
  for name, value in pairs(options) do
    local want = COMMON[name] or OPTIONS[how][name]
    if not want then
      fail(("%s: no option %q"):format(where, tostring(name)))
    elseif type(value) ~= want then
      fail(("%s: %s: a %s expected, got a %s"):format(where, name, want, type(value)))
    end
  end
  if options.each and options.each ~= "process" and options.each ~= "worker" then
    fail(("%s: each is process or worker, not %q"):format(where, options.each))
  end
  if options.timeout then
    check_seconds(where, "timeout", options.timeout, 0.001)
  end
  if options.jitter then
    check_seconds(where, "jitter", options.jitter, 0)
  end
end

--- A name that none of these has: what it says, and a number if that is taken.
local function name_of(said, given, timers)
  local taken = {}
  for _, other in ipairs(timers) do
    taken[other.name] = true
  end
  if given and taken[given] then
    fail(("%s: there is a timer %q already"):format(said, given))
  end
  local name, number = given or said, 1
  while taken[name] do
    number = number + 1
    name = ("%s #%d"):format(said, number)
  end
  return name
end

--- Keep what a script wants, until its generation serves.
local function record(how, schedule, target, options)
  local where = ("%s %s"):format(how, schedule)
  check_options(how, where, options)
  local timers = loader.timers()
  if not timers then
    fail(("%s: timers are made while the script loads; in a task, asleep in a loop"):format(where))
  end
  if type(target) ~= "function" then
    routing.check_background(target, where, "timer", "a function or ")
  end
  local timer = {
    kind = "timer",
    how = how,
    name = name_of(where, options.name, timers),
    schedule = schedule,
    target = target,
    each = options.each or "process",
    jitter = options.jitter or 0,
    timeout = options.timeout,
    immediate = options.immediate or false,
  }
  timers[#timers + 1] = timer
  return timer
end

--- Run a function every so many seconds, the first time after as many.
---@param seconds number  0.001 to 1e9
---@param target async fun(event: rille.TimerEvent)|rille.Class  a function, or a class that extends
---  Consumer and defines timer(event)
---@param options rille.TimerOptions?
---@return rille.Timer
function M.every(seconds, target, options)
  check_seconds("every", "interval", seconds, 0.001)
  local timer = record("every", ("%.14g"):format(seconds), target, options or {})
  if timer.jitter > seconds then
    fail(("%s: a jitter of more than the interval"):format(timer.name))
  end
  timer.seconds = seconds
  return timer
end

--- Run a function when five fields say so; see rille.timers.cron for them.
---@param fields string  "*/5 * * * *", "@daily"
---@param target async fun(event: rille.TimerEvent)|rille.Class
---@param options rille.TimerOptions?
---@return rille.Timer
function M.cron(fields, target, options)
  if type(fields) ~= "string" then
    fail(("cron: five fields expected, got a %s"):format(type(fields)))
  end
  local timer = record("cron", fields, target, options or {})
  local Cron = require("rille.timers.cron") -- who has no cron has no time zones in memory
  local cron, why = Cron.parse(fields, options and options.timezone)
  if not cron then
    fail(("cron %q: %s"):format(fields, why))
  end
  timer.cron = cron
  timer.schedule = ("%s %s"):format(fields, cron.zone.name)
  return timer
end

--- Run a function once, after so many seconds: as the script loads, from when it begins to serve,
--- and not again after a reload; in a handler or a task, on this worker, whatever becomes of the
--- consumer, unless the worker stops before.
---@param seconds number  0 to 1e9
---@param target async fun(event: rille.TimerEvent)|rille.Class
---@param options rille.TimerOptions?
---@return rille.Timer|rille.Task  a task, to be cancelled, unless a script that loads has made it
function M.after(seconds, target, options)
  check_seconds("after", "delay", seconds, 0)
  if not loader.timers() then
    return M.once(seconds, target, options or {})
  end
  local timer = record("after", ("%.14g"):format(seconds), target, options or {})
  timer.seconds = seconds
  return timer
end

-- What runs

---@class rille.LivingTimer
---@field timer rille.Timer   as the code that serves has it
---@field id number           of its consumer
---@field origin rille.Origin
---@field due number          when it is next to run: of cron and after in seconds since 1970, of
---  every on the loop's clock
---@field at number           and when it will, with its jitter
---@field skipped integer     runs since the last
---@field untold integer      of them, those that the log has not told of
---@field told_at number
---@field over boolean?       an `after` that has begun

---@type table<string, rille.LivingTimer>
local living = {}
---@type rille.Task?
local clockwork
local last_look = 0

--- Its consumer, when its target is a function.
local Timer = Consumer:extend_library("Timer")

function Timer:dispatch(event)
  return self.scope._living.timer.target(event)
end

--- A run; for dispatch. It is the whole of its task, so its deadline ends with that.
---@async
---@param self rille.Consumer
---@param event rille.TimerEvent
function M.run(self, event)
  local timer = self.scope._living.timer
  if timer.timeout then
    core.task.deadline(timer.timeout)
  end
  if timer.how == "after" then
    consumer.close(self._id, 1000, "it has run") -- when it has
  end
  return self:dispatch(event)
end

local function clock_of(timer)
  return timer.how == "every" and core.now() or time.now()
end

--- When it is next to run, seen from now.
local function schedule(one)
  local timer, now = one.timer, clock_of(one.timer)
  if timer.how == "every" then
    one.due = now + (timer.immediate and 0 or timer.seconds)
  elseif timer.how == "cron" then
    one.due = timer.cron:next(now)
  else
    one.due = now + timer.seconds
  end
  one.at = one.due + core.random() * timer.jitter
end

--- It has had its turn.
local function advance(one)
  local timer, now = one.timer, clock_of(one.timer)
  if timer.how == "after" then
    one.over = true
    return
  elseif timer.how == "cron" then
    one.due = timer.cron:next(math.max(one.due, now))
  else
    local late = math.floor(math.max(now - one.due, 0) / timer.seconds)
    one.skipped = one.skipped + late
    one.due = one.due + (late + 1) * timer.seconds
  end
  one.at = one.due + core.random() * timer.jitter
end

local function tell_skipped(one)
  one.skipped = one.skipped + 1
  one.untold = one.untold + 1
  if core.now() < one.told_at + TELL_EVERY then
    return
  end
  local told = "%s: a run goes on, %d skipped meanwhile"
  core.log("warn", told:format(one.timer.name, one.untold))
  one.untold, one.told_at = 0, core.now()
end

local function fire(one)
  local due = one.timer.how == "every" and time.now() + one.due - core.now() or one.due
  local begins = consumer.tick(one.id, one.timer.name, due, one.skipped)
  if begins == nil then
    one.over = true
  elseif begins == false and one.timer.how == "after" then -- it is still being made
    one.at = one.at + 0.05
    return
  elseif begins == false then
    tell_skipped(one)
  else
    one.skipped = 0
  end
  advance(one)
end

--- Have what is due run; how long until there is more, or nil when there is none.
local function look()
  local wall = time.now()
  local back = wall < last_look - SET_BACK
  local wait
  last_look = wall
  for _, one in pairs(living) do
    if back and one.timer.how == "cron" then
      schedule(one)
    end
    if not one.over and one.at <= clock_of(one.timer) + 0.0005 then
      fire(one)
    end
    if not one.over then
      wait = math.min(wait or LOOK_AGAIN, one.at - clock_of(one.timer))
    end
  end
  return wait and math.max(wait, 0.001)
end

local function wind_up()
  if clockwork then
    clockwork:cancel()
  end
  clockwork = next(living)
    and core.task.spawn(function()
      while true do
        local wait = look()
        if not wait or not core.task.sleep(wait) then
          return
        end
      end
    end)
end

local function class_of(timer)
  return type(timer.target) == "table" and timer.target or Timer
end

--- A timer's consumer, which waits for its time.
local function open(timer)
  local scope = Scope.background { type = "timer", channel = timer.name, _route = timer.name }
  local origin = { target = class_of(timer), scope = scope }
  local one = { timer = timer, origin = origin, skipped = 0, untold = 0, told_at = -TELL_EVERY }
  scope._living = one
  one.id = consumer.background(origin, true)
  scope._id = one.id
  schedule(one)
  return one
end

--- Run something once, by itself.
---@param seconds number
---@param target function|rille.Class
---@param options rille.TimerOptions
---@return rille.Task
function M.once(seconds, target, options)
  local where = "after " .. ("%.14g"):format(seconds)
  check_options("after", where, options)
  if type(target) ~= "function" then
    routing.check_background(target, where, "timer", "a function or ")
  else
    local info = debug.getinfo(target, "S")
    where = ("after at %s:%d"):format(info.short_src:match("[^/]*$"), info.linedefined)
  end
  local delay = seconds + core.random() * (options.jitter or 0)
  local name = options.name or where
  return core.task.spawn(function()
    if not core.task.sleep(delay) then
      return
    end
    local timer = { how = "after", name = name, target = target, seconds = 0, jitter = 0 }
    timer.timeout = options.timeout
    fire(open(timer))
  end)
end

--- The code of a timer is another now.
local function take_over(one, timer)
  local same = one.timer.schedule == timer.schedule and one.timer.how == timer.how
  one.timer, one.origin.target = timer, class_of(timer)
  if not same then
    schedule(one)
  end
  return one
end

--- A function's place may be taken by a function's, a class's by its successor.
local function kind_of(timer)
  local cls = timer.target
  return type(cls) == "table" and cls.module .. ":" .. cls.__name or ""
end

--- Have these timers, those that are this worker's, and no others.
---@param list rille.Timer[]
function M.follow(list)
  local first = core.worker.place() == 0
  local before = living
  living = {}
  last_look = next(before) and last_look or 0
  for _, timer in ipairs(list) do
    if first or timer.each == "worker" then
      local old = before[timer.name]
      local keeps = old and kind_of(old.timer) == kind_of(timer)
      if keeps and not (old.over and old.timer.schedule ~= timer.schedule) then
        living[timer.name] = take_over(old, timer)
      else
        living[timer.name] = open(timer)
      end
    end
  end
  for name, one in pairs(before) do
    if living[name] ~= one then
      consumer.close(one.id, 1012, "the timer is gone")
    end
  end
  wind_up()
end

return M
