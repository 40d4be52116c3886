-- Every limit, hit once: what the peer is told, and the counter.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/all_limits.lua"

describe("a limit", function()
  local it_runs

  local function start(...)
    it_runs = server.start { "run", APP, "--workers", "1", ... }
  end

  local function counters()
    return json.decode(clients.fetch(it_runs.url .. "/counters").body)
  end

  local function counted(name, n)
    local now
    local there = server.eventually(3, function()
      now = counters()[name]
      return now == (n or 1)
    end)
    assert.is_true(there or false, ("%s: %s"):format(name, tostring(now)))
  end

  local function request(line, fields, body)
    return line .. " HTTP/1.1\r\nhost: x\r\n" .. (fields or "") .. "\r\n" .. (body or "")
  end

  local function handshake(path)
    local upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    return request("GET " .. path, upgrade .. "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
  end

  --- A frame with a mask of zeroes.
  local function frame(text, opcode, unfinished)
    local first = (unfinished and 0 or 128) + (opcode or 1)
    return string.char(first, 128 + #text, 0, 0, 0, 0) .. text
  end

  local function talk(...)
    local steps = { ... }
    for i, step in ipairs(steps) do
      steps[i] = type(step) == "string" and { "send", step } or step
    end
    return clients.raw(it_runs.port, steps)
  end

  --- The status of an answer, and whether the connection was closed behind it.
  local function refused(...)
    local said = talk(...)
    assert.equal("closed", said.ended)
    return said.received:match("^HTTP/1.1 (%d+)")
  end

  --- The code of the close frame that a WebSocket gets behind what it sends.
  local function closed(path, ...)
    local said = talk(handshake(path), { "until", "\r\n\r\n" }, ...)
    local high, low = said.received:match("\136.(.)(.)[^\136]*$")
    return high and high:byte() * 256 + low:byte(), said
  end

  teardown(server.clean)

  describe("of a request", function()
    setup(start)
    teardown(function()
      assert.equal(0, it_runs:stop())
    end)

    it("holds for its head, its fields, its target and its body", function()
      assert.equal("431", refused(request("GET /", "x: " .. ("y"):rep(2000) .. "\r\n")))
      assert.equal("431", refused(request("GET /", ("x: y\r\n"):rep(21))))
      assert.equal("414", refused(request("GET /" .. ("y"):rep(500))))
      assert.equal("413", refused(request("POST /length", "content-length: 5001\r\n")))
      local now = counters()
      assert.same({ 2, 1, 1 }, { now.too_long_heads, now.too_long_targets, now.too_long_bodies })
    end)

    it("of a route's body is the route's, be it less or more than others'", function()
      local function post(path, n)
        local body = { method = "POST", body = "b", repeat_body = n }
        local answer = clients.fetch(it_runs.url .. path, body)
        return answer.status == 200 and tonumber(answer.body) or -answer.status
      end
      local before = counters().too_long_bodies
      assert.same({ 10, -413 }, { post("/small", 10), post("/small", 11) })
      assert.same({ 1000, -413 }, { post("/length", 1000), post("/length", 1001) })
      assert.same({ 5000, -413 }, { post("/large", 5000), post("/large", 5001) })
      local chunked = "transfer-encoding: chunked\r\n"
      assert.equal("413", refused(request("POST /small", chunked, "b\r\n12345678901\r\n")))
      assert.equal(before + 4, counters().too_long_bodies)
    end)

    it("of its time holds for a head, a body, an answer and the next request", function()
      assert.equal("408", refused("GET / HTTP/1.1\r\n"))
      counted("request_timeouts")
      local slow = request("POST /slow", "content-length: 1000\r\n", "b")
      assert.equal("408", refused(slow, { "sleep", 0.1 }, "b", { "sleep", 0.1 }, "b"))
      counted("body_timeouts")
      assert.truthy(talk(request("GET /late")).received:find("^HTTP/1.1 503"))
      counted("answer_timeouts")
      assert.is_true(it_runs:says("noted: late Cancelled"))
      counted("keepalive_timeouts", counters().keepalive_timeouts)
      assert.is_true(counters().keepalive_timeouts >= 1)
    end)

    it("of a peer that reads nothing, or a byte now and then, cuts it off", function()
      local cut = it_runs.folder .. "/cut"
      local peer = clients.open_raw(it_runs.port, {
        { "send", request("GET /much") },
        { "await", cut },
      })
      counted("stalled")
      server.write(cut, "")
      local said = peer:next()
      peer:finish()
      assert.is_true(#said.received < 3e7)
      said = talk(request("GET /much"), { "drip", 1, 0.02, 100 })
      assert.equal("reset", said.ended)
      counted("stalled", 2)
    end)
  end)

  describe("of a WebSocket", function()
    setup(start)
    teardown(function()
      assert.equal(0, it_runs:stop())
    end)

    it("holds for messages and frames", function()
      assert.equal(1009, (closed("/message", frame("12345678901"))))
      assert.equal(1009, (closed("/message", frame("123456", 1, true), frame("78901", 0))))
      assert.equal(1009, (closed("/frame", frame("123456"))))
      counted("ws_too_big", 3)
    end)

    it("holds for a handshake, also one that is never answered", function()
      assert.truthy(talk(handshake("/handshake")).received:find("^HTTP/1.1 503"))
      counted("handshake_timeouts")
      assert.is_true(it_runs:says("noted: late Cancelled"))
    end)

    it("holds for silence, idleness, floods and age", function()
      local _, said = closed("/pings")
      assert.truthy(said.received:find("\137\0", 1, true))
      counted("ws_pong_timeouts")
      assert.is_true(it_runs:says("noted: disconnect /pings 1006"))
      assert.equal(1001, (closed("/idle", frame("a"), { "sleep", 0.1 }, frame("", 9))))
      counted("ws_idle_timeouts")
      assert.equal(1008, (closed("/flood", frame("", 9):rep(6))))
      counted("ws_floods")
      assert.equal(1001, (closed("/age")))
      counted("aged")
    end)

    --- What a busy consumer of a group was sent, in the end, which comes by itself or after so many
    --- messages more.
    local function told(group, n, more)
      local url = it_runs.ws .. "/" .. group
      local steps = { { "text", "hold" }, { "receive" }, { "closed" } }
      if more then
        steps[3], steps[4] = { "receive", more }, { "close" }
      end
      local client = clients.open("ws.py", url, steps)
      client:wait("message")
      local answer = clients.fetch(("%s/tell?%s&%d"):format(it_runs.url, group, n)).body
      clients.fetch(it_runs.url .. "/release")
      client:finish()
      local got = {}
      for _, event in ipairs(client:all("message")) do
        got[#got + 1] = event.data
      end
      return table.concat(got, " "), json.decode(answer), client:first("close")
    end

    it("of a mailbox drops the newest, drops the oldest or closes", function()
      local got, answer = told("newest", 5, 3)
      assert.equal("busy 1 2 3", got)
      assert.same({ delivered = 3, dropped = 2 }, answer)
      counted("mailbox_dropped_newest", 2)
      assert.equal("busy 3 4 5", (told("oldest", 5, 3)))
      counted("mailbox_dropped_oldest", 2)
      local _, _, close = told("closing", 5)
      assert.equal(1013, close and close.code)
      counted("mailbox_closed")
      assert.equal(1, server.count(it_runs:stderr(), "dropped a message (mailbox)"))
    end)

    it("of a mailbox also closes an event stream", function()
      local before = counters().mailbox_closed
      local request_line = request("GET /stream")
      local stream = clients.open_raw(it_runs.port, { { "send", request_line } })
      assert.truthy(server.eventually(5, function()
        return clients.fetch(it_runs.url .. "/tell?stream&1").body:find('"delivered":1', 1, true)
      end))
      clients.fetch(it_runs.url .. "/tell?stream&5")
      counted("mailbox_closed", before + 1)
      assert.equal("closed", stream:next().ended)
      stream:finish()
      assert.is_true(it_runs:says("noted: stream 1013"))
    end)

    it("of a message's time to wait drops it, and makes room for another", function()
      local steps = { { "text", "hold" }, { "receive", 2 }, { "close" } }
      local client = clients.open("ws.py", it_runs.ws .. "/expiring", steps)
      client:wait("message")
      local function tell(n)
        return json.decode(clients.fetch(("%s/tell?expiring&%d"):format(it_runs.url, n)).body)
      end
      tell(2) -- as many as there is room for
      server.sleep(0.15)
      assert.same({ delivered = 2, dropped = 0 }, tell(2))
      counted("mailbox_expired", 2)
      server.sleep(0.15)
      clients.fetch(it_runs.url .. "/release")
      counted("mailbox_expired", 4)
      assert.same({ delivered = 1, dropped = 0 }, tell(1))
      client:finish()
      assert.equal("1", client:all("message")[2].data)
    end)

    it("of what it leaves unread closes it", function()
      local client = clients.open("lazy.py", it_runs.port, "/flooded", "x", "1", "0")
      client:wait("lazy")
      clients.fetch(it_runs.url .. "/tell?flooded&400")
      counted("unsent_closed")
      client:finish()
    end)

    it("of tasks makes spawn raise", function()
      local steps = { { "text", "go" }, { "receive" }, { "close" } }
      local client = clients.run("ws.py", it_runs.ws .. "/spawner", steps)
      assert.truthy(client:get("message").data:find("^7 .*max_tasks"), client:get("message").data)
      counted("tasks_refused")
    end)
  end)

  it("of time leaves alone a request without a body, and a slow reader", function()
    start("--limit", "body_timeout=0.2", "--limit", "send_timeout=1")
    assert.equal("patient", clients.fetch(it_runs.url .. "/patient").body)
    local get = request("GET /much?4000000", "connection: close\r\n")
    local said = talk(get, { "drip", 50000, 0.05, 45 })
    assert.is_true(#said.received > 4e6, #said.received)
    local now = counters()
    assert.same({ 0, 0 }, { now.body_timeouts, now.stalled })
    assert.equal(0, it_runs:stop())
  end)

  it("of connections holds for an address, and is set by a flag", function()
    start("--limit", "max_connections_per_address=2")
    local waiting, gate = {}, it_runs.folder .. "/gate"
    for i = 1, 2 do
      waiting[i] = clients.open("raw.py", it_runs.port, {
        { "send", handshake("/echo") },
        { "until", "\r\n\r\n" },
        { "await", gate },
        { "leave" },
      })
    end
    server.eventually(10, function()
      return server.count(it_runs:stderr(), "GET /echo 101") == 2
    end)
    assert.equal("", talk().received)
    assert.is_true(it_runs:says("max_connections_per_address (2) reached"))
    server.write(gate, "")
    for _, client in ipairs(waiting) do
      client:finish()
    end
    counted("refused_per_address")
    assert.equal(0, it_runs:stop())
  end)

  it("that makes no sense is named", function()
    for text, told in pairs {
      ["max_moon=1"] = "limit 'max_moon=1': unknown; there are abandon_grace",
      ["max_body=much"] = "limit 'max_body=much': a number above 0 expected",
      max_body = "limit 'max_body': NAME=VALUE expected",
    } do
      local status, said = server.run { "run", APP, "--limit", text }
      assert.equal(1, status)
      assert.truthy(said:find(told, 1, true), said)
    end
  end)
end)
