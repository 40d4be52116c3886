--- What the URL of a Redis may say.

local errors = require("rille.errors")
local parse = require("rille.redis.url").parse

describe("the URL of a Redis", function()
  it("has defaults for what it does not say", function()
    assert.same({
      display = "redis://localhost",
      addresses = { { host = "localhost", port = 6379 } },
      db = 0,
      timeout = 5,
      connect_timeout = 3,
      keepalive = 15,
    }, (parse("redis://localhost")))
    assert.same({ host = "localhost", port = 6379 }, parse("redis://").addresses[1])
  end)

  it("names a host, a port, a database, a user and a password", function()
    local url = parse("redis://ann:p%40ss%3Aw%2Frd@cache.example:6380/3?timeout=0.5&keepalive=60")
    assert.same({ { host = "cache.example", port = 6380 } }, url.addresses)
    assert.equal(3, url.db)
    assert.equal("ann", url.username)
    assert.equal("p@ss:w/rd", url.password)
    assert.equal(0.5, url.timeout)
    assert.equal(60, url.keepalive)
    assert.equal("redis://cache.example:6380/3", url.display)
    assert.equal("only", parse("redis://:only@h").password)
    assert.is_nil(parse("redis://:only@h").username)
    assert.equal("a@b", parse("redis://:a@b@h").password)
    assert.equal("p", parse("redis://h?username=u&password=p&db=2").password)
  end)

  it("names an address of IPv6 in brackets", function()
    assert.same({ { host = "::1", port = 6379 } }, parse("redis://[::1]").addresses)
    assert.same({ { host = "fe80::1", port = 7 } }, parse("redis://[fe80::1]:7/").addresses)
  end)

  it("names a Unix socket", function()
    assert.same({ { path = "/run/redis.sock" } }, parse("unix:///run/redis.sock").addresses)
    assert.same({ { path = "/run/a b" } }, parse("redis+unix:/run/a%20b").addresses)
    assert.same({ { path = "@name" } }, parse("unix:@name").addresses)
    local url = parse("unix://:secret@/run/redis.sock?db=2")
    assert.equal("secret", url.password)
    assert.equal(2, url.db)
    assert.equal("unix:/run/redis.sock", url.display)
  end)

  it("asks for TLS, and says how far", function()
    assert.same({ verify = true }, parse("rediss://h").tls)
    assert.same(
      { verify = false, ca = "/ca.pem", cert = "/c.pem", key = "/k.pem", name = "n" },
      parse("rediss://h?verify=none&ca=/ca.pem&cert=/c.pem&key=/k.pem&servername=n").tls
    )
    assert.is_nil(parse("redis://h").tls)
  end)

  it("names Sentinels and a service", function()
    local url = parse("redis+sentinel://u:p@one,two:5,[::1]/main/4?sentinel_password=s")
    assert.same({
      { host = "one", port = 26379 },
      { host = "two", port = 5 },
      { host = "::1", port = 26379 },
    }, url.addresses)
    assert.equal("main", url.service)
    assert.equal(4, url.db)
    assert.equal("p", url.password)
    assert.equal("s", url.sentinel_password)
    assert.is_nil(url.tls)
    assert.truthy(parse("rediss+sentinel://one/main").tls)
  end)

  it("has parameters that are the caller's", function()
    local words = "redis://h?mode=pubsub&prefix=my+app%21&timeout=1"
    local url, others = parse(words, { "mode", "prefix" })
    assert.same({ mode = "pubsub", prefix = "my app!" }, others)
    assert.equal(1, url.timeout)
  end)

  for url, why in pairs {
    ["http://h"] = "not with http:",
    ["localhost:6379"] = "it begins with redis:",
    ["redis:h"] = "it begins with redis://",
    ["redis://h:0"] = "a port is a number from 1 to 65535",
    ["redis://h:x"] = "a port is a number",
    ["redis://h:65536"] = "a port is a number",
    ["redis://::1"] = "brackets",
    ["redis://h/x"] = "the database is a number",
    ["redis://h/1/2"] = "one part too many",
    ["redis://h?db=-1"] = "the database is a number",
    ["redis://h/1?db=2"] = "db is given twice",
    ["redis://h?timeout=1&timeout=2"] = "timeout is given twice",
    ["redis://h?timeout=0"] = "timeout: seconds above 0",
    ["redis://h?timeout=nan"] = "timeout: seconds above 0",
    ["redis://h?timeout=x"] = "timeout: seconds above 0",
    ["redis://h?speed=2"] = "unknown parameter 'speed'; there are ca, cert, connect_timeout",
    ["redis://h?ca=x"] = "rediss: alone has a parameter ca",
    ["rediss://h?verify=some"] = "verify: 'full' or 'none' expected, got 'some'",
    ["rediss://h?key=x"] = "key is given without cert",
    ["redis://h?sentinel_password=x"] = "redis%+sentinel: alone has",
    ["redis+sentinel://h"] = "the name of the service is missing",
    ["redis+sentinel://a,,b/main"] = "should be a host is none",
    ["redis+sentinel://a/main?sentinel_username=x"] = "without sentinel_password",
    ["redis://user@h"] = "a user without a password",
    ["redis://:%zz@h"] = "not followed by two hexadecimal digits",
    ["redis://:%0@h"] = "not followed by two hexadecimal digits",
    ["redis://:%00@h"] = "has a NUL in it",
    ["redis://h/#1"] = "has a # in it",
    ["redis://h /1"] = "a space or a control character",
    ["unix://host/path"] = "is absolute",
    ["unix:run/redis"] = "is absolute",
    ["unix:///" .. ("x"):rep(108)] = "at most 107 bytes",
  } do
    it("may not be " .. url:sub(1, 50), function()
      local ok, err = pcall(parse, url)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.ConfigurationError))
      assert.matches(why, err.message)
      assert.is_nil(err.message:find("\n"))
    end)
  end

  it("never has its password in what it is told wrong", function()
    for _, url in ipairs {
      "redis://ann:tell-tale",
      "redis://:tell/tale@h",
      "redis://:tell?tale@h",
      "redis://:tell?x=tale@h",
      "redis+sentinel://:tell,tale@h",
      "redis://:tell-tale@h:x",
      "redis://:tell-tale@h/x",
      "redis://:tell-tale@h?speed=1",
      "redis://:tell-tale%zz@h",
      "redis://ann:tell-tale@[h",
      "http://ann:tell-tale@h",
      "redis:/ann:tell-tale@h",
      "redis://h?password=tell-tale&db=x",
      "redis://h?password=tell-tale&password=tell-tale",
      "redis://h?password=%zztell-tale",
      "redis+sentinel://:tell-tale@h",
      "redis+sentinel://h/main?sentinel_password=tell-tale&ca=x",
    } do
      local ok, err = pcall(parse, url)
      assert.is_false(ok, url)
      assert.is_nil(err.message:find("tale", 1, true), err.message)
    end
    assert.equal("redis://h/1", parse("redis://ann:tell-tale@h/1").display)
    assert.equal("redis://h", parse("redis://h?password=tell-tale").display)
  end)
end)
