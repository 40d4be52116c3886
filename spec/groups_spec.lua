--- `groups` of an application: what may be said, and what becomes of it.
local groups = require("rille.groups")

describe("groups of an app", function()
  local function compile(history)
    return groups.compile { ["room.*"] = { history = history } }[1]
  end

  it("keep by default a hundred messages for five minutes", function()
    local wanted = { name = "room.", open = true, size = 100, ttl = 300, stamp = true }
    assert.same(wanted, compile(true))
    assert.same(wanted, compile {})
    wanted.size, wanted.ttl, wanted.stamp = 7, 0.5, false
    assert.same(wanted, compile { size = 7, ttl = 0.5, stamp = false })
  end)

  it("have a name, or the beginning of one", function()
    assert.same({ "room", false }, { groups.compile({ room = { history = true } })[1].name, false })
    assert.is_true(groups.compile({ ["*"] = { history = true } })[1].open)
    assert.same({}, groups.compile { room = { history = false }, other = {} })
  end)

  local function refuses(text, given)
    local ok, err = pcall(groups.compile, given)
    assert.is_false(ok)
    assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  end

  it("keep nothing on a layer that does not", function()
    local outside = require("rille.layer.outside")
    outside.schemes.deaf = require("rille.layer.backend"):extend("Deaf")
    local rules = { compile(true) }
    local parsed = outside.parse("deaf:")
    outside.check_histories(parsed, {})
    outside.check_histories(nil, rules)
    local ok, err = pcall(outside.check_histories, parsed, rules)
    outside.schemes.deaf = nil
    assert.is_false(ok)
    assert.truthy(tostring(err):find("history (room.*) need a layer", 1, true), tostring(err))
  end)

  it("are refused with what is wrong", function()
    refuses("a group's name has", { ["a b"] = { history = true } })
    refuses("a group's name has", { ["*.room"] = { history = true } })
    refuses("a group's name has", { [1] = { history = true } })
    refuses("a table expected, got a boolean", { room = true })
    refuses('no option "histery"', { room = { histery = true } })
    refuses("a table or true expected, got a number", { room = { history = 5 } })
    refuses('history has no "sise"', { room = { history = { sise = 5 } } })
    refuses("size: a number above 0 expected", { room = { history = { size = 0 } } })
    refuses("size: a whole number", { room = { history = { size = 1.5 } } })
    refuses("ttl: a number above 0", { room = { history = { ttl = "5" } } })
    refuses("stamp: true or false", { room = { history = { stamp = 1 } } })
  end)
end)
