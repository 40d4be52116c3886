--- The layer on PostgreSQL: real processes on a real server, which is hurt.

local clients = require("spec.support.clients")
local db = require("rille.db")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local json = require("cjson")
local layer_database = require("spec.support.layer_database")
local outside = require("rille.layer.outside")
local rooms = require("spec.support.rooms")
local server = require("spec.support.server")

local act, guest, message = rooms.act, rooms.guest, rooms.message

describe("the URL of a layer on PostgreSQL", function()
  local function refuses(text, url)
    local ok, err = pcall(outside.parse, url)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.ConfigurationError))
    assert.truthy(err.message:find(text, 1, true), err.message)
    assert.is_nil(err.message:find("s3cret", 1, true), err.message)
  end

  it("is checked, and what is wrong said without its password", function()
    local head = "postgres://ann:s3cret@localhost/site?"
    refuses("prefix is 1 to 24 small letters", head .. "prefix=Shop")
    refuses("capacity is a whole number from 1 on, not '0'", head .. "capacity=0")
    refuses("group_expiry is a whole number from 2 on", head .. "group_expiry=1")
    refuses("outage is fail or wait, not 'maybe'", head .. "outage=maybe")
    refuses("a setting that is not known: colour", head .. "colour=blue")
    refuses("conn_max_age has a value that makes no sense", head .. "conn_max_age=old")
    refuses("nothing is heard through it", head .. "pgbouncer=true")
    refuses("its URL makes no sense", "postgresql://ann:s3cret@[::1/site")
    local parsed = outside.parse("postgresql://ann:s3/cret@one,two/site?password=s3cret&prefix=a")
    assert.equal("postgresql://one,two/site", parsed.name)
  end)

end)

if not layer_database.found then
  pending("needs RILLE_TEST_POSTGRES, the URL of a server")
  return
end

