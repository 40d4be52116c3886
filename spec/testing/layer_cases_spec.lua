--- What the suites of Channels' and channels_redis's layers promise and no other spec here does, of
--- the layer in memory.

local rille = require("rille")
local testing = require("rille.testing")

local layer = rille.channel_layer

testing.load(rille.app {}) -- whose limits are the usual ones

local function say(channel, text)
  return (layer:asend(channel, { type = "said", text = text }))
end

local function hear(channel)
  return layer:areceive(channel).text
end

local function hears_nothing(channel)
  local ok, err = pcall(rille.atimeout, 0.02, function()
    hear(channel)
  end)
  assert.is_false(ok)
  assert.is_true(rille.is_error(err, rille.Timeout), tostring(err))
end

describe("a group", function()
  it("reaches all who have joined, but not who has left again", function()
    local channels = { layer:new_channel(), layer:new_channel(), layer:new_channel() }
    for _, channel in ipairs(channels) do
      layer:agroup_add("case", channel)
    end
    layer:agroup_discard("case", channels[2])
    assert.same({ 2, 0 }, { layer:agroup_send("case", { type = "said", text = "hello" }) })
    assert.equal("hello", hear(channels[1]))
    assert.equal("hello", hear(channels[3]))
    hears_nothing(channels[2])
  end)

  it("may be left by who never joined, and joined twice for once", function()
    local channel = layer:new_channel()
    layer:agroup_discard("case", channel)
    layer:agroup_add("case", channel)
    layer:agroup_add("case", channel)
    assert.same({ 1, 0 }, { layer:agroup_send("case", { type = "said", text = "once" }) })
    assert.equal("once", hear(channel))
    hears_nothing(channel)
    layer:agroup_discard("case", channel)
    layer:agroup_discard("case", channel)
    assert.equal(0, layer:agroup_count("case"))
  end)

  it("drops what one of its members has no room for, and raises nothing", function()
    local full, other = layer:new_channel(), layer:new_channel()
    layer:agroup_add("case", full)
    layer:agroup_add("case", other)
    for i = 1, 100 do
      say(full, i)
    end
    assert.same({ 1, 1 }, { layer:agroup_send("case", { type = "said", text = "more" }) })
    assert.equal("more", hear(other))
    for i = 1, 100 do
      assert.equal(i, hear(full))
    end
    hears_nothing(full)
  end)
end)

describe("a channel", function()
  it("drops what has waited for too long, each message by its own age", function()
    local channel = layer:new_channel()
    say(channel, "old")
    testing.clock:advance(40)
    say(channel, "young")
    testing.clock:advance(40)
    assert.equal("young", hear(channel))
    say(channel, "old, too")
    say(channel, "and this")
    testing.clock:advance(100)
    hears_nothing(channel)
    say(channel, "fresh")
    assert.equal("fresh", hear(channel))
  end)

  it("has room again for what it dropped unread", function()
    local channel = layer:new_channel()
    for i = 1, 100 do
      say(channel, i)
    end
    assert.equal(0, say(channel, "no room"))
    testing.clock:advance(100)
    assert.equal(1, say(channel, "room"))
    assert.equal("room", hear(channel))
  end)

  it("loses no message to a receive that is given up, whenever that is", function()
    local channel, heard = layer:new_channel(), {}
    local function receive()
      heard[#heard + 1] = hear(channel)
    end
    for i = 1, 100 do
      local receiving = rille.spawn(receive)
      for _ = 1, i % 4 do
        rille.asleep(0)
      end
      say(channel, i)
      for _ = 1, i % 3 do
        rille.asleep(0)
      end
      receiving:cancel()
      pcall(receiving.ajoin, receiving)
    end
    while #heard < 100 do
      rille.atimeout(5, receive)
    end
    for i = 1, 100 do
      assert.equal(i, heard[i])
    end
    hears_nothing(channel)
  end)
end)
