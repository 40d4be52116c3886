--- The time of a test. It passes by itself, and faster when it is told to.
---
--- What the core measures goes with it: `asleep`, `atimeout`, `every`, `cron`, `after`, ages of
--- connections, limits, expiries; and `auto_now` and whatever else asks rille for the date. Other
--- machines' clocks do not, nor does `os.time`. When a test has ended, the date is that of the
--- machine again; what has passed of durations stays passed.

local core = require("rille.core")
local opened = require("rille.testing.opened")
local time = require("rille.models.time")

local clock = {}

local ahead = 0

local function check(name, seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    error(("%s: seconds from 0 to 1e9 expected, got %s"):format(name, tostring(seconds)), 3)
  end
end

local function pass(seconds)
  ahead = ahead + seconds
  time.set_ahead(ahead)
  core.testing.advance(seconds)
end

--- Have so much time pass at once. What became due meanwhile runs when the test next waits, in the
--- order of its times; what comes back (`every`) has been late, and is told of what it missed.
---@param seconds number  0 to 1e9
function clock:advance(seconds)
  check("advance", seconds)
  pass(seconds)
end

--- Have so much time pass, from one timer to the next, so that each runs in its own time and what
--- it starts has its turn before the next.
---@async
---@param seconds number  0 to 1e9
function clock:aadvance(seconds)
  check("aadvance", seconds)
  opened.arest()
  while seconds > 0 do
    local step = math.min(math.max(core.testing.next_timer() or seconds, 0.001), seconds)
    seconds = seconds - step
    pass(step)
    opened.arest()
  end
end

--- Seconds since 1970, as the application sees them.
---@return number
function clock:now()
  return time.now()
end

--- The date is the machine's again.
function clock:reset()
  ahead = 0
  time.set_ahead(0)
end

return clock