describe("a layer on PostgreSQL", function()
  local store

  lazy_setup(function()
    store = layer_database.create("rille_layer")
  end)

  lazy_teardown(function()
    layer_database.clean()
  end)

  local function url(query)
    return store.url .. (store.url:find("?", 1, true) and "&" or "?") .. (query or "")
  end

  describe("joins processes, which", function()
    local one, other

    lazy_setup(function()
      one = rooms.start(url(), { "--workers", "2" })
      other = rooms.start(url("expiry=1&group_expiry=3"))
    end)

    lazy_teardown(function()
      for _, process in ipairs { one, other } do
        assert.equal(0, process:stop())
        assert.is_nil(process:stderr():find("traceback", 1, true), process:stderr())
      end
      for _, name in ipairs { "process", "member", "queue" } do
        assert.equal(0, store:count(name), name)
      end
      rooms.clean()
      server.clean()
    end)

    it("hear each other's groups, once and in order, also what is long", function()
      local guests = {}
      for i, process in ipairs { one, one, other } do
        guests[i] = guest(process, "both")
      end
      local deep = { list = { 1, 2.5, "ü" }, yes = true }
      local nested = { type = "chat.message", n = 1, deep = deep }
      assert.same({ 1, 0 }, act(other, "group_send", { group = "both", message = nested }))
      act(one, "group_send", { group = "both", hex = "6100ff" })
      act(one, "group_send", { group = "both", hex = "00ff61", times = "3000" })
      for n = 2, 4 do
        act(one, "group_send", { group = "both", message = message(n) })
      end
      for _, each in ipairs(guests) do
        assert.same(nested, each:hear())
        assert.equal("6100ff", each:hear().hex)
        assert.equal(18000 + #'heard {"type":"chat.message","hex":""}', each:wait("message").length)
        for n = 2, 4 do
          assert.same(message(n), each:hear())
        end
      end
    end)

    it("reach each other's channels", function()
      local here, there = guest(one, "quiet"), guest(other, "quiet")
      act(other, "send", { channel = here.channel, message = message(1) })
      act(one, "send", { channel = there.channel, message = message(2) })
      act(one, "send", { channel = there.channel, hex = "00ff61", times = "3000" })
      assert.same(message(1), here:hear())
      assert.same(message(2), there:hear())
      assert.is_true(there:wait("message").length > 18000)
    end)

    it("make each other's consumers members, count them, and let them go", function()
      local here, there = guest(one, "count"), guest(other, "elsewhere")
      guest(one, "count")
      act(one, "add", { group = "count", channel = there.channel })
      assert.same({ 3 }, act(one, "count", { group = "count" }))
      assert.same({ 3 }, act(other, "count", { group = "count" }))
      act(one, "group_send", { group = "count", message = message(1) })
      act(one, "discard", { group = "count", channel = there.channel })
      assert.same({ 2 }, act(other, "count", { group = "count" }))
      act(other, "group_send", { group = "count", message = message(2) })
      act(other, "group_send", { group = "elsewhere", message = message(3) })
      assert.same(message(1), here:hear())
      assert.same(message(2), here:hear())
      assert.same(message(1), there:hear())
      assert.same(message(3), there:hear())
      local nobody = there.channel:gsub("%d+$", "77")
      local stranger = "specific." .. ("0"):rep(32) .. "!77"
      for _, channel in ipairs { nobody, stranger } do
        local refusal = act(one, "add", { group = "count", channel = channel })
        assert.truthy(refusal.error:find("nobody has the channel", 1, true), refusal.error)
      end
    end)

    it("are reached by `rille send`, which leaves nothing behind", function()
      local here = guest(other, "sent")
      local words = { "send", "sent", json.encode(message(1)), "--layer", url() }
      local status, said, told = server.run(words)
      assert.same({ 0, "" }, { status, said })
      assert.equal("sent\n", told)
      assert.same(message(1), here:hear())
      assert.equal(2, store:count("process"))
    end)

    it("leave: who has left a group hears no more of it", function()
      local left = guest(other, "left", { "join stayed", "leave left" })
      assert.equal("done", left:hear())
      assert.equal("done", left:hear())
      eventually(function()
        return not store:value("SELECT 1 AS value FROM rille_layer_member WHERE name = 'g:left'")
      end)
      act(one, "group_send", { group = "left", message = message(1) })
      act(one, "group_send", { group = "stayed", message = message(2) })
      assert.same(message(2), left:hear())
    end)

    it("listen on one connection each, for all their workers", function()
      assert.equal(2, store:value([[
        SELECT count(*) AS value FROM pg_stat_activity
        WHERE datname = current_database() AND query ~ '^LISTEN "rille_layer:']]))
    end)

    it("are none of those with another prefix", function()
      local here = guest(one, "both")
      local third = rooms.start(url("prefix=shop"))
      act(third, "group_send", { group = "both", message = message(1) })
      act(other, "group_send", { group = "both", message = message(2) })
      assert.same(message(2), here:hear())
      assert.equal(0, third:stop())
      assert.equal(0, store:value("SELECT count(*) AS value FROM shop_layer_process"))
    end)

    it("delete what was long when it has expired", function()
      act(other, "group_send", { group = "nobody", hex = "00", times = "9000" })
      eventually(function()
        return store:value([[SELECT count(*) AS value FROM rille_layer_message
          WHERE expires < now() + interval '30 seconds']]) == 0
      end)
    end)

    it("come back by themselves when the database does, and say what happened", function()
      local waiting = rooms.start(url("outage=wait&outage_timeout=30"))
      local guests = {}
      for i, process in ipairs { one, one, other, waiting } do
        guests[i] = guest(process, "outage")
      end
      store:shut()
      for _, process in ipairs { one, other, waiting } do
        assert.is_true(process:says("the connection is lost: "), process:stderr())
      end
      local answer = act(one, "group_send", { group = "outage", message = message(1) })
      assert.truthy(answer.error:find("cannot be reached", 1, true), answer.error)
      local late = "/group_send?group=outage&text=late"
      local asked = clients.open("fetch.py", waiting.url .. late, { method = "GET" })
      server.sleep(0.3)
      store:open()
      assert.equal(200, asked:next().status)
      --- What was said late came before or after, or while somebody was not back yet.
      local function hears(each, what)
        local said = each:hear()
        assert.same(what, type(said) == "table" and said.text == "late" and each:hear() or said)
      end
      for _, each in ipairs(guests) do
        hears(each, "reconnected")
      end
      for _, process in ipairs { one, other, waiting } do
        assert.is_true(process:says("back after "), process:stderr())
      end
      act(other, "group_send", { group = "outage", message = message(2) })
      for _, each in ipairs(guests) do
        hears(each, message(2))
      end
      assert.equal(0, waiting:stop())
    end)
  end)

  describe("by itself", function()
    after_each(server.clean)

    --- Nobody is let in for a moment: not the one with two workers, nor the other with one.
    local function cut(two, one)
      store:shut()
      for _, process in ipairs { two, one } do
        assert.is_true(process:says("the connection is lost: "), process:stderr())
      end
      store:open()
      for process, workers in pairs { [two] = 2, [one] = 1 } do
        assert.is_truthy(server.eventually(20, function()
          return server.count(process:stderr(), "back after") == workers
        end), process:stderr())
      end
    end

    it("has what waits on a channel taken once, wherever that is, in its order", function()
      local APP = "spec/support/apps/channels.lua"
      local function start(concurrency)
        local layer = url("capacity=150")
        local options = { env = { CONCURRENCY = concurrency } }
        return server.start({ "run", APP, "--layer", layer }, options)
      end
      local both = { start("1"), start("1") }
      local notes = {}
      for n = 1, 100 do
        notes[n] = { type = "note", n = n, seconds = 0.001 }
      end
      local body = server.quote(json.encode(notes))
      local answer = server.shell(("curl -sS -d %s %s/send/jobs"):format(body, both[1].url))
      assert.same({ 100, 0 }, json.decode(answer))
      local function handled(process)
        return server.count(process:stderr(), "note ")
      end
      eventually(function()
        return handled(both[1]) + handled(both[2]) >= 100
      end)
      local seen = {}
      for _, process in ipairs(both) do
        local last = 0
        for n in process:stderr():gmatch("note (%d+) on") do
          assert.is_nil(seen[n], "twice: " .. n)
          assert.is_true(tonumber(n) > last, ("%s after %d"):format(n, last))
          seen[n], last = true, tonumber(n)
        end
      end
      -- A message that is none is dropped, and holds nobody up.
      for _, bad in ipairs { "nonsense", "\x81\xa4type\xaewebsocket.send" } do
        store.inside:aexecute(
          "INSERT INTO rille_layer_queue (channel, body, expires) "
            .. "VALUES ('jobs', $1, now() + interval '1 minute')",
          db.bytes(bad)
        )
      end
      local last = server.quote(json.encode { { type = "note", n = 101 } })
      server.shell(("curl -sS -d %s %s/send/jobs"):format(last, both[1].url))
      eventually(function()
        return handled(both[1]) + handled(both[2]) >= 101
      end)
      for _, process in ipairs(both) do
        assert.equal(0, process:stop())
      end
      local told = both[1]:stderr() .. both[2]:stderr()
      assert.truthy(told:find("a message cannot be read", 1, true) or
        told:find("a message of another process is dropped", 1, true), told)
      assert.equal(0, store:count("queue"))
    end)

    it("keeps histories, one for all processes, also while it is away", function()
      local here = server.start { "run", "examples/room", "--layer", url(), "--workers", "2" }
      local there = server.start { "run", "examples/room", "--layer", url() }
      local long = ("\1"):rep(1000) -- as JSON six times as long: no notification has room for it

      local function open(process, since, steps)
        local join = { type = "join", group = "room.both", since = since, key = "k", name = "N" }
        table.insert(steps, 1, { "text", json.encode(join) })
        return clients.open("ws.py", process.ws .. "/ws", steps)
      end

      --- Somebody joins, says so many things, and hears himself.
      local function say(process, texts)
        local steps = { { "receive", 1 } }
        for _, text in ipairs(texts) do
          local words = { type = "say", group = "room.both", text = text }
          steps[#steps + 1] = { "text", json.encode(words) }
        end
        steps[#steps + 1] = { "receive", #texts }
        steps[#steps + 1] = { "close", 1000, "" }
        open(process, nil, steps):finish()
      end

      --- What somebody who comes with a mark has missed, or its length; and how he has joined.
      local function missed(process, since, n)
        local client = open(process, since, { { "receive", n + 1 }, { "close", 1000, "" } })
        client:finish()
        local said, joined = {}, nil
        for _, event in ipairs(client:all("message")) do
          local told = event.data and json.decode(event.data) or event.length
          if type(told) == "number" or told.type == "said" then
            said[#said + 1] = told
          elseif told.type == "joined" then
            joined = told
          end
        end
        return said, joined
      end

      say(here, { "one" })
      say(there, { "two", long, "four" })
      local all, joined = missed(there, { last = 10 }, 4)
      assert.equal("one", all[1].text)
      local epoch = all[1].history.epoch
      assert.equal("two", all[2].text)
      assert.is_true(all[3] > 6000)
      assert.equal("four", all[4].text)
      assert.same({ 4, epoch }, { all[4].history.offset, all[4].history.epoch })
      assert.equal(4, joined.history.offset)

      cut(here, there)
      say(there, { "five" })
      all, joined = missed(here, { epoch = epoch, offset = 3 }, 2)
      assert.same({ "four", "five" }, { all[1].text, all[2].text })
      assert.same({ true, 5 }, { joined.recovered, joined.history.offset })
      all, joined = missed(here, { epoch = "00", offset = 3 }, 0)
      assert.same({ 0, true }, { #all, joined.gap })
      for _, process in ipairs { here, there } do
        assert.equal(0, process:stop())
        assert.is_nil(process:stderr():find("traceback", 1, true), process:stderr())
      end
    end)

    it("says who may not create its tables, never with a password", function()
      local role = "guest_of_" .. store.name
      store.inside:aexecute(("CREATE ROLE %s LOGIN PASSWORD 's3cret'"):format(role))
      store.inside:aexecute("REVOKE CREATE ON SCHEMA public FROM public")
      finally(function()
        store.inside:aexecute("DROP OWNED BY " .. role)
        store.inside:aexecute("DROP ROLE " .. role)
      end)
      local theirs = url("prefix=theirs"):gsub("//[^/@]*@", "//" .. role .. ":s3cret@")
      local running = rooms.start(theirs)
      local told = "are missing and cannot be created (permission denied for schema public)"
      assert.is_true(running:says(told), running:stderr())
      local answer = act(running, "group_send", { group = "any", message = message(1) })
      assert.truthy(answer.error:find("cannot be reached", 1, true), answer.error)
      store.inside:aexecute("GRANT CREATE ON SCHEMA public TO " .. role)
      assert.is_true(running:says("created its tables", 15), running:stderr())
      assert.equal(0, running:stop())
      assert.is_nil(running:stderr():find("s3cret", 1, true), running:stderr())
    end)

    it("accounts for every message when a process is killed and connections are cut", function()
      local settings = url("group_expiry=2")
      local one = rooms.start(settings, { "--workers", "2" })
      local other = rooms.start(settings)
      local folder = server.scratch()
      local crowd = clients.open("machines.py", {
        servers = { one = one.port, other = other.port },
        path = "/rooms/",
        members = 4,
        every = 0.002,
        folder = folder,
      })
      crowd:wait("ready")
      server.sleep(0.3)
      other:signal("KILL")
      server.sleep(0.3)
      other = rooms.start(settings)
      server.write(folder .. "/other.port", tostring(other.port))
      server.sleep(0.3)
      cut(one, other)
      server.sleep(0.3)
      server.write(folder .. "/end", "")
      local done = crowd:wait("done")
      assert.same({}, done.wrong)
      assert.same({}, done.silently)
      assert.equal(done.here, done.told)
      assert.same({ done.here, done.here }, done.last)
      assert.is_true(done.sent > 20, done.sent) -- a busy machine says few
      assert.is_true(done.unanswered <= 1, done.unanswered) -- of who was killed
      eventually(function()
        return store:count("process") == 2 -- whoever was killed has lapsed
      end)
      assert.equal(0, one:stop())
      assert.equal(0, other:stop())
      for _, name in ipairs { "process", "member" } do
        assert.equal(0, store:count(name), name)
      end
      server.clean()
    end)
  end)
end)
