--- What a script counts: rille.metrics. How it is shown: spec/server/admin_spec.lua.
local raised = require("spec.support.raised")
local rille = require("rille")

local metrics = rille.metrics

describe("metrics of a script", function()
  local function refused(text, fn, ...)
    local err = raised.by(fn, ...)
    raised.says(text, err)
    return err
  end

  it("count by their labels", function()
    local asked = metrics.counter("spec_asked_total", "Asked.", { "who", "what" })
    asked:inc { who = "ann", what = 1 }
    asked:inc({ who = "ann", what = "1" }, 2.5)
    asked:inc { who = "bob", what = true }
    assert.equal(3.5, asked:value { who = "ann", what = 1 })
    assert.equal(1, asked:value { who = "bob", what = "true" })
  end)

  it("rise, fall and are observed, also without labels", function()
    local stock = metrics.gauge("spec_stock", "In stock.")
    assert.equal(0, stock:value())
    stock:set(10)
    stock:inc(2)
    stock:dec()
    assert.equal(11, stock:value())
    local took = metrics.histogram("spec_took_seconds", "Took.")
    for _, seconds in ipairs { 0.001, 0.2, 1e9, -1 } do
      took:observe(seconds)
    end
    assert.same({ 1e9 - 0.799, 4 }, { took:value() })
  end)

  it("are the same when they are declared again, as a reload does", function()
    metrics.counter("spec_again_total", "Once.", { "l" }):inc { l = 1 }
    local again = metrics.counter("spec_again_total", "Twice.", { "l" })
    again:inc { l = 1 }
    assert.equal(2, again:value { l = 1 })
    local err = refused("is already a counter", metrics.gauge, "spec_again_total", "Other.")
    assert.is_true(rille.is_error(err, rille.ConfigurationError))
    metrics.histogram("spec_sizes", "Sizes.", nil, { buckets = { 1, 2 } })
    local other = { buckets = { 1, 3 } }
    refused("with other buckets", metrics.histogram, "spec_sizes", "Sizes.", nil, other)
  end)

  it("say what is wrong with a name, a label or a number", function()
    refused("letters, digits", metrics.counter, "no-hyphen", "x")
    refused("rille's own", metrics.counter, "rille_mine_total", "x")
    refused("what it counts", metrics.counter, "spec_silent_total")
    refused("letters, digits and _", metrics.counter, "spec_l_total", "x", { "__l" })
    refused("is set by rille", metrics.histogram, "spec_le", "x", { "le" })
    refused("is set by rille", metrics.gauge, "spec_worker", "x", { "worker" })
    refused("numbers that rise", metrics.histogram, "spec_b", "x", {}, { buckets = { 2, 1 } })
    refused("from 1 to 64", metrics.histogram, "spec_b", "x", {}, { buckets = {} })
    local c = metrics.counter("spec_wrong_total", "Wrong.", { "l" })
    refused('no value for the label "l"', c.inc, c)
    refused('no label "m"; it has l', c.inc, c, { l = 1, m = 2 })
    refused("only rises", c.inc, c, { l = 1 }, -1)
    refused("only rises", c.inc, c, { l = 1 }, 0 / 0)
    refused("a number expected", c.inc, c, { l = 1 }, "2")
    refused("a table of labels", c.inc, c, "l")
  end)

  it("have a bounded number of label values", function()
    local c = metrics.counter("spec_users_total", "By user.", { "user" })
    for i = 1, 1000 do
      c:inc { user = i }
    end
    refused("more than 1000", c.inc, c, { user = 1001 })
    c:inc { user = 1000 }
    assert.equal(2, c:value { user = 1000 })
  end)
end)
