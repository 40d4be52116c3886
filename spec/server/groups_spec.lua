local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

describe("a group", function()
  local running

  before_each(function()
    running = server.start { "run", "spec/support/apps/groups.lua" }
  end)

  after_each(function()
    assert.equal(0, running:stop())
    server.clean()
  end)

  local function get(path)
    local answer = clients.fetch(running.url .. path)
    assert.equal(200, answer.status, answer.body)
    return json.decode(answer.body)
  end

  --- A member that has joined, and goes on once it was told `last`.
  local function member(name, last)
    local steps = { { "text", "hi" }, { "until", last }, { "close", 1000, "" } }
    local client = clients.open("ws.js", running.ws .. "/" .. name, steps)
    client:wait("message")
    return client
  end

  local function texts(client)
    client:finish()
    local said = {}
    for _, event in ipairs(client:all("message")) do
      said[#said + 1] = event.data
    end
    return said
  end

  it("gives a message to every member, each a copy of its own", function()
    local first, second = member("member", "* hello 1"), member("member", "* hello 1")
    assert.same({ delivered = 2, dropped = 0 }, get("/send?type=chat.message&text=hello"))
    assert.same({ "ok", "* hello 1" }, texts(first))
    assert.same({ "ok", "* hello 1" }, texts(second))
  end)

  it("fans websocket.send out by itself, except to a class that answers it", function()
    local plain, careful = member("member", "raw"), member("careful", "careful: raw")
    assert.same({ delivered = 2, dropped = 0 }, get("/send?type=websocket.send&text=raw"))
    assert.same({ "ok", "raw" }, texts(plain))
    assert.same({ "ok", "careful: raw" }, texts(careful))
  end)

  it("is left by hand, and by whoever disconnects", function()
    local steps = { { "text", "leave" }, { "receive" }, { "close", 1000, "" } }
    local client = clients.run("ws.js", running.ws .. "/member", steps)
    assert.equal(1000, client:get("close").code)
    assert.same({ delivered = 0, dropped = 0 }, get("/send?type=chat.message&text=x"))
    clients.run("ws.js", running.ws .. "/member", { { "text", "hi" }, { "receive" }, { "reset" } })
    server.sleep(0.1)
    assert.same({ count = 0 }, get("/count"))
  end)

  it("reaches one consumer by its channel name, and nobody by a stale one", function()
    local steps = { { "text", "name" }, { "until", "* just you 1" }, { "close", 1000, "" } }
    local client = clients.open("ws.js", running.ws .. "/member", steps)
    local name = client:wait("message").data
    local path = "/send?type=chat.message&text=just+you&channel=" .. name
    assert.same({ 1, 0 }, get(path))
    client:finish()
    server.sleep(0.1)
    assert.same({ 0, 0 }, get(path))
  end)

  for _, kind in ipairs {
    "chat.unknown",
    "_secret",
    ".secret",
    "asend",
    "close",
    "receive",
    "disconnect",
  } do
    it("cannot make a member run what its class does not offer: " .. kind, function()
      local client = member("member", "never")
      get("/send?type=" .. kind)
      client:finish()
      assert.equal(1011, client:get("close").code)
      assert.equal(1, #client:all("message"))
      running:says("no handler for message type", 2)
    end)
  end

  it("drops what a slow member has no room for, says how many, and hurts nobody else", function()
    local steps = { { "sleep", 2500 }, { "close", 1000, "" } }
    local slow = clients.open("ws.js", running.ws .. "/slow", steps)
    slow:wait("open")
    server.sleep(0.1)
    local receipt = get("/send?type=chat.message&text=x&group=slow&times=10")
    assert.same({ delivered = 5, dropped = 5 }, receipt)
    assert.same({ delivered = 0, dropped = 0 }, get("/send?type=chat.message&text=x"))
    slow:finish()
  end)

  for outcome, heard in pairs {
    commit = { "ok", "* now 1", "* commit 1" },
    rollback = { "ok", "* now 1" },
  } do
    it("hears of a transaction only what survives its " .. outcome, function()
      local steps = { { "text", "hi" } }
      for _ = 1, #heard do
        steps[#steps + 1] = { "receive" }
      end
      steps[#steps + 1] = { "sleep", 300 } -- for what should not come
      steps[#steps + 1] = { "close", 1000, "" }
      local client = clients.open("ws.js", running.ws .. "/member", steps)
      client:wait("message")
      local count = outcome == "commit" and 1 or 0
      assert.same({ count = count }, get("/transaction?outcome=" .. outcome))
      assert.same(heard, texts(client))
    end)
  end
end)
