--- The Redis layers and Django: the real binary, a real Redis, and processes with the real
--- channels_redis.

local channels_peer = require("spec.support.channels_peer")
local rooms = require("spec.support.rooms")
local server = require("spec.support.server")
local servers = require("spec.support.redis")

if not channels_peer.found then
  pending("needs python3-channels-redis")
  return
end

local act, guest, say = rooms.act, rooms.guest, rooms.message

-- channels_redis 4.0 encrypts in its core layer only.
local SETTINGS = {
  { "core", "" },
  { "core", "new,old" },
  { "pubsub", "" },
}

for _, pair in ipairs(SETTINGS) do
  local mode, keys = unpack(pair)
  local secret = keys == "" and "" or ", encrypted"
  describe(("%s%s: rille and Django on one Redis"):format(mode, secret), function()
    local redis, running, django

    lazy_setup(function()
      redis = servers.start()
      local config = { hosts = { redis.url } }
      if keys ~= "" then
        config.symmetric_encryption_keys = { "old", "new" } -- each writes with a key of its own
      end
      django = channels_peer.start(mode, config)
      local url = ("%s?mode=%s"):format(redis.url, mode)
      if keys ~= "" then
        url = url .. "&symmetric_encryption_keys=" .. keys
      end
      running = rooms.start(url, { "--workers", "2" })
    end)

    lazy_teardown(function()
      channels_peer.clean()
      assert.equal(0, running:stop())
      rooms.clean()
      servers.clean()
      server.clean()
    end)

    it("hear each other's groups, once and in order", function()
      local guests = {}
      for i = 1, 3 do
        guests[i] = guest(running, "both")
      end
      local theirs = django:must { "new_channel" }
      django:must { "listen", channel = theirs }
      django:must { "group_add", group = "both", channel = theirs }
      local deep = { list = { 1, 2.5, "ü" }, yes = true }
      local nested = { type = "chat.message", n = 1, deep = deep }
      local function all_hear(message)
        for _, one in ipairs(guests) do
          assert.same(message, one:hear())
        end
      end
      django:must { "group_send", group = "both", message = nested }
      all_hear(nested) -- of two senders who is first is nobody's promise
      act(running, "group_send", { group = "both", message = say(2) })
      local bytes = { type = "chat.message", bytes = channels_peer.bytes("abc\255") }
      act(running, "group_send", { group = "both", hex = "616263ff" })
      all_hear(say(2))
      for _, one in ipairs(guests) do
        assert.equal("616263ff", one:hear().hex)
      end
      django:must { "group_send", group = "both", message = say(4) }
      all_hear(say(4))
      local heard = django:must { "heard", channel = theirs, count = 4 }
      assert.same({ nested, say(2), bytes, say(4) }, heard)
    end)

    it("reach each other's channels", function()
      local one = guest(running, "quiet")
      django:must { "send", channel = one.channel, message = say(1) }
      assert.same(say(1), one:hear())
      local theirs = django:must { "new_channel" }
      local answer = django:tell { "receive", channel = theirs }
      act(running, "send", { channel = theirs, message = say(2) })
      assert.same(say(2), django:answer(answer))
    end)

    it("leave: who has left a group hears no more of it", function()
      local one = guest(running, "left", { "join other", "leave left" })
      assert.equal("done", one:hear())
      assert.equal("done", one:hear())
      assert.is_not_nil(server.eventually(5, function()
        return redis:cli("ZCARD", "asgi:group:left") == "0"
          and redis:cli("PUBSUB", "NUMSUB", "asgi__group__left"):find("\n0$") ~= nil
      end))
      django:must { "group_send", group = "left", message = say(1) }
      django:must { "group_send", group = "other", message = say(2) }
      assert.same(say(2), one:hear())
    end)
  end)
end
