local Cron = require("rille.timers.cron")

local function moment(text)
  local y, m, d, hour, minute, second = text:match("^(%d+)-(%d+)-(%d+) (%d+):(%d+):?(%d*)$")
  local days = require("rille.calendar").days(tonumber(y), tonumber(m), tonumber(d))
  return ((days * 24 + hour) * 60 + minute) * 60 + (tonumber(second) or 0)
end

local function text_of(at)
  return os.date("!%Y-%m-%d %H:%M", at)
end

--- The next times after one, all in UTC.
local function series(text, from, count, zone)
  local cron = assert(Cron.parse(text, zone))
  local at, list = moment(from), {}
  for i = 1, count do
    at = cron:next(at)
    list[i] = text_of(at)
  end
  return list
end

describe("cron", function()
  for _, case in ipairs {
    -- fields, a moment, what comes next
    { "* * * * *", "2024-05-01 12:30", "2024-05-01 12:31" },
    { "* * * * *", "2024-05-01 12:30:59", "2024-05-01 12:31" },
    { "* * * * *", "2024-12-31 23:59", "2025-01-01 00:00" },
    { "*/5 * * * *", "2024-05-01 12:30", "2024-05-01 12:35" },
    { "*/5 * * * *", "2024-05-01 12:58", "2024-05-01 13:00" },
    { "7-59/20 * * * *", "2024-05-01 12:30", "2024-05-01 12:47" },
    { "0,30,45 * * * *", "2024-05-01 12:30", "2024-05-01 12:45" },
    { "30 6-18/4 * * *", "2024-05-01 12:30", "2024-05-01 14:30" },
    { "0 0 * * *", "2024-05-01 00:00", "2024-05-02 00:00" },
    { "0 0 * * *", "2024-04-30 23:59:59", "2024-05-01 00:00" },
    { "0 0 1 * *", "2024-05-01 00:00", "2024-06-01 00:00" },
    { "0 0 31 * *", "2024-05-31 00:00", "2024-07-31 00:00" },
    { "0 0 29 2 *", "2024-02-29 00:00", "2028-02-29 00:00" },
    { "0 0 29 2 *", "2096-02-29 00:00", "2104-02-29 00:00" },
    { "0 12 * JAN,jul *", "2024-01-31 12:00", "2024-07-01 12:00" },
    { "0 12 * 6-8 *", "2024-08-31 12:00", "2025-06-01 12:00" },
    { "0 9 * * MON-FRI", "2024-05-03 09:00", "2024-05-06 09:00" },
    { "0 9 * * 0", "2024-05-01 09:00", "2024-05-05 09:00" },
    { "0 9 * * 7", "2024-05-01 09:00", "2024-05-05 09:00" },
    { "0 9 * * 5-7", "2024-05-04 09:00", "2024-05-05 09:00" },
    { "0 9 * * */2", "2024-05-05 09:00", "2024-05-07 09:00" },
    { "0 9 13 * FRI", "2024-05-01 09:00", "2024-05-03 09:00" }, -- either
    { "0 9 13 * FRI", "2024-05-10 09:00", "2024-05-13 09:00" },
    { "0 9 */2 * FRI", "2024-05-01 09:00", "2024-05-03 09:00" }, -- both
    { "0 9 */2 * FRI", "2024-05-03 09:00", "2024-05-17 09:00" },
    { "0 9 13 * */5", "2024-05-13 09:00", "2024-09-13 09:00" }, -- both: Sunday or Friday
    { "@hourly", "2024-05-01 12:30", "2024-05-01 13:00" },
    { "@daily", "2024-05-01 12:30", "2024-05-02 00:00" },
    { "@midnight", "2024-05-01 12:30", "2024-05-02 00:00" },
    { "@weekly", "2024-05-01 12:30", "2024-05-05 00:00" },
    { "@monthly", "2024-05-01 12:30", "2024-06-01 00:00" },
    { "@Yearly", "2024-05-01 12:30", "2025-01-01 00:00" },
    { "@annually", "2024-05-01 12:30", "2025-01-01 00:00" },
    { "  0\t0 1 1  *  ", "2024-05-01 12:30", "2025-01-01 00:00" },
  } do
    it(("%q comes behind %s at %s"):format(unpack(case)), function()
      assert.same({ case[3] }, series(case[1], case[2], 1))
    end)
  end

  it("goes by the clock of a zone", function()
    for _, case in ipairs {
      { "0 8 * * *", "2024-07-01 05:00", "2024-07-01 06:00", "Europe/Berlin" },
      { "0 8 * * *", "2024-01-01 00:00", "2024-01-01 02:15", "Asia/Kathmandu" },
      { "0 0 1 7 *", "2024-05-01 00:00", "2024-06-30 15:00", "Asia/Tokyo" },
    } do
      assert.same({ case[3] }, series(case[1], case[2], 1, case[4]))
    end
  end)

  describe("where clocks are put forward", function()
    it("runs at the change what they skip, once", function()
      assert.same(
        { "2024-03-30 01:30", "2024-03-31 01:00", "2024-04-01 00:30" },
        series("30 2 * * *", "2024-03-30 00:00", 3, "Europe/Berlin")
      )
      assert.same(
        { "2024-03-31 01:00", "2024-04-01 00:00", "2024-04-01 00:15" },
        series("*/15 2 * * *", "2024-03-31 00:59", 3, "Europe/Berlin")
      )
    end)

    it("leaves out, every hour, what they skip", function()
      assert.same(
        { "2024-03-31 00:30", "2024-03-31 01:00", "2024-03-31 01:30" },
        series("*/30 * * * *", "2024-03-31 00:00", 3, "Europe/Berlin")
      )
    end)
  end)

  describe("where clocks are put back", function()
    it("runs once what they show twice", function()
      assert.same(
        { "2024-10-26 00:30", "2024-10-27 00:30", "2024-10-28 01:30" },
        series("30 2 * * *", "2024-10-26 00:00", 3, "Europe/Berlin")
      )
    end)

    it("goes on through it, every hour", function()
      assert.same({
        "2024-10-26 23:30",
        "2024-10-27 00:00",
        "2024-10-27 00:30",
        "2024-10-27 01:00",
        "2024-10-27 01:30",
        "2024-10-27 02:00",
      }, series("*/30 * * * *", "2024-10-26 23:00", 6, "Europe/Berlin"))
    end)
  end)

  it("never stands still nor goes back, wherever clocks do what", function()
    local zones = { "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/Nuuk" }
    for _, zone in ipairs(zones) do
      for _, text in ipairs { "*/20 * * * *", "30 1,2 * * *", "0 0 * * *", "15 */3 * * SUN" } do
        local cron = assert(Cron.parse(text, zone))
        local at = 1.3e9
        for _ = 1, 60 do
          local next = cron:next(at)
          assert.is_true(next > at)
          assert.equal(next, cron:next(next - 1), text .. " in " .. zone)
          at = next + 7 * 86400 / 2
        end
      end
    end
  end)

  for text, told in pairs {
    ["* * * *"] = "five fields or one of @hourly",
    ["* * * * * *"] = "five fields",
    ["@reboot"] = "five fields",
    [""] = "five fields",
    ["60 * * * *"] = 'bad minute "60"',
    ["* 24 * * *"] = 'bad hour "24"',
    ["* * 0 * *"] = 'bad day "0"',
    ["* * * 13 *"] = 'bad month "13"',
    ["* * * * 8"] = 'bad weekday "8"',
    ["* * * * MOND"] = 'bad weekday "MOND"',
    ["* * * * UNM"] = 'bad weekday "UNM"',
    ["* * * MON *"] = 'bad month "MON"',
    ["5/15 * * * *"] = 'bad minute "5/15"',
    ["20-10 * * * *"] = "bad minute",
    ["*/0 * * * *"] = "bad minute",
    ["1,,2 * * * *"] = "bad minute",
    ["1, * * * *"] = "bad minute",
    ["-1 * * * *"] = "bad minute",
    ["1.5 * * * *"] = "bad minute",
    ["0 0 31 2 *"] = "there is no such day",
    ["0 0 31 4,6,9,11 *"] = "there is no such day",
  } do
    it(("refuses %q"):format(text), function()
      local cron, why = Cron.parse(text)
      assert.is_nil(cron)
      assert.truthy(why:find(told, 1, true), why)
    end)
  end

  it("refuses a zone that there is not", function()
    local cron, why = Cron.parse("* * * * *", "Mars/Utopia")
    assert.is_nil(cron)
    assert.truthy(why:find("Mars/Utopia", 1, true), why)
  end)
end)
