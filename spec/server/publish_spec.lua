--- A message from outside: at the admin address, by a route of the script's, by `rille send`.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/publish.lua"
local TOKEN = "the-one-of-today-is-this"

describe("publishing", function()
  local running, admin

  setup(function()
    local socket = server.scratch() .. "/admin"
    admin = "unix:" .. socket
    running = server.start { "run", APP, "--workers", "2", "--admin", admin }
  end)

  teardown(function()
    assert.equal(0, running:stop())
    server.clean()
  end)

  --- Two members, wherever they are, which leave when they have heard `n` messages.
  local function members(n)
    local all = {}
    for i = 1, 2 do
      local steps = { { "receive", 1 + n }, { "close", 1000, "" } }
      all[i] = clients.open("ws.py", running.ws .. "/member", steps)
      all[i].name = all[i]:wait("message").data
    end
    return all
  end

  local function heard(client)
    client:finish()
    local all = {}
    for i, event in ipairs(client:all("message")) do
      all[i - 1] = event.data
    end
    all[0] = nil
    return all
  end

  --- POST by curl: the status, what was answered, and the answer's head.
  local function post(where, body, token, method)
    local scratch = server.scratch()
    server.write(scratch .. "/body", body)
    local words = { "curl", "-s", "--max-time", "10", "-D", scratch .. "/head" }
    local function add(...)
      for _, word in ipairs { ... } do
        words[#words + 1] = word
      end
    end
    add("-X", method or "POST", "--data-binary", "@" .. scratch .. "/body")
    if token then
      add("-H", "authorization: Bearer " .. token)
    end
    if where == admin then
      add("--unix-socket", admin:sub(6), "http://x/publish")
    else
      add(running.url .. "/publish")
    end
    for i, word in ipairs(words) do
      words[i] = server.quote(word)
    end
    local text = server.shell(table.concat(words, " "))
    local head = server.read_file(scratch .. "/head") or ""
    local ok, answer = pcall(json.decode, text)
    return tonumber(head:match(".*HTTP/1.1 (%d+)")), ok and answer or text, head
  end

  local function order(message, group, channel)
    return json.encode { group = group, channel = channel, message = message }
  end

  for _, way in ipairs { "the admin address", "a route" } do
    local function where()
      return way == "a route" and "route" or admin
    end

    describe("at " .. way, function()
      it("reaches a group, and one", function()
        local both = members(2)
        local message = { type = "chat.message", list = { 1, 2 }, deep = { null = json.null } }
        local status, answer = post(where(), order(message, "room"), TOKEN)
        assert.same({ 200, { delivered = 2, dropped = 0 } }, { status, answer })
        for _, one in ipairs(both) do
          local mine = order({ type = "chat.message", to = one.name }, nil, one.name)
          assert.equal(200, (post(where(), mine, "the-one-from-yesterday")))
        end
        for _, one in ipairs(both) do
          local all = heard(one)
          assert.same(message, json.decode(all[1]))
          assert.equal(one.name, json.decode(all[2]).to)
        end
      end)

      it("wants a token", function()
        local body = order({ type = "chat.message" }, "room")
        for _, token in ipairs { false, "wrong", TOKEN .. "x", TOKEN:sub(1, -2), "" } do
          local status, answer, head = post(where(), body, token)
          assert.equal(401, status)
          assert.equal("a bearer token expected", answer.error)
          assert.truthy(head:lower():find('www-authenticate: bearer realm="rille"', 1, true), head)
        end
      end)

      it("says what is wrong with a request", function()
        local plain = { type = "chat.message" }
        for body, told in pairs {
          [""] = "not JSON",
          ["{"] = "not JSON",
          ["5"] = "a JSON object expected",
          ["{}"] = "either group or channel expected",
          [order(plain, "room", "c")] = "either group or channel expected",
          [order(plain, 5)] = "a name is a string",
          [order({}, "room")] = "a message is a table with a type",
          [order(nil, "room")] = "a message is a table with a type",
          [order({ type = 5 }, "room")] = "a message is a table with a type",
          [order({ type = "websocket.send" }, "room")] = "needs text or bytes",
          [order(plain, "a room")] = "a group's name has 1 to 99 letters",
          [order(plain, nil, "a!b!c")] = "a channel's name has 1 to 99 letters",
          ['{"group":"room","message":{"type":"x"},"now":true}'] = 'unknown field "now"',
        } do
          local status, answer = post(where(), body, TOKEN)
          assert.equal(400, status, body)
          assert.truthy(answer.error:find(told, 1, true), answer.error)
          assert.is_nil(answer.error:find(".lua", 1, true)) -- nobody's business
        end
      end)

      it("is done by POST", function()
        local status, _, head = post(where(), "", TOKEN, "PUT")
        assert.equal(405, status)
        assert.truthy(head:lower():find("allow: [%a, ]*post"), head)
      end)
    end)
  end

  it("takes a large message, and none that is too large", function()
    local both = members(1)
    local text = ("x"):rep(900000)
    local message = { type = "websocket.send", text = text }
    assert.equal(200, (post(admin, order(message, "room"), TOKEN)))
    for _, one in ipairs(both) do
      one:finish()
      assert.equal(#text, one:all("message")[2].length)
    end
    message.text = ("x"):rep(1100000)
    assert.equal(413, (post(admin, order(message, "room"), TOKEN)))
  end)

  describe("by rille send", function()
    local function send(group, text, token, ...)
      return server.run(
        { "send", group, text, ... },
        { RILLE_PUBLISH_TOKEN = token, RILLE_ADMIN = admin }
      )
    end

    it("reaches a running server", function()
      local both = members(1)
      local status, said, printed = send("room", '{"type":"chat.message","n":1}', TOKEN)
      assert.same({ 0, "" }, { status, said })
      assert.same({ delivered = 2, dropped = 0 }, json.decode(printed))
      for _, one in ipairs(both) do
        assert.equal(1, json.decode(heard(one)[1]).n)
      end
    end)

    it("says why it did not", function()
      local function fails(told, status, ...)
        local got, said = send(...)
        assert.equal(status, got)
        assert.truthy(said:find(told, 1, true), said)
      end
      fails("rille: not sent (401): ", 1, "room", '{"type":"x"}', "wrong-token-is-wrong")
      fails("rille: not sent (400): ", 1, "room", '{"type":}', TOKEN)
      fails("a group's name has", 1, 'a"room', '{"type":"x"}', TOKEN)
      fails("rille: nobody is at ", 1, "room", '{"type":"x"}', TOKEN, "--admin", "127.0.0.1:1")
      fails("no address to send to", 1, "room", "{}", TOKEN, "--admin", "fd:3")
      fails("this version has no layer nowhere:", 1, "r", "{}", TOKEN, "--layer", "nowhere:")
      fails("usage: rille send GROUP JSON", 2, "room", "--layer=nowhere:", TOKEN)
      local status, said = server.run { "send", "room", "{}" }
      assert.equal(2, status)
      assert.truthy(said:find("where to? --admin ADDR", 1, true), said)
    end)
  end)
end)

describe("a worker that takes too long", function()
  it("is not waited for beyond publish_timeout, and sends what it was given", function()
    local folder = server.scratch()
    local admin, hold = folder .. "/admin", folder .. "/hold"
    local limits = { "--limit", "publish_timeout=0.2", "--limit", "handler_cpu_limit=false" }
    local running =
      server.start { "run", APP, "--workers", "1", "--admin", "unix:" .. admin, unpack(limits) }
    local steps = { { "receive", 2 }, { "close", 1000, "" } }
    local member = clients.open("ws.py", running.ws .. "/member", steps)
    member:wait("message")
    server.write(hold, "")
    os.execute(("curl -s --max-time 60 '%s/busy?path=%s' >/dev/null &"):format(running.url, hold))
    assert.truthy(server.eventually(10, function()
      return server.read_file(hold .. ".seen")
    end))

    local status, said = server.run(
      { "send", "room", '{"type":"chat.message","n":7}', "--admin", "unix:" .. admin },
      { RILLE_PUBLISH_TOKEN = TOKEN }
    )
    os.remove(hold)
    assert.equal(1, status)
    local told = [[not sent (504): {"error":"no answer in time; it may be sent yet"}]]
    assert.truthy(said:find(told, 1, true), said)
    member:finish()
    assert.equal(7, json.decode(member:all("message")[2].data).n)
    assert.equal(0, running:stop())
    server.clean()
  end)
end)

describe("publishing without a token", function()
  it("is off, also when it has one that is too short", function()
    local socket = server.scratch() .. "/admin"
    local running = server.start {
      "run",
      "spec/support/apps/groups.lua",
      "--admin",
      "unix:" .. socket,
    }
    local ask = "curl -s --max-time 10 -X POST -d '{}' -H 'authorization: Bearer ' "
    local text = server.shell(ask .. "--unix-socket " .. socket .. " http://x/publish")
    assert.truthy(text:find("publishing is off: it wants publish_token", 1, true), text)
    assert.equal(0, running:stop())
    server.clean()
  end)
end)
