local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = "spec/support/apps/timers.lua"

describe("timers of a server", function()
  after_each(server.clean)

  local running

  local function count(text)
    return server.count(running:stderr(), text)
  end

  local function wait(condition)
    assert.is_truthy(server.eventually(10, condition), running:stderr())
  end

  it("run on one worker, or on each, and one that raises hurts nobody", function()
    running = server.start { "run", APP, "--workers", "3", "--admin", "127.0.0.1:0" }
    wait(function()
      local all = count("once on 0;") >= 3 and count("broken failed in timer: ") >= 3
      for id = 0, 2 do
        all = all and count(("each on %d;"):format(id)) >= 3
      end
      return all
    end)
    assert.equal(0, count("once on 1;") + count("once on 2;"))
    assert.equal(1, count("warm;"))
    assert.truthy(running:stderr():find("as it was told"), 1, true)
    assert.truthy(running:stderr():find("timers.lua:14: in function", 1, true), running:stderr())

    local admin = running:stderr():match("admin on (%S+)")
    local metrics = clients.fetch(admin .. "/metrics").body
    local function metric(name, rest)
      return tonumber(metrics:match(name .. '{kind="timer",route=' .. rest .. "} (%d+)") or 0)
    end
    assert.is_true(metric("rille_events_total", '"once",event="source"') >= 3)
    assert.is_true(metric("rille_handler_errors_total", '"broken"') >= 3)
    assert.truthy(metrics:find('limit="timer_runs_skipped"', 1, true))
    assert.equal(0, running:stop())
  end)

  it("are listed with the routes", function()
    local _, _, stdout = server.run { "routes", APP }
    assert.truthy(stdout:find("timer  worker   each +timers.lua:%d+"), stdout)
    assert.truthy(stdout:find("timer  process  after 0.01 +timers.lua:%d+"), stdout)
  end)

  it("are awaited by a drain, while it lasts", function()
    running = server.start({ "run", APP }, { env = { LONG = "0.3" } })
    assert.is_true(running:says("long begins;"))
    assert.equal(0, running:stop())
    assert.equal(1, count("long ends: whole;"))

    local line = { "run", APP, "--drain-timeout", "0.2" }
    running = server.start(line, { env = { LONG = "1000" } })
    assert.is_true(running:says("long begins;"))
    running:stop()
    assert.equal(1, count("long is cancelled in timer: the drain took too long"))
    assert.equal(1, count("long ends: Cancelled"))
  end)

  it("follow a reload on all workers: the new code, other timers, none of the old", function()
    local path = server.scratch() .. "/app.lua"
    local SCRIPT = [[
      local rille = require("rille")
      return rille.app { routes = { %s } }
    ]]
    local EVERY = [[rille.every(0.02, function()
      rille.log("%s on " .. rille.worker.id .. ";")
    end, { name = "%s", each = "worker" })]]
    server.write(path, SCRIPT:format(EVERY:format("one", "a") .. "," .. EVERY:format("gone", "b")))
    running = server.start { "run", path, "--workers", "2" }
    wait(function()
      return count("one on 0;") > 0 and count("one on 1;") > 0 and count("gone on 1;") > 0
    end)
    server.write(path, SCRIPT:format(EVERY:format("two", "a")))
    running:signal("HUP")
    assert.is_true(running:says("generation 2 serves"))
    wait(function()
      return count("two on 0;") > 2 and count("two on 1;") > 2
    end)
    local after = running:stderr():match("generation 2 serves.*$"):gsub("^[^\n]*\n", "")
    local late = server.count(after, "one on") + server.count(after, "gone on")
    assert.is_true(late <= 4, running:stderr()) -- what had begun, at most
    server.write(path, SCRIPT:format("rille.every(0)"))
    running:signal("HUP")
    assert.is_true(running:says("seconds from 0.001"))
    local before = count("two on 0;")
    wait(function()
      return count("two on 0;") > before + 1
    end)
    assert.equal(0, running:stop())
  end)
end)
