--- Links to a Redis, on real servers that are stopped, killed and cut off.

local core = require("rille.core")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local links = require("spec.support.links")
local raised = require("spec.support.raised")
local rille = require("rille")
local servers = require("spec.support.redis")

local open = links.open

local function links_test(name, test)
  it(name, links.closing(test))
end

local function fails_with(class, pattern, fn, ...)
  local err = raised.by(fn, ...)
  assert.matches(pattern, raised.is(class, err))
  return err
end

describe("a link to a Redis", function()
  local server

  lazy_setup(function()
    server = servers.start("user ann on >sesame ~* &* +@all", "user bob on >b ~b:* &b:* +@all")
  end)
  lazy_teardown(servers.clean)
  before_each(function()
    server:cli("FLUSHALL")
  end)

  links_test("gives replies of every kind", function()
    local link = open(server.url)
    assert.equal("OK", link:acall("SET", "n", 9007199254740992))
    assert.equal("9007199254740992", link:acall("GET", "n"))
    assert.equal(9007199254740992, link:acall("INCRBY", "n", 0))
    assert.equal("9007199254740993", link:acall("INCR", "n"))
    assert.is_nil(link:acall("GET", "nobody"))
    link:acall("SET", "bytes", "\0\r\n\255")
    assert.same({ "\0\r\n\255", rille.null }, link:acall("MGET", "bytes", "nobody"))
    assert.same({ 1, { "two", { 3, {} } } }, link:acall("EVAL", "return {1,{'two',{3,{}}}}", 0))
    assert.equal("0.1", link:acall("ECHO", 0.1):sub(1, 3))
    for _, n in ipairs { 0.1, 0, -7, -9007199254740992, 2 ^ 60, -1.5e300 } do
      assert.equal(n, tonumber(link:acall("ECHO", n)))
    end
  end)

  links_test("says what the server refuses, and goes on", function()
    local link = open(server.url)
    link:acall("SET", "a", "text")
    local err = fails_with(errors.RedisError, "^WRONGTYPE ", link.acall, link, "LPUSH", "a", 1)
    assert.equal("WRONGTYPE", err.code)
    assert.is_false(errors.is_error(err, errors.RedisUnavailable))
    local replies = link:apipeline { { "INCR", "b" }, { "INCR", "a" }, { "GET", "none" } }
    assert.equal(1, replies[1])
    assert.equal("ERR", replies[2].code)
    assert.equal(rille.null, replies[3])
  end)

  links_test("keeps the order of a hundred tasks in one pipeline", function()
    local link = open(server.url)
    link:aready()
    local jobs = {}
    for i = 1, 100 do
      jobs[i] = function()
        return link:acall("EVAL", "return {redis.call('INCR', 'order'), ARGV[1]}", 0, i)
      end
    end
    local function reads()
      return tonumber(server:cli("INFO", "stats"):match("total_reads_processed:(%d+)"))
    end
    local before = reads()
    for i, reply in ipairs(rille.agather(jobs)) do
      assert.same({ i, tostring(i) }, reply)
    end
    assert.is_true(reads() - before < 10) -- they came together
    assert.equal(1, link:stats().connects)
  end)

  links_test("sends a script once", function()
    local link = open(server.url)
    for i = 1, 3 do
      assert.same({ "k", tostring(i) }, link:aeval("return {KEYS[1], ARGV[1]}", { "k" }, i))
    end
    server:cli("SCRIPT", "FLUSH")
    assert.same({ "k", "x" }, link:aeval("return {KEYS[1], ARGV[1]}", { "k" }, "x"))
  end)

  links_test("goes through a Unix socket, into a database, with a name", function()
    local link = open("unix://" .. server.socket .. "?db=3", { name = "my name" })
    assert.matches("db=3", link:acall("CLIENT", "INFO"))
    assert.matches("name=my_name", link:acall("CLIENT", "INFO"))
    assert.equal(server.socket, link:stats().where)
  end)

  links_test("logs in, and says when it may not, without the password", function()
    local good = open((server.url:gsub("//", "//ann:sesame@")))
    assert.equal("ann", good:acall("ACL", "WHOAMI"))
    local bad = open((server.url:gsub("//", "//ann:tell-tale@")), { patience = 0.01 })
    eventually(function()
      return bad:stats().last_error
    end)
    local err = fails_with(errors.RedisUnavailable, "WRONGPASS", bad.acall, bad, "PING")
    assert.is_false(err.may_have_run)
    assert.is_nil(tostring(err):find("tale", 1, true))
  end)

  links_test("waits for a connection, or fails at once", function()
    server:stop()
    local patient, hasty = open(server.url), open(server.url, { outage = "fail" })
    local reply
    local waiting = rille.spawn(function()
      reply = patient:acall("PING")
    end)
    eventually(function()
      return hasty:stats().failures > 0 and patient:stats().failures > 0
    end)
    local err = fails_with(errors.RedisUnavailable, "refused", hasty.acall, hasty, "PING")
    assert.is_false(err.may_have_run)
    server:restart()
    waiting:ajoin()
    assert.equal("PONG", reply)
  end)

  links_test("tells when it goes up and down, with a link that works already", function()
    local told = {}
    local link = open(server.url, {
      on_up = function(session, again)
        told[#told + 1] = session:acall("ECHO", again and "again" or "first")
      end,
      on_down = function(err)
        told[#told + 1] = errors.is_error(err, errors.RedisUnavailable) and "down"
      end,
    })
    link:aready()
    server:cli("CLIENT", "KILL", "TYPE", "normal")
    eventually(function()
      return link:stats().connects == 2
    end)
    assert.same({ "first", "down", "again" }, told)
  end)

  links_test("says that a command may have run when the server dies under it", function()
    local link = open(server.url)
    link:aready()
    local err
    local waiting = rille.spawn(function()
      err = select(2, pcall(link.ablock, link, 20, "BLPOP", "nothing", 20))
    end)
    eventually(function()
      return link:stats().pending == 1
    end)
    rille.asleep(0.01)
    server:stop()
    waiting:ajoin()
    assert.is_true(errors.is_error(err, errors.RedisUnavailable))
    assert.is_true(err.may_have_run)
    server:restart()
    assert.equal("PONG", link:acall("PING"))
  end)

  --- A link, and what it is told of what was posted: notes, errors' codes or messages.
  local function poster(url, options)
    local told = {}
    options = options or {}
    options.on_outcome = function(note, err)
      told[#told + 1] = { note, err and (err.code or err.message) }
    end
    return open(url, options), told
  end

  links_test("posts without waiting, once all is well, and tells what is not", function()
    local ear = open(server.url, { subscriber = true })
    ear:asubscribe("heard")
    local link, told = poster(server.url)
    assert.equal(0, link:apost("nobody", "PUBLISH", "alone", 0)) -- the first of a connection
    for i = 1, 3 do
      assert.is_nil(link:apost("somebody", "PUBLISH", "heard", i))
      assert.is_nil(link:apost("nobody " .. i, "PUBLISH", "alone", i))
      assert.is_nil(link:apost(nil, "PUBLISH", "alone", i))
    end
    link:asettle()
    for i = 1, 3 do
      assert.same({ "message", "heard", tostring(i) }, { ear:anext() })
    end
    eventually(function()
      return #told == 3
    end)
    assert.same({ { "nobody 1" }, { "nobody 2" }, { "nobody 3" } }, told)
    assert.is_nil(link:apost("wrong", "GET")) -- and then one waits again, and raises
    eventually(function()
      return #told == 4
    end)
    assert.same({ "wrong", "ERR" }, told[4])
    fails_with(errors.RedisError, "wrong number", link.apost, link, "wrong", "GET")
    assert.equal(1, link:apost("somebody", "PUBLISH", "heard", 4))
    assert.is_nil(link:apost("somebody", "PUBLISH", "heard", 5))
  end)

  links_test("posts scripts, and sends one again that the server has forgotten", function()
    local link, told = poster(server.url)
    local script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    assert.equal(1, link:apost_script(nil, script, 1, { "sum", 1 }))
    assert.is_nil(link:apost_script(nil, script, 1, { "sum", 2 }))
    assert.equal("3", link:acall("GET", "sum"))
    server:cli("SCRIPT", "FLUSH")
    assert.is_nil(link:apost_script("lost", script, 1, { "sum", 4 }))
    eventually(function()
      return #told == 1
    end)
    assert.same({ "lost", "NOSCRIPT" }, told[1])
    assert.equal(11, link:apost_script(nil, script, 1, { "sum", 8 }))
  end)

  links_test("accounts for what was posted when the server dies, 512 at most", function()
    local link, told = poster(server.url, { outage = "fail" })
    link:aready()
    link:apost("first", "PUBLISH", "t", 0)
    server:signal("STOP")
    local posted, err = 0, nil
    local posting = rille.spawn(function()
      err = select(2, pcall(function()
        while true do
          link:apost("posted", "PUBLISH", "t", posted)
          posted = posted + 1
        end
      end))
    end)
    eventually(function()
      return link:stats().pending == 513
    end)
    server:stop()
    posting:ajoin()
    assert.equal(512, posted)
    assert.is_true(err.may_have_run)
    eventually(function()
      return #told == 512
    end)
    for _, outcome in ipairs(told) do
      assert.equal("posted", outcome[1])
      assert.matches("may have run", outcome[2])
    end
    fails_with(errors.RedisUnavailable, "not sent", link.apost, link, "posted", "PUBLISH", "t", 1)
    server:restart()
    link:aready()
    assert.equal(0, link:apost("first", "PUBLISH", "t", 0))
  end)

  links_test("gives a server up that does not answer in time", function()
    local link = open(server.url, { patience = 0.2 })
    link:aready(10)
    server:signal("STOP")
    local err = fails_with(errors.RedisUnavailable, "no word", link.acall, link, "INCR", "once")
    assert.is_true(err.may_have_run)
    server:signal("CONT")
    eventually(function()
      return pcall(link.acall, link, "PING")
    end)
    assert.equal("1", link:acall("GET", "once")) -- it had run, and was not sent again
  end)

  links_test("notices a silent server that nobody asks for anything", function()
    local link = open(server.url .. "?keepalive=0.1&timeout=0.3")
    link:aready(10)
    eventually(function() -- it asks, and is answered
      return server:cli("INFO", "commandstats"):find("cmdstat_ping:", 1, true)
    end)
    assert.equal(1, link:stats().connects)
    server:signal("STOP")
    eventually(function()
      return not link:is_up()
    end)
    server:signal("CONT")
    link:aready(10)
  end)

  links_test("is left in order by a task that gives up", function()
    local link = open(server.url)
    link:aready()
    local ok = pcall(rille.atimeout, 0.01, function()
      link:acall("EVAL", "local t = redis.call('TIME') repeat local n = redis.call('TIME') until "
        .. "(n[1] - t[1]) * 1e6 + n[2] - t[2] > 1e5 return 'late'", 0)
    end)
    assert.is_false(ok)
    assert.equal("mine", link:acall("ECHO", "mine"))
    assert.equal(1, link:stats().abandoned)
    assert.equal(1, link:stats().connects)
  end)

  links_test("wakes who waits on the server", function()
    local link = open(server.url)
    local reply
    local waiting = rille.spawn(function()
      reply = link:ablock(5, "BZPOPMIN", "queue", 5)
    end)
    eventually(function()
      return link:stats().pending == 1
    end)
    server:cli("ZADD", "queue", "1.5", "payload")
    waiting:ajoin()
    assert.same({ "queue", "payload", "1.5" }, reply)
    assert.is_nil(link:ablock(0.05, "BZPOPMIN", "queue", 0.05))
  end)

  links_test("takes nothing from the server for a task that gave up", function()
    local link = open(server.url)
    link:aready()
    local waiting = rille.spawn(function()
      link:ablock(5, "BZPOPMIN", "queue", 5)
    end)
    eventually(function()
      return server:cli("CLIENT", "LIST"):find("cmd=bzpopmin", 1, true)
    end)
    waiting:cancel()
    eventually(function()
      return not server:cli("CLIENT", "LIST"):find("cmd=bzpopmin", 1, true)
    end)
    server:cli("ZADD", "queue", "1", "kept")
    assert.same({ "queue", "kept", "1" }, link:ablock(1, "BZPOPMIN", "queue", 1))
  end)

  links_test("closes under those who wait, and for good", function()
    local link = open(server.url)
    link:aready()
    local err
    local waiting = rille.spawn(function()
      err = select(2, pcall(link.ablock, link, 5, "BLPOP", "nothing", 5))
    end)
    eventually(function()
      return link:stats().pending == 1
    end)
    link:close()
    link:close()
    waiting:ajoin()
    assert.matches("closed", err.message)
    fails_with(errors.RedisUnavailable, "closed", link.acall, link, "PING")
  end)

  links_test("ends when nobody holds the connection any more", function()
    local name = "wire" .. core.redis.random(4):gsub(".", function(c)
      return ("%02x"):format(c:byte())
    end)
    local wire = core.redis.dial { host = "127.0.0.1", port = server.port, timeout = 5 }
    core.redis.call(wire, 5, "CLIENT", "SETNAME", name)
    assert.truthy(server:cli("CLIENT", "LIST"):find(name, 1, true))
    wire = nil -- luacheck: ignore
    collectgarbage()
    eventually(function()
      return not server:cli("CLIENT", "LIST"):find(name, 1, true)
    end)
  end)
end)

describe("a link that subscribes", function()
  local server

  lazy_setup(function()
    server = servers.start("user bob on >b ~* &b:* +@all")
  end)
  lazy_teardown(servers.clean)

  local function subscriber(options)
    options = options or {}
    options.subscriber = true
    return open(server.url, options)
  end

  links_test("hears channels and patterns, until it leaves them", function()
    local link = subscriber()
    link:asubscribe("a", "b")
    link:apsubscribe("p*")
    server:cli("PUBLISH", "b", "1")
    server:cli("PUBLISH", "pq", "2")
    assert.same({ "message", "b", "1" }, { link:anext() })
    assert.same({ "message", "pq", "2", "p*" }, { link:anext() })
    link:aunsubscribe("b")
    link:apunsubscribe("p*")
    assert.equal("0", server:cli("PUBLISH", "b", "3"))
    assert.equal("1", server:cli("PUBLISH", "a", "4"))
    assert.same({ "message", "a", "4" }, { link:anext() })
  end)

  links_test("waits for what comes, and is told that it closes", function()
    local link = subscriber()
    link:asubscribe("a")
    local heard = {}
    local reading = rille.spawn(function()
      for i = 1, 2 do
        heard[i] = { link:anext() }
      end
    end)
    rille.asleep(0)
    server:cli("PUBLISH", "a", "1")
    eventually(function()
      return heard[1]
    end)
    link:close()
    reading:ajoin()
    assert.same({ { "message", "a", "1" }, {} }, heard)
  end)

  links_test("is subscribed again after a restart of the server, and tells of the gap", function()
    local link = subscriber()
    local many = {}
    for i = 1, 1200 do
      many[i] = "channel" .. i
    end
    link:asubscribe(unpack(many))
    link:apsubscribe("p*")
    server:cli("PUBLISH", "channel7", "before")
    eventually(function()
      return link:stats().queued == 1
    end)
    server:stop()
    server:restart()
    eventually(function()
      return link:stats().connects == 2
    end)
    assert.equal("1", server:cli("PUBLISH", "channel1200", "after"))
    assert.equal("1", server:cli("PUBLISH", "pp", "after"))
    assert.same({ "message", "channel7", "before" }, { link:anext() })
    assert.same({ "gap" }, { link:anext() })
    assert.same({ "message", "channel1200", "after" }, { link:anext() })
    assert.same({ "message", "pp", "after", "p*" }, { link:anext() })
  end)

  links_test("keeps so many messages that nobody takes, and counts what it drops", function()
    local link = subscriber { queue = 3 }
    link:asubscribe("a")
    for i = 1, 5 do
      server:cli("PUBLISH", "a", i)
    end
    eventually(function()
      return link:stats().dropped == 2
    end)
    for i = 1, 3 do
      assert.same({ "message", "a", tostring(i) }, { link:anext() })
    end
    server:cli("PUBLISH", "a", "6")
    assert.same({ "gap", 2 }, { link:anext() })
    assert.same({ "message", "a", "6" }, { link:anext() })
  end)

  links_test("says what it may not hear", function()
    local link = open((server.url:gsub("//", "//bob:b@")), { subscriber = true })
    link:asubscribe("b:1")
    local err = fails_with(errors.RedisError, "^NOPERM", link.asubscribe, link, "b:2", "a:1")
    assert.equal("NOPERM", err.code)
    server:cli("PUBLISH", "b:1", "still")
    assert.same({ "message", "b:1", "still" }, { link:anext() })
  end)

  links_test("can be asked whether it is there while it subscribes", function()
    local link = open(server.url .. "?keepalive=0.05", { subscriber = true })
    link:asubscribe("a")
    rille.asleep(0.2)
    assert.equal(1, link:stats().connects)
    server:cli("PUBLISH", "a", "1")
    assert.same({ "message", "a", "1" }, { link:anext() })
  end)
end)
