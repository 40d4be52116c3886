--- rille upgrade: another process takes over, and nobody who is connected notices.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
local Room = rille.WebsocketConsumer:extend("Room")
Room.groups = { "all" }

function Room:connect()
  self.n = 0
  self.told = { tags = { 1, 2, "drei" }, fn = print }
  self:accept()
end

function Room:receive(text)
  self.n = self.n + 1
  if text == "all" then
    return self:agroup_send("all", { type = "websocket.send", text = "to all" })
  elseif text == "nap" then
    rille.asleep(0.5)
    text = "slept"
  elseif text == "sleep" then
    rille.asleep(60)
  end
  self:asend { text_data = rille.json.encode {
    text = text, n = self.n, tags = self.told.tags, id = self.scope.url_route.kwargs.id,
    back = self.back,
  } }
end

function Room:on_reload(old)
  self.back = "from generation " .. old
end

return rille.app {
  compression = { context_takeover = true, threshold = 1 },
  routes = {
    rille.websocket("/room/<int:id>", Room),
    rille.get("/pid", function() return 200, "%s" end),
  },
}
]]

local BINARY = os.getenv("RILLE_BIN") or ".build/src/rille"

describe("rille upgrade", function()
  local folder, path, own, it_runs

  local function rille(...)
    return server.run { ... }
  end

  local function status()
    local code, _, out = rille("status", "--control", own, "--json")
    return code == 0 and json.decode(out) or nil
  end

  local function ask(socket, target)
    return server.shell(("curl -s -m 10 --unix-socket %s/%s http://x%s"):format(folder, socket,
      target))
  end

  local function word()
    return clients.fetch(it_runs.url .. "/pid").body
  end

  local function upgrade_with(count)
    return clients.open("mover.py", it_runs.ws .. "/room", tostring(count), BINARY,
      "upgrade", "--control", own)
  end

  setup(function()
    folder = server.scratch()
    path = folder .. "/app.lua"
    own = folder .. "/own.sock"
    server.write(path, APP:format("one"))
    it_runs = server.start {
      "run", path,
      "--workers", "2",
      "--drain-timeout", "1",
      "--control", own,
      "--admin", "unix:" .. folder .. "/admin.sock",
      "--listen", "unix:" .. folder .. "/door.sock",
    }
  end)

  teardown(function()
    local now = status()
    if now then
      server.shell("kill -KILL " .. now.pid)
    end
    server.clean()
  end)

  it("changes nothing when the new process cannot start or load", function()
    local code, err = rille("upgrade", "--control", own, "--program", folder .. "/nothing")
    assert.equal(1, code)
    assert.truthy(err:find("^rille: cannot start .*/nothing: no such file or directory\n$"), err)
    code, err = rille("upgrade", "--control", own, "--program", "/bin/false")
    assert.equal(1, code)
    assert.truthy(err:find("the new process has ended before it served", 1, true), err)
    server.write(path, "local x =\n")
    local client = upgrade_with(6)
    local replaced = client:wait("replaced")
    assert.equal(1, replaced.status)
    assert.truthy(replaced.output:find("app.lua:2: unexpected symbol near '<eof>'", 1, true),
      replaced.output)
    assert.same({ "" }, client:wait("through").back)
    client:finish()
    assert.equal(it_runs.pid, status().pid)
    assert.equal("one", word())
    server.write(path, APP:format("two"))
  end)

  it("moves whoever is connected, with what they have said by halves", function()
    local client = upgrade_with(40)
    local replaced = client:wait("replaced")
    assert.equal(0, replaced.status, replaced.output)
    assert.truthy(replaced.output:find("^process %d+ serves, with 42 connections of this one"),
      replaced.output)
    local through = client:wait("through")
    assert.same({ 1001 }, through.closed)
    assert.same({ "from generation 1" }, through.back)
    client:finish()
    assert.is_truthy(server.eventually(15, function()
      return it_runs:status()
    end))
    assert.equal(0, it_runs:status())
    local now = status()
    assert.not_equal(it_runs.pid, now.pid)
    assert.equal(2, #now.workers)
    assert.equal("two", word())
    assert.equal("ready\n", ask("admin.sock", "/readyz"))
    assert.equal("two", ask("door.sock", "/pid"))
  end)

  it("can be done again, with requests and connections that come meanwhile", function()
    local first = status().pid
    local fetches = io.popen(([[for i in $(seq 30); do curl -s -m 10 %s/pid || echo failed
      done]]):format(it_runs.url))
    local code, err = rille("upgrade", "--control", own)
    assert.equal(0, code, err)
    assert.equal(("two"):rep(30), fetches:read("*a"))
    fetches:close()
    local second = status().pid
    assert.not_equal(first, second)
    server.shell("kill " .. second)
    assert.is_truthy(server.eventually(10, function()
      return status() == nil
    end))
    assert.equal("", server.shell(("ls %s/*.sock 2>/dev/null"):format(folder)))
  end)
end)
