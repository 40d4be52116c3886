--- Time zones: how far local time is from UTC, and when that changes next.
---
--- The C library knows one zone per process, and changing it is no business of one thread among
--- several; so this reads the system's own files (RFC 8536) as that library does: the transitions
--- they list and, behind the last one, the rule in their last line ("CET-1CEST,M3.5.0,M10.5.0/3").

local calendar = require("rille.calendar")

local FOLDER = "/usr/share/zoneinfo/"

---@class rille.Zone
---@field name string
---@field private times number[]    transitions, seconds since 1970
---@field private offsets number[]  seconds east of UTC from there on
---@field private first number      before the first of them
---@field private rule table?       behind the last
local Zone = {}
Zone.__index = Zone

-- Numbers of the file: big-endian, two's complement.
local function integer(bytes, at, size)
  local value = 0
  for i = at, at + size - 1 do
    value = value * 256 + bytes:byte(i)
  end
  return bytes:byte(at) >= 128 and value - 256 ^ size or value
end

-- Rules

--- "-1", "3:30", "-02:00:30" at `at`, as seconds, and where it ends.
local function clock(text, at)
  local sign, hours, rest = text:match("^([+-]?)(%d+)()", at)
  if not hours then
    return nil
  end
  local seconds, scale = tonumber(hours) * 3600, 60
  while true do
    local part, behind = text:match("^:(%d%d)()", rest)
    if not part then
      break
    end
    seconds, scale, rest = seconds + tonumber(part) * scale, 1, behind
  end
  return sign == "-" and -seconds or seconds, rest
end

--- A day of every year, and the time on it: a function from a year to local seconds.
local function yearly(text)
  local day, time = text:match("^([^/]+)/?(.*)$")
  local seconds = time == "" and 7200 or clock(time, 1)
  local month, week, weekday = day:match("^M(%d+)%.(%d)%.(%d)$")
  if month then
    month, week, weekday = tonumber(month), tonumber(week), tonumber(weekday)
    return function(year)
      local first = calendar.days(year, month, 1)
      local days = first + (weekday - calendar.weekday(first)) % 7 + (week - 1) * 7
      local next_month = calendar.days(year + (month == 12 and 1 or 0), month % 12 + 1, 1)
      while days >= next_month do -- week 5 is the last there is
        days = days - 7
      end
      return days * 86400 + seconds
    end
  end
  local leapless, number = day:match("^(J?)(%d+)$")
  number = tonumber(number)
  return number
    and function(year)
      local start = calendar.days(year, 1, 1)
      if leapless == "J" then -- 1 to 365, of a year that has no February 29
        local leap = calendar.days(year, 3, 1) - start == 60
        return (start + number - 1 + (leap and number >= 60 and 1 or 0)) * 86400 + seconds
      end
      return (start + number) * 86400 + seconds
    end
end

--- A name, of letters or in angle brackets, and the offset behind it.
local function name_and_offset(text, at)
  local behind = text:match("^%a+()", at) or text:match("^<[^>]+>()", at)
  if not behind then
    return nil
  end
  local west, rest = clock(text, behind)
  return west and -west or false, rest or behind
end

--- "CET-1CEST,M3.5.0,M10.5.0/3"; nil for what is no rule.
local function parse_rule(text)
  local standard, at = name_and_offset(text, 1)
  if not standard then
    return nil
  end
  local summer, behind = name_and_offset(text, at)
  if summer == nil then
    return { standard = standard }
  end
  local from, to = text:match("^,([^,]+),([^,]+)$", behind)
  from, to = from and yearly(from), to and yearly(to)
  if not from or not to then
    return nil
  end
  return { standard = standard, summer = summer or standard + 3600, from = from, to = to }
end

