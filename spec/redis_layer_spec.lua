--- What the Redis layers compute without a server: names, payloads and settings, held to what
--- channels_redis computes.

local Payload = require("rille.layer.redis.payload")
local outside = require("rille.layer.outside")
local ring = require("rille.layer.redis.ring")
local settings = require("rille.layer.redis.settings")

describe("the ring of servers", function()
  -- From channels_redis's own function: the place among 2, 3 and 10, counted from 0.
  local PLACES = {
    ["key_one"] = { 1, 2, 6 },
    ["key_two"] = { 0, 1, 4 },
    ["specific.0123456789abcdef0123456789abcdef!"] = { 0, 1, 3 },
    ["specific.0123456789abcdef0123456789abcdef!00000000000000000000000000000001"] = { 1, 1, 5 },
  }
  for name, places in pairs(PLACES) do
    it("has " .. name .. " where channels_redis has it", function()
      local found = {}
      for i, servers in ipairs { 2, 3, 10 } do
        found[i] = ring.place(name, servers) - 1
      end
      assert.same(places, found)
    end)
  end

  it("is no question with one server", function()
    assert.equal(1, ring.place("whatever", 1))
  end)
end)

describe("a payload", function()
  local function hex(bytes)
    return (bytes:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end))
  end

  it("is MessagePack behind twelve bytes that no other has", function()
    local payload = Payload.new { unique = "00112233445566ff" }
    local one = payload:encode({ type = "x" }, "a!b")
    local two = payload:encode({ type = "x" }, "a!b")
    assert.equal("00112233445566ff00000001", hex(one:sub(1, 12)))
    assert.equal("00112233445566ff00000002", hex(two:sub(1, 12)))
    assert.equal(one:sub(13), two:sub(13))
    local message, address = payload:decode(one)
    assert.same({ type = "x" }, message)
    assert.equal("a!b", address)
  end)

  it("has nothing in front where subscribers read it", function()
    assert.equal("81a474797065a178", hex(Payload.new({}):encode { type = "x" }))
  end)

  it("keeps bytes apart from text", function()
    local payload = Payload.new {}
    local message = { type = "websocket.send", bytes = "abc" }
    local written = hex(payload:encode(message))
    assert.truthy(written:find("a56279746573c403616263", 1, true), written)
    assert.same({ type = "websocket.send", bytes = "abc" }, message)
    assert.same(message, (payload:decode(payload:encode(message))))
  end)

  it("leaves the sender's message as it is", function()
    local message = { type = "x" }
    Payload.new({ unique = "0011223344556677" }):encode(message, { "a!b" })
    assert.same({ type = "x" }, message)
  end)

  it("is read with any of the keys, and with no other", function()
    local old = Payload.new { symmetric_encryption_keys = { "old" } }
    local both = Payload.new { symmetric_encryption_keys = { "new", "old" } }
    local new = Payload.new { symmetric_encryption_keys = { "new" } }
    local message = { type = "x", n = 1 }
    assert.same(message, (both:decode(old:encode(message))))
    assert.same(message, (new:decode(both:encode(message))))
    assert.is_nil((new:decode(old:encode(message))))
    assert.is_nil((new:decode(Payload.new({}):encode(message))))
  end)

  for name, bytes in pairs {
    ["cut off"] = "\130\164type",
    ["no table"] = "\1",
    ["without a type"] = "\129\161a\1",
    ["empty"] = "",
  } do
    it(name .. " is none, and says why", function()
      local message, why = Payload.new({}):decode(bytes)
      assert.is_nil(message)
      assert.truthy(why)
    end)
  end
end)

describe("settings of a Redis layer", function()
  local function read(url)
    return settings.read(outside.parse(url))
  end

  it("ride on the URL", function()
    local one = read("redis://127.0.0.1:7000/2?mode=pubsub&prefix=site&capacity=7")
    assert.equal(1, #one.servers)
    assert.same({ "pubsub", "site", 7, 60 }, { one.mode, one.prefix, one.capacity, one.expiry })
  end)

  it("have lists with commas between", function()
    local one = read("redis://one,redis://two:7000?symmetric_encryption_keys=a%20b,c")
    assert.equal(2, #one.servers)
    assert.same({ "a b", "c" }, one.symmetric_encryption_keys)
    assert.equal("core", one.mode)
    assert.equal(1, #read("redis+sentinel://one,two/master").servers)
  end)

  it("leave what is the client's to the client", function()
    assert.equal(7, read("redis://one,redis://two?timeout=7&prefix=x").servers[2].timeout)
  end)

  for told, given in pairs {
    ["mode is core or pubsub, not 'queue'"] = "redis://h?mode=queue",
    ["outage is fail or wait, not 'never'"] = "redis://h?outage=never",
    ["capacity is a whole number from 1 on, not 'many'"] = "redis://h?capacity=many",
    ["group_expiry is a whole number from 2 on"] = "redis://h?group_expiry=1.5",
    ["unknown parameter 'hots'"] = "redis://h?hots=1",
    ["symmetric_encryption_keys is a list with commas"] = "redis://h?symmetric_encryption_keys=",
    ["channel_capacity is GLOB:NUMBER,…, not '5'"] = "redis://h?channel_capacity=5",
  } do
    it("are refused in a sentence: " .. told, function()
      local ok, err = pcall(read, given)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(told, 1, true), tostring(err))
    end)
  end

  it("find a channel's capacity by the first glob that matches", function()
    local globs = "http.*:5,http.request:1,http.response.?!*:6,x[!a-c]y-:7"
    local capacity = settings.capacities(read("redis://h?channel_capacity=" .. globs))
    local found = {}
    for i, channel in ipairs { "http.request", "xhttp.request", "xdy-", "xby-", "xdyy" } do
      found[i] = capacity(channel)
    end
    assert.same({ 5, 100, 7, 100, 100 }, found)
  end)
end)
