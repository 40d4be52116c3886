--- Cron's five fields: minute, hour, day of the month, month, day of the week.
---
---     */5 * * * *        every five minutes
---     30 6-18/2 * * MON-FRI
---     0 0 1,15 * *       @hourly @daily @weekly @monthly @yearly
---
--- Fields are `*`, numbers, ranges and lists of these, with a step behind `*` or a range; months
--- and days have names, and 7 is Sunday, too. When both days are given (neither begins with `*`),
--- either will do. What comes next is a pure function of a moment and a zone.
---
--- Where clocks are put forward, a time that they skip runs at the change. Where they are put back,
--- an hour that comes twice counts once, unless the field of hours begins with `*`: such a timer
--- goes by the clock as it runs.

local Zone = require("rille.timers.zone")
local calendar = require("rille.calendar")

local MONTHS = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
local DAYS = "SUNMONTUEWEDTHUFRISAT"

local FIELDS = {
  { name = "minute", low = 0, high = 59 },
  { name = "hour", low = 0, high = 23 },
  { name = "day", low = 1, high = 31 },
  { name = "month", low = 1, high = 12, names = MONTHS },
  { name = "weekday", low = 0, high = 7, names = DAYS },
}

local MACROS = {
  ["@hourly"] = "0 * * * *",
  ["@daily"] = "0 0 * * *",
  ["@midnight"] = "0 0 * * *",
  ["@weekly"] = "0 0 * * 0",
  ["@monthly"] = "0 0 1 * *",
  ["@yearly"] = "0 0 1 1 *",
  ["@annually"] = "0 0 1 1 *",
}

local HORIZON = 9 * 366 -- days: 29 February may take eight years to come

---@class rille.Cron
---@field text string
---@field private zone rille.Zone
---@field private minute table<integer, true>
---@field private hour table<integer, true>
---@field private day table<integer, true>
---@field private month table<integer, true>
---@field private weekday table<integer, true>
---@field private either boolean  one of the two kinds of days is enough
---@field private by_clock boolean  the hours begin with `*`
local Cron = {}
Cron.__index = Cron

local function to_number(field, word)
  if word:find("^%d%d?$") then
    return tonumber(word)
  end
  local at = field.names and #word == 3 and field.names:find(word:upper(), 1, true)
  return at and at % 3 == 1 and (at - 1) / 3 + field.low or nil
end

--- One of a list: "*", "*/5", "3", "1-5", "1-30/2".
local function parse_item(field, item, set)
  local range, step = item:match("^(.-)/(%d+)$")
  local from, to
  range = range or item
  if range == "*" then
    from, to = field.low, field.name == "weekday" and 6 or field.high
  else
    local first, last = range:match("^(%w+)-(%w+)$")
    from = to_number(field, first or range)
    to = first and to_number(field, last) or not first and not step and from or nil
  end
  step = tonumber(step or 1)
  if not from or not to or from < field.low or to > field.high or from > to or step < 1 then
    return false
  end
  for value = from, to, step do
    set[field.name == "weekday" and value % 7 or value] = true
  end
  return true
end

--- A schedule; or nil and what is wrong, in a few words.
---@param text string
---@param zone string?  its name; default UTC
---@return rille.Cron?
---@return string? why
function Cron.parse(text, zone)
  local where, why = Zone.named(zone or "UTC")
  if not where then
    return nil, why
  end
  local self = setmetatable({ text = text, zone = where }, Cron)
  local words = {}
  for word in (MACROS[text:lower()] or text):gmatch("%S+") do
    words[#words + 1] = word
  end
  if #words ~= #FIELDS then
    return nil, "five fields or one of @hourly, @daily, @weekly, @monthly, @yearly expected"
  end
  for i, field in ipairs(FIELDS) do
    local set = {}
    for item in (words[i] .. ","):gmatch("([^,]*),") do
      if not parse_item(field, item, set) then
        return nil, ("bad %s %q"):format(field.name, words[i])
      end
    end
    self[field.name] = set
  end
  self.either = not words[3]:find("^%*") and not words[5]:find("^%*")
  self.by_clock = words[2]:find("^%*") ~= nil
  if not self:_next_on_wall(0) then
    return nil, "there is no such day"
  end
  return self
end

function Cron:_has_day(days, day)
  local of_month, of_week = self.day[day], self.weekday[calendar.weekday(days)]
  if self.either then
    return of_month or of_week
  end
  return of_month and of_week
end

--- The first time of the day that is not before this minute of it.
function Cron:_next_in_day(minute)
  for hour = math.floor(minute / 60), 23 do
    if self.hour[hour] then
      local first = hour * 60
      for m = first < minute and minute - first or 0, 59 do
        if self.minute[m] then
          return first + m
        end
      end
    end
  end
end

--- The next time that a clock without any changes shows; nil: never.
---@param wall number  seconds since 1970 as if it were UTC
---@return number?
function Cron:_next_on_wall(wall)
  local minutes = math.floor(wall / 60) + 1
  local today = math.floor(minutes / 1440)
  for days = today, today + HORIZON do
    local _, month, day = calendar.date(days)
    if self.month[month] and self:_has_day(days, day) then
      local minute = self:_next_in_day(days == today and minutes - today * 1440 or 0)
      if minute then
        return (days * 1440 + minute) * 60
      end
    end
  end
end

--- The first moment after `at`.
---@param at number  seconds since 1970
---@return number  likewise, a whole minute of local time
function Cron:next(at)
  local zone = self.zone
  local offset, change = zone:offset(at)
  if not self.by_clock then
    local wall = at + offset - 86400 -- what is skipped by a change is behind it on the clock
    while true do
      wall = self:_next_on_wall(wall)
      local moment = zone:moment(wall)
      if moment > at then
        return moment
      end
    end
  end
  while true do
    local moment = self:_next_on_wall(at + offset) - offset
    if moment < change then
      return moment
    end
    at = change - 1 -- and so the change itself may be one
    offset, change = zone:offset(change)
  end
end

return Cron