--- What the rule says of a moment: the offset, and when it changes next.
local function by_rule(rule, at)
  if not rule.summer then
    return rule.standard, math.huge
  end
  local year = calendar.date(math.floor((at + rule.standard) / 86400))
  local changes = {}
  for y = year - 1, year + 1 do
    changes[#changes + 1] = { at = rule.from(y) - rule.standard, offset = rule.summer }
    changes[#changes + 1] = { at = rule.to(y) - rule.summer, offset = rule.standard }
  end
  table.sort(changes, function(a, b)
    return a.at < b.at
  end)
  for i = #changes, 1, -1 do
    if changes[i].at <= at then
      return changes[i].offset, changes[i + 1] and changes[i + 1].at or math.huge
    end
  end
  return rule.standard, changes[1].at
end

--- The zone that a file describes; nil when it is none.
---@param name string
---@param bytes string  the file
---@return rille.Zone?
function Zone.parse(name, bytes)
  local function counts(at)
    if bytes:sub(at, at + 3) ~= "TZif" or #bytes < at + 43 then
      return nil
    end
    local list = {}
    for i = 1, 6 do
      list[i] = integer(bytes, at + 16 + i * 4, 4)
    end
    return unpack(list) -- isutc, isstd, leap, time, type, char
  end
  local utcs, stds, leaps, ntimes, ntypes, nchars = counts(1)
  if not utcs or bytes:byte(5) < 50 then -- version 2 or later: 64 bits
    return nil
  end
  local second = 45 + ntimes * 5 + ntypes * 6 + nchars + leaps * 8 + stds + utcs
  utcs, stds, leaps, ntimes, ntypes, nchars = counts(second)
  if not utcs then
    return nil
  end
  local at = second + 44
  local types = at + ntimes * 9
  local behind = types + ntypes * 6 + nchars + leaps * 12 + stds + utcs
  if #bytes < behind then
    return nil
  end
  local self = setmetatable({ name = name, times = {}, offsets = {} }, Zone)
  local function offset_of(kind)
    return integer(bytes, types + kind * 6, 4)
  end
  self.first = offset_of(0)
  for i = 1, ntimes do
    self.times[i] = integer(bytes, at + (i - 1) * 8, 8)
    self.offsets[i] = offset_of(bytes:byte(at + ntimes * 8 + i - 1))
  end
  self.rule = parse_rule(bytes:match("^\n([^\n]*)\n", behind) or "")
  return self
end

--- How far local time is ahead of UTC at a moment.
---@param at number  seconds since 1970
---@return number offset  seconds
---@return number change  when that may be another, seconds since 1970; math.huge: never
function Zone:offset(at)
  local times = self.times
  local last = #times
  if last == 0 or at >= times[last] then
    if self.rule then
      return by_rule(self.rule, at)
    end
    return last == 0 and self.first or self.offsets[last], math.huge
  elseif at < times[1] then
    return self.first, times[1]
  end
  local low, high = 1, last -- times[low] <= at < times[high]
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if times[middle] <= at then
      low = middle
    else
      high = middle
    end
  end
  return self.offsets[low], times[high]
end

--- The moment at which a clock on the wall shows this. What it shows twice is the first time; what
--- it never shows, because it is put forward, is the moment of the change.
---@param wall number  seconds since 1970 as if it were UTC
---@return number  seconds since 1970
function Zone:moment(wall)
  local at = wall - 2 * 86400 -- no change but the one in question is as near
  while true do
    local offset, change = self:offset(at)
    if wall - offset < change then
      return math.max(wall - offset, at)
    end
    at = change
  end
end

local UTC = setmetatable({ name = "UTC", times = {}, offsets = {}, first = 0 }, Zone)

local known = { UTC = UTC }

--- A zone by its name in the system's files, like "Europe/Berlin".
---@param name string
---@return rille.Zone?
---@return string? why  there is none
function Zone.named(name)
  if known[name] then
    return known[name]
  end
  if not name:find("^[%w_+-][%w_+/-]*$") then
    return nil, ("%q is no time zone"):format(name)
  end
  local file = io.open(FOLDER .. name, "rb")
  local bytes = file and file:read("*a") -- nil for a folder
  if file then
    file:close()
  end
  known[name] = bytes and Zone.parse(name, bytes) or nil
  if known[name] then
    return known[name]
  end
  return nil, ("no time zone %q in %s (package tzdata)"):format(name, FOLDER)
end

return Zone
