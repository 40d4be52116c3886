local core = require("rille.core")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local raised = require("spec.support.raised")
local rille = require("rille")
local task = require("rille.task")

local raised_by = raised.by

local function hang()
  rille.asleep(1000)
end

--- Wait for ever, and note how that ended.
local function noting(list, name)
  return function()
    local _, err = pcall(hang)
    list[#list + 1] = name
    error(err, 0)
  end
end

describe("a scope", function()
  it("returns when its function and all its tasks have", function()
    local ended = {}
    local a, b = task.ascope(function(scope)
      for i = 1, 3 do
        scope:spawn(function()
          rille.asleep(0.001 * i)
          ended[i] = true
          if i == 2 then
            scope:spawn(function()
              rille.asleep(0.005)
              ended.late = true
            end)
          end
        end)
      end
      return 1, nil
    end)
    assert.same({ true, true, true, late = true }, ended)
    assert.equal(1, a)
    assert.is_nil(b)
  end)

  it("ends all of it at the first error in a task, and raises that", function()
    local ended, err = {}, errors.DataError("mine")
    local function run()
      task.ascope(function(scope)
        scope:spawn(noting(ended, "other"))
        scope:spawn(function()
          rille.asleep(0.001)
          error(err)
        end)
        noting(ended, "function")()
      end)
    end
    assert.equal(err, raised_by(run))
    table.sort(ended)
    assert.same({ "function", "other" }, ended)
    rille.asleep(0) -- we go on
  end)

  it("ends its tasks when its function raises", function()
    local ended = {}
    local err = raised_by(task.ascope, function(scope)
      scope:spawn(noting(ended, "task"))
      rille.asleep(0)
      error("boom", 0)
    end)
    assert.equal("boom", err)
    assert.same({ "task" }, ended)
  end)

  it("can be cancelled, from within and from a task of it, and returns then", function()
    for _, from in ipairs { "function", "task" } do
      local ended = {}
      local returned = task.ascope(function(scope)
        scope:spawn(noting(ended, "task"))
        if from == "task" then
          scope:spawn(function()
            scope:cancel()
          end)
        else
          rille.asleep(0)
          scope:cancel()
          scope:cancel()
        end
        noting(ended, "function")()
      end)
      table.sort(ended)
      assert.is_nil(returned)
      assert.same({ "function", "task" }, ended)
    end
  end)

  it("raises Cancelled where its function waits, and only there", function()
    local seen
    task.ascope(function(scope)
      scope:cancel()
      seen = raised_by(hang)
    end)
    assert.is_true(errors.is_error(seen, errors.Cancelled))
    rille.asleep(0)
  end)

  it("ends with the task that it is of, and has waited for its tasks then", function()
    local ended = {}
    local handle = task.spawn(function()
      local ok, err = pcall(task.ascope, function(scope)
        scope:spawn(function()
          pcall(hang)
          task.ashield(1, function()
            rille.asleep(0.002)
          end)
          ended[#ended + 1] = "task"
        end)
      end)
      ended[#ended + 1] = "scope"
      assert(not ok)
      error(err, 0)
    end)
    rille.asleep(0.001)
    handle:cancel()
    local err = raised_by(handle.ajoin, handle)
    assert.is_true(errors.is_error(err, errors.Cancelled))
    assert.same({ "task", "scope" }, ended)
  end)

  it("keeps to a deadline around it", function()
    local ended = {}
    local err = raised_by(task.atimeout, 0.002, function()
      task.ascope(function(scope)
        scope:spawn(noting(ended, "task"))
      end)
    end)
    assert.is_true(errors.is_error(err, errors.Timeout))
    assert.same({ "task" }, ended)
  end)

  it("has ended when it has returned", function()
    local kept
    task.ascope(function(scope)
      kept = scope
    end)
    local err = raised_by(kept.spawn, kept, hang)
    assert.truthy(err:find("the scope has ended", 1, true), err)
    kept:cancel()
    rille.asleep(0)
  end)

  it("leaves no task behind whose parent ends without it", function()
    local ended = {}
    task.spawn(function()
      core.task.spawn_child(noting(ended, "child"), core.task.family())
      rille.asleep(0)
    end)
    eventually(function()
      return ended[1]
    end)
  end)
end)

describe("a shield", function()
  it("keeps a cancel off until it is over", function()
    local seen = {}
    local handle = task.spawn(function()
      local result = task.ashield(1, function()
        rille.asleep(0.003)
        seen[#seen + 1] = "put right"
        return "result"
      end)
      seen[#seen + 1] = result
      hang()
    end)
    rille.asleep(0)
    handle:cancel()
    local err = raised_by(handle.ajoin, handle)
    assert.is_true(errors.is_error(err, errors.Cancelled))
    assert.same({ "put right", "result" }, seen)
  end)

  it("lets a task that was cancelled put things right", function()
    local handle = task.spawn(function()
      local _, err = pcall(hang)
      local cleaned = task.ashield(1, function()
        rille.asleep(0.001)
        return "clean"
      end)
      local _, again = pcall(hang)
      return err, cleaned, again
    end)
    rille.asleep(0)
    handle:cancel()
    local err, cleaned, again = handle:ajoin()
    assert.is_true(errors.is_error(err, errors.Cancelled))
    assert.equal("clean", cleaned)
    assert.is_true(errors.is_error(again, errors.Cancelled))
  end)

  it("keeps a deadline from outside off, and has one of its own", function()
    local inner
    local err = raised_by(task.atimeout, 0.001, function()
      inner = raised_by(task.ashield, 0.005, hang)
      hang()
    end)
    assert.equal("no result within 0.005 seconds", inner.message)
    assert.equal("no result within 0.001 seconds", err.message)
  end)

  it("has deadlines inside that pass", function()
    task.ashield(1, function()
      local err = raised_by(task.atimeout, 0.001, hang)
      assert.equal("no result within 0.001 seconds", err.message)
      assert.equal(5, task.ashield(1, function()
        rille.asleep(0)
        return 5
      end))
    end)
  end)

  it("leaves errors alone, and refuses what is no time and no function", function()
    local err = errors.DataError("mine")
    assert.equal(err, raised_by(task.ashield, 1, function()
      error(err)
    end))
    for _, case in ipairs { { -1, hang }, { "x", hang }, { 1 } } do
      assert.truthy(raised_by(task.ashield, case[1], case[2]):find("ashield", 1, true))
    end
    rille.asleep(0)
  end)
end)

describe("agather", function()
  it("may collect errors, by the place of who raised them", function()
    local results, errs = task.agather({
      function()
        rille.asleep(0.001)
        return "a"
      end,
      function()
        error("boom", 0)
      end,
      function()
        return "c"
      end,
    }, { errors = "collect" })
    assert.same({ "a", nil, "c" }, results)
    assert.same({ [2] = "boom" }, errs)
  end)

  it("runs no more at a time than it is told", function()
    local now, most, functions = 0, 0, {}
    for i = 1, 10 do
      functions[i] = function()
        now = now + 1
        most = math.max(most, now)
        rille.asleep(0.001)
        now = now - 1
        return i
      end
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, task.agather(functions, { limit = 3 }))
    assert.equal(3, most)
  end)

  it("that collects ends with its task", function()
    local began = 0
    local handle = task.spawn(function()
      local list = {}
      for i = 1, 5 do
        list[i] = function()
          began = began + 1
          hang()
        end
      end
      task.agather(list, { errors = "collect", limit = 2 })
    end)
    rille.asleep(0.001)
    handle:cancel()
    assert.is_true(errors.is_error(raised_by(handle.ajoin, handle), errors.Cancelled))
    assert.equal(2, began)
  end)

  it("refuses options that are none", function()
    for _, options in ipairs { { errors = "some" }, { limit = 0 }, { limit = "x" } } do
      assert.truthy(raised_by(task.agather, {}, options):find("agather: ", 1, true))
    end
  end)
end)
