--- Groups that keep their history, over real sockets and on two workers.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

describe("a group with a history, over sockets,", function()
  local running

  setup(function()
    running = server.start { "run", "spec/support/apps/history.lua", "--workers", "2" }
  end)

  teardown(function()
    local status, said = running:stop(), running:stderr()
    server.clean()
    assert.equal(0, status)
    assert.is_nil(said:find("traceback", 1, true), said)
  end)

  local CLOSE = { "close", 1000, "" }

  --- What somebody hears who says this; what is no step is said as JSON.
  local function talk(path, steps)
    for i, step in ipairs(steps) do
      steps[i] = step[1] and step or { "text", json.encode(step) }
    end
    local client = clients.run("ws.js", running.ws .. path, steps)
    local heard = {}
    for i, message in ipairs(client:all("message")) do
      heard[i] = json.decode(message.data)
    end
    return heard
  end

  local function say(group, times, kind)
    local path = ("/say?group=%s&times=%d&text=t&type=%s"):format(group, times, kind)
    local answer = clients.fetch(running.url .. path)
    assert.equal(200, answer.status, answer.body)
    local receipt = json.decode(answer.body)
    return { group = group, offset = receipt[3], epoch = receipt[4] }
  end

  it("says in every text where that stands, live and later, to whoever is on any worker", function()
    local mark = say("kept.a", 1, "websocket.send")
    local live = { join = "kept.a", since = mark }
    local more = { say = "{\"b\":[]}", type = "websocket.send", group = "kept.a" }
    local heard = talk("/member", { live, { "receive" }, more, { "receive", 2 }, CLOSE })
    assert.is_true(heard[1].joined.recovered)
    local told = heard[2].b and heard[2] or heard[3]
    assert.same({ group = "kept.a", epoch = mark.epoch, offset = 2 }, told.history)

    say("kept.a", 30, "websocket.send")
    for _ = 1, 2 do -- most likely one on each worker
      local since = { epoch = mark.epoch, offset = 12 }
      heard = talk("/member", { { join = "kept.a", since = since }, { "receive", 21 }, CLOSE })
      for i = 1, 20 do
        assert.equal("t " .. 10 + i, heard[i].text)
        assert.same({ group = "kept.a", epoch = mark.epoch, offset = 12 + i }, heard[i].history)
      end
      assert.equal(20, heard[21].joined.missed)
    end
  end)

  it("has a class that answers websocket.send itself hear what it missed of those", function()
    local mark = say("kept.careful", 2, "websocket.send")
    local since = { epoch = mark.epoch, offset = 1 }
    local steps = { { join = "kept.careful", since = since }, { "receive", 2 }, CLOSE }
    local heard = talk("/careful", steps)
    assert.equal("t 2", json.decode(heard[1].careful).text)
    assert.same(mark, heard[1].history)
  end)

  it("is there still after a reload", function()
    local mark = say("kept.reload", 3, "chat.message")
    running:signal("HUP")
    assert.is_true(running:says("reloaded"))
    local again = say("kept.reload", 1, "chat.message")
    assert.same({ mark.epoch, 4 }, { again.epoch, again.offset })
    local since = { epoch = mark.epoch, offset = 1 }
    local steps = { { join = "kept.reload", since = since }, { "receive", 4 }, CLOSE }
    local heard = talk("/member", steps)
    assert.same({ "t 2", "t 3", "t 1" }, { heard[1].text, heard[2].text, heard[3].text })
  end)
end)
