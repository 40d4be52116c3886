local core = require("rille.core")
local errors = require("rille.errors")
local task = require("rille.task")

local asleep = task.asleep

--- 1 to n, with a wait before each.
local function counter(n)
  return coroutine.wrap(function()
    for i = 1, n do
      asleep(0)
      coroutine.yield(i, -i)
    end
  end)
end

describe("a coroutine of the script's own", function()
  it("waits between what it yields, as a generator", function()
    local seen = {}
    for i, minus in counter(3) do
      assert.equal(-i, minus)
      seen[#seen + 1] = i
    end
    assert.same({ 1, 2, 3 }, seen)
  end)

  it("lets others run while it waits", function()
    local ran = false
    task.spawn(function()
      ran = true
    end)
    counter(1)()
    assert.is_true(ran)
  end)

  it("gets arguments and hands over results, none of them the wait's", function()
    local co = coroutine.create(function(a, b)
      asleep(0)
      local c = coroutine.yield(a + b)
      asleep(0)
      return c, nil, "end"
    end)
    assert.same({ true, 3 }, { coroutine.resume(co, 1, 2) })
    assert.equal("suspended", coroutine.status(co))
    assert.same({ true, "c", nil, "end" }, { coroutine.resume(co, "c") })
    assert.equal("dead", coroutine.status(co))
    assert.is_false((coroutine.resume(co)))
  end)

  it("gets the results of what it waited for", function()
    local other = task.spawn(function()
      return "x", nil, "z"
    end)
    local co = coroutine.wrap(function()
      return other:ajoin()
    end)
    assert.same({ "x", nil, "z" }, { co() })
  end)

  it("may be inside another, to any depth", function()
    local function nest(depth)
      return coroutine.wrap(function()
        if depth == 0 then
          asleep(0)
          coroutine.yield("bottom")
          return
        end
        for value in nest(depth - 1) do
          asleep(0)
          coroutine.yield(value)
        end
      end)
    end
    assert.equal("bottom", nest(20)())
  end)

  it("may run beside others that wait", function()
    local sums = {}
    local function sum()
      local total = 0
      for i in counter(10) do
        total = total + i
      end
      sums[#sums + 1] = total
      return total
    end
    task.agather { sum, sum, sum }
    assert.same({ 55, 55, 55 }, sums)
  end)

  it("may be begun in one task and go on in another", function()
    local next_number = counter(2)
    assert.equal(1, (next_number()))
    assert.equal(2, (task.spawn(next_number):ajoin()))
  end)

  it("raises through wrap with the traceback of the inside", function()
    local function culprit()
      asleep(0)
      error("boom")
    end
    local ok, err = pcall(coroutine.wrap(function()
      culprit()
      return 1
    end))
    assert.is_false(ok)
    assert.truthy(err:find("coroutine_spec.lua:%d+: boom\nstack traceback:"), err)
    assert.truthy(err:find("in function 'culprit'", 1, true), err)
  end)

  it("raises objects as they are", function()
    local object = errors.DataError("x")
    local co = coroutine.wrap(function()
      asleep(0)
      error(object)
    end)
    local ok, err = pcall(co)
    assert.is_false(ok)
    assert.equal(object, err)
  end)

  it("fails in resume with false and the message alone", function()
    local co = coroutine.create(function()
      asleep(0)
      error("boom", 0)
    end)
    assert.same({ false, "boom" }, { coroutine.resume(co) })
  end)

  it("is cancelled with the task around it", function()
    local seen
    local handle = task.spawn(function()
      coroutine.wrap(function()
        local _, err = pcall(asleep, 1000)
        seen = err
        error(err, 0)
      end)()
    end)
    asleep(0)
    handle:cancel()
    local ok, err = pcall(handle.ajoin, handle)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.Cancelled))
    assert.equal(err, seen)
  end)

  it("meets a deadline of the task around it", function()
    local ok, err = pcall(task.atimeout, 0.001, coroutine.wrap(function()
      asleep(1000)
    end))
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.Timeout))
  end)

  it("refuses a second resume while it waits", function()
    local gate = task.spawn(function()
      asleep(1000)
    end)
    local co = coroutine.create(function()
      pcall(gate.ajoin, gate)
      return "done"
    end)
    local first = task.spawn(function()
      return coroutine.resume(co)
    end)
    asleep(0)
    local results = { coroutine.resume(co) }
    gate:cancel()
    assert.same({ true, "done" }, { first:ajoin() })
    assert.is_false(results[1])
    assert.truthy(results[2]:find("waits", 1, true), results[2])
  end)

  it("is no function's business that makes none", function()
    local ok, err = pcall(coroutine.wrap, 5)
    assert.is_false(ok)
    assert.truthy(err:find("function", 1, true), err)
    assert.is_false((pcall(coroutine.resume, 5)))
  end)
end)

describe("a yield that nobody would resume", function()
  for name, value in pairs { bare = 1, forged = core.sentinel } do
    it(("ends the task with an error, when %s"):format(name), function()
      local handle = task.spawn(function()
        coroutine.yield(value)
      end)
      local ok, err = pcall(handle.ajoin, handle)
      assert.is_false(ok)
      assert.truthy(err:find("coroutine.yield() outside a coroutine", 1, true), err)
    end)
  end

  it("is an error also when it is forged inside a coroutine", function()
    local handle = task.spawn(function()
      coroutine.wrap(function()
        coroutine.yield(core.sentinel)
      end)()
    end)
    assert.is_false((pcall(handle.ajoin, handle)))
  end)
end)
