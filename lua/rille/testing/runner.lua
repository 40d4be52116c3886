--- busted inside the runtime: the whole run is one task, so an `it` may call any `a` function.

local browser = require("rille.testing.browser")
local application = require("rille.testing.application")
local clock = require("rille.testing.clock")
local core = require("rille.core")
local coverage = require("rille.testing.coverage")
local database = require("rille.testing.database")
local errors = require("rille.errors")
local jobs = require("rille.testing.jobs")
local opened = require("rille.testing.opened")
local replies = require("rille.testing.replies")
local task = require("rille.task")

local M = {}

local CLEAN_UP = 10 -- seconds, for it when the run was interrupted

--- busted ends with `os.exit`; unwind to here instead, with the status.
local Exit = {}

--- What is left of a test once it has ended may take a turn or two to unwind, or a word with a
--- database. Is all gone in the end? Given up when nothing has changed for a while.
local function asettle()
  local before, still = "", 0
  while true do
    local census = core.worker.census()
    if census.consumers == 0 and census.tasks <= 1 and census.leases == 0 then
      return true
    end
    local now = ("%d %d %d"):format(census.consumers, census.tasks, census.leases)
    still = now == before and still + 1 or 0
    before = now
    -- For consumers longer than one is let go on behind its end (abandon_grace).
    if still == (census.consumers > 0 and 250 or 50) then
      return false
    end
    core.task.sleep(0.01)
  end
end

