local time = require("rille.models.time")

describe("time", function()
  local cases = {
    ["2024-02-29"] = "2024-02-29 00:00:00+00",
    ["2023-02-29"] = false,
    ["2024-05-01T12:30:00Z"] = "2024-05-01 12:30:00+00",
    ["2024-05-01 12:30"] = "2024-05-01 12:30:00+00",
    ["2024-05-01T12:30:00.250+02:00"] = "2024-05-01 10:30:00.25+00",
    ["2024-01-01 00:30+0130"] = "2023-12-31 23:00:00+00",
    ["2024-12-31 23:59:59.9999999Z"] = "2024-12-31 23:59:59.999999+00",
    ["1969-12-31 23:59:59.5+00"] = "1969-12-31 23:59:59.5+00",
    ["2024-05-01 24:00:00"] = false,
    ["2024-05-01 12:60:00"] = false,
    ["2024-13-01"] = false,
    ["2024-05-01 12:30:00 PST"] = false,
    ["yesterday"] = false,
    ["0001-01-01 00:00+01"] = false,
  }
  for given, expected in pairs(cases) do
    it(("reads '%s'"):format(given), function()
      assert.equal(expected or nil, time.timestamp(given))
    end)
  end

  it("turns seconds to text and back", function()
    for _, seconds in ipairs({ 0, 1.5, -0.5, 951782400, 1714559400.25, -62135596800 }) do
      assert.equal(seconds, time.to_epoch(time.from_epoch(seconds)))
    end
    assert.is_nil(time.from_epoch(1e13))
    assert.is_nil(time.from_epoch(0 / 0))
  end)

  it("sorts as text does", function()
    local a, b, c = time.from_epoch(10), time.from_epoch(10.5), time.from_epoch(10.51)
    assert.is_true(a < b and b < c)
  end)

  it("knows days", function()
    assert.equal("2024-02-29", time.date("2024-02-29"))
    assert.is_nil(time.date("2024-02-30"))
    assert.is_nil(time.date("2024-2-3"))
  end)
end)
