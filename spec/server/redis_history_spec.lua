--- Two rille processes on one Redis: one history, and one answer to who is there.
local clients = require("spec.support.clients")
local json = require("cjson")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

describe("two processes on one Redis", function()
  local here, there

  lazy_setup(function()
    local store = redis.start()
    here = server.start { "run", "examples/room", "--layer", store.url, "--workers", "2" }
    there = server.start { "run", "examples/room", "--layer", store.url }
  end)

  lazy_teardown(function()
    for _, one in ipairs { here, there } do
      local status, said = one:stop(), one:stderr()
      assert.equal(0, status)
      assert.is_nil(said:find("traceback", 1, true), said)
    end
    server.clean()
    redis.clean()
  end)

  local GROUP, CLOSE = "room.both", { "close", 1000, "" }

  local function text(value)
    return { "text", json.encode(value) }
  end

  local function open(process, since, key, ...)
    local join = { type = "join", group = GROUP, since = since, key = key, name = key }
    return clients.open("ws.js", process.ws .. "/ws", { text(join), ... })
  end

  local function say(words)
    return text { type = "say", group = GROUP, text = words }
  end

  --- What of a kind was heard by a client that has ended.
  local function heard(client, kind)
    local all = {}
    for _, event in ipairs(client:all("message")) do
      local message = json.decode(event.data)
      all[#all + 1] = message.type == kind and message or nil
    end
    return all
  end

  it("have one history: what was missed at one is given by the other, in order and once", function()
    local first = open(here, nil, "ann", { "receive", 1 }, say("one"), say("two"), { "receive", 4 })
    local joined = first:wait("message")
    assert.equal("joined", json.decode(joined.data).type)
    local second = open(there, nil, "bob", { "receive", 1 }, say("three"), { "receive", 1 }, CLOSE)
    second:finish()
    local third = open(there, { last = 10 }, "eve", { "receive", 4 }, CLOSE)
    third:finish()
    local said = heard(third, "said")
    assert.equal(3, #said)
    for i = 2, 3 do
      assert.equal(said[i - 1].history.offset + 1, said[i].history.offset)
      assert.equal(said[1].history.epoch, said[i].history.epoch)
    end
    local since = { epoch = said[1].history.epoch, offset = 1 }
    local fourth = open(here, since, "dan", { "receive", 3 }, CLOSE)
    fourth:finish()
    local missed = heard(fourth, "said")
    assert.same({ said[2].text, said[3].text }, { missed[1].text, missed[2].text })
    local answer = heard(fourth, "joined")[1]
    assert.same({ true, 3 }, { answer.recovered, answer.history.offset })
    assert.truthy(answer.people.keys.ann, "who is at the same process")
    assert.truthy(answer.people.keys.bob, "who lingers at the other")
  end)
end)
