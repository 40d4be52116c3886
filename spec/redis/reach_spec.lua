--- The ways to a Redis: TLS, Sentinels, and servers that answer oddly.

local core = require("rille.core")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local links = require("spec.support.links")
local rille = require("rille")
local server = require("spec.support.server")
local servers = require("spec.support.redis")

local open = links.open

local function links_test(name, test)
  it(name, links.closing(test))
end

--- Why a link does not come up.
local function refusal(url)
  local link = open(url, { patience = 5 })
  return eventually(function()
    return link:stats().last_error
  end)
end

describe("a link over TLS", function()
  local certificates, secure, strict

  lazy_setup(function()
    certificates = server.shell("mktemp -d"):gsub("%s+$", "")
    assert.equal(0, os.execute("spec/support/certificates " .. certificates))
    secure = servers.start_tls(certificates, "tls-auth-clients no", "requirepass sesame")
    strict = servers.start_tls(certificates, "tls-auth-clients yes")
  end)
  lazy_teardown(function()
    servers.clean()
    os.execute("rm -rf " .. certificates)
  end)

  local function url(to, parameters, password)
    local text = to.url:gsub("//", "//:" .. (password or "sesame") .. "@")
    return text .. "?" .. parameters:gsub("@", certificates .. "/")
  end

  links_test("speaks to a server whose certificate it can check", function()
    local link = open(url(secure, "ca=@ca.pem"))
    assert.equal("OK", link:acall("SET", "long", ("x"):rep(300000)))
    assert.equal(300000, #link:acall("GET", "long"))
    local jobs = {}
    for i = 1, 50 do
      jobs[i] = function()
        return link:acall("ECHO", ("%d"):format(i):rep(1000))
      end
    end
    for i, reply in ipairs(rille.agather(jobs)) do
      assert.equal(("%d"):format(i):rep(1000), reply)
    end
    assert.equal(1, link:stats().connects)
  end)

  links_test("subscribes", function()
    local link = open(url(secure, "ca=@ca.pem"), { subscriber = true })
    link:asubscribe("a")
    open(url(secure, "ca=@ca.pem")):acall("PUBLISH", "a", "1")
    assert.same({ "message", "a", "1" }, { link:anext() })
  end)

  links_test("is checked by its address, too", function()
    local by_address = url(secure, "ca=@ca.pem"):gsub("localhost", "127.0.0.1")
    assert.equal("PONG", open(by_address):acall("PING"))
  end)

  links_test("refuses a certificate that nobody vouches for", function()
    local err = refusal(url(secure, "ca=@other.pem"))
    assert.matches("localhost:%d+: no TLS: .*certificate", err)
    assert.matches("no TLS: ", refusal(url(secure, "timeout=5"))) -- the system does not know it
  end)

  links_test("refuses a certificate for another name", function()
    assert.matches("hostname mismatch", refusal(url(secure, "ca=@ca.pem&servername=b.test")))
  end)

  links_test("believes everybody when it is told to", function()
    assert.equal("PONG", open(url(secure, "verify=none")):acall("PING"))
  end)

  links_test("shows its own certificate", function()
    local parameters = "ca=@ca.pem&cert=@client.pem&key=@client.key"
    local shown = open((url(strict, parameters, "x"):gsub(":x@", "")))
    assert.equal("PONG", shown:acall("PING"))
    local both = open((url(strict, "ca=@ca.pem&cert=@both.pem", "x"):gsub(":x@", "")))
    assert.equal("PONG", both:acall("PING"))
    -- The alert, unless the reset that follows it has overtaken it.
    local err = refusal((url(strict, "ca=@ca.pem", "x"):gsub(":x@", "")))
    assert.is_true(err:find("certificate") ~= nil or err:find("reset") ~= nil, err)
  end)

  links_test("names the file that it cannot use", function()
    assert.matches("/none%.pem: No such file", refusal(url(secure, "ca=@none.pem")))
    assert.matches("/locked%.key", refusal(url(secure, "cert=@a.pem&key=@locked.key")))
  end)

  links_test("does not come up against a server without it, nor the other way round", function()
    local plain = servers.start()
    local quick = "?connect_timeout=0.3"
    assert.matches("no TLS: ", refusal((plain.url:gsub("redis:", "rediss:")) .. quick))
    assert.truthy(refusal((secure.url:gsub("rediss:", "redis:")) .. quick))
  end)
end)

describe("a server that answers oddly", function()
  local port, folder, pid

  lazy_setup(function()
    folder = server.shell("mktemp -d"):gsub("%s+$", "")
    pid = server.shell(
      ("/usr/bin/python3 spec/support/clients/odd_redis.py %s/port >/dev/null 2>&1 3>&- & echo $!")
        :format(folder)
    )
    port = eventually(function()
      return tonumber(server.read_file(folder .. "/port") or "")
    end)
  end)
  lazy_teardown(function()
    os.execute("kill " .. pid)
    os.execute("rm -rf " .. folder)
  end)

  local function dial()
    return assert(core.redis.dial { host = "127.0.0.1", port = port, timeout = 10 })
  end

  links_test("is understood byte by byte", function()
    local link = open("redis://127.0.0.1:" .. port)
    assert.equal("PONG", link:acall("PING"))
    local text = ("\r\n$5\0"):rep(50)
    assert.equal(text, link:acall("ECHO", text))
    local reply = link:acall("NEST")
    assert.equal("\r\n\n", reply[1])
    assert.same({ -7, {} }, reply[2])
    assert.equal(rille.null, reply[3])
    assert.equal("ODD", reply[4].code)
    assert.equal(4, #reply)
  end)

  for command, why in pairs {
    JUNK = "does not speak Redis's protocol",
    DEEP = "does not speak Redis's protocol: No support for nested multi bulk replies",
    CUT = "closed by the server",
    TWICE = "something that nobody had asked for",
  } do
    links_test("is left when it says " .. command, function()
      local wire = dial()
      local reply, err = core.redis.call(wire, 10, command)
      if command == "TWICE" then
        assert.equal("once", reply)
      else
        assert.is_nil(reply)
        assert.is_true(err.may_have_run)
        assert.truthy(err.message:find(why, 1, true), err.message)
      end
      local _, lost = core.redis.lost(wire)
      assert.truthy(lost.message:find(why, 1, true), lost.message)
      local none, again = core.redis.call(wire, 10, "PING")
      assert.is_nil(none)
      assert.is_false(again.may_have_run)
    end)
  end

  links_test("has a link up again after each of them", function()
    local link = open("redis://127.0.0.1:" .. port)
    for _, command in ipairs { "JUNK", "CUT", "DEEP" } do
      local ok, err = pcall(link.acall, link, command)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.RedisUnavailable))
      assert.equal("PONG", link:acall("PING"))
    end
    assert.equal(4, link:stats().connects)
  end)

  it("is not reached where nobody listens, by no name, by no path", function()
    local none, err = core.redis.dial { host = "localhost", port = 1, timeout = 5 }
    assert.is_nil(none)
    assert.matches("cannot connect: Connection refused", err.message)
    none, err = core.redis.dial { host = "nobody.invalid", port = 1, timeout = 10 }
    assert.is_nil(none)
    assert.matches("cannot find the host: ", err.message)
    none, err = core.redis.dial { path = folder .. "/none", timeout = 5 }
    assert.is_nil(none)
    assert.matches("cannot connect: No such file", err.message)
    none, err = core.redis.dial { path = "/" .. ("x"):rep(200), timeout = 5 }
    assert.is_nil(none)
    assert.matches("too long", err.message)
  end)
end)

