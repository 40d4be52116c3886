--- Days as numbers: the Gregorian calendar, without zones and without a clock.

local calendar = {}

--- Days since 1970-01-01 of a civil date, by counting from March, where the leap day is last.
---@param year integer
---@param month integer  1 to 12
---@param day integer    it may run over, as in March 0
---@return integer
function calendar.days(year, month, day)
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local day_of_era = year_of_era * 365
    + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100)
    + day_of_year
  return era * 146097 + day_of_era - 719468
end

--- The other way.
---@param days integer  since 1970-01-01
---@return integer year
---@return integer month
---@return integer day
function calendar.date(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = math.floor(
    (
      day_of_era
      - math.floor(day_of_era / 1460)
      + math.floor(day_of_era / 36524)
      - math.floor(day_of_era / 146096)
    ) / 365
  )
  local day_of_year = day_of_era
    - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local shifted = math.floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - math.floor((153 * shifted + 2) / 5) + 1
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return year, month, day
end

--- 0 for Sunday to 6 for Saturday.
---@param days integer  since 1970-01-01
---@return integer
function calendar.weekday(days)
  return (days + 4) % 7
end

return calendar
