--- Timers in this process: a script that is loaded, and whose timers begin as it is served.

local core = require("rille.core")
local dispatch = require("rille.dispatch")
local eventually = require("spec.support.eventually")
local loader = require("rille.loader")
local rille = require("rille")
local script = require("spec.support.script")
local timers = require("rille.timers")

local number = 100

--- What scripts of this file say and read.
local out

local function serve(text)
  number = number + 1
  local folder = script.folder {
    ["app.lua"] = 'local rille, out = require("rille"), require("spec.out")\n'
      .. text
      .. "\nreturn rille.app {}",
  }
  local generation = loader.load(folder, number)
  dispatch.switch(generation)
  timers.follow(generation.timers)
  return generation
end

--- A test whose timers have ended when it has.
local function timed(name, fn)
  it(name, function()
    out = { runs = 0, order = {} }
    package.loaded["spec.out"] = out
    local ok, err = pcall(fn)
    out.wait, out.go = nil, true
    timers.follow {}
    eventually(function()
      return core.worker.census().consumers == 0
    end)
    script.clean()
    if not ok then
      error(err, 0)
    end
  end)
end

local function failure(text)
  local ok, err = pcall(serve, text)
  assert.is_false(ok, "it loaded")
  return tostring(err)
end

local function skipped()
  return core.worker.counters().timer_runs_skipped
end

