--- What the Redis layers compute without a server: names, payloads and settings, held to what
--- channels_redis computes.

local Names = require("rille.layer.redis.names")
local Payload = require("rille.layer.redis.payload")
local Plans = require("rille.layer.redis.plans")
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

local OWN = "specific." .. ("0"):rep(32) .. "!"
local NEXT = "specific." .. ("1"):rep(32) .. "!" -- another worker of this process
local OTHER = "specific." .. ("2"):rep(32) .. "!" -- of another one

describe("a name in the core layer", function()
  it("shares its key with all others of its process", function()
    assert.equal(OTHER, Names.shared(OTHER .. "12"))
    assert.equal("thumbnails", Names.shared("thumbnails"))
  end)

  it("stands for all of a worker's members, and tells of which group", function()
    local names = Names.new(OWN)
    assert.equal(OWN .. "g.room", names:member("room"))
    assert.equal("room", names:group_of(OWN .. "g.room"))
    assert.is_true(Names.is_for_all(OTHER .. "g.room"))
    assert.is_false(Names.is_for_all(OTHER .. "12"))
    assert.is_nil(names:group_of(OTHER .. "12"))
  end)

  it("is never too long for a channel, and tells its group while there is somebody", function()
    local names = Names.new(OWN)
    local group = ("g"):rep(99)
    local member = names:member(group)
    assert.is_true(#member <= 99)
    assert.is_true(Names.is_for_all(member))
    assert.equal(group, names:group_of(member))
    assert.not_equal(member, names:member(("g"):rep(98) .. "h"))
    names:forget(group)
    assert.is_nil(names:group_of(member))
  end)
end)

describe("a plan of the core layer", function()
  local function plans(servers)
    return Plans.new {
      own = OWN,
      ours = { [OWN] = true, [NEXT] = true },
      key = function(name)
        return "asgi" .. name
      end,
      group_key = function(group)
        return "asgi:group:" .. group
      end,
      place = function(name)
        return ring.place(name, servers or 1)
      end,
      capacity = function(channel)
        return #channel
      end,
    }
  end

  --- As Redis tells of them: each with its score.
  local function scored(names)
    local members = {}
    for i, name in ipairs(names) do
      members[2 * i - 1], members[2 * i] = name, ("%d.5"):format(100 + i)
    end
    return members
  end

  it("has one payload for those who share a key", function()
    local named = { OTHER .. "g.room", OTHER .. "5", "specific.django!a", "specific.django!b" }
    local plan = plans():make("names", scored(named), "room")
    assert.equal("names", plan.known_by)
    assert.equal(101.5, plan.oldest)
    assert.same({ "asgi" .. OTHER, "asgispecific.django!" }, plan.first.keys)
    assert.same({ { named[1], named[2] }, { named[3], named[4] } }, plan.first.members)
    assert.same({ #named[1], #named[3] }, plan.first.capacities)
    assert.same({ "asgi:group:room", unpack(plan.first.keys) }, plan.asked)
    assert.same({}, plan.rest)
    assert.same({}, plan.own)
  end)

  it("leaves out who has it from memory", function()
    local members = scored { OWN .. "g.room", NEXT .. "g.room", OWN .. "7" }
    local plan = plans():make("d", members, "room")
    assert.same({}, plan.first.keys)
    assert.same({ OWN .. "7" }, plan.own)
  end)

  it("names those of another worker behind a mark of the group", function()
    local members = scored { NEXT .. "g.room", NEXT .. "3", NEXT .. "4" }
    local plan = plans():make("d", members, "room")
    assert.same({ { NEXT .. "x.room", NEXT .. "3", NEXT .. "4" } }, plan.first.members)
    assert.equal("room", Names.marked(plan.first.members[1][1]))
  end)

  it("is plain with few workers alone, whose every member has it", function()
    local all = plans()
    local function is_plain(...)
      return all:make("d", scored { ... }, "room").plain
    end
    assert.is_true(is_plain(OWN .. "g.room", OTHER .. "g.room"))
    assert.is_false(is_plain(OWN .. "g.room"))
    assert.is_false(is_plain(OTHER .. "g.room", OTHER .. "5"))
    assert.is_false(is_plain(OTHER .. "g.room", "specific.django!a"))
    local many = {}
    for i = 1, 33 do
      many[i] = ("specific.%032x!g.room"):format(i)
    end
    assert.is_false(is_plain(unpack(many)))
    assert.is_true(is_plain(unpack(many, 2)))
  end)

  it("goes on behind one that a message went by already", function()
    local all = plans()
    local before = all:make("b", scored { OWN .. "g.room", OTHER .. "g.room" }, "room")
    local named = { OWN .. "g.room", OTHER .. "g.room", OTHER .. "5", "specific.django!a" }
    local plan = all:make("a", scored(named), "room", before)
    assert.same({ "asgi" .. OTHER, "asgispecific.django!" }, plan.first.keys)
    assert.same({ { OTHER .. "x.room", OTHER .. "5" }, { named[4] } }, plan.first.members)
  end)

  it("reaches everybody once, on every server, with 500 keys at a time", function()
    local named, missing = {}, {}
    for i = 1, 2000 do
      named[i] = ("specific.%d!x"):format(i)
      missing["asgi" .. Names.shared(named[i])] = ring.place(Names.shared(named[i]), 3)
    end
    local plan = plans(3):make("d", scored(named), "room")
    assert.equal(ring.place("room", 3), plan.first.place)
    for _, batch in ipairs { plan.first, unpack(plan.rest) } do
      assert.is_true(#batch.keys <= 500)
      for _, key in ipairs(batch.keys) do
        assert.equal(missing[key], batch.place)
        missing[key] = nil
      end
    end
    assert.is_nil(next(missing))
  end)

  it("is forgotten when it was not asked for while thousands of others were", function()
    local all = plans()
    local kept = all:remember("kept", all:make("k", {}, "kept"))
    all:remember("left", all:make("l", {}, "left"))
    for i = 1, 8192 do
      all:remember(tostring(i), kept)
      assert.equal("k", all:known("kept").known_by)
    end
    assert.equal("", all:known("left").known_by)
  end)
end)