--- In words: what a communicator has left, or else what is alive.
local function aremains()
  application.astop()
  if not opened.is_empty() then
    opened.arest()
  end
  local left = opened.remains()
  opened.drop_all()
  if asettle() or left[1] then
    return left
  end
  for _, name in pairs(core.testing.consumers()) do
    left[#left + 1] = "a consumer, " .. name
  end
  for _, place in ipairs(core.task.places()) do
    left[#left + 1] = "a task, spawned at " .. place
  end
  for _, place in ipairs(core.testing.leases()) do
    left[#left + 1] = "a borrowed connection of a database, pinned in the function at " .. place
  end
  if not left[1] then
    left[1] = ("%d tasks"):format(core.worker.census().tasks - 1)
  end
  return left
end

--- What runs a test in busted, made to begin and end the test for us, too: around `before_each` and
--- `after_each`. What is left is looked for when the test itself has returned.
local function around(busted, run_test)
  return function(element)
    local run, trace = element.run, element.trace
    local function fail(text)
      busted.fail(("%s:%d: %s"):format(trace.short_src, trace.currentline, text), 0)
    end
    local began, why = pcall(application.abegin)
    element.run = setfenv(function(...)
      if not began then
        error(why, 0)
      end
      run(...)
      local left = aremains()
      if left[1] then
        fail("the test left behind " .. table.concat(left, "\n  and "))
      end
    end, getfenv(run))
    run_test(element)
    element.run = run
    pcall(application.astop)
    core.testing.begin_slice() -- should it have been endless
    opened.drop_all()
    core.testing.cancel()
    asettle()
    clock:reset()
    local ok, err = pcall(database.aend)
    if not ok then
      local told = { message = core.describe(err), traceback = "" }
      busted.publish({ "error", "it" }, element, nil, told.message, told)
    end
  end
end

--- Have whatever busted runs (a file, a `before_each`, a test) be interrupted when it does not end,
--- and not for what ran before it. An error that ends it has come to busted by the time that its
--- words are made, in the message handler: so late nothing is interrupted, and nothing need be.
local function limit_slices(busted)
  local safe, rewrite = busted.safe, busted.rewriteMessage
  function busted.safe(...)
    core.testing.begin_slice()
    return safe(...)
  end
  function busted.rewriteMessage(element, message, trace)
    local interrupted = core.testing.begin_slice()
    local told = rewrite(element, message, trace)
    if interrupted and trace and not told:find("stack traceback:", 1, true) then
      told = told .. trace.traceback -- which is else told with --verbose alone
    end
    return told
  end
end

--- Have every busted core that is made run tests our way.
local function take_over()
  local new_core = require("busted.core")
  package.loaded["busted.core"] = function()
    local busted = new_core()
    opened.skip = busted.pending
    limit_slices(busted)
    local register = busted.register
    function busted.register(name, executor, ...)
      if name == "it" then
        executor = around(busted, executor)
      end
      return register(name, executor, ...)
    end
    busted.subscribe({ "file", "end" }, function()
      application.leave()
      return nil, true
    end)
    return busted
  end
end

--- Run specs here.
---@async
local function arun(arguments)
  local real_exit = os.exit
  _G.arg = { [0] = "rille test" }
  for i, value in ipairs(arguments) do
    _G.arg[i] = value
  end
  os.exit = function(code)
    error(setmetatable({ code = (code == true or code == nil) and 0 or code or 1 }, Exit), 0)
  end
  if not pcall(require, "busted") then
    error("rille test needs busted, which is not installed (Debian's package: lua-busted)", 0)
  end
  take_over()
  replies.watch()
  -- In a chunk by our name, by which busted complains of its options.
  local chunk = loadstring('require("busted.runner")({ standalone = false })', "@rille test")
  local ok, err = pcall(chunk)
  os.exit = real_exit
  local goes_on = pcall(task.asleep, 0) -- not after ^C: then this task is cancelled
  local cleaned, why = pcall(task.ashield, CLEAN_UP, function()
    database.aclose()
    browser.end_driver()
  end)
  if not goes_on then
    return jobs.INTERRUPTED
  elseif not cleaned then
    error(why, 0)
  elseif ok then
    return 0
  elseif getmetatable(err) == Exit then
    return err.code
  elseif err == nil then -- busted's own way of saying that tests failed
    return 1
  end
  error(err, 0)
end

--- Our own options; the rest is busted's.
---@return string[] rest
---@return { watch: boolean?, coverage: string?, jobs: integer?, cpu_limit: string? } ours
local function take_options(arguments)
  local rest, ours = {}, { cpu_limit = os.getenv("RILLE_TEST_CPU_LIMIT") }
  local i = 1
  while arguments[i] do
    local word = arguments[i]
    local count = word:match("^%-%-jobs=(.*)$") or word:match("^%-j(%d+)$")
    local seconds = word:match("^%-%-cpu%-limit=(.*)$")
    if word == "--watch" then
      ours.watch = true
    elseif word == "--coverage" or word == "-c" then
      ours.coverage = "lcov.info"
    elseif word:find("^%-%-coverage=") then
      ours.coverage = word:match("=(.*)$")
    elseif word == "--jobs" or word == "-j" or count then
      if not count then
        i = i + 1
        count = arguments[i]
      end
      ours.jobs = tonumber(count)
      if not ours.jobs or ours.jobs < 1 or ours.jobs > 64 or ours.jobs % 1 ~= 0 then
        error(("--jobs wants a number from 1 to 64, got %s"):format(count or "nothing"), 0)
      end
    elseif word == "--cpu-limit" or seconds then
      if not seconds then
        i = i + 1
        seconds = arguments[i]
      end
      ours.cpu_limit = seconds or ""
    else
      rest[#rest + 1] = word
    end
    i = i + 1
  end
  return rest, ours
end

--- Have tests be interrupted after so many seconds of CPU, said on the command line or by the
--- environment.
local function limit_cpu(text)
  local seconds = tonumber(text)
  if not seconds or seconds < 0 or seconds > 1e9 then
    local told = "--cpu-limit (RILLE_TEST_CPU_LIMIT) wants seconds of CPU, 0 for no limit, got %s"
    error(told:format(text ~= "" and text or "nothing"), 0)
  end
  core.testing.limit_cpu(seconds)
end

--- Options of busted that have a value behind them: what follows is no path.
local VALUED = {}
for word in
  ("-o --output -t --tags --filter --filter-out --exclude-tags -p --pattern --exclude-pattern -e"
    .. " -m --lpath --cpath -r --run --repeat --seed --lang --loaders --helper -C --directory"
    .. " -f --config-file -Xoutput -Xhelper"):gmatch("%S+")
do
  VALUED[word] = true
end

--- Paths among busted's arguments, and what else there is.
local function split(arguments)
  local paths, options = {}, {}
  local i = 1
  while arguments[i] do
    local word = arguments[i]
    local list = word:sub(1, 1) == "-" and options or paths
    list[#list + 1] = word
    if VALUED[word] then
      i = i + 1
      list[#list + 1] = arguments[i]
    end
    i = i + 1
  end
  return paths, options
end

--- Run specs.
---@async
---@param arguments string[]  our own options: --watch, --coverage[=FILE], --jobs N, --cpu-limit S;
---  the rest is busted's; without a path: spec
---@return integer  exit status
function M.run(arguments)
  local rest, ours = take_options(arguments)
  if ours.cpu_limit then
    limit_cpu(ours.cpu_limit)
  end
  if ours.watch then
    for i = #arguments, 1, -1 do
      if arguments[i] == "--watch" then
        table.remove(arguments, i)
      end
    end
    local ok, result = pcall(jobs.awatch, arguments)
    if not ok and not errors.is_error(result, errors.Cancelled) then
      error(result, 0)
    end
    return ok and result or jobs.INTERRUPTED
  elseif ours.jobs then
    local paths, options = split(rest)
    options[#options + 1] = ours.cpu_limit and "--cpu-limit=" .. ours.cpu_limit
    return jobs.run(ours.jobs, paths, options, ours.coverage)
  elseif not ours.coverage then
    return arun(rest)
  end
  coverage.start()
  local status = arun(rest)
  io.write(table.concat(coverage.finish(ours.coverage), "\n"), "\n")
  return status
end

return M
