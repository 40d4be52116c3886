local Database = require("rille.db").Database
local brokers = require("spec.support.broker")
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

describe("an example", function()
  after_each(function()
    brokers.clean()
    server.clean()
  end)

  --- Each message the client got, as text.
  local function data_of(client)
    local data = {}
    for i, message in ipairs(client:all("message")) do
      data[i] = message.data
    end
    return data
  end

  local MORE = { "events.lua", "poll.lua", "cron.lua" }
  for _, app in ipairs { "chat", "hello.lua", "echo.lua", "tree.lua", "clock.lua", unpack(MORE) } do
    it("starts, answers and stops: " .. app, function()
      local it_runs = server.start { "run", "examples/" .. app }
      local known = app == "hello.lua" or app == "events.lua" or app == "chat"
      assert.equal(known and 200 or 404, clients.fetch(it_runs.url .. "/").status)
      assert.equal(0, it_runs:stop())
      assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    end)
  end

  describe("hello", function()
    it("answers with text, with what the path says and with JSON", function()
      local url = server.start({ "run", "examples/hello.lua" }).url
      local text = clients.fetch(url .. "/")
      assert.equal("hello, moon\n", text.body)
      assert.truthy(text.headers["content-type"]:find("^text/plain"))
      assert.equal("hello, Ann\n", clients.fetch(url .. "/hello/Ann").body)
      assert.equal("hello, Zoë B\n", clients.fetch(url .. "/hello/Zo%C3%AB%20B").body)
      local sum = clients.fetch(url .. "/add/40/2")
      assert.equal("application/json", sum.headers["content-type"]:match("^[^;]+"))
      assert.same({ a = 40, b = 2, sum = 42 }, require("cjson").decode(sum.body))
    end)

    it("has no route for a number that is none", function()
      local url = server.start({ "run", "examples/hello.lua" }).url
      assert.equal(404, clients.fetch(url .. "/add/forty/2").status)
      assert.equal(404, clients.fetch(url .. "/hello/").status)
      assert.equal(404, clients.fetch(url .. "/hello/Ann/again").status)
    end)

    it("answers curl, which keeps the connection for a second request", function()
      local url = server.start({ "run", "examples/hello.lua" }).url
      local curl = "curl -sS -w '%%{http_code} %%{num_connects}\\n' %s/hello/Ann %s/hello/Bob"
      local said = server.shell(curl:format(url, url) .. " 2>&1")
      if said:find("not found") then
        return pending("there is no curl")
      end
      assert.equal("hello, Ann\n200 1\nhello, Bob\n200 0\n", said)
    end)
  end)

  it("poll answers at once what was missed, waits for what is not, and not for ever", function()
    local it_runs = server.start { "run", "examples/poll.lua" }
    local url = it_runs.url .. "/news"
    local function say(text)
      assert.equal(201, clients.fetch(url, { method = "POST", body = text }).status)
    end
    assert.equal(204, clients.fetch(url .. "?after=0&wait=0.1").status)
    say("one")
    say("two")
    local function told(after)
      local texts = {}
      for _, item in ipairs(json.decode(clients.fetch(url .. "?after=" .. after).body)) do
        texts[#texts + 1] = item.text
      end
      return table.concat(texts, " ")
    end
    assert.equal("one two", told(0))
    assert.equal("two", told(1))
    local gone = clients.open_raw(it_runs.port, {
      { "send", "GET /news?after=2 HTTP/1.1\r\nhost: x\r\n\r\n" },
      { "sleep", 0.2 },
      { "reset" },
    })
    gone:finish()
    assert.is_true(it_runs:says("aborted=true"))
    local waiting = clients.open("fetch.py", url .. "?after=2", {})
    assert.is_nil(server.eventually(0.3, function()
      return it_runs:stderr():find("after=2 200", 1, true)
    end))
    say("three")
    assert.same({ { id = 3, text = "three" } }, json.decode(waiting:next().body))
    waiting:finish()
    assert.equal(0, it_runs:stop())
    assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
  end)

  for name, script in pairs(clients.websockets) do
    describe("echo, to " .. name .. ",", function()
      local url

      before_each(function()
        url = server.start({ "run", "examples/echo.lua" }).ws .. "/echo"
      end)

      for what, step in pairs {
        ["a text"] = { "text", "Zoë 🌒" },
        ["an empty text"] = { "text", "" },
        ["a mebibyte of text"] = { "text", "0123456789abcdef", 65536 },
        ["bytes"] = { "bytes", "00ff7f80c328" },
        ["no bytes at all"] = { "bytes", "" },
        ["a text in three frames"] = { "fragments", "one ", "t", "wo" },
      } do
        it("sends back " .. what, function()
          local client = clients.run(script, url, { step, { "receive" }, { "close", 1000, "" } })
          local messages = client:all("message")
          assert.equal(1, #messages)
          assert.is_true(messages[1].same)
          assert.equal(step[1] == "bytes" and "bytes" or "text", messages[1].kind)
          assert.equal(1000, client:get("close").code)
        end)
      end

      it("keeps the order of many messages", function()
        local steps, expected = {}, {}
        for i = 1, 200 do
          steps[i] = { "text", "message " .. i }
          expected[i] = "message " .. i
        end
        steps[201] = { "receive", 200 }
        steps[202] = { "close", 1000, "" }
        assert.same(expected, data_of(clients.run(script, url, steps)))
      end)

      it("answers a ping, also between two messages", function()
        local steps = { { "text", "a" }, { "ping", "are you there" }, { "text", "b" } }
        steps[4] = { "receive", 2 }
        steps[5] = { "close", 1000, "" }
        local client = clients.run(script, url, steps)
        assert.equal("are you there", client:get("pong").data)
        assert.same({ "a", "b" }, data_of(client))
      end)

      it("gives a close code back", function()
        local client = clients.run(script, url, { { "close", 4123, "that is all" } })
        assert.equal(4123, client:get("close").code)
      end)
    end)
  end

  describe("tree", function()
    it("walks from a folder to the root, a message each, and closes", function()
      local url = server.start({ "run", "examples/tree.lua" }).ws .. "/tree"
      local client = clients.run("ws.js", url, { { "text", "4" } })
      assert.same({ "Rima Hadley", "Mare Imbrium", "near side", "moon" }, data_of(client))
      assert.equal(1000, client:get("close").code)
      assert.same({ "far side", "moon" }, data_of(clients.run("ws.py", url, { { "text", "5" } })))
    end)

    it("says when there is no such folder", function()
      local url = server.start({ "run", "examples/tree.lua" }).ws .. "/tree"
      local client = clients.run("ws.js", url, { { "text", "99" } })
      assert.same({}, data_of(client))
      assert.same(
        { 4004, "no such folder" },
        { client:get("close").code, client:get("close").reason }
      )
    end)

    it("plants its folders once, however often it starts", function()
      local database = "sqlite:" .. server.scratch() .. "/tree.db"
      for _ = 1, 2 do
        local it_runs = server.start({ "run", "examples/tree.lua" }, { database = database })
        local client = clients.run("ws.js", it_runs.ws .. "/tree", { { "text", "6" } })
        assert.equal(4004, client:get("close").code)
        assert.equal(0, it_runs:stop())
      end
    end)
  end)

  describe("clock", function()
    it("tells the time every second by itself and stops with the client", function()
      local it_runs = server.start { "run", "examples/clock.lua" }
      local url = it_runs.ws .. "/clock"
      local client = clients.run("ws.js", url, { { "receive", 3 }, { "close", 1000, "" } })
      local times = data_of(client)
      assert.is_true(#times >= 3)
      for _, time in ipairs(times) do
        assert.truthy(time:match("^%d%d:%d%d:%d%d$"), time)
      end
      assert.not_equal(times[1], times[3])
      server.sleep(1.2)
      assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
      assert.equal(0, it_runs:stop())
    end)
  end)

  describe("thumbnails", function()
    it("tells who watches what was made, and what was given up", function()
      local it_runs = server.start { "run", "examples/thumbnails.lua", "--workers", "2" }
      local client = clients.open("ws.js", it_runs.ws .. "/done", { { "receive", 3 } })
      client:wait("open")
      for photo = 0, 2 do
        local curl = "curl -sS -o /dev/null -w '%%{http_code}' -X POST %s/photos/%d"
        assert.equal("202", server.shell(curl:format(it_runs.url, photo)))
      end
      local told = {}
      for i = 1, 3 do
        told[i] = client:wait("message").data
      end
      table.sort(told)
      assert.same({
        "photo 0: given up after 3 times",
        "thumbnail of 1",
        "thumbnail of 2",
      }, told)
      assert.equal(0, it_runs:stop())
    end)
  end)

  describe("cron", function()
    it("tells who listens how many they are, whichever worker they are on", function()
      local it_runs = server.start { "run", "examples/cron.lua", "--workers", "2" }
      local url = it_runs.ws .. "/bell"
      local client = clients.run("ws.js", url, { { "receive", 2 }, { "close", 1000, "" } })
      assert.same({ "1 listen", "1 listen" }, { unpack(data_of(client), 1, 2) })
      assert.equal(0, it_runs:stop())
      assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    end)
  end)

  describe("events", function()
    it("tells a browser that comes back what it missed, and nothing twice", function()
      local database = "sqlite:" .. server.scratch() .. "/events.db"
      local it_runs = server.start({ "run", "examples/events.lua" }, { database = database })
      local page = clients.open("event_source.js", it_runs.url)
      assert.same({ "one", "two <b>" }, page:wait("said").items)
      assert.equal(0, it_runs:stop())
      local listen = "127.0.0.1:" .. it_runs.port
      local again = server.start(
        { "run", "examples/events.lua" },
        { database = database, listen = listen }
      )
      clients.fetch(again.url .. "/news", { method = "POST", body = "three" })
      assert.same({ "one", "two <b>", "three" }, page:wait("returned").items)
      page:finish()
    end)
  end)

  describe("notify", function()
    local url = os.getenv("RILLE_TEST_POSTGRES")
    if not url then
      pending("needs RILLE_TEST_POSTGRES, the URL of a server")
      return
    end

    it("shows rows that somebody else inserted to all who watch", function()
      local db = Database("test", { url = url })
      local it_runs = server.start({ "run", "examples/notify.lua" }, { database = url })
      local steps = { { "until", '{"id":2,"item":"a lamp"}' }, { "close", 1000, "" } }
      local watchers = {}
      for i = 1, 2 do
        watchers[i] = clients.open("ws.js", it_runs.ws .. "/orders", steps)
        watchers[i]:wait("open")
      end
      assert.is_truthy(server.eventually(5, function()
        return db:aquery("SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"orders\"'")[1]
      end))
      db:aexecute("INSERT INTO notify_order (item) VALUES ('a rover'), ('a lamp')")
      for _, watcher in ipairs(watchers) do
        watcher:finish()
        assert.same({ '{"id":1,"item":"a rover"}', steps[1][2] }, data_of(watcher))
      end
      assert.equal(0, it_runs:stop())
      db:aexecute("DROP TABLE notify_order CASCADE")
      db:aexecute("DROP FUNCTION notify_order")
      db:aclose()
    end)
  end)

  describe("sensors", function()
    if not brokers.is_there() then
      pending("needs mosquitto and mosquitto-clients")
      return
    end

    --- Ann sees the kitchen's readings and, when she may, the cellar's; Bob sees none.
    local function shows_readings(database, words, an_hour_later)
      local broker = brokers.start()
      local line = { "run", "examples/sensors.lua", "--mqtt", broker.url, unpack(words) }
      local it_runs = server.start(line, { database = database })
      assert.truthy(broker:says("Sending SUBACK"))
      local ann = clients.open("ws.js", it_runs.ws .. "/readings/ann", {
        { "until", "cellar temp 9" },
        { "close", 1000, "" },
      })
      local bob = clients.open("ws.js", it_runs.ws .. "/readings/bob", {
        { "until", "attic temp 30" },
        { "close", 1000, "" },
      })
      ann:wait("open")
      bob:wait("open")
      broker:publish("sensors/cellar/temp", "8", { qos = 1 })
      broker:publish("sensors/kitchen/temp", "21.5", { qos = 1 })
      assert.equal("kitchen temp 21.5", ann:wait("message").data)
      an_hour_later()
      for _, path in ipairs { "ann/cellar", "bob/attic" } do
        local put = { method = "PUT" }
        assert.equal(201, clients.fetch(it_runs.url .. "/viewers/" .. path, put).status)
      end
      broker:publish("sensors/attic/temp", "30", { qos = 1 })
      broker:publish("sensors/cellar/temp", "9", { qos = 1 })
      ann:finish()
      bob:finish()
      assert.same({ "kitchen temp 21.5", "cellar temp 9" }, data_of(ann))
      assert.same({ "attic temp 30" }, data_of(bob))
      assert.equal(0, it_runs:stop())
      assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    end

    it("show to each who may see them, as SQLite says", function()
      shows_readings(nil, {}, function() end)
    end)

    it("show over connections that are not too old, as PostgreSQL says", function()
      local url = os.getenv("RILLE_TEST_POSTGRES")
      if not url then
        return pending("needs RILLE_TEST_POSTGRES, the URL of a server")
      end
      local db = Database("test", { url = url })
      local name = "application_name = 'sensors_spec'"
      local aged = url .. (url:find("?", 1, true) and "&" or "?")
      aged = aged .. "conn_max_age=0.5&application_name=sensors_spec"

      local function connections()
        return db:aquery("SELECT pid FROM pg_stat_activity WHERE " .. name)
      end

      shows_readings(aged, { "--migrate" }, function()
        assert.truthy(server.eventually(5, function() -- they are past their age, and nobody asked
          return #connections() == 0
        end))
      end)
      db:aexecute("DROP TABLE sensor_viewer")
      db:aclose()
    end)
  end)

  describe("chat", function()
    it("serves its page and nothing beside it", function()
      local it_runs = server.start { "run", "examples/chat" }
      local page = clients.fetch(it_runs.url .. "/")
      assert.equal(200, page.status)
      assert.truthy(page.headers["content-type"]:find("^text/html"))
      assert.truthy(page.body:find("<title>Chat</title>", 1, true))
      assert.truthy(
        clients.fetch(it_runs.url .. "/chat.css").headers["content-type"]:find("^text/css")
      )
      for _, path in ipairs { "/../app.lua", "/%2e%2e/app.lua", "/..%2fapp.lua", "//app.lua" } do
        local head = "GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        local answer = clients.raw(it_runs.port, { { "send", head } })
        assert.truthy(answer.received:find("^HTTP/1.1 40[04] "), path .. ": " .. answer.received)
      end
    end)

    it("refuses a visitor without a name", function()
      local url = server.start({ "run", "examples/chat" }).ws .. "/ws/chat/lobby"
      assert.equal(403, clients.run("ws.js", url, {}):get("refused").status)
    end)

    it("carries a talk between two browser windows, through a reload and a restart", function()
      local database = "sqlite:" .. server.scratch() .. "/chat.db"
      local it_runs = server.start({ "run", "examples/chat" }, { database = database })
      local windows = clients.open("chat_windows.js", it_runs.url)

      local both = { "hello from Ann", "<b>hello</b> 🌒" }
      local talked = windows:wait("talked")
      assert.same(both, talked.ann)
      assert.same(both, talked.bob)
      assert.same({ both[2] }, talked.own)
      assert.equal(0, talked.markup)
      assert.same(both, windows:wait("reloaded").bob)

      windows:wait("restart")
      assert.equal(0, it_runs:stop())
      assert.equal(1, windows:wait("lost").pending)
      local listen = "127.0.0.1:" .. it_runs.port
      server.start({ "run", "examples/chat" }, { database = database, listen = listen })

      local returned = windows:wait("returned")
      local all = { both[1], both[2], "written while away" }
      assert.same(all, returned.ann)
      assert.same(all, returned.bob)
      windows:finish()
      assert.same({}, windows:all("pageerror"))
    end)
  end)

  describe("room", function()
    it("loses nothing of a talk between two browser windows while one is away", function()
      local it_runs = server.start { "run", "examples/room", "--workers", "2" }
      local windows = clients.open("room_windows.js", it_runs.url)
      assert.same({ "one" }, windows:wait("met").bob)
      local away = windows:wait("away")
      assert.same({ "one" }, away.bob)
      assert.same({ "2 here: Ann, Bob" }, away.people)
      local back = windows:wait("back")
      local all = { "one", "two", "<b>three</b>", "four" }
      assert.same({ all, all, 0, 0 }, { back.ann, back.bob, back.gaps, back.markup })
      windows:wait("left")
      windows:finish()
      assert.same({}, windows:all("pageerror"))
      assert.equal(0, it_runs:stop())
      assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    end)
  end)
end)
