--- The list of limits: what may be given, what becomes of it, and that README tells the truth.
local Limits = require("rille.limits")
local raised = require("spec.support.raised")
local routing = require("rille.routing")

describe("limits", function()
  local function refuses(told, fn, ...)
    raised.says(told, raised.by(fn, ...))
  end

  --- As README says it.
  local function say(limit)
    local value = limit.default
    if not value then
      return "off"
    elseif limit.unit == "bytes" then
      return value >= 2 ^ 20 and value / 2 ^ 20 .. " MiB" or value / 2 ^ 10 .. " KiB"
    elseif limit.unit == "seconds" then
      return value .. " s"
    end
    return tostring(value) .. (limit.unit == "bytes/s" and " B/s" or "")
  end

  it("are all in README, in their order, and nothing else is", function()
    local file = assert(io.open("README.md"))
    local section = file:read("*a"):match("\n## Limits\n(.-)\n## ")
    file:close()
    local rows = {}
    for row in section:gmatch("\n(| `[^\n]*)") do
      rows[#rows + 1] = row
    end
    for i, limit in ipairs(Limits.list) do
      local wanted = "| `%s` | %s | %s | %s |"
      assert.equal(wanted:format(limit.name, say(limit), limit.routes or "", limit.what), rows[i])
    end
    assert.equal(#Limits.list, #rows)
  end)

  it("are numbers for the core, the strongest word first", function()
    local all = Limits.complete({ max_body = 1 }, { max_body = 2, max_message = 3 })
    assert.same({ 1, 3, 100 }, { all.max_body, all.max_message, all.max_fields })
    assert.equal(-1, Limits.complete({ ping_interval = false }).ping_interval)
    assert.equal(2, Limits.complete({ mailbox_policy = "drop_oldest" }).mailbox_policy)
  end)

  it("come from words", function()
    assert.same(
      { max_body = 10, ping_interval = false, unsent_policy = "close" },
      Limits.parse { "max_body=10", " ping_interval = false", "unsent_policy=close" }
    )
    refuses("limit 'ping_interval=true': a number above 0", Limits.parse, { "ping_interval=true" })
    refuses("one of drop_newest, close expected", Limits.parse, { "unsent_policy=drop_oldest" })
    refuses("limit 'max_head=false': a number above 0", Limits.parse, { "max_head=false" })
  end)

  it("of a route are those that it may have", function()
    local function fn() end
    refuses("max_message is not one of a http route", routing.get, "/", fn, { max_message = 1 })
    refuses('route "/": unknown limit "x"', routing.get, "/", fn, { x = 1 })
    refuses("max_body: a whole number", routing.get, "/", fn, { max_body = 1.5 })
    refuses("options are a table", routing.get, "/", fn, 5)
    assert.same({ max_body = 5 }, routing.get("/", fn, { max_body = 5 }).limits)
    assert.same({ mailbox = 5 }, routing.get("/", fn, { mailbox = 5 }).limits)
  end)

  it("of routes make as many sets as there are such routes", function()
    local plain, small = { kind = "http" }, { kind = "http", limits = { max_body = 5 } }
    local sets = Limits.sets({ max_body = 10 }, {}, { plain, small })
    assert.same({ 10, 5 }, { sets[1].max_body, sets[2].max_body })
    assert.same({ nil, 2 }, { plain.limits_set, small.limits_set })
    small.limits.max_body = 20 -- now others are to be held to less than the parser's
    Limits.sets({ max_body = 10 }, {}, { plain, small })
    assert.equal(1, plain.limits_set)
  end)
end)
