--- TLS with the clients of others: OpenSSL's own, curl, Python, Node.js.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/secure.lua"

describe("TLS", function()
  local made, it_runs

  setup(function()
    made = server.shell("mktemp -d"):gsub("%s+$", "")
    server.shell("spec/support/certificates " .. made)
  end)

  teardown(function()
    server.shell("rm -rf " .. made)
  end)

  after_each(server.clean)

  local function path(name)
    return made .. "/" .. name
  end

  --- The words for certificates by name.
  local function pairs_of(...)
    local words = {}
    for _, name in ipairs { ... } do
      for _, kind in ipairs { "cert", "key" } do
        words[#words + 1] = "--tls-" .. kind
        words[#words + 1] = path(name .. (kind == "cert" and ".pem" or ".key"))
      end
    end
    return words
  end

  local function start(words, env)
    local all = { "run", APP, "--log-level", "debug", unpack(words or pairs_of("localhost")) }
    it_runs = server.start(all, { listen = "tls:127.0.0.1:0", env = env })
    return it_runs
  end

  --- What OpenSSL's client says of a connection; by default it asks for "/" and waits.
  local function s_client(options, said)
    local request = said or "GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n"
    local line = "printf %%b %s | timeout 10 openssl s_client -connect 127.0.0.1:%d -CAfile %s "
      .. "-ign_eof %s 2>&1"
    return server.shell(
      line:format(server.quote(request), it_runs.port, server.quote(path("ca.pem")), options)
    )
  end

  local function curl(words, where)
    local line = "curl -sS --max-time 15 --cacert %s %s %s%s 2>&1"
    return server.shell(line:format(path("ca.pem"), words, it_runs.url, where or "/"))
  end

  local function has(text, ...)
    for _, part in ipairs { ... } do
      assert.truthy(text:find(part, 1, true), ("no %q in: %s"):format(part, text))
    end
  end

  local function talk(options, ...)
    options.ca = path("ca.pem")
    local client = clients.run("tls.py", tostring(it_runs.port), options, { ... })
    return client.events[1]
  end

  local GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
  local LAST = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

  describe("by openssl s_client", function()
    it("is 1.2 or 1.3, tells the script, and ends in order", function()
      start()
      assert.truthy(it_runs.url:find("^https://"))
      for flag, version in pairs { ["-tls1_2"] = "TLSv1.2", ["-tls1_3"] = "TLSv1.3" } do
        local said = s_client(flag .. " -state")
        has(said, "Verification: OK", "200 OK", ('"version":"%s"'):format(version))
        has(said, '"scheme":"https"', "SSL3 alert read:warning:close notify")
      end
      it_runs:ends_well()
    end)

    it("is nothing older, and no 1.2 where 1.3 is demanded", function()
      start(pairs_of("a", "b"))
      for _, flag in ipairs { "-tls1", "-tls1_1" } do
        has(s_client(flag .. " -cipher DEFAULT@SECLEVEL=0"), "alert protocol version")
      end
      has(s_client("-tls1_2 -cipher AES128-SHA256"), "alert handshake failure")
      it_runs:ends_well()
      server.clean()
      local words = pairs_of("a")
      words[#words + 1] = "--tls-min-version=1.3"
      start(words)
      has(s_client("-tls1_2"), "alert protocol version")
      has(s_client("-tls1_3"), "200 OK")
    end)

    it("agrees to http/1.1 alone", function()
      start()
      has(s_client("-alpn h2,http/1.1"), "ALPN protocol: http/1.1", '"alpn":"http/1.1"')
      local said = s_client("-alpn h2")
      has(said, "No ALPN negotiated", "200 OK")
      assert.is_nil(said:find('"alpn"', 1, true))
    end)

    it("shows the certificate of the name that is asked for", function()
      start(pairs_of("localhost", "a", "b"))
      for name, shown in pairs {
        ["a.test"] = "CN = a.test",
        ["b.test"] = "CN = b.test",
        ["www.b.test"] = "CN = b.test",
        ["A.TEST"] = "CN = a.test",
        ["unknown.test"] = "CN = localhost",
      } do
        local said = s_client("-servername " .. name)
        has(said, "subject=" .. shown, "200 OK", ('"server_name":"%s"'):format(name))
      end
      has(s_client("-noservername"), "subject=CN = localhost")
    end)

    it("resumes sessions, also across an exchange of certificates", function()
      start(pairs_of("localhost", "a"))
      for _, flag in ipairs { "-tls1_2", "-tls1_3", "-tls1_2 -no_ticket" } do
        local kept = path("session")
        has(s_client(flag .. " -servername a.test -sess_out " .. kept), "New, TLSv1")
        local said = s_client(flag .. " -servername a.test -sess_in " .. kept)
        has(said, "Reused, TLSv1", '"resumed":true')
        if flag ~= "-tls1_2 -no_ticket" then -- which the exchanged context kept
          it_runs:signal("HUP")
          assert.is_true(it_runs:says("certificates were read again"))
          has(s_client(flag .. " -servername a.test -sess_in " .. kept), "Reused, TLSv1")
        end
      end
      it_runs:ends_well()
    end)

    it("lets no client renegotiate", function()
      start()
      local line = "(sleep 0.2; echo R; sleep 0.2) | openssl s_client -tls1_2 -connect 127.0.0.1:%d"
      has(server.shell(line:format(it_runs.port) .. " 2>&1"), "RENEGOTIATING", "no renegotiation")
      it_runs:ends_well()
    end)

    it("checks clients, if it is told to", function()
      local words = pairs_of("localhost")
      words[#words + 1] = "--tls-client-ca=" .. path("ca.pem")
      start(words)
      local card = ("-cert %s -key %s"):format(path("client.pem"), path("client.key"))
      has(s_client(card), "200 OK", '"client_name":"CN=ann,O=spec"')
      has(s_client("-tls1_2 " .. card), '"client_name":"CN=ann,O=spec"')
      has(s_client("-tls1_2"), "alert handshake failure")
      has(s_client("-tls1_3"), "alert certificate required")
      local own = ("-cert %s -key %s"):format(path("other.pem"), path("other.key"))
      has(s_client("-tls1_2 " .. own), "alert unknown ca")
      it_runs:ends_well()
    end)
  end)

  describe("with a peer that is", function()
    before_each(function()
      start(nil, { REQUEST_TIMEOUT = "1" })
    end)

    after_each(function()
      it_runs:ends_well()
    end)

    it("slow: byte by byte, in either version", function()
      for _, version in ipairs { "1.2", "1.3" } do
        local said = talk({ drip = true, max = version }, { "send", GET .. LAST })
        assert.equal("TLSv" .. version, said.version)
        assert.equal(2, server.count(said.received, "200 OK"))
        assert.equal("close_notify", said.ended)
      end
    end)

    it("done with talking, and listens still", function()
      local slow = "GET /late/300 HTTP/1.1\r\nhost: x\r\n\r\n"
      local said = talk({}, { "send", slow .. GET }, { "end" })
      assert.equal(2, server.count(said.received, "200 OK"), said.received)
      assert.equal("close_notify", said.ended)
    end)

    it("gone without a word", function()
      local said = talk({}, { "send", GET }, { "until", "}" }, { "cut" })
      assert.equal("cut", said.ended)
    end)

    it("of another protocol", function()
      local said = clients.raw(it_runs.port, { { "send", GET } })
      has(said.received, "400 Bad Request", "This port speaks TLS")
      assert.equal("closed", said.ended)
      for _, garbage in ipairs { ("\0"):rep(600), "SSH-2.0-spec\r\n", "\22\3\1\255\255" .. GET } do
        assert.not_equal("open", clients.raw(it_runs.port, { { "send", garbage } }).ended)
      end
      assert.is_true(it_runs:says("TLS: no handshake with 127.0.0.1: http request"))
    end)

    it("stalled in its handshake", function()
      for _, start_of_hello in ipairs { "", "\22\3\1\2\0\1\0" } do
        local said = clients.raw(it_runs.port, { { "send", start_of_hello } })
        assert.equal("closed", said.ended)
        assert.is_true(said.seconds < 5)
      end
    end)

    it("slow to read", function()
      local mib = 6
      local get = ("GET /big?mib=%d HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"):format(mib)
      local said = talk({}, { "send", get }, { "sleep", 0.5 })
      assert.is_true(said.length > mib * 2 ^ 20)
      assert.equal("0\r\n\r\n", said.received:sub(-5))
      assert.equal("close_notify", said.ended)
    end)
  end)

  describe("for programs", function()
    before_each(function()
      start()
    end)

    after_each(function()
      it_runs:ends_well()
    end)

    it("carries big bodies both ways", function()
      local big = path("big")
      server.shell("head -c 10485760 /dev/urandom >" .. big)
      for _, version in ipairs { "1.2", "1.3" } do
        local words = ("--tls-max %s --data-binary @%s -o %s.back"):format(version, big, big)
        assert.equal("", curl(words, "/echo"))
        assert.equal("", server.shell(("cmp %s %s.back 2>&1"):format(big, big)))
      end
    end)

    for name, script in pairs(clients.websockets) do
      it("carries WebSockets of " .. name, function()
        local client = clients.run(script, it_runs.ws .. "/echo", {
          { "text", "scope" },
          { "receive" },
          { "text", "moon", 50000 },
          { "receive" },
          { "close", 1000 },
        }, { ca = server.read_file(path("ca.pem")) })
        local answers = client:all("message")
        assert.equal("wss TLSv1.3", answers[1].data)
        assert.is_true(answers[2].same)
        assert.equal(200000, answers[2].length)
        assert.equal(1000, client:get("close").code)
      end)
    end

    it("answers Node.js", function()
      local script = "fetch(process.argv[1]).then((r) => r.text()).then(console.log)"
      local line = "NODE_EXTRA_CA_CERTS=%s node -e %s %s/ 2>&1"
      has(
        server.shell(line:format(path("ca.pem"), server.quote(script), it_runs.url)),
        '"scheme":"https"'
      )
    end)

    it("knows whose page asks for a WebSocket", function()
      local function status(origin)
        local words = "-o /dev/null -w '%{http_code}' -H 'connection: upgrade' "
          .. "-H 'upgrade: websocket' -H 'sec-websocket-version: 13' -m 1 "
          .. "-H 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==' --http1.1 -H 'host: moon.test' "
        return curl(words .. "-H 'origin: " .. origin .. "'", "/echo"):match("%d%d%d$")
      end
      assert.equal("101", status("https://moon.test"))
      assert.equal("403", status("http://moon.test"))
      assert.equal("403", status("https://moon.test:8443"))
    end)
  end)

  it("drops no request while certificates are exchanged, and keeps the old for bad ones", function()
    local cert, key = path("live.pem"), path("live.key")
    local function put(name)
      server.write(cert, server.read_file(path(name .. ".pem")))
      server.write(key, server.read_file(path(name .. ".key")))
      it_runs = it_runs and it_runs:signal("HUP") or it_runs
    end
    it_runs = nil
    put("localhost")
    start { "--tls-cert", cert, "--tls-key", key }
    local load = clients.open("tls_load.py", tostring(it_runs.port), path("ca.pem"))
    load:wait("first")

    server.write(key, server.read_file(path("a.key")))
    it_runs:signal("HUP")
    assert.is_true(it_runs:says("does not belong to the certificate"), it_runs:stderr())
    assert.is_true(it_runs:says("the certificates stay as they were"))
    server.write(key, server.read_file(path("new.key")))
    server.write(cert, server.read_file(path("new.pem")))
    it_runs:signal("HUP")

    local ended = load:wait("end")
    assert.same({}, ended.failed)
    assert.same({ "localhost", "new" }, ended.names)
    assert.is_true(ended.answered >= 40)
    it_runs:ends_well()
  end)

  it("lets a storm of handshakes delay nobody #slow", function()
    local hard = path("hard")
    server.shell(
      ("openssl req -x509 -CA %s -CAkey %s -newkey rsa:3072 -nodes -keyout %s.key -out %s.pem "
        .. "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>&1"):format(
        path("ca.pem"),
        path("ca.key"),
        hard,
        hard
      )
    )
    local words = pairs_of("hard")
    words[#words + 1] = "--workers=1"
    start(words)
    local client = clients.run("tls_storm.py", tostring(it_runs.port), path("ca.pem"), "200")
    local found = client.events[1]
    -- On the loop they would all be worked off in one turn, and `longest` be the whole storm.
    assert.is_true(found.longest < found.storm / 3, json.encode(found))
    it_runs:ends_well()
  end)

  describe("is not begun", function()
    local function refused(words, ...)
      local all = { "run", APP, "--listen", "tls:127.0.0.1:0", unpack(words) }
      all[#all + 1] = "--database=sqlite::memory:"
      local status, said = server.run(all)
      assert.equal(1, status, said)
      has(said, ...)
      assert.is_nil(said:find("listening", 1, true))
    end

    it("with what is no certificate, or no key of it", function()
      refused({}, "TLS needs a certificate", "--tls-cert")
      refused({ "--tls-cert", "no/such.pem" }, "no/such.pem: No such file or directory")
      refused({ "--tls-cert", path("a.key") }, "a.key: no start line")
      refused({ "--tls-cert", path("a.pem") }, "cannot use the key", "a.pem")
      refused(
        { "--tls-cert", path("a.pem"), "--tls-key", path("b.key") },
        "b.key does not belong to the certificate",
        "a.pem"
      )
      refused(
        { "--tls-cert", path("localhost.pem"), "--tls-key", path("b.key") },
        "b.key does not belong to the certificate"
      )
      refused({ "--tls-cert", path("a.pem"), "--tls-cert", path("b.pem"), "--tls-key", "x" }, "2 c")
      refused(
        { "--tls-cert", path("a.pem"), "--tls-key", path("locked.key") },
        "locked.key is encrypted",
        "RILLE_TLS_PASSPHRASE"
      )
    end)

    it("but with one that has expired there is a warning", function()
      start(pairs_of("old"))
      assert.is_true(it_runs:says("old.pem has expired"))
    end)
  end)

  it("is set up by the environment, or by the script", function()
    start({}, {
      RILLE_TLS_CERT = path("a.pem"),
      RILLE_TLS_KEY = path("locked.key"),
      RILLE_TLS_PASSPHRASE = "open sesame",
    })
    has(s_client(""), "subject=CN = a.test")
    server.clean()

    local folder = server.scratch()
    for _, name in ipairs { "both.pem", "localhost.pem", "localhost.key" } do
      server.shell(("cp %s %s/"):format(path(name), folder))
    end
    server.write(
      folder .. "/app.lua",
      [[
      return require("rille").app {
        tls = {
          { cert = "localhost.pem", key = "localhost.key" },
          { cert = "both.pem" },
          min_version = "1.3",
        },
        routes = {},
      }]]
    )
    it_runs = server.start({ "run", folder .. "/app.lua" }, { listen = "tls:127.0.0.1:0" })
    has(s_client("-servername a.test"), "subject=CN = a.test")
    has(s_client("-tls1_2"), "alert protocol version")
  end)
end)
