--- The PROXY protocol, by curl (version 1) and by hand, over bare sockets and in front of TLS.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/addresses.lua"

local V1 = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"

--- A header of version 2.
local function v2(command, family, block)
  return "\r\n\r\n\0\r\nQUIT\n"
    .. string.char(0x20 + command, family, math.floor(#block / 256), #block % 256)
    .. block
end

local V2 = v2(1, 0x11, "\203\0\113\8\198\51\100\1" .. "\18\103\1\187" .. "\4\0\2ab")
local V6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\7"
local V2_IPV6 = v2(1, 0x21, V6 .. V6 .. "\0\1\31\64")
local V2_UNIX = v2(1, 0x31, ("/x" .. ("\0"):rep(106)):rep(2))

describe("an address for proxies", function()
  local it_runs, where

  after_each(server.clean)

  local function start(...)
    it_runs = server.start({ "run", APP, "--workers=1", ... }, { listen = "127.0.0.1:0,proxy" })
    where = "127.0.0.1:" .. it_runs.port
  end

  local function ask(before, cut)
    local answer = clients.at(where, { path = "/told", before = before, cut = cut })
    return answer.status == 200 and json.decode(answer.body) or answer
  end

  local function client_of(before, cut)
    local client = ask(before, cut).client
    return client and client.host .. " " .. tostring(client.port)
  end

  local function count(name)
    local answer = clients.at(where, { path = "/counters", before = V1 })
    return json.decode(answer.body)[name]
  end

  it("goes by what the header says, of either version, in the scope and in the log", function()
    start("--trusted-proxy", "loopback")
    local told = ask(V1)
    assert.same({ host = "203.0.113.7", port = 4711 }, told.client)
    assert.same({ host = "198.51.100.1", port = 443 }, told.server)
    assert.truthy(it_runs:says("203.0.113.7"))
    assert.is_nil(it_runs:stderr():find("127.0.0.1\n", 1, true))
    assert.equal("203.0.113.8 4711", client_of(V2))
    assert.equal("2001:db8::7 1", client_of(V2_IPV6))
    assert.is_nil(client_of(V2_UNIX))
    -- Health checks: the proxy speaks for itself.
    for _, header in ipairs { v2(0, 0, ""), v2(0, 0x11, ("\9"):rep(12)), "PROXY UNKNOWN\r\n" } do
      told = ask(header)
      assert.equal("127.0.0.1", told.client.host)
      assert.equal(it_runs.port, told.server.port)
    end
    -- One that has yet to speak does not keep the server from stopping.
    local at = server.scratch()
    local line = "exec 3<>/dev/tcp/127.0.0.1/%d; printf 'PROXY ' >&3; echo >%s/in;"
      .. " cat <&3 >/dev/null 2>&1; echo >%s/out"
    line = server.quote(line:format(it_runs.port, at, at))
    os.execute(("timeout 10 bash -c %s 2>/dev/null &"):format(line))
    assert.is_truthy(server.eventually(5, function()
      return server.read_file(at .. "/in")
    end))
    assert.equal("203.0.113.7 4711", client_of(V1))
    assert.equal(0, it_runs:stop())
    assert.is_truthy(server.eventually(2, function()
      return server.read_file(at .. "/out")
    end))
  end)

  it("takes a header in any pieces, and nothing behind it", function()
    start("--trusted-proxy", "loopback")
    assert.equal("203.0.113.7 4711", client_of(V1, 1))
    assert.equal("203.0.113.8 4711", client_of(V2, 1))
    -- One segment for the header and two requests: the second is the same client's.
    local get = "GET /told HTTP/1.1\r\nhost: x\r\n"
    local answer = clients.raw(it_runs.port, {
      { "send", V2 .. get .. "\r\n" .. get .. "connection: close\r\n\r\n" },
    })
    assert.equal(2, server.count(answer.received, '"203.0.113.8"'))
    -- A second header is no request.
    assert.equal(501, ask(V1 .. V1).status)
  end)

  it("is understood by curl, and counts connections by the client", function()
    start("--trusted-proxy", "loopback", "--limit", "max_connections_per_address=1")
    local said = server.shell("curl -sS --max-time 5 --haproxy-protocol " .. it_runs.url .. "/told")
    assert.equal("127.0.0.1", json.decode(said).client.host)
    local held = clients.open_raw(it_runs.port, {
      { "send", V1 .. "GET /told HTTP/1.1\r\nhost: x\r\n\r\n" },
      { "sleep", 0.5 },
      { "leave" },
    })
    assert.truthy(it_runs:says("203.0.113.7"))
    assert.is_true(ask(V1).closed)
    assert.is_true(it_runs:says("max_connections_per_address (1) reached"))
    assert.equal("203.0.113.8 4711", client_of(V2))
    held:finish()
    assert.is_truthy(server.eventually(3, function()
      return client_of(V1) == "203.0.113.7 4711"
    end))
    assert.equal(0, it_runs:stop())
  end)

  it("serves nobody without a header, and says so", function()
    start("--trusted-proxy", "loopback", "--limit", "request_timeout=0.3")
    for _, words in ipairs { "", "PROXY TCP5 1 2 3 4\r\n", "\r\n\r\n\0\r\nQUIT\n\49\17\0\0" } do
      assert.is_true(ask(words).closed)
    end
    assert.is_true(it_runs:says("a connection of 127.0.0.1 was refused: bad PROXY header:"))
    assert.equal(3, count("proxy_headers_bad"))
    assert.equal(1, server.count(it_runs:stderr(), "bad PROXY header"))
    for _, words in ipairs { "", V2:sub(1, 20) } do
      local answer = clients.at(where, { before = words })
      assert.is_true(answer.closed)
      assert.is_true(answer.seconds >= 0.29)
    end
    assert.is_true(it_runs:says("no header within request_timeout"))
    assert.equal(2, count("proxy_header_timeouts"))
    -- Who only looks whether we are there is no news.
    clients.raw(it_runs.port, { { "finish" } })
    assert.equal(3, count("proxy_headers_bad"))
    assert.equal(0, it_runs:stop())
  end)

  it("is closed to everybody else, whatever they say", function()
    start("--trusted-proxy", "10.0.0.0/8")
    assert.is_true(ask(V1).closed)
    assert.is_true(ask(V2).closed)
    assert.is_true(it_runs:says("127.0.0.1 was refused: it is not one of trusted_proxies"))
    assert.equal(1, server.count(it_runs:stderr(), "trusted_proxies"))
    assert.equal(0, it_runs:stop())
  end)

  it("may be a Unix socket, beside one without", function()
    local path = server.scratch() .. "/proxied"
    it_runs = server.start {
      "run",
      APP,
      "--trusted-proxy=unix",
      "--listen",
      ("unix:%s,mode=0600,proxy"):format(path),
    }
    where = "unix:" .. path
    assert.equal("203.0.113.7 4711", client_of(V1))
    assert.equal("203.0.113.8 4711", client_of(V2, 1))
    where = "127.0.0.1:" .. it_runs.port
    assert.equal("127.0.0.1", ask().client.host)
    assert.equal(501, ask(V1).status)
  end)

  it("has the header in front of the handshake", function()
    local folder = server.scratch()
    server.shell("spec/support/certificates " .. folder)
    local words = { "--tls-cert", folder .. "/localhost.pem" }
    words[3], words[4] = "--tls-key", folder .. "/localhost.key"
    it_runs = server.start(
      { "run", APP, "--trusted-proxy", "loopback", unpack(words) },
      { listen = "tls:127.0.0.1:0,proxy" }
    )
    local line = "curl -sS --max-time 5 --cacert %s/ca.pem %s %s/told 2>&1"
    local told = json.decode(server.shell(line:format(folder, "--haproxy-protocol", it_runs.url)))
    assert.same({ "https", "127.0.0.1" }, { told.scheme, told.client.host })
    assert.is_nil(server.shell(line:format(folder, "", it_runs.url)):find("client", 1, true))
    assert.is_true(it_runs:says("bad PROXY header: it does not begin like one"))
    assert.equal(0, it_runs:stop())
  end)

  it("wants to know whom to trust", function()
    local status, said = server.run { "run", APP, "--listen", "127.0.0.1:0,proxy" }
    assert.equal(1, status)
    assert.truthy(said:find("trusted_proxies names nobody", 1, true), said)
  end)
end)
