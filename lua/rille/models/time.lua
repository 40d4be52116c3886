--- Points in time as text, in the one form that both backends share.
---
--- PostgreSQL prints a timestamp in UTC as `2024-05-01 12:30:00.25+00`; SQLite has no
--- timestamps, so the same text is stored there. It sorts as time does: what may follow
--- the seconds is `+`, which comes before `.`, which comes before any digit.

local calendar = require("rille.calendar")

local time = {}

local has_ffi, ffi = pcall(require, "ffi")
local wall_clock = os.time

if has_ffi then
  -- No named types: a module that is loaded again must not define one twice.
  ffi.cdef("int gettimeofday(void *tv, void *tz);")
  local tv = ffi.new("struct { long seconds; long micros; }")
  wall_clock = function()
    ffi.C.gettimeofday(tv, nil)
    return tonumber(tv.seconds) + tonumber(tv.micros) / 1e6
  end
end

local ahead = 0

--- Seconds since 1970, with microseconds where the platform tells them.
---@return number
function time.now()
  return wall_clock() + ahead
end

--- For tests: from now on it is later than it is.
---@param seconds number  than the clock of the machine says
function time.set_ahead(seconds)
  ahead = seconds
end

--- Does the calendar know this day?
local function is_day(year, month, day)
  if year < 1 or month < 1 or month > 12 or day < 1 then
    return false
  end
  local y, m, d = calendar.date(calendar.days(year, month, day))
  return y == year and m == month and d == day
end

--- `2024-05-01`, or nil when the text is no date.
---@param text string
---@return string?
function time.date(text)
  local y, m, d = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  if y and is_day(tonumber(y), tonumber(m), tonumber(d)) then
    return text
  end
end

local function digits_of(micros)
  if micros == 0 then
    return ""
  end
  return "." .. (("%06d"):format(micros):gsub("0+$", ""))
end

--- The text of whole seconds since 1970 and microseconds.
local function format(seconds, micros)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local year, month, day = calendar.date(days)
  if year < 1 or year > 9999 then
    return nil
  end
  return ("%04d-%02d-%02d %02d:%02d:%02d%s+00"):format(
    year,
    month,
    day,
    math.floor(rest / 3600),
    math.floor(rest / 60) % 60,
    rest % 60,
    digits_of(micros)
  )
end

--- Seconds since 1970 to text; nil outside the years 1 to 9999.
---@param seconds number
---@return string?
function time.from_epoch(seconds)
  if seconds ~= seconds or math.abs(seconds) > 1e12 then
    return nil
  end
  local micros = math.floor(seconds * 1e6 + 0.5)
  return format(math.floor(micros / 1e6), micros % 1e6)
end

local function offset_of(text)
  if text == "" or text == "Z" or text == "z" then
    return 0
  end
  local sign, hours, minutes = text:match("^([+-])(%d%d):?(%d?%d?)$")
  if not sign or #minutes == 1 then
    return nil
  end
  local seconds = tonumber(hours) * 3600 + (tonumber(minutes) or 0) * 60
  return sign == "-" and -seconds or seconds
end

--- The number that two digits make; nil when they are none.
local function two(text, at)
  local a, b = text:byte(at, at + 1)
  if b and a >= 48 and a <= 57 and b >= 48 and b <= 57 then
    return (a - 48) * 10 + b - 48
  end
end

--- Is this text in the common form already, to the second? That is what a database has given, and
--- is told without taking it apart: of many rows, each column of times asks.
local function is_common(text)
  if #text ~= 22 then
    return false
  end
  local century, year, month = two(text, 1), two(text, 3), two(text, 6)
  local day, hour, minute, second = two(text, 9), two(text, 12), two(text, 15), two(text, 18)
  local dashes = text:byte(5) == 45 and text:byte(8) == 45
  local colons = text:byte(14) == 58 and text:byte(17) == 58
  return century ~= nil
    and year ~= nil
    and month ~= nil
    and day ~= nil
    and hour ~= nil
    and minute ~= nil
    and second ~= nil
    and dashes
    and colons
    and text:byte(11) == 32
    and text:sub(20) == "+00"
    and century + year > 0
    and month >= 1
    and month <= 12
    and day >= 1
    and day <= 28 -- or ask the calendar
    and hour <= 23
    and minute <= 59
    and second <= 59
end

--- Any ISO 8601 date, or date and time, to the common form; nil when it is none. Without
--- an offset it is UTC; digits past microseconds are dropped.
---@param text string
---@return string?
function time.timestamp(text)
  if is_common(text) then
    return text
  end
  local y, m, d, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not y then
    return nil
  end
  y, m, d = tonumber(y), tonumber(m), tonumber(d)
  if not is_day(y, m, d) then
    return nil
  end
  local seconds = calendar.days(y, m, d) * 86400
  if rest == "" then
    return format(seconds, 0)
  end
  local hour, minute, tail = rest:match("^[ Tt](%d%d):(%d%d)(.*)$")
  if not hour then
    return nil
  end
  local second, after = tail:match("^:(%d%d)(.*)$")
  local fraction, zone = (after or ""):match("^%.(%d+)(.*)$")
  zone = zone or after or tail
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second or 0)
  local offset = offset_of(zone)
  if not offset or hour > 23 or minute > 59 or second > 59 then
    return nil
  end
  local micros = fraction and tonumber((fraction .. "00000"):sub(1, 6)) or 0
  return format(seconds + hour * 3600 + minute * 60 + second - offset, micros)
end

--- The other way: a timestamp's text to seconds since 1970.
---@param text string
---@return number? seconds
function time.to_epoch(text)
  local common = time.timestamp(text)
  if not common then
    return nil
  end
  local y, m, d, hour, minute, second, rest = common:match(
    "^(%d+)%-(%d+)%-(%d+) (%d+):(%d+):(%d+)(.*)%+00$"
  )
  local days = calendar.days(tonumber(y), tonumber(m), tonumber(d))
  local seconds = days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
  return seconds + (tonumber("0" .. rest) or 0)
end

return time