describe("a link by Sentinels #slow", function()
  local master, replica, sentinel

  lazy_setup(function()
    master = servers.start("repl-diskless-sync-delay 0")
    replica = servers.start("replicaof 127.0.0.1 " .. master.port)
    sentinel = servers.start_sentinel(master)
  end)
  lazy_teardown(servers.clean)

  local function url()
    return ("redis+sentinel://127.0.0.1:1,127.0.0.1:%d/main"):format(sentinel.port)
  end

  links_test("finds the master, whatever the first of them says", function()
    local link = open(url())
    assert.equal("master", link:acall("ROLE")[1])
    assert.equal("127.0.0.1:" .. master.port, link:stats().where)
  end)

  links_test("says which Sentinel said what", function()
    local err = refusal((url():gsub("/main", "/other")))
    assert.matches("127%.0%.0%.1:1 %(cannot connect: Connection refused%)", err)
    assert.matches("it knows no service 'other'", err)
  end)

  links_test("refuses what is no master", function()
    local other = servers.start_sentinel(replica)
    assert.matches("it is a slave, not the master", refusal("redis+sentinel://127.0.0.1:"
      .. other.port .. "/main"))
    other:stop()
  end)

  links_test("follows a failover", function()
    local link = open(url(), { patience = 30 })
    link:acall("SET", "before", "1")
    eventually(function()
      return replica:cli("GET", "before") == "1"
        and sentinel:cli("SENTINEL", "REPLICAS", "main"):find("127.0.0.1:" .. replica.port, 1, true)
    end, 30)
    local subscriber = open(url(), { subscriber = true, patience = 30 })
    subscriber:asubscribe("a")
    master:stop()
    eventually(function()
      return link:stats().where == "127.0.0.1:" .. replica.port and link:is_up()
    end, 60)
    assert.equal("1", link:acall("GET", "before"))
    assert.equal("OK", link:acall("SET", "after", "1"))
    eventually(function()
      return subscriber:stats().where == "127.0.0.1:" .. replica.port and subscriber:is_up()
    end, 60)
    link:acall("PUBLISH", "a", "here")
    assert.same({ "gap" }, { subscriber:anext() })
    assert.same({ "message", "a", "here" }, { subscriber:anext() })
  end)
end)
