--- The Redis layers when something goes: Redis, a process, both.

local channels_peer = require("spec.support.channels_peer")
local clients = require("spec.support.clients")
local json = require("cjson")
local rooms = require("spec.support.rooms")
local server = require("spec.support.server")
local servers = require("spec.support.redis")
local time = require("rille.models.time")

local act, guest, message = rooms.act, rooms.guest, rooms.message

for _, mode in ipairs { "core", "pubsub" } do
  describe(mode .. ": a Redis layer", function()
    local redis

    before_each(function()
      redis = servers.start()
    end)

    after_each(function()
      channels_peer.clean()
      server.clean()
      rooms.clean()
      servers.clean()
    end)

    local function start(settings, more, env)
      return rooms.start(("%s?mode=%s%s"):format(redis.url, mode, settings or ""), more, env)
    end

    it("tells members when it is back, and they hear what is sent then #slow", function()
      local one, other = start("", { "--workers", "2" }), start()
      local guests = { guest(one, "room"), guest(one, "room"), guest(other, "room") }
      redis:restart()
      for _, each in ipairs(guests) do
        assert.equal("reconnected", each:hear())
      end
      assert.is_true(one:says("back after"))
      act(other, "group_send", { group = "room", message = message(1) })
      for _, each in ipairs(guests) do
        assert.same(message(1), each:hear())
      end
    end)

    it("refuses what cannot be sent, or waits, as outage says #slow", function()
      local admin, token = server.scratch() .. "/admin", "that-may-publish-for-once"
      local failing = start("", { "--admin", "unix:" .. admin }, { RILLE_PUBLISH_TOKEN = token })
      local waiting = start("&outage=wait&outage_timeout=15")
      local heard = guest(waiting, "room")
      redis:stop()
      assert.is_true(failing:says("the connection is lost"))
      assert.is_true(waiting:says("the connection is lost"))
      local answer = act(failing, "group_send", { group = "room", message = message(1) })
      assert.truthy(answer.error:find("cannot be reached", 1, true), answer.error)
      local order = json.encode { group = "room", message = message(1) }
      local post = "curl -s --max-time 10 -w '\n%%{http_code}' -H 'authorization: Bearer %s' "
        .. "--data-binary %s --unix-socket %s http://x/publish"
      local said = server.shell(post:format(token, server.quote(order), admin))
      assert.truthy(said:find("cannot be reached", 1, true), said)
      assert.equal("503", said:match("%d+$"))
      local asked = "/group_send?group=room&text=late"
      local later = clients.open("fetch.py", waiting.url .. asked, { method = "GET" })
      redis:restart()
      assert.equal(200, later:next().status)
      assert.equal("late", (function()
        local event = heard:hear()
        return event == "reconnected" and heard:hear().text or event.text
      end)())
    end)

    it("leaves nothing in Redis after a clean stop", function()
      local one = start("", { "--workers", "2" })
      guest(one, "room")
      guest(one, ("long"):rep(24))
      act(one, "group_send", { group = "room", message = message(1) })
      assert.equal(0, one:stop())
      assert.same({}, redis:keys())
      assert.equal("", redis:cli("PUBSUB", "CHANNELS"))
    end)
  end)
end

describe("pubsub: a Redis layer", function()
  after_each(function()
    server.clean()
    rooms.clean()
    servers.clean()
  end)

  it("counts what was on its way when Redis died, and refuses what comes then #slow", function()
    local redis = servers.start()
    local admin = server.scratch() .. "/admin"
    local url = redis.url .. "?mode=pubsub"
    local sender, other = rooms.start(url, { "--admin", "unix:" .. admin }), rooms.start(url)
    local heard = guest(other, "room")
    local function say(n)
      act(sender, "group_send", { group = "room", message = message(n) })
      assert.same(message(n), heard:hear())
    end
    local function figures()
      local get = "curl -s --max-time 10 --unix-socket %s http://x/metrics"
      local page = server.shell(get:format(admin))
      local of = {}
      for outcome, n in page:gmatch('backend_messages_total{worker="0",outcome="(%l+)"} (%d+)') do
        of[outcome] = tonumber(n)
      end
      return of
    end
    say(1) -- is waited for: the first of a connection
    say(2) -- and is not
    redis:signal("STOP")
    local flood = clients.open("fetch.py", sender.url .. "/flood?group=room", { method = "GET" })
    assert.is_true(server.eventually(20, function()
      return figures().sent > 2
    end))
    redis:stop()
    local sent = json.decode(flood:next().body)[1]
    assert.is_true(sent > 0)
    assert.is_true(sender:says("a message that was sent may be lost"))
    local of = {}
    server.eventually(20, function()
      of = figures()
      return of.lost == sent
    end)
    assert.same({ 2 + sent, sent, 1, 0 }, { of.sent, of.lost, of.refused, of.unheard })
    redis:restart()
    assert.is_true(sender:says("back after"))
    assert.equal("reconnected", heard:hear())
    say(3)
    assert.equal(0, sender:stop())
  end)
end)

