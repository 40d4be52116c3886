--- Conditional requests (RFC 9110, section 13), for what is only read.

local M = {}

local MONTHS = {}
for i, name in ipairs { "Jan", "Feb", "Mar", "Apr", "May", "Jun" } do
  MONTHS[name] = i
end
for i, name in ipairs { "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" } do
  MONTHS[name] = i + 6
end

--- Days from 1970 to a date of the Gregorian calendar; years begin in March here.
local function days_until(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local of_year = math.floor((153 * (month - 3) + 2) / 5) + day - 1
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return year * 365 + leaps + of_year - 719468
end

--- A year of two digits is the one nearest to now, not more than 50 years ahead.
local function full_year(digits)
  local year = tonumber(digits)
  if #digits == 4 then
    return year
  end
  local now = tonumber(os.date("!%Y"))
  year = year + now - now % 100
  return year > now + 50 and year - 100 or year
end

--- Seconds since 1970 of a date in any of the three forms of section 5.6.7; nil if it is none.
---@param text string
---@return integer?
function M.parse_date(text)
  local day, month, year, time = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) ([%d:]+) GMT$")
  if not day then
    day, month, year, time = text:match("^%a+day, (%d%d)%-(%a%a%a)%-(%d%d) ([%d:]+) GMT$")
  end
  if not day then
    month, day, time, year = text:match("^%a%a%a (%a%a%a) ([ %d]%d) ([%d:]+) (%d%d%d%d)$")
  end
  if not day then
    return nil
  end
  local hour, minute, second = time:match("^(%d%d):(%d%d):(%d%d)$")
  day, month = tonumber(day), MONTHS[month]
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if not (hour and month and day) or day < 1 or day > 31 then
    return nil
  end
  if hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  return days_until(full_year(year), month, day) * 86400 + hour * 3600 + minute * 60 + second
end

--- Is one of the tags in a list ours? Strongly compared, a weak one never is.
local function lists(field, etag, strong)
  if field:match("^%s*%*%s*$") then
    return true
  end
  for weak, tag in field:gmatch('(W?/?)("[^"]*")') do
    if tag == etag and not (strong and weak ~= "") then
      return true
    end
  end
  return false
end

--- What the conditions of a request come to, in their order of precedence.
---@param headers table<string, string>
---@param etag string     strong
---@param modified integer  whole seconds since 1970
---@return 304|412|nil status  nil: go on
function M.check(headers, etag, modified)
  local since = headers["if-unmodified-since"]
  if headers["if-match"] then
    if not lists(headers["if-match"], etag, true) then
      return 412
    end
  elseif since then
    local date = M.parse_date(since)
    if date and modified > date then
      return 412
    end
  end
  since = headers["if-modified-since"]
  if headers["if-none-match"] then
    return lists(headers["if-none-match"], etag, false) and 304 or nil
  elseif since then
    local date = M.parse_date(since)
    return date and modified <= date and 304 or nil
  end
end

--- Does If-Range, if there is one, allow an answer in parts?
---@param field string?
---@param etag string
---@param modified integer
---@return boolean
function M.allows_range(field, etag, modified)
  return field == nil or field == etag or M.parse_date(field) == modified
end

return M
