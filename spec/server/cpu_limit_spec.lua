-- A script that never waits is interrupted, wherever it stands, and nobody else suffers.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
local core = require("rille.core")
local ways = {}

function ways.fine()
  return 200, "fine"
end

function ways.empty()
  while true do end
end

function ways.caught()
  while true do
    pcall(function() while true do end end)
  end
end

function ways.handled()
  while true do
    xpcall(function() while true do end end, debug.traceback)
  end
end

function ways.wrapped()
  coroutine.wrap(function() while true do end end)()
end

function ways.called_from_c()
  while true do
    ("xyz"):gsub(".", function(c) return c end)
  end
end

function ways.calling()
  local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
  return 200, tostring(fib(90))
end

function ways.spawned()
  rille.spawn(function() while true do end end)
  rille.asleep(0.01)
  return 200, "went on"
end

function ways.counters()
  return 200, core.worker.counters()
end

local Stuck = rille.WebsocketConsumer:extend("Stuck")

function Stuck:receive(text)
  if text == "loop" then while true do end end
  self:asend { text_data = text }
end

function Stuck:disconnect(code)
  io.stderr:write("noted: disconnect ", code, "\n")
  while true do end
end

return rille.app {
  limits = { handler_cpu_limit = LIMIT },
  middleware = {
    function(scope, next)
      if scope.path == "/middleware" then
        while true do end
      end
      return next(scope)
    end,
  },
  on_start = function()
    pcall(function() START end)
  end,
  routes = {
    rille.websocket("/stuck", Stuck),
    rille.get("/<way>", function(request)
      return ways[request.url_route.kwargs.way](request)
    end),
  },
}
]]

describe("handler_cpu_limit", function()
  local it_runs, path

  local function start(limit, at_start)
    path = server.scratch() .. "/app.lua"
    server.write(path, (APP:gsub("LIMIT", limit):gsub("START", at_start or "")))
    it_runs = server.start { "run", path, "--workers", "1" }
  end

  after_each(server.clean)

  local function get(way)
    return clients.fetch(it_runs.url .. "/" .. way)
  end

  local function interruptions()
    return server.count(it_runs:stderr(), "(handler_cpu_limit)")
  end

  it("ends whatever a handler does without waiting, with its line", function()
    start("0.1")
    local ways = { "empty", "caught", "handled", "wrapped", "called_from_c", "calling" }
    for i, way in ipairs(ways) do
      assert.equal(500, get(way).status)
      assert.equal("fine", get("fine").body)
      assert.equal(i, interruptions())
    end
    local log = it_runs:stderr()
    assert.truthy(log:find("GET /empty failed in handle for 127.0.0.1: ", 1, true), log)
    assert.truthy(log:find("app.lua:10: interrupted: it took 0.1 s of CPU time", 1, true), log)
    assert.equal(500, get("middleware").status)
    assert.equal("went on", get("spawned").body)
    assert.is_true(it_runs:says("a task spawned at "))
    assert.equal(#ways + 2, interruptions())
    local counted = clients.fetch(it_runs.url .. "/counters").body
    assert.equal(tostring(#ways + 2), counted:match('"handlers_interrupted":(%d+)'))
    assert.equal(0, it_runs:stop())
  end)

  it("closes a WebSocket whose handler does, and ends its disconnect, too", function()
    start("0.1")
    local client = clients.run("ws.py", it_runs.ws .. "/stuck", { { "text", "loop" } })
    assert.equal(1011, client:get("close").code)
    assert.is_true(it_runs:says("noted: disconnect 1011"))
    assert.is_true(it_runs:says("Stuck on /stuck failed in receive for 127.0.0.1"))
    assert.is_true(it_runs:says("Stuck on /stuck failed in disconnect for 127.0.0.1"))
    assert.equal("fine", get("fine").body)
    assert.equal(0, it_runs:stop())
  end)

  it("reports a script that does not end while it loads, and a reload keeps the old", function()
    local endless = 'local n = 0\nwhile true do\n  n = n + 1\nend\nreturn require("rille").app {}\n'
    path = server.scratch() .. "/endless.lua"
    server.write(path, endless)
    local status, said = server.run { "run", path, "--workers", "1" }
    assert.equal(1, status)
    assert.truthy(said:find("endless.lua:%d: interrupted: it took 1 s"), said)

    start("0.1", "while true do end")
    assert.equal("fine", get("fine").body)
    server.write(path, endless)
    it_runs:signal("HUP")
    assert.is_true(it_runs:says("the reload failed, the old code serves on"))
    assert.truthy(it_runs:stderr():find("app.lua:%d: interrupted: it took 0.1 s"))
    assert.equal("fine", get("fine").body)
    assert.equal(0, it_runs:stop())
  end)
end)