describe("core: a Redis layer", function()
  after_each(function()
    channels_peer.clean()
    server.clean()
    rooms.clean()
    servers.clean()
  end)

  it("keeps no more than capacity for who does not read, and says so to who sends", function()
    local redis = servers.start()
    local url = redis.url .. "?capacity=5"
    local slow, sender = rooms.start(url), rooms.start(url)
    local one = guest(slow, "slow")
    slow:signal("STOP")
    for n = 1, 8 do
      act(sender, "send", { channel = one.channel, message = message(n) })
    end
    assert.is_true(sender:says(("channel %s is full"):format(one.channel)), sender:stderr())
    if channels_peer.found then
      local django = channels_peer.start("core", { hosts = { redis.url }, capacity = 5 })
      local _, refusal = django:ask { "send", channel = one.channel, message = message(9) }
      assert.equal("ChannelFull", refusal)
    end
    slow:signal("CONT")
    for n = 1, 6 do -- it was waiting for the first, and five had room
      assert.same(message(n), one:hear())
    end
    act(sender, "send", { channel = one.channel, message = message(10) })
    assert.same(message(10), one:hear())
  end)

  it("pushes without asking first, and mends what was not so", function()
    local redis = servers.start()
    local sender = rooms.start(redis.url .. "?capacity=9")
    local function worker(digit)
      local name = "specific." .. digit:rep(32) .. "!"
      return { member = name .. "g.room", key = "asgi" .. name }
    end
    local function has(one)
      return tonumber(redis:cli("ZCARD", one.key))
    end
    local function scripts()
      return tonumber(redis:cli("INFO", "commandstats"):match("evalsha:calls=(%d+)") or 0)
    end
    local function send()
      act(sender, "group_send", { group = "room", message = message(1) })
    end
    local first, second = worker("1"), worker("2")
    redis:cli("ZADD", "asgi:group:room", ("%.3f"):format(time.now()), first.member)
    send()
    local asked = scripts()
    for n = 2, 4 do
      send()
      assert.equal(n, has(first))
    end
    assert.equal(asked, scripts())
    assert.is_true(tonumber(redis:cli("TTL", first.key)) > 0)

    redis:cli("ZADD", "asgi:group:room", ("%.3f"):format(time.now()), second.member)
    send()
    assert.same({ 5, 1 }, { has(first), has(second) })
    redis:cli("ZREM", "asgi:group:room", first.member)
    send()
    assert.same({ 5, 2 }, { has(first), has(second) })
    redis:cli("ZREM", "asgi:group:room", second.member)
    send()
    send()
    assert.same({ 5, 2 }, { has(first), has(second) })

    redis:cli("ZADD", "asgi:group:room", ("%.3f"):format(time.now()), second.member)
    for _ = 3, 12 do
      send()
    end
    assert.equal(9, has(second))
    assert.is_true(sender:says("group room has processes that are full"), sender:stderr())
    assert.equal(0, sender:stop())
  end)

  it("passes over whose membership has lapsed, until it is renewed #slow", function()
    local redis = servers.start()
    local sender = rooms.start(redis.url .. "?group_expiry=30") -- and renews its own every ten
    local key, members = "asgispecific.django!", "asgi:group:room"
    local function joins(seconds_ago)
      local score = ("%.3f"):format(time.now() - seconds_ago)
      redis:cli("ZADD", members, score, "specific.django!one")
    end
    local function is_told()
      redis:cli("DEL", key)
      act(sender, "group_send", { group = "room", message = message(1) })
      return redis:cli("EXISTS", key) == "1"
    end
    joins(31)
    assert.is_false(is_told())
    assert.equal("", redis:cli("ZSCORE", members, "specific.django!one"))
    joins(26) -- and has four seconds yet
    assert.is_true(is_told())
    assert.is_truthy(server.eventually(20, function()
      return not is_told()
    end))
    joins(0)
    assert.is_true(is_told())
  end)

  it("drops what is no message from a channel, and goes on with the next", function()
    local redis = servers.start()
    local app = "spec/support/apps/channels.lua"
    local jobs = server.start { "run", app, "--layer", redis.url }
    for n, bad in ipairs { "nonsense", "\x81\xa4type\xaewebsocket.send" } do
      redis:cli("ZADD", "asgijobs", n, ("p"):rep(12) .. bad)
    end
    local note = server.quote(json.encode { { type = "note", n = 3 } })
    server.shell(("curl -sS -d %s %s/send/jobs"):format(note, jobs.url))
    assert.is_true(jobs:says("note 3 on"), jobs:stderr())
    assert.equal(1, server.count(jobs:stderr(), "a message cannot be read"))
    assert.equal("0", redis:cli("ZCARD", "asgijobs"))
    assert.equal(0, jobs:stop())
  end)

  it("renews what it has in Redis, which lapses when it cannot any more #slow", function()
    local redis = servers.start()
    local one = rooms.start(redis.url .. "?group_expiry=3&expiry=1")
    local heard = guest(one, "room")
    server.sleep(3.5)
    assert.equal("1", redis:cli("ZCARD", "asgi:group:room"))
    act(one, "group_send", { group = "room", message = message(1) })
    assert.same(message(1), heard:hear())
    one:signal("KILL")
    assert.is_not_nil(server.eventually(8, function()
      return #redis:keys() == 0
    end))
  end)
end)
