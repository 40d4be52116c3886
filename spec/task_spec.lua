local core = require("rille.core")
local errors = require("rille.errors")
local raised = require("spec.support.raised")
local task = require("rille.task")

local asleep, spawn = task.asleep, task.spawn

local raised_by = raised.by

local function raises(class, fn, ...)
  local err = raised_by(fn, ...)
  raised.is(class, err)
  return err
end

--- Sleep for ever, unless somebody does something about it.
local function hang()
  asleep(1000)
end

describe("asleep", function()
  it("waits at least as long as it was told", function()
    local before = core.now()
    asleep(0.005)
    assert.is_true(core.now() - before >= 0.004)
  end)

  it("gives everybody else a turn with 0", function()
    local order = {}
    spawn(function()
      order[#order + 1] = "other"
    end)
    order[#order + 1] = "before"
    asleep(0)
    order[#order + 1] = "after"
    assert.same({ "before", "other", "after" }, order)
  end)

  it("wakes the shorter sleeper first", function()
    local order = {}
    task.agather {
      function()
        asleep(0.04) -- longer than a collection of everything, which may come between the two
        order[#order + 1] = "long"
      end,
      function()
        asleep(0.001)
        order[#order + 1] = "short"
      end,
    }
    assert.same({ "short", "long" }, order)
  end)

  it("refuses what is no time", function()
    for _, seconds in ipairs { -1, 0 / 0, math.huge, 1e10, "soon", {} } do
      local err = raised_by(function()
        asleep(seconds)
      end)
      local told = "task_spec.lua:%d+: asleep: seconds from 0 to 1e9 expected, got "
      assert.truthy(err:find(told), err)
    end
    raised_by(asleep)
  end)
end)

describe("a task", function()
  it("begins at the end of the turn, not in the call", function()
    local began = false
    local handle = spawn(function()
      began = true
    end)
    assert.is_false(began)
    assert.is_false(handle:is_done())
    handle:ajoin()
    assert.is_true(began)
    assert.is_true(handle:is_done())
  end)

  it("hands over all its results, as often as they are asked for", function()
    local handle = spawn(function()
      asleep(0)
      return 1, nil, "three", nil
    end)
    for _ = 1, 2 do
      assert.equal(4, select("#", handle:ajoin()))
      assert.same({ 1, nil, "three" }, { handle:ajoin() })
    end
  end)

  it("hands over its error, the same object", function()
    local err = errors.DataError("mine")
    local handle = spawn(function()
      asleep(0)
      error(err)
    end)
    assert.equal(err, raised_by(handle.ajoin, handle))
    assert.equal(err, raised_by(handle.ajoin, handle))
  end)

  it("hands over an error that is text as it was raised", function()
    local handle = spawn(function()
      error("boom", 0)
    end)
    assert.equal("boom", raised_by(handle.ajoin, handle))
  end)

  it("can be waited for by one other, and not by itself", function()
    local handle = spawn(hang)
    local waiting = spawn(function()
      return handle:ajoin()
    end)
    asleep(0)
    local err = raised_by(handle.ajoin, handle)
    assert.truthy(err:find("somebody waits for this task already", 1, true), err)
    handle:cancel()
    raises(errors.Cancelled, waiting.ajoin, waiting)

    local own
    own = spawn(function()
      err = raised_by(own.ajoin, own)
    end)
    asleep(0)
    assert.truthy(err:find("cannot wait for itself", 1, true), err)
  end)

  it("lives on when its handle is dropped", function()
    local done = false
    spawn(function()
      asleep(0.001)
      done = true
    end)
    collectgarbage()
    for _ = 1, 1000 do
      if done then
        break
      end
      asleep(0.001)
    end
    assert.is_true(done)
  end)

  it("needs a function, and says so at the caller", function()
    local err = raised_by(function()
      local handle = spawn("fn")
      return handle
    end)
    assert.truthy(err:find("task_spec.lua:%d+: spawn needs a function, got string"), err)
  end)

  it("is told apart from other userdata", function()
    raised_by(task.spawn(function() end).cancel, io.stdout)
    asleep(0)
  end)
end)

describe("cancelling", function()
  it("raises Cancelled in the wait, and in every one after it", function()
    local seen = {}
    local handle = spawn(function()
      for _ = 1, 3 do
        local _, err = pcall(hang)
        seen[#seen + 1] = errors.is_error(err, errors.Cancelled)
      end
    end)
    asleep(0)
    handle:cancel()
    handle:ajoin()
    assert.same({ true, true, true }, seen)
  end)

  it("reaches a task before it has begun, at its first wait", function()
    local began = false
    local handle = spawn(function()
      began = true
      hang()
    end)
    handle:cancel()
    raises(errors.Cancelled, handle.ajoin, handle)
    assert.is_true(began)
  end)

  it("lets a task clean up, and leaves what needs no wait alone", function()
    local handle = spawn(function()
      local ok, err = pcall(hang)
      return ok, errors.is_error(err, errors.Cancelled), "clean"
    end)
    asleep(0)
    handle:cancel()
    assert.same({ false, true, "clean" }, { handle:ajoin() })
  end)

  it("does nothing to a task that has ended, or was cancelled", function()
    local handle = spawn(function()
      return 1
    end)
    assert.equal(1, handle:ajoin())
    handle:cancel()
    handle:cancel()
    assert.equal(1, handle:ajoin())
  end)

  it("ends the wait for another task, and not that task", function()
    local other = spawn(function()
      asleep(0.002)
      return "whole"
    end)
    local waiting = spawn(function()
      other:ajoin()
    end)
    asleep(0)
    waiting:cancel()
    raises(errors.Cancelled, waiting.ajoin, waiting)
    assert.equal("whole", other:ajoin())
  end)

  it("works from within, at the next wait", function()
    local own
    own = spawn(function()
      own:cancel()
      return pcall(hang)
    end)
    local ok, err = own:ajoin()
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.Cancelled))
  end)
end)

describe("agather", function()
  it("runs functions side by side and keeps their order", function()
    local before = core.now()
    local results = task.agather {
      function()
        asleep(0.005)
        return "a", "dropped"
      end,
      function()
        asleep(0.005)
      end,
      function()
        return false
      end,
    }
    assert.same({ "a", nil, false }, results)
    assert.is_true(core.now() - before < 0.5)
  end)

  it("of nothing gives nothing", function()
    assert.same({}, task.agather {})
  end)

  it("raises the first error in time, whoever comes first in the list", function()
    local err = errors.DataError("early")
    assert.equal(err, raised_by(task.atimeout, 2, function()
      task.agather {
        hang,
        function()
          asleep(0.001)
          error(err)
        end,
        function()
          asleep(0.5)
          error("late")
        end,
      }
    end))
  end)

  it("cancels the others at the first error, and has waited for their end", function()
    local ended = {}
    local function tidy(name)
      return function()
        local _, err = pcall(hang)
        ended[#ended + 1] = name
        error(err, 0)
      end
    end
    local err = raised_by(task.agather, {
      tidy("before"),
      function()
        asleep(0)
        error("boom", 0)
      end,
      tidy("after"),
    })
    assert.equal("boom", err)
    table.sort(ended)
    assert.same({ "after", "before" }, ended)
  end)

  it("is cancelled with all it runs", function()
    local ended = 0
    local function tidy()
      local _, err = pcall(hang)
      ended = ended + 1
      error(err, 0)
    end
    local handle = spawn(function()
      task.agather { tidy, tidy }
    end)
    asleep(0.001)
    handle:cancel()
    raises(errors.Cancelled, handle.ajoin, handle)
    asleep(0.001)
    assert.equal(2, ended)
  end)

  it("starts nothing when something is not a function", function()
    local before = core.worker.census().tasks
    local err = raised_by(function()
      local results = task.agather { hang, "oops" }
      return results
    end)
    assert.truthy(err:find("task_spec.lua:%d+: agather needs functions, got a string at 2"), err)
    err = raised_by(task.agather, hang)
    assert.truthy(err:find("agather needs a list of functions", 1, true), err)
    assert.equal(before, core.worker.census().tasks)
  end)

  it("starts nothing where it cannot wait", function()
    local before = core.worker.census().tasks
    local err = raised_by(string.gsub, "x", "x", function()
      task.agather { hang, hang }
    end)
    assert.truthy(tostring(err):find("cannot wait here", 1, true), tostring(err))
    assert.equal(before, core.worker.census().tasks)
  end)
end)

describe("atimeout", function()
  it("returns what came in time", function()
    assert.same({ 1, nil, 3 }, { task.atimeout(1, function()
      asleep(0)
      return 1, nil, 3
    end) })
  end)

  it("raises Timeout, with the time, for what did not", function()
    local err = raises(errors.Timeout, task.atimeout, 0.002, hang)
    assert.equal("no result within 0.002 seconds", err.message)
  end)

  it("interrupts every wait until it is over, and none after", function()
    local seen = {}
    local result = task.atimeout(0.001, function()
      for _ = 1, 2 do
        local _, err = pcall(hang)
        seen[#seen + 1] = errors.is_error(err, errors.Timeout)
      end
      return "cleaned"
    end)
    assert.equal("cleaned", result)
    assert.same({ true, true }, seen)
    asleep(0.001)
  end)

  it("refuses what is no time and what is no function, at the caller", function()
    for _, case in ipairs { { -1, hang }, { "soon", hang }, { 1, "fn" }, { 1 } } do
      local err = raised_by(function()
        task.atimeout(case[1], case[2])
      end)
      assert.truthy(err:find("^spec/task_spec.lua:%d+: atimeout"), err)
    end
  end)

  it("leaves an error of the function alone", function()
    local err = errors.DataError("mine")
    assert.equal(err, raised_by(task.atimeout, 1, function()
      asleep(0)
      error(err)
    end))
  end)

  it("passes on a Timeout that is not its own", function()
    local own = errors.Timeout("from somewhere else")
    assert.equal(own, raised_by(task.atimeout, 1, function()
      error(own)
    end))
  end)

  it("nested: the inner one ends only what is inside", function()
    local result = task.atimeout(1, function()
      raises(errors.Timeout, task.atimeout, 0.001, hang)
      asleep(0.002)
      return "outer goes on"
    end)
    assert.equal("outer goes on", result)
  end)

  it("nested: the outer one ends the inner", function()
    local inner
    local err = raises(errors.Timeout, task.atimeout, 0.002, function()
      inner = raised_by(task.atimeout, 1000, hang)
      error(inner, 0)
    end)
    assert.equal("no result within 0.002 seconds", err.message)
    assert.is_true(errors.is_error(inner, errors.Timeout))
    asleep(0)
  end)

  it("nested: when both have passed at once, each raises its own", function()
    local inner
    local err = raises(errors.Timeout, task.atimeout, 0, function()
      inner = raises(errors.Timeout, task.atimeout, 0, hang)
      hang()
    end)
    assert.equal("no result within 0 seconds", inner.message)
    assert.equal("no result within 0 seconds", err.message)
    asleep(0)
  end)

  it("does not disturb a task that is cancelled", function()
    local handle = spawn(function()
      task.atimeout(1000, hang)
    end)
    asleep(0)
    handle:cancel()
    raises(errors.Cancelled, handle.ajoin, handle)
  end)

  it("ends with its task, the timer too", function()
    local handle = spawn(function()
      core.task.deadline(0.001)
    end)
    handle:ajoin()
    asleep(0.003)
  end)

  it("believes no deadline but one of this task", function()
    local token
    spawn(function()
      token = core.task.deadline(1000)
      hang()
    end):cancel()
    asleep(0)
    local err = raised_by(core.task.undeadline, token)
    assert.truthy(err:find("no deadline of this task", 1, true), err)
    raised_by(core.task.undeadline, nil)
  end)
end)