describe("a timer", function()
  local function runs(count)
    eventually(function()
      return out.runs >= count
    end)
  end

  timed("of every runs again and again, with what it should know", function()
    serve [[
      rille.every(0.005, function(event)
        out.runs = out.runs + 1
        out.event = event
      end, { name = "tick" })
    ]]
    assert.equal(0, out.runs)
    runs(5)
    local now = require("rille.models.time").now()
    assert.equal("tick", out.event.name)
    assert.equal("timer", out.event.type)
    assert.is_true(math.abs(out.event.due - now) < 30)
    assert.is_number(out.event.skipped)
  end)

  timed("may begin at once", function()
    serve [[
      rille.every(1000, function() out.runs = out.runs + 1 end, { immediate = true })
      rille.every(1000, function() out.late = true end)
    ]]
    runs(1)
    assert.is_nil(out.late)
  end)

  timed("ends with its generation's list", function()
    serve 'rille.every(0.002, function() out.runs = out.runs + 1 end)'
    runs(2)
    timers.follow {}
    eventually(function()
      return core.worker.census().consumers == 0
    end)
    local seen = out.runs
    rille.asleep(0.02)
    assert.equal(seen, out.runs)
  end)

  timed("does not run beside itself: skipped runs are counted, and told to the next", function()
    local before = skipped()
    serve [[
      rille.every(0.005, function(event)
        out.runs = out.runs + 1
        if out.runs == 2 then out.skipped = event.skipped end
        if out.runs == 1 then
          while not out.go do rille.asleep(0.001) end
        end
      end)
    ]]
    eventually(function()
      return skipped() >= before + 3
    end)
    assert.equal(1, out.runs)
    out.go = true
    runs(2)
    assert.is_true(out.skipped >= 3)
  end)

  timed("goes on after an error", function()
    serve [[
      rille.every(0.003, function()
        out.runs = out.runs + 1
        error("as it was told")
      end)
    ]]
    runs(3)
  end)

  timed("raises in a run that takes too long, where it waits", function()
    serve [[
      rille.every(0.003, function()
        local ok, err = pcall(rille.asleep, 1000)
        out.runs, out.ok, out.err = out.runs + 1, ok, err
      end, { timeout = 0.005 })
    ]]
    runs(2)
    assert.is_false(out.ok)
    assert.is_true(rille.is_error(out.err, rille.Timeout))
  end)

  timed("of after runs once, and not again when the script is loaded again", function()
    local text = 'rille.after(0.001, function() out.runs = out.runs + 1 end)'
    serve(text)
    runs(1)
    eventually(function()
      return core.worker.census().consumers == 0
    end)
    serve(text)
    rille.asleep(0.02)
    assert.equal(1, out.runs)
    serve(text:gsub("0.001", "0.002"))
    runs(2)
  end)

  timed("of after outlives nobody's patience: none is lost while its consumer is made", function()
    serve [[
      local Slow = rille.Consumer:extend("Slow")
      function Slow:init() rille.asleep(0.02) end
      function Slow:timer(event) out.runs, out.event = out.runs + 1, event end
      function Slow:disconnect(code) out.code = code end
      rille.after(0, Slow)
    ]]
    runs(1)
    eventually(function()
      return out.code
    end)
    assert.equal(1000, out.code)
    assert.equal("after 0", out.event.name)
  end)

  timed("may be a consumer, which keeps its self and hears its groups", function()
    serve [[
      local Meter = rille.Consumer:extend("Meter")
      Meter.groups = { "meters" }
      function Meter:timer()
        self.n = (self.n or 0) + 1
        out.runs = out.runs + 1
      end
      function Meter:meter_reset() out.n, self.n = self.n, 0 end
      function Meter:disconnect(code) out.code = code end
      rille.every(0.003, Meter)
    ]]
    runs(3)
    rille.channel_layer:agroup_send("meters", { type = "meter.reset" })
    eventually(function()
      return out.n
    end)
    assert.is_true(out.n >= 3)
    timers.follow {}
    eventually(function()
      return out.code
    end)
    assert.equal(1012, out.code)
  end)

  timed("of cron runs when its minute comes, each time once, and once if it is late", function()
    local time = require("rille.models.time")
    local now = time.now
    local ahead = 1714564690 - now() -- 2024-05-01 11:58:10
    finally(function()
      time.now = now
    end)
    time.now = function()
      return now() + ahead
    end
    local generation = serve [[
      rille.cron("0 12 * * *", function(event) out.noon = event.due end)
      rille.cron("*/2 * * * *", function(event)
        out.runs = out.runs + 1
        out.order[#out.order + 1] = event.due - 1714564800
      end)
    ]]
    ahead = ahead + 110
    timers.follow(generation.timers)
    runs(1)
    eventually(function()
      return out.noon == 1714564800
    end)
    for i, later in ipairs { 120, 600 } do -- the machine was asleep
      ahead = ahead + later
      timers.follow(generation.timers) -- looks again
      runs(1 + i)
    end
    assert.same({ 0, 120, 240 }, out.order)
    ahead = ahead - 7200 -- somebody sets the clock back: what was, does not come again
    timers.follow(generation.timers)
    rille.asleep(0.01)
    assert.equal(3, out.runs)
    ahead = ahead - 86400 * 365 -- it was a year off
    timers.follow(generation.timers)
    rille.asleep(0.01)
    ahead = ahead + 120
    timers.follow(generation.timers)
    runs(4)
  end)

  timed("called in a task runs once on this worker, unless it is cancelled", function()
    serve ""
    local first = rille.after(0.001, function(event)
      out.runs, out.event = out.runs + 1, event
    end)
    rille.after(1000, function()
      out.runs = 100
    end):cancel()
    runs(1)
    assert.equal(1, out.runs)
    assert.truthy(out.event.name:find("after at timers_spec.lua:%d+"), out.event.name)
    assert.is_true(first:is_done())
  end)

  describe("over a reload", function()
    local TEXT = [[
      rille.every(%s, function()
        local word = "%s"
        out.runs = out.runs + 1
        out.order[#out.order + 1] = word
        if out.wait then
          while out.wait do rille.asleep(0.001) end
          out.order[#out.order + 1] = "still " .. word
        end
      end, { name = "tick"%s })
    ]]

    timed("runs the new code and keeps its phase", function()
      serve(TEXT:format("0.2", "old", ""))
      for _ = 1, 500 do -- loaded again and again, sooner than it could begin anew
        serve(TEXT:format("0.2", "new", ""))
        rille.asleep(0.005)
        if out.order[1] then
          break
        end
      end
      assert.equal("new", out.order[1])
    end)

    timed("begins anew with another schedule", function()
      serve(TEXT:format("1000", "old", ""))
      serve(TEXT:format("0.001", "new", ""))
      runs(1)
      assert.equal("new", out.order[1])
    end)

    timed("ends a run that is under way in its own code", function()
      out.wait = true
      serve(TEXT:format("0.003", "old", ""))
      runs(1)
      serve(TEXT:format("0.004", "new", ""))
      out.wait = nil
      runs(2)
      assert.same({ "old", "still old", "new" }, { unpack(out.order, 1, 3) })
    end)

    timed("also when the timer is gone, however long that takes", function()
      out.wait = true
      serve(TEXT:format("0.003", "old", ""))
      runs(1)
      serve ""
      rille.asleep(0.01)
      out.wait = nil
      eventually(function()
        return out.order[2]
      end)
      assert.same({ "old", "still old" }, out.order)
    end)
  end)

  timed("has a name that tells it apart", function()
    local generation = serve [[
      rille.every(1000, print)
      rille.every(1000, print)
      rille.cron("@daily", print, { name = "nightly" })
      rille.every(1000, print)
    ]]
    local names = {}
    for i, timer in ipairs(generation.timers) do
      names[i] = timer.name
    end
    assert.same({ "every 1000", "every 1000 #2", "nightly", "every 1000 #3" }, names)
  end)

  for text, told in pairs {
    ["rille.every(0, print)"] = "every: interval: seconds from 0.001 to 1e+09 expected, got 0",
    ["rille.every('5', print)"] = "seconds from",
    ["rille.every(5)"] = "every 5: a function or a class that extends Consumer itself expected",
    ["rille.every(5, rille.WebsocketConsumer)"] = "extends Consumer itself",
    ["rille.every(5, rille.Consumer:extend('C'))"] = "C has no method timer(event)",
    ["rille.every(5, print, { often = true })"] = 'every 5: no option "often"',
    ["rille.every(5, print, { timezone = 'UTC' })"] = 'no option "timezone"',
    ["rille.every(5, print, { timeout = 'x' })"] = "timeout: a number expected, got a string",
    ["rille.every(5, print, { timeout = 0 })"] = "timeout: seconds from 0.001",
    ["rille.every(5, print, { jitter = 6 })"] = "a jitter of more than the interval",
    ["rille.every(5, print, { each = 'cluster' })"] = 'each is process or worker, not "cluster"',
    ["rille.every(5, print, 3)"] = "options are a table, got a number",
    ["rille.cron('* * *', print)"] = 'cron "* * *": five fields',
    ["rille.cron(5, print)"] = "cron: five fields expected, got a number",
    ["rille.cron('@daily', print, { timezone = 'Mars/Utopia' })"] = "no time zone",
    ["rille.cron('@daily', print, { immediate = true })"] = 'no option "immediate"',
    ["rille.after(-1, print)"] = "after: delay: seconds from 0",
    ["local o = { name = 'a' } rille.every(5, print, o) rille.every(6, print, o)"] = '"a" already',
  } do
    timed("is refused with its line: " .. text, function()
      local err = failure("\n\n" .. text)
      assert.truthy(err:find(told, 1, true), err)
      assert.truthy(err:find("app.lua:4:", 1, true), err)
    end)
  end

  timed("is made while a script loads, or not at all", function()
    for _, name in ipairs { "every", "cron" } do
      local ok, err = pcall(rille[name], name == "every" and 5 or "@daily", print)
      assert.is_false(ok)
      assert.truthy(tostring(err):find("timers are made while the script loads", 1, true))
    end
    for _, arguments in ipairs { { -1, print }, { 1, "x" }, { 1, print, { immediate = true } } } do
      assert.is_false(pcall(rille.after, unpack(arguments)))
    end
  end)
end)
