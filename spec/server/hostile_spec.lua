-- Scripts and peers that do what they should not. The server must outlive all of it, say what
-- happened, forget it, and end with status 0.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/hostile.lua"
local HEAD = 'local rille = require("rille")\n'

describe("a server among enemies", function()
  local it_runs

  local function start(arguments, env)
    local all = { "run", APP, unpack(arguments or {}) }
    it_runs = server.start(all, { env = env })
    return it_runs
  end

  after_each(server.clean)

  local function get(path, close)
    return ("GET %s HTTP/1.1\r\nhost: x\r\n%s\r\n"):format(
      path,
      close and "connection: close\r\n" or ""
    )
  end

  local function handshake(path)
    return get(path):gsub(
      "\r\n\r\n$",
      "\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        .. "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
  end

  --- A frame with a mask of zeroes.
  local function frame(text, opcode)
    local head = { 128 + (opcode or 1), 128 + #text, 0, 0, 0, 0 }
    return string.char(unpack(head)) .. text
  end

  local GOODBYE = frame("\3\232", 8)

  --- Send bytes and read until the server closes.
  local function talk(text, ...)
    return clients.raw(it_runs.port, { { "send", text }, ... })
  end

  --- One message to a habit; what it says to it, up to the close. `silent`: it may say nothing.
  local function habit(name, text, silent)
    local said = talk(
      handshake("/ws/" .. name),
      { "until", "\r\n\r\n" },
      { "send", frame(text or "go") },
      { silent and "sleep" or "lull", 0.2 },
      { "send", GOODBYE }
    )
    return said.received:match("\r\n\r\n(.*)$")
  end

  local function silent_habit(name)
    habit(name, nil, true)
  end

  local function serves()
    return clients.fetch(it_runs.url .. "/fine").body == "fine"
  end

  --- Only the question itself is alive; waits for that: a half-close shows after request_timeout.
  local function is_alone()
    local census
    local alone = server.eventually(15, function()
      census = json.decode(clients.fetch(it_runs.url .. "/census").body)
      return census.consumers == 1 and census.tasks == 1 and census.connections == 1
    end)
    assert.is_true(alone or false, json.encode(census))
  end

  local function times(text, needle)
    return server.count(text, needle)
  end

  describe("over HTTP", function()
    before_each(function()
      start()
    end)

    after_each(function()
      assert.is_true(serves())
      is_alone()
      it_runs:ends_well()
    end)

    it("answers pipelined requests in order, however long each takes", function()
      local said = talk(get("/late/120") .. get("/late/60") .. get("/late/1", true)).received
      local first, second = said:find("/late/120", 1, true), said:find("/late/60", 1, true)
      local third = said:find("/late/1", second, true)
      assert.is_true(first < second and second < third, said)
    end)

    it("answers all of them to a client that half closed behind them", function()
      local said = talk(get("/late/120") .. get("/late/60") .. get("/late/1"), { "finish" })
      assert.equal(3, times(said.received, "200 OK"))
      assert.equal("closed", said.ended)
    end)

    it("sends back a body piece by piece, although reading paused between", function()
      local n = 400000
      local head = get("/http/echo", true):gsub("^GET", "POST")
      head = head:gsub("\r\n$", ("content-length: %d\r\n\r\n"):format(n))
      local said = talk(head, { "repeat", "e", n })
      assert.equal("closed", said.ended)
      assert.is_true(#said.received > n, #said.received)
    end)

    it("survives an answer that fails half-way", function()
      for _, path in ipairs { "/http/fail_after_head", "/http/fail_after_head_waiting" } do
        assert.is_nil(talk(get(path)).received:find("0\r\n\r\n", 1, true))
        assert.is_true(serves())
      end
      assert.equal(2, times(it_runs:stderr(), "after the head"))
    end)

    it("takes one answer, and says so to who gives two", function()
      assert.equal(1, times(talk(get("/http/twice", true)).received, "HTTP/1.1"))
      assert.equal(3, times(it_runs:stderr(), "noted: twice false"))
    end)

    it("lets nobody but itself say how an answer is framed", function()
      for _, name in ipairs { "te", "cl", "connection" } do
        local said = talk(get("/headers/" .. name) .. get("/fine", true)).received
        assert.equal(1, times(said:match("^(.-)\r\n\r\n"):lower(), "content-length"), said)
        assert.is_nil(said:lower():find("chunked", 1, true))
        assert.equal("fine", said:match("\r\n\r\n([^\r\n]*)$"))
      end
    end)

    it("refuses more body than was announced, and closes after less", function()
      local long = talk(get("/http/too_long") .. get("/fine", true))
      assert.is_nil(long.received:find("abc", 1, true))
      assert.is_true(it_runs:says("noted: too_long false"))
      local short = talk(get("/http/too_short") .. get("/fine"))
      assert.equal("abc", short.received:match("\r\n\r\n([^\r\n]*)$"))
      assert.equal("closed", short.ended)
    end)

    it("lets no line end into a header", function()
      for _, name in ipairs { "crlf", "name" } do
        local said = talk(get("/headers/" .. name, true)).received
        assert.truthy(said:find("^HTTP/1.1 500"))
        assert.is_nil(said:find("x-c", 1, true))
      end
    end)

    it("wakes a task whose answer another has ended", function()
      local lazy = clients.raw(it_runs.port, {
        { "send", get("/http/two_tasks") },
        { "sleep", 0.6 },
      })
      assert.truthy(lazy.received:find("^HTTP/1.1 200"))
    end)

    it("forgets clients that left in every state", function()
      for _, path in ipairs { "/late/200", "/http/stream", "/mid/slow", "/http/never", "/fine" } do
        for _, ending in ipairs { "reset", "leave" } do
          clients.raw(it_runs.port, { { "send", get(path) }, { "sleep", 0.03 }, { ending } })
        end
      end
      local half = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"
      clients.raw(it_runs.port, { { "send", half }, { "sleep", 0.03 }, { "reset" } })
    end)
  end)

  describe("that are its own script", function()
    after_each(function()
      assert.is_true(serves())
      is_alone()
      it_runs:ends_well()
    end)

    for _, name in ipairs { "recursion", "memory", "rep", "bare_yield", "sentinel_yield" } do
      it("fails the handler that does this, and no other: " .. name, function()
        start { "--memory-limit", "64" }
        for _ = 1, 2 do
          assert.truthy(habit(name):find("\3\243error in a handler", 1, true))
        end
        assert.equal(2, times(it_runs:stderr(), "failed in receive"))
      end)
    end

    it("logs errors that are nothing like one", function()
      start()
      local weird = { "none", "number", "boolean", "raising", "userdata", "thread", "pretender" }
      for i, name in ipairs(weird) do
        assert.truthy(habit("weird", name):find("\3\243", 1, true))
        assert.equal(i, times(it_runs:stderr(), "failed in receive"))
      end
    end)

    it("cancels, spawns and encodes with no memory left", function()
      start { "--memory-limit", "64" }
      silent_habit("pushes_in_need")
      silent_habit("cancels_in_need")
      silent_habit("spawns_in_need")
    end)

    it("collects garbage before it refuses memory", function()
      start { "--memory-limit", "64" }
      silent_habit("garbage")
      assert.equal(0, times(it_runs:stderr(), "not enough memory"))
    end)

    it("catches what a finalizer raises, and runs what it spawns", function()
      start({}, { RILLE_GC_STRESS = "1" })
      silent_habit("finalizer_error")
      assert.truthy(habit("collect"):find("collected", 1, true))
      assert.is_true(it_runs:says("a finalizer failed"))
      silent_habit("finalizer_spawn")
      silent_habit("finalizer")
    end)

    it("says where a task cannot wait, and lets it wait elsewhere", function()
      start()
      for _, name in ipairs { "in_sort", "in_gsub" } do
        assert.truthy(habit(name):find("false .*cannot wait here"))
      end
      local said = habit("wrap_in_sort")
      assert.truthy(said:find("across C-call boundary", 1, true))
      assert.truthy(said:find("joined", 1, true))
    end)

    it("ends tasks that are cancelled at any time", function()
      start()
      local said = habit("cancel_everywhere")
      assert.truthy(said:find("true|ran|false|Cancelled", 1, true), said)
      assert.equal(4, times(said, "Cancelled"))
      silent_habit("swallow")
      silent_habit("many_results")
    end)

    it("keeps its deadlines, nested and swallowed", function()
      start()
      local said = habit("timeouts")
      assert.truthy(said:find("false Timeout", 1, true), said)
      assert.truthy(said:find("true swallowed", 1, true), said)
      assert.truthy(said:find("after", 1, true), said)
    end)

    it("lets a stale self reach nobody", function()
      start()
      silent_habit("keep")
      server.sleep(0.1)
      assert.truthy(habit("use_stale"):find("false|Closed: .*|false|Closed: .*|true|"))
    end)
  end)

  describe("over WebSockets", function()
    before_each(function()
      start()
    end)

    after_each(function()
      assert.is_true(serves())
      is_alone()
      it_runs:ends_well()
    end)

    it("delivers every message that stands before the close, before disconnect", function()
      local all = {}
      for i = 1, 150 do
        all[i] = frame(tostring(i))
      end
      talk(handshake("/ws/counting") .. table.concat(all) .. GOODBYE)
      assert.is_true(it_runs:says("noted: disconnect /ws/counting 1000"))
      assert.truthy(it_runs:stderr():find("noted: counted 150\nnoted: disconnect", 1, true))
    end)

    it("delivers none that stands behind a close of its own", function()
      talk(handshake("/ws/close_early") .. frame("close") .. frame("1") .. GOODBYE)
      assert.is_true(it_runs:says("noted: disconnect /ws/close_early 4002"))
      assert.is_nil(it_runs:stderr():find("after close", 1, true))
    end)

    it("suspends who sends to a client that does not read", function()
      local lazy = clients.open("lazy.py", it_runs.port, "/ws/pour", "200", "1", "200")
      lazy:wait("lazy")
      server.sleep(0.5)
      local poured = times(it_runs:stderr(), "noted: poured")
      assert.is_true(poured < 150, poured .. " pieces of 64 KiB are on their way to nobody")
      assert.equal(200 * 65536, lazy:wait("read").bytes)
      assert.is_true(it_runs:says("noted: poured all"))
    end)

    it("ends the suspension when that client goes", function()
      clients.run("lazy.py", it_runs.port, "/ws/pour", "200", "0.3", "0")
      assert.is_true(it_runs:says("noted: disconnect /ws/pour 1006"))
      assert.is_nil(it_runs:stderr():find("stack traceback", 1, true))
    end)

    it("has a handshake end in every way", function()
      local function status(name)
        local said = talk(handshake("/open/" .. name), { "sleep", 0.1 }, { "send", GOODBYE })
        return said.received:match("^HTTP/1.1 (%d+)")
      end
      assert.equal("403", status("close_before_accept"))
      assert.equal("500", status("send_before_accept"))
      assert.equal("101", status("accept_then_fail"))
      assert.equal("402", status("deny_then_accept"))
      assert.equal("101", status("inject"))
      assert.equal("101", status("spawn_in_disconnect"))
      assert.equal(2, times(it_runs:stderr(), "noted: inject false"))
      assert.is_true(it_runs:says("noted: spawned runs"))
      assert.is_nil(it_runs:stderr():find("noted: never", 1, true))
    end)

    it("takes no half of a client for a whole one", function()
      talk(handshake("/open/slow_accept"), { "finish" })
      assert.is_true(it_runs:says("noted: disconnect /open/slow_accept 1006"))
    end)

    it("gives descriptors back after a storm", function()
      local function descriptors()
        return tonumber(server.shell(("ls /proc/%d/fd | wc -l"):format(it_runs.pid)))
      end
      serves()
      clients.run("storm.py", it_runs.port, "/ws/echo", "100") -- a first crowd opens the rings
      is_alone()
      local before = descriptors()
      clients.run("storm.py", it_runs.port, "/ws/echo", "600")
      is_alone()
      before = before + 2 -- a worker that the first crowd missed has opened its ring now
      server.eventually(3, function()
        return descriptors() <= before
      end)
      assert.is_true(descriptors() <= before, descriptors() .. " descriptors, were " .. before)
      assert.equal(0, times(it_runs:stderr(), "failed in"))
    end)
  end)

  describe("is stopped", function()
    --- Run this script, ask it to stop, and ask again if `signals` says so.
    local function stop(text, signals)
      local path = server.scratch() .. "/app.lua"
      server.write(path, HEAD .. text)
      it_runs = server.start { "run", path, "--drain-timeout", "1" }
      for _ = 2, signals or 1 do
        it_runs:signal("TERM")
        server.sleep(0.1)
      end
      return it_runs:stop()
    end

    it("by its deadline when on_stop does not end", function()
      assert.equal(0, stop("return rille.app { on_stop = function() rille.asleep(1000) end }"))
    end)

    it("by a second signal, too", function()
      local text = "return rille.app { on_stop = function() rille.asleep(1000) end }"
      assert.equal(0, stop(text, 2))
      assert.is_nil(it_runs:stderr():find("took longer", 1, true))
    end)

    it("while a task goes on for ever", function()
      assert.equal(0, stop [[return rille.app { on_start = function()
        rille.spawn(function() while true do rille.asleep(0.01) end end)
      end }]])
    end)

    it("while a client leaves its answer unread", function()
      local path = server.scratch() .. "/app.lua"
      server.write(path, HEAD .. [[return rille.app { routes = {
        rille.websocket("/", (function()
          local Flood = rille.WebsocketConsumer:extend("Flood")
          function Flood:receive() self:asend { text_data = ("x"):rep(2e7) } end
          return Flood
        end)()),
      } }]])
      it_runs = server.start { "run", path, "--drain-timeout", "1" }
      clients.open("lazy.py", it_runs.port, "/", "go", "6", "0"):wait("lazy")
      assert.equal(0, it_runs:stop())
    end)

    it("with status 1 when a script never lets go of its thread", function()
      local path = server.scratch() .. "/app.lua"
      server.write(
        path,
        HEAD
          .. [[return rille.app { routes = { rille.get("/", function()
            rille.log.warn("begun");
            (("a"):rep(40)):find(("a-"):rep(40) .. "b") -- in C, where nothing interrupts it
          end) } }]]
      )
      it_runs = server.start { "run", path, "--drain-timeout", "1" }
      local client = clients.open("raw.py", it_runs.port, { { "send", get("/") } })
      server.eventually(10, function()
        return it_runs:says("begun")
      end)
      assert.equal(1, it_runs:stop())
      assert.is_true(it_runs:says("does not let go of its thread"))
      client:finish()
    end)
  end)
end)
