--- pairs() and next(), whoever made them: src/vm/traverse.h.

describe("a loop over pairs", function()
  it("meets everything once, also what it changes on the way", function()
    for _ = 1, 200 do -- as often as the JIT takes to compile it
      local t = { "one", "two", nil, "four", a = 1, [1.5] = 2, [true] = 3 }
      local met, n = {}, 0
      for k, v in pairs(t) do
        assert.is_nil(met[k])
        met[k], n = v, n + 1
        t[k] = k == "a" and 9 or nil
      end
      assert.equal(6, n)
      assert.same({ "one", "two", nil, "four", a = 1, [1.5] = 2, [true] = 3 }, met)
      assert.same({ a = 9 }, t)
    end
  end)

  it("takes a table, and says so", function()
    assert.has_error(function()
      pairs(nil)
    end, "bad argument #1 to 'pairs' (table expected, got nil)")
    assert.has_error(function()
      next("text")
    end, "bad argument #1 to 'next' (table expected, got string)")
    assert.is_false(pcall(next, {}, "no key of it"))
  end)

  it("is of next, which goes on from any key", function()
    local t = { "one", "two" }
    local step, what, first = pairs(t)
    assert.equal(next, step)
    assert.equal(t, what)
    assert.is_nil(first)
    assert.same({ 1, "one" }, { next(t) })
    assert.same({ 2, "two" }, { next(t, 1) })
    assert.is_nil((next(t, 2)))
    assert.is_nil((next {}))
  end)

  it("may wait, and be left by an error", function()
    local task = require("rille.task")
    local seen = {}
    local ok, err = pcall(function()
      for k, v in pairs { a = 1, b = 2, c = 3 } do
        task.asleep(0)
        seen[k] = v
        if next(seen, next(seen)) then
          error("enough", 0)
        end
      end
    end)
    assert.is_false(ok)
    assert.equal("enough", err)
  end)
end)
