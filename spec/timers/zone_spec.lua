local Zone = require("rille.timers.zone")
local server = require("spec.support.server")

describe("a time zone", function()
  --- What the C library says of moments there: their offsets, by the zone's own name for them.
  local function libc(zone, moments)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    for _, at in ipairs(moments) do
      file:write(("@%.0f\n"):format(at))
    end
    file:close()
    local command = ("TZ=%s LC_ALL=C date -f %s +%%::z"):format(server.quote(zone), path)
    local offsets = {}
    for sign, h, m, s in server.shell(command):gmatch("([+-])(%d+):(%d+):(%d+)") do
      local seconds = h * 3600 + m * 60 + s
      offsets[#offsets + 1] = sign == "-" and -seconds or seconds
    end
    os.remove(path)
    return offsets
  end

  for _, name in ipairs {
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns", -- half an hour
    "Australia/Lord_Howe", -- and changes by half of one
    "America/Nuuk", -- whose rule has a negative time
    "Africa/Casablanca", -- and one that needs lists of years to come
    "Asia/Kathmandu",
    "Pacific/Apia", -- a day is missing in 2011
    "Europe/Dublin",
    "Etc/GMT+5",
    "UTC",
  } do
    it(name .. " is what the C library says", function()
      local zone = assert(Zone.named(name))
      local moments = {}
      for at = -3e9, 6e9, 87654321 do
        moments[#moments + 1] = at
      end
      for at = 1.3e9, 1.8e9, 3600 * 24 * 17.37 do
        moments[#moments + 1] = math.floor(at)
      end
      local at = 1.2e9
      while at < 2.4e9 do -- and around every change of many years, also by the rule
        local _, change = zone:offset(at)
        if change > 2.4e9 then
          break
        end
        moments[#moments + 1] = change - 1
        moments[#moments + 1] = change
        at = change
      end
      local expected = libc(name, moments)
      assert.equal(#moments, #expected)
      for i, moment in ipairs(moments) do
        local offset, change = zone:offset(moment)
        assert.equal(expected[i], offset, ("%s at %.0f"):format(name, moment))
        assert.is_true(change > moment)
      end
    end)
  end

  it("is read as well from a file without a list of years", function()
    local folder = server.scratch()
    finally(server.clean)
    server.write(
      folder .. "/rules",
      "Rule X 1990 max - Mar lastSun 1:00u 1:00 S\n"
        .. "Rule X 1990 max - Oct lastSun 1:00u 0 -\nZone Slim 1:00 X CE%sT\n"
    )
    local zic = server.shell("PATH=$PATH:/usr/sbin command -v zic"):gsub("%s+$", "")
    if zic == "" then
      pending("needs zic")
      return
    end
    server.shell(("%s -b slim -d %s %s/rules"):format(zic, folder, folder))
    local bytes = server.read_file(folder .. "/Slim")
    local slim, fat = Zone.parse("Slim", bytes), Zone.named("Europe/Berlin")
    for at = 1e9, 4e9, 987654 do
      assert.same({ fat:offset(at) }, { slim:offset(at) })
    end
  end)

  it("says at which moment a clock shows a time", function()
    local zone = Zone.named("Europe/Berlin")
    for wall, moment in pairs {
      [1704067200] = 1704063600, -- 2024-01-01 00:00
      [1719792000] = 1719784800, -- 2024-07-01 00:00
      [1711846799] = 1711843199, -- 2024-03-31 00:59:59
      [1711850400] = 1711846800, -- 02:00 is never shown: the change
      [1711852200] = 1711846800, -- nor is 02:30
      [1711854000] = 1711846800, -- 03:00 is the change
      [1729994400] = 1729987200, -- 2024-10-27 02:00, twice: the first
      [1729997999] = 1729990799, -- 02:59:59, likewise
      [1729998000] = 1729994400, -- 03:00, once
    } do
      assert.equal(moment, zone:moment(wall), tostring(wall))
    end
  end)

  it("that there is not, or that is no zone, is told", function()
    for _, name in ipairs { "Mars/Utopia", "../../etc/passwd", "/etc/passwd", "Europe", "" } do
      local zone, why = Zone.named(name)
      assert.is_nil(zone)
      assert.truthy(why:find("time zone", 1, true), why)
    end
    assert.is_nil(Zone.parse("x", ""))
    assert.is_nil(Zone.parse("x", ("TZif2" .. ("\0"):rep(39))))
    local whole = server.read_file("/usr/share/zoneinfo/Europe/Berlin")
    for length = 0, #whole - 30, 97 do
      assert.is_nil(Zone.parse("x", whole:sub(1, length)))
    end
  end)
end)
