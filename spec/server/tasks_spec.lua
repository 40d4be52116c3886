local clients = require("spec.support.clients")
local server = require("spec.support.server")

local SCRIPT = [[
local rille = require("rille")

local function note(word, seconds)
  return function()
    local ok, err = pcall(rille.asleep, seconds or 1000)
    rille.log(("%s: %s;"):format(word, ok and "whole" or tostring(err)))
    if not ok then
      error(err, 0)
    end
  end
end

local Chat = rille.WebsocketConsumer:extend("Chat")
function Chat:connect()
  self:accept()
  self:spawn(note("own"))
  rille.spawn(note("tied"))
  rille.spawn(note("detached", 0.01), { detached = true })
  rille.spawn(function()
    rille.ascope(function(scope)
      scope:spawn(note("in a scope"))
    end)
  end)
  rille.spawn(function()
    error("as it was told")
  end)
  self:asend { text_data = "ready" }
end

return rille.app {
  routes = { rille.websocket("/", Chat) },
  on_start = function()
    rille.spawn(note("of the worker"))
  end,
}
]]

describe("tasks of a server", function()
  after_each(server.clean)

  it("end with their consumer, but for those that are detached, or the worker's", function()
    local path = server.scratch() .. "/app.lua"
    server.write(path, SCRIPT)
    local running = server.start { "run", path }
    local client = clients.run("ws.js", running.ws .. "/", { { "receive" }, { "close", 1000, "" } })
    assert.equal("ready", client:all("message")[1].data)
    for _, word in ipairs { "own", "tied", "in a scope" } do
      local told = ("%s: Cancelled: the task was cancelled;"):format(word)
      assert.is_true(running:says(told), running:stderr())
    end
    assert.is_true(running:says("detached: whole;"))
    assert.equal(0, server.count(running:stderr(), "of the worker:"))
    assert.is_true(running:says("outlives it)"))
    local crash = ("a task spawned at %s:%d failed: "):format(path, 24)
    assert.truthy(running:stderr():find(crash, 1, true), running:stderr())
    assert.truthy(running:stderr():find("in function <" .. path .. ":24>", 1, true))
    assert.equal(1, server.count(running:stderr(), "stack traceback"), running:stderr())
    assert.equal(0, running:stop())
    assert.equal(1, server.count(running:stderr(), "of the worker: Cancelled"))
  end)
end)
