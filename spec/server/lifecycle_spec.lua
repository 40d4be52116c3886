local clients = require("spec.support.clients")
local server = require("spec.support.server")

describe("the life of a connection", function()
  local it_runs

  before_each(function()
    it_runs = server.start { "run", "spec/support/apps/lifecycle.lua" }
  end)

  after_each(server.clean)

  local function url(name)
    return it_runs.ws .. "/ws/" .. name
  end

  --- Wait for the note that `disconnect` ran on that path, and a little for a second one; what
  --- codes were noted.
  local function disconnects(name)
    it_runs:says("noted: disconnect /ws/" .. name .. " ", 5)
    server.sleep(0.2)
    local codes = {}
    local note = "noted: disconnect /ws/" .. name:gsub("%-", "%%-") .. " (%S+)"
    for code in it_runs:stderr():gmatch(note) do
      codes[#codes + 1] = code
    end
    return codes
  end

  local function tracebacks()
    return server.count(it_runs:stderr(), "stack traceback")
  end

  describe("ends with one disconnect", function()
    after_each(function()
      assert.equal(0, it_runs:stop())
    end)

    for name, script in pairs(clients.websockets) do
      it("when " .. name .. " closes", function()
        clients.run(script, url("noting"), { { "close", 4000, "bye" } })
        assert.same({ "4000" }, disconnects("noting"))
        assert.equal(0, tracebacks())
      end)

      it("when " .. name .. " resets the connection", function()
        clients.run(script, url("noting"), { { "text", "a" }, { "receive" }, { "reset" } })
        assert.same({ "1006" }, disconnects("noting"))
        assert.equal(0, tracebacks())
      end)

      it("when " .. name .. " vanishes without a close frame", function()
        clients.run(script, url("noting"), { { "text", "a" }, { "receive" }, { "vanish" } })
        assert.same({ "1006" }, disconnects("noting"))
        assert.equal(0, tracebacks())
      end)
    end

    it("when the consumer closes, with its code and reason for the client", function()
      local client = clients.run("ws.js", url("closing"), { { "text", "a" } })
      local close = client:get("close")
      assert.same({ 4001, "enough" }, { close.code, close.reason })
      assert.equal(1, #disconnects("closing"))
    end)

    it("when the consumer closes with a message waiting, whose answer comes too late", function()
      local steps = { { "text", "close" }, { "text", "waiting" } }
      local client = clients.run("ws.js", url("closes-late"), steps)
      local close = client:get("close")
      assert.same({ 4002, "late" }, { close.code, close.reason })
      assert.same({ "4002" }, disconnects("closes-late"))
      it_runs:says("noted: answers waiting", 1)
      assert.equal(0, tracebacks())
    end)

    it("when receive fails: 1011, logged once with a traceback", function()
      local client = clients.run("ws.js", url("fails-in-receive"), { { "text", "a" } })
      assert.equal(1011, client:get("close").code)
      assert.equal(1, #disconnects("fails-in-receive"))
      assert.equal(1, tracebacks())
      local log = it_runs:stderr()
      for _, part in ipairs { "FailsInReceive", "/ws/fails-in-receive", "lifecycle.lua:" } do
        assert.truthy(log:find(part, 1, true), part .. " is missing in: " .. log)
      end
      assert.truthy(log:find("receive broke", 1, true), log)
    end)

    it("when connect fails: status 500, logged once with a traceback", function()
      local client = clients.run("ws.js", url("fails-in-connect"), {})
      assert.equal(500, client:get("refused").status)
      assert.equal(1, #disconnects("fails-in-connect"))
      assert.equal(1, tracebacks())
      assert.truthy(it_runs:stderr():find("connect broke", 1, true))
    end)

    it("when disconnect itself fails", function()
      clients.run("ws.js", url("fails-in-disconnect"), { { "close", 1000, "" } })
      assert.equal(1, #disconnects("fails-in-disconnect"))
      assert.equal(1, tracebacks())
    end)

    it("when connect refuses: 403", function()
      for _, script in pairs(clients.websockets) do
        assert.equal(403, clients.run(script, url("refusing"), {}):get("refused").status)
      end
      it_runs:says("noted: disconnect /ws/refusing")
      assert.equal(2, #disconnects("refusing"))
      assert.equal(0, tracebacks())
    end)

    it("when connect denies with an answer of its own", function()
      local refused = clients.run("ws.js", url("denying"), {}):get("refused")
      assert.equal(401, refused.status)
      assert.equal("no ticket", refused.headers["x-why"])
      assert.equal("show your ticket", refused.body)
      assert.equal(1, #disconnects("denying"))
    end)

    it("when the client goes while a handler waits", function()
      local client = clients.open("ws.js", url("sleeping"), { { "text", "a" }, { "reset" } })
      client:finish()
      assert.equal(1, #disconnects("sleeping"))
      assert.is_nil(it_runs:stderr():find("receive ends", 1, true), "asend to nobody went on")
      assert.equal(0, tracebacks())
    end)
  end)

  it("is accepted when connect returns without a word", function()
    local client = clients.run("ws.js", url("accepting"), { { "close", 1000, "" } })
    client:get("open")
    assert.same({ "1000" }, disconnects("accepting"))
  end)

  it("takes the tasks it spawned along", function()
    clients.run("ws.js", url("ticking"), { { "sleep", 300 }, { "close", 1000, "" } })
    assert.equal(1, #disconnects("ticking"))
    local ticks = server.count(it_runs:stderr(), "noted: tick")
    assert.is_true(ticks >= 2, ticks .. " ticks")
    server.sleep(0.3)
    assert.equal(ticks, server.count(it_runs:stderr(), "noted: tick"))
  end)

  it("is drained at SIGTERM: 1001, one disconnect each, status 0, no new visitors", function()
    local steps = { { "text", "a" }, { "receive" } }
    local both = { clients.open("ws.js", url("noting"), steps) }
    both[2] = clients.open("ws.py", url("noting"), steps)
    for _, client in ipairs(both) do
      client:wait("message")
    end
    assert.equal(0, it_runs:stop())
    for _, client in ipairs(both) do
      assert.equal(1001, client:wait("close").code)
      client:finish()
    end
    assert.equal(2, server.count(it_runs:stderr(), "noted: disconnect /ws/noting "))
    assert.equal(0, tracebacks())
    clients.run("ws.js", url("noting"), {}):get("error")
  end)

  it("is one of many, and a failing one harms no other", function()
    local steps = { { "text", "a" }, { "receive" }, { "sleep", 800 }, { "text", "b" } }
    steps[5] = { "receive" }
    steps[6] = { "close", 1000, "" }
    local good = clients.open("ws.js", url("noting"), steps)
    good:wait("message")
    clients.run("ws.js", url("fails-in-receive"), { { "text", "a" } })
    assert.equal(500, clients.fetch(it_runs.url .. "/boom").status)
    good:finish()
    assert.equal(2, #good:all("message"))
    assert.equal(1000, good:get("close").code)
  end)

  describe("over HTTP", function()
    it("a handler that fails is a 500 without its secrets, logged once", function()
      local answer = clients.fetch(it_runs.url .. "/boom")
      assert.equal(500, answer.status)
      assert.is_nil(answer.body:find("handler broke", 1, true))
      assert.is_true(it_runs:says("handler broke"))
      assert.equal(1, tracebacks())
      assert.equal("fine", clients.fetch(it_runs.url .. "/fine").body)
    end)

    it("an unknown path is a 404 and a line, not a traceback", function()
      assert.equal(404, clients.fetch(it_runs.url .. "/nothing").status)
      assert.equal(404, clients.run("ws.js", it_runs.ws .. "/nothing", {}):get("refused").status)
      assert.is_true(it_runs:says("/nothing"))
      assert.equal(0, tracebacks())
    end)
  end)

  describe("begins with a look at its origin:", function()
    local function try(origin, where)
      local steps = { { "close", 1000, "" } }
      local client = clients.run("ws.js", where or url("noting"), steps, { origin = origin })
      local refused = client:first("refused")
      return refused and refused.status or "open"
    end

    it("its own host may come", function()
      assert.equal("open", try(it_runs.url))
    end)

    for _, origin in ipairs { "http://elsewhere.example", "http://127.0.0.1.example", "null" } do
      it("another is refused and logged: " .. origin, function()
        assert.equal(403, try(origin))
        assert.is_true(it_runs:says(origin))
        assert.equal(0, server.count(it_runs:stderr(), "noted: connect"))
      end)
    end

    it("those the app names may come, and no other", function()
      local named = server.start { "run", "spec/support/apps/origins.lua" }
      for origin, expected in pairs {
        ["https://app.example:8443"] = "open",
        ["https://app.example"] = 403, -- another port
        ["http://app.example:8443"] = 403, -- another scheme
        ["https://plain.example"] = "open",
        ["https://sub.plain.example"] = 403,
        ["https://far.side.moon.example"] = "open",
        ["https://bluemoon.example"] = 403,
      } do
        assert.same({ origin, expected }, { origin, try(origin, named.ws .. "/ws") })
      end
    end)
  end)
end)
