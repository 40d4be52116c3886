local errors = require("rille.errors")
local raised = require("spec.support.raised")
local rille = require("rille")

local raised_by = raised.by

describe("a queue", function()
  it("hands every value over once, in order", function()
    local queue, seen = rille.queue(3), {}
    local reader = rille.spawn(function()
      for value in queue:aiter() do
        seen[#seen + 1] = value
      end
    end)
    for i = 1, 20 do
      queue:aput(i)
      if i % 7 == 0 then
        rille.asleep(0)
      end
    end
    queue:aput(false)
    queue:close()
    reader:ajoin()
    assert.equal(21, #seen)
    for i = 1, 20 do
      assert.equal(i, seen[i])
    end
    assert.equal(false, seen[21])
  end)

  it("lets who puts wait for room, and who takes for a value, first come first served", function()
    local queue, order = rille.queue(), {}
    for i = 1, 3 do
      rille.spawn(function()
        local value = queue:aget()
        order[#order + 1] = i .. " took " .. value
      end)
    end
    rille.asleep(0)
    for _, word in ipairs { "a", "b", "c", "d" } do
      queue:aput(word)
    end
    local writer = rille.spawn(function()
      queue:aput("e")
      order[#order + 1] = "e is in"
    end)
    rille.asleep(0)
    assert.same({ "1 took a", "2 took b", "3 took c" }, order)
    assert.is_false(queue:put("f"))
    assert.equal(1, queue:len())
    assert.equal("d", queue:aget())
    writer:ajoin()
    assert.equal("e is in", order[4])
    assert.equal("e", queue:get())
    assert.is_nil(queue:get())
    assert.is_true(queue:put("f"))
    assert.equal("f", queue:get())
  end)

  it("loses nothing to who is cancelled, or out of time, while waiting", function()
    local queue = rille.queue()
    for _ = 1, 3 do
      raised_by(rille.atimeout, 0, queue.aget, queue)
      raised_by(rille.atimeout, 0, function()
        queue:aget()
      end)
    end
    local taken
    local cancelled = rille.spawn(function()
      queue:aget()
    end)
    rille.spawn(function()
      taken = queue:aget()
    end)
    rille.asleep(0)
    cancelled:cancel()
    queue:aput("whole")
    rille.asleep(0)
    assert.equal("whole", taken)

    assert.is_true(queue:put("first"))
    local giver = rille.spawn(function()
      queue:aput("never")
    end)
    rille.asleep(0)
    giver:cancel()
    rille.asleep(0)
    assert.equal("first", queue:get())
    assert.is_nil(queue:get())
  end)

  it("keeps what somebody was handed who is cancelled in the same turn", function()
    local queue, got = rille.queue(), nil
    local taker = rille.spawn(function()
      got = queue:aget()
      rille.asleep(1000)
    end)
    rille.asleep(0)
    queue:aput("mine")
    taker:cancel()
    rille.asleep(0)
    assert.equal("mine", got)
    assert.is_true(taker:is_done())
  end)

  it("that is closed gives what is in it, and takes nothing", function()
    local queue = rille.queue(2)
    queue:aput(1)
    queue:aput(2)
    local giver = rille.spawn(function()
      queue:aput(3)
    end)
    rille.asleep(0)
    queue:close()
    assert.is_true(errors.is_error(raised_by(giver.ajoin, giver), errors.Closed))
    assert.is_true(errors.is_error(raised_by(queue.aput, queue, 4), errors.Closed))
    assert.is_false(queue:put(4))
    assert.same({ 1, 2 }, { queue:aget(), queue:aget() })
    assert.is_nil(queue:aget())

    local other = rille.queue()
    local taker = rille.spawn(function()
      return "woken", other:aget()
    end)
    rille.asleep(0)
    other:close()
    assert.same({ "woken" }, { taker:ajoin() })
  end)

  it("refuses nil, and a capacity that is none", function()
    local queue = rille.queue()
    assert.truthy(raised_by(queue.put, queue, nil):find("holds no nil", 1, true))
    assert.truthy(raised_by(queue.aput, queue):find("holds no nil", 1, true))
    for _, capacity in ipairs { 0, -1, "x", 0 / 0 } do
      assert.truthy(raised_by(rille.queue, capacity):find("capacity", 1, true))
    end
  end)
end)

describe("a semaphore", function()
  it("lets so many in at a time, in the order in which they came", function()
    local semaphore, now, most, order, list = rille.semaphore(2), 0, 0, {}, {}
    for i = 1, 6 do
      list[i] = function()
        semaphore:awith(function()
          order[#order + 1] = i
          now = now + 1
          most = math.max(most, now)
          rille.asleep(0.001)
          now = now - 1
        end)
      end
    end
    rille.agather(list)
    assert.equal(2, most)
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
  end)

  it("is given back after an error, and by who is cancelled", function()
    local lock = rille.semaphore(1)
    assert.equal("boom", raised_by(lock.awith, lock, function()
      error("boom", 0)
    end))
    local holder = rille.spawn(function()
      lock:awith(function()
        rille.asleep(1000)
      end)
    end)
    rille.asleep(0)
    local waiting = rille.spawn(function()
      lock:awith(function() end)
    end)
    rille.asleep(0)
    waiting:cancel()
    holder:cancel()
    rille.asleep(0)
    assert.equal(5, lock:awith(function()
      return 5
    end))
    assert.is_false(pcall(rille.semaphore, 0))
  end)
end)

describe("an event", function()
  it("lets all go on who wait, and who come later", function()
    local event, count = rille.event(), 0
    for _ = 1, 3 do
      rille.spawn(function()
        event:await()
        count = count + 1
      end)
    end
    rille.asleep(0)
    assert.equal(0, count)
    assert.is_false(event:is_set())
    event:set()
    rille.asleep(0)
    assert.equal(3, count)
    event:await()
    event:clear()
    raised_by(rille.atimeout, 0, event.await, event)
    assert.is_false(event:is_set())
  end)
end)
