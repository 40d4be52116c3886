local clients = require("spec.support.clients")
local server = require("spec.support.server")

describe("bad input", function()
  after_each(server.clean)

  describe("a script", function()
    local HEAD = 'local rille = require("rille")\n'

    --- Write the script and try to run it: its exit status and what it said.
    local function run(text)
      local path = server.scratch() .. "/app.lua"
      server.write(path, text)
      return server.run { "run", path, "--listen", "127.0.0.1:0" }
    end

    for what, case in pairs {
      ["with a syntax error"] = {
        HEAD .. "local x = = 1\n",
        { "app.lua:2:" },
      },
      ["that fails while it loads"] = {
        HEAD .. '\nerror("no moon tonight")\n',
        { "app.lua:3:", "no moon tonight" },
      },
      ["that needs a missing module"] = {
        HEAD .. 'require("no_such_module")\nreturn rille.app { routes = {} }\n',
        { "app.lua:2:", "no_such_module" },
      },
      ["with a bad route pattern"] = {
        HEAD
          .. "return rille.app {\n  routes = {\n"
          .. '    rille.get("/x/<whole:n>", function() end),\n  },\n}\n',
        { "app.lua:4:", "whole" },
      },
      ["with an unknown setting"] = {
        HEAD .. "return rille.app { routes = {}, colour = 7 }\n",
        { "app.lua:2:", "colour" },
      },
      ["that does not return an app"] = {
        HEAD .. "return 7\n",
        { "app.lua", "rille.app" },
      },
      ["that waits while it loads"] = {
        HEAD .. "rille.asleep(1)\nreturn rille.app { routes = {} }\n",
        { "app.lua:2:" },
      },
    } do
      it(what .. " is told where, and does not start", function()
        local status, said = run(case[1])
        assert.equal(1, status, said)
        for _, part in ipairs(case[2]) do
          assert.truthy(said:find(part, 1, true), part .. " is missing in: " .. said)
        end
        assert.is_nil(said:find("listening on", 1, true))
      end)
    end

    it("that is missing is named", function()
      local status, said = server.run { "run", "no/such/app.lua", "--listen", "127.0.0.1:0" }
      assert.equal(1, status)
      assert.truthy(said:find("no/such/app.lua", 1, true), said)
      assert.is_nil(said:find("traceback", 1, true), said)
    end)
  end)

  describe("an argument", function()
    -- what is said, of which words
    for told, arguments in pairs {
      ["unknown option '--colour' (see `rille help run`)"] = { "run", "x.lua", "--colour" },
      ["unknown command 'sail' (see `rille help`)"] = { "sail", "x.lua" },
      ["unknown command 'sailing' (see `rille help`)"] = { "help", "sailing" },
      ["which application? usage: rille run APP [options]"] = { "run" },
      ["a value is missing behind '--listen' (see `rille help check`)"] = {
        "check",
        "x.lua",
        "--listen",
      },
    } do
      it("that is wrong ends with status 2: " .. told, function()
        local status, said = server.run(arguments)
        assert.same({ 2, "rille: " .. told .. "\n" }, { status, said })
      end)
    end
  end)

  describe("an address", function()
    local function refused(address)
      local status, said = server.run { "run", "examples/hello.lua", "--listen", address }
      assert.equal(1, status, said)
      assert.truthy(said:find(address, 1, true), said)
      assert.is_nil(said:find("traceback", 1, true), said)
      return said
    end

    it("that is in use is named in one sentence", function()
      local other = server.start { "run", "examples/hello.lua" }
      local said = refused("127.0.0.1:" .. other.port)
      assert.truthy(said:find("in use", 1, true), said)
      assert.equal(1, server.count(said, "\n"), said)
      assert.equal(200, clients.fetch(other.url .. "/").status)
    end)

    for _, address in ipairs {
      "127.0.0.1:99999",
      "127.0.0.1:http",
      "203.0.113.7:8000", -- nobody's, so certainly not ours
      "unix:/no/such/folder/rille.sock",
    } do
      it("like " .. address .. " is refused", function()
        refused(address)
      end)
    end
  end)

  describe("a database that is down", function()
    local function closed_port()
      local probe = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0));"
      return tonumber(
        server.shell("/usr/bin/python3 -c " .. server.quote(probe .. "print(s.getsockname()[1])"))
      )
    end

    it("lets the program serve, and fails the statement within acquire_timeout", function()
      local url = "postgresql://ann:sesame@127.0.0.1:%d/moon?acquire_timeout=1"
      local it_runs = server.start(
        { "run", "spec/support/apps/database.lua" },
        { database = url:format(closed_port()) }
      )
      assert.equal(200, clients.fetch(it_runs.url .. "/alive").status)
      local before = os.time()
      local told = clients.fetch(it_runs.url .. "/told")
      assert.is_true(os.time() - before <= 4)
      assert.equal(503, told.status)
      assert.is_true(require("cjson").decode(told.body).operational)
      assert.equal(500, clients.fetch(it_runs.url .. "/raised").status)
      assert.is_true(it_runs:says("OperationalError"))
      assert.is_nil(it_runs:stderr():find("sesame", 1, true), "the password is in the log")
      assert.is_nil(told.body:find("sesame", 1, true), "the password is in the message")
      assert.equal(0, it_runs:stop())
    end)

    it("is used as soon as it comes up", function()
      local real = os.getenv("RILLE_TEST_POSTGRES")
      if not real then
        return pending("RILLE_TEST_POSTGRES is not set")
      end
      local port = closed_port()
      local user, name = real:match("//([^@/?]*)@"), real:match("^%w+://[^/?]*/([^?]+)")
      local through = ("postgresql://%s127.0.0.1:%d/%s?acquire_timeout=1"):format(
        user and user .. "@" or "",
        port,
        name or "postgres"
      )
      local it_runs =
        server.start({ "run", "spec/support/apps/database.lua" }, { database = through })
      assert.equal(503, clients.fetch(it_runs.url .. "/told").status)
      local door = clients.open("tcp_door.py", tostring(port), real)
      door:wait("open")
      local answer = server.eventually(15, function()
        local told = clients.fetch(it_runs.url .. "/told")
        return told.status == 200 and told.body
      end)
      assert.same({ one = 1 }, require("cjson").decode(answer or "null"))
      assert.equal(0, it_runs:stop())
    end)
  end)

  describe("HTTP", function()
    local port

    before_each(function()
      port = server.start({ "run", "spec/support/apps/limits.lua" }).port
    end)

    --- The status of the first answer, and that the server closed after it.
    local function status_of(...)
      local answer = clients.raw(port, { ... })
      assert.not_equal("open", answer.ended)
      return tonumber(answer.received:match("^HTTP/1%.1 (%d%d%d) ")), answer.received
    end

    local POST = "POST /length HTTP/1.1\r\nHost: x\r\n"

    for what, text in pairs {
      ["of a protocol that is none"] = "GET / HTP/1.1\r\nHost: x\r\n\r\n",
      ["with a space before a colon"] = "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
      ["with a control character in a header"] = "GET / HTTP/1.1\r\nHost: x\r\nA: \1\0\r\n\r\n",
      ["with a bare LF in its head"] = "GET / HTTP/1.1\nHost: x\nA: b\n\n",
      ["with a folded header"] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
      ["with a negative length"] = POST .. "Content-Length: -1\r\n\r\n",
      ["with a length that is no number"] = POST .. "Content-Length: 1x\r\n\r\nab",
      ["with two different lengths"] = POST
        .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      ["with a length and chunks"] = POST
        .. "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ["with a bad chunk"] = POST .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    } do
      it(what .. " gets 400 and a close", function()
        local status, received = status_of { "send", text }
        assert.equal(400, status)
        assert.equal(1, server.count(received, "HTTP/1.1 "), "a second answer: " .. received)
      end)
    end

    it("that is none gets 400 or, for its method, 501 and a close", function()
      local status = status_of { "send", "what is this\r\n\r\n" }
      assert.is_true(status == 400 or status == 501, tostring(status))
    end)

    it("with an unknown transfer coding gets 501 or 400 and a close", function()
      local status = status_of { "send", POST .. "Transfer-Encoding: cabbage\r\n\r\n" }
      assert.is_true(status == 501 or status == 400, tostring(status))
    end)

    it("with an endless head gets 431", function()
      local status = status_of(
        { "send", "GET / HTTP/1.1\r\nHost: x\r\nA: " },
        { "repeat", ("a"):rep(64), 65536 },
        { "send", "\r\n\r\n" }
      )
      assert.equal(431, status)
    end)

    it("with a body that is declared too large gets 413 before it is sent", function()
      assert.equal(413, (status_of { "send", POST .. "Content-Length: 10995116277760\r\n\r\n" }))
    end)

    it("goes on for others", function()
      status_of { "send", "what is this\r\n\r\n" }
      local url = "http://127.0.0.1:" .. port
      local answer = clients.fetch(url .. "/length", { method = "POST", body = "four" })
      assert.same({ 200, "4" }, { answer.status, answer.body })
    end)
  end)

  describe("a WebSocket", function()
    local port

    before_each(function()
      port = server.start({ "run", "spec/support/apps/limits.lua" }).port
    end)

    local HANDSHAKE = table.concat({
      "GET /ws HTTP/1.1",
      "Host: 127.0.0.1",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "\r\n",
    }, "\r\n")

    --- Send bytes after a handshake; the code of the close frame that answers them.
    local function close_code(...)
      local steps = { { "send", HANDSHAKE }, { "until", "\r\n\r\n" } }
      for _, bytes in ipairs { ... } do
        steps[#steps + 1] = { "send", bytes }
      end
      local answer = clients.raw(port, steps)
      assert.not_equal("open", answer.ended)
      local frames = answer.received:match("\r\n\r\n(.*)$")
      local high, low = frames:match("\136.(.)(.)")
      return high and high:byte() * 256 + low:byte()
    end

    --- A frame masked with zeros, so that the payload can be read here.
    local function frame(first, payload)
      return string.char(first, 128 + #payload) .. "\0\0\0\0" .. payload
    end

    it("answers a handshake as RFC 6455 1.3 computes it", function()
      local answer = clients.raw(port, {
        { "send", HANDSHAKE },
        { "until", "\r\n\r\n" },
        { "send", frame(0x88, "\3\232") },
      })
      assert.truthy(answer.received:find("^HTTP/1.1 101 "))
      assert.truthy(answer.received:find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1, true))
    end)

    for what, case in pairs {
      ["an unmasked frame"] = { 1002, "\129\5hello" },
      ["an unknown opcode"] = { 1002, frame(0x83, "a") },
      ["a reserved bit"] = { 1002, frame(0xC1, "a") },
      ["a continuation of nothing"] = { 1002, frame(0x80, "a") },
      ["a message inside a message"] = { 1002, frame(0x01, "a") .. frame(0x81, "b") },
      ["a fragmented ping"] = { 1002, frame(0x09, "a") },
      ["a ping over 125 bytes"] = { 1002, "\137\254\0\126\0\0\0\0" .. ("a"):rep(126) },
      ["a close with one byte"] = { 1002, frame(0x88, "\3") },
      ["a close with a code nobody may send"] = { 1002, frame(0x88, "\3\237") }, -- 1005
      ["bad UTF-8"] = { 1007, frame(0x81, "\195\40") },
      ["bad UTF-8 across two frames"] = { 1007, frame(0x01, "\195") .. frame(0x80, "\40") },
      ["a surrogate"] = { 1007, frame(0x81, "\237\160\128") },
      ["bad UTF-8 in a close reason"] = { 1007, frame(0x88, "\3\232\195\40") },
      ["a length of a tebibyte"] = { 1009, "\130\255\0\0\1\0\0\0\0\0\0\0\0\0" },
    } do
      it(("is closed with %d for %s"):format(case[1], what), function()
        assert.equal(case[1], close_code(case[2]))
      end)
    end

    it("may split a character between two frames", function()
      local frames = frame(0x01, "\195") .. frame(0x80, "\182") .. frame(0x88, "\3\232")
      local steps = { { "send", HANDSHAKE }, { "until", "\r\n\r\n" }, { "send", frames } }
      local answer = clients.raw(port, steps)
      assert.truthy(answer.received:find("\129\2\195\182", 1, true))
    end)

    for what, change in pairs {
      ["without a key"] = { "Sec%-WebSocket%-Key: [^\r]+\r\n", "" },
      ["with a key of the wrong length"] = { "dGhlIHNhbXBsZSBub25jZQ==", "dGhl" },
      ["of another version"] = { "Version: 13", "Version: 7" },
    } do
      it("handshake " .. what .. " is refused", function()
        local answer = clients.raw(port, { { "send", (HANDSHAKE:gsub(change[1], change[2])) } })
        assert.truthy(answer.received:find("^HTTP/1.1 4%d%d "), answer.received)
      end)
    end
  end)
end)
