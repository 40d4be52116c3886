--- Where a task may wait: through whatever Lua calls Lua, and not through C.

local core = require("rille.core")
local raised = require("spec.support.raised")
local task = require("rille.task")

local asleep, spawn = task.asleep, task.spawn

describe("a wait", function()
  it("passes through pcall and xpcall, both ways", function()
    assert.same({ true, 5 }, { pcall(function()
      asleep(0)
      return 5
    end) })
    local ok, err = xpcall(function()
      asleep(0)
      error("x", 0)
    end, function(message)
      return message .. "!"
    end)
    assert.is_false(ok)
    assert.equal("x!", err)
  end)

  it("passes through an iterator", function()
    local seen = {}
    for i in
      function(_, i)
        asleep(0)
        return i < 3 and i + 1 or nil
      end,
      nil,
      0
    do
      seen[#seen + 1] = i
    end
    assert.same({ 1, 2, 3 }, seen)
  end)

  it("passes through metamethods", function()
    local object = setmetatable({}, {
      __index = function(_, key)
        asleep(0)
        return key .. "!"
      end,
      __add = function(_, n)
        asleep(0)
        return n + 1
      end,
      __call = function(_, x)
        asleep(0)
        return x
      end,
      __lt = function()
        asleep(0)
        return true
      end,
      __concat = function(_, x)
        asleep(0)
        return "with " .. x
      end,
    })
    assert.equal("name!", object.name)
    assert.equal(3, object + 2)
    assert.equal(4, object(4))
    assert.is_true(object < object)
    assert.equal("with you", object .. "you")
  end)

  local WHERE = "cannot wait here: called through table.sort, string.gsub, require or "
    .. "another function of C that cannot be suspended"

  for name, call in pairs {
    ["table.sort"] = function(fn)
      table.sort({ 2, 1 }, fn)
    end,
    ["string.gsub"] = function(fn)
      return (("x"):gsub("x", fn))
    end,
    ["require"] = function(fn)
      package.preload["spec.waits"] = fn
      return require("spec.waits")
    end,
  } do
    it(("is refused inside %s, and nothing is started"):format(name), function()
      local other = spawn(function()
        asleep(0.001)
        return "joined"
      end)
      local before = core.worker.census().tasks
      raised.says(WHERE, raised.by(call, function()
        other:ajoin()
      end))
      package.preload["spec.waits"] = nil
      assert.equal(before, core.worker.census().tasks)
      assert.equal("joined", other:ajoin()) -- would be refused if somebody still waited
    end)
  end

  it("is given up when it cannot leave a coroutine inside table.sort", function()
    local other = spawn(function()
      asleep(0.001)
      return "joined"
    end)
    raised.says("yield across C-call boundary", raised.by(table.sort, { 2, 1 }, function()
      coroutine.wrap(function()
        other:ajoin()
      end)()
    end))
    asleep(0)
    assert.equal("joined", other:ajoin())
  end)
end)
