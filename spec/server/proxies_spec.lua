local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/addresses.lua"

describe("behind a proxy", function()
  local it_runs

  after_each(server.clean)

  local function start(...)
    it_runs = server.start { "run", APP, ... }
    return it_runs
  end

  local function ask(path, headers)
    local answer = clients.at("127.0.0.1:" .. it_runs.port, { path = path, headers = headers })
    return answer.status == 200 and json.decode(answer.body) or answer
  end

  local X = {
    { "X-Forwarded-For", "127.0.0.9, 203.0.113.7:4711, 10.0.0.1" },
    { "X-Forwarded-Proto", "https" },
    { "X-Forwarded-Host", "moon.test" },
    { "X-Forwarded-Port", "8443" },
  }

  it("that is trusted, requests are those of the client, also in the log", function()
    start("--trusted-proxy", "loopback", "--trusted-proxy", "10.0.0.0/8")
    local told = ask("/told", X)
    assert.same({ host = "203.0.113.7", port = 4711 }, told.client)
    assert.same({ host = "moon.test", port = 8443 }, told.server)
    assert.same({ "https", "moon.test:8443" }, { told.scheme, told.host })
    assert.is_true(it_runs:says(" client=203.0.113.7 "))
    told = ask("/told", { { "Forwarded", 'for="[2001:db8::7]:1", for=10.0.0.1;proto=https' } })
    assert.same({ host = "2001:db8::7", port = 1 }, told.client)
    told = ask("/told", { { "Forwarded", "for=_hidden" } })
    assert.is_nil(told.client)
    assert.equal("127.0.0.1", ask("/told").client.host)
    assert.equal(0, it_runs:stop())
  end)

  it("that nobody trusts, nothing it says counts, but it is seen", function()
    for _, trusted in ipairs { "10.0.0.0/8", "unix" } do
      start("--trusted-proxy", trusted)
      local told = ask("/told", X)
      assert.equal("127.0.0.1", told.client.host)
      assert.same({ "http", "server.test" }, { told.scheme, told.host })
      assert.equal(X[1][2], told.seen)
    end
  end)

  it("on a Unix socket, too", function()
    local path = server.scratch() .. "/proxied"
    start("--listen", "unix:" .. path, "--trusted-proxy", "unix")
    local answer = clients.at("unix:" .. path, { path = "/told", headers = X })
    assert.equal("10.0.0.1", json.decode(answer.body).client.host)
    assert.equal("127.0.0.1", ask("/told", X).client.host)
  end)

  it("routes are below the root path, whether the proxy cuts it off or not", function()
    start("--root-path", "/app/")
    for _, path in ipairs { "/told", "/app/told" } do
      local told = ask(path)
      assert.same({ "/app/told", path, "/app" }, { told.path, told.raw_path, told.root_path })
    end
    assert.equal(404, ask("/application").status)
  end)

  it("the prefix that it cut off is put back", function()
    start("--trusted-proxy", "loopback")
    local told = ask("/told", { { "X-Forwarded-Prefix", "/app" } })
    assert.same({ "/app/told", "/told", "/app" }, { told.path, told.raw_path, told.root_path })
    assert.is_true(ask("/app/told", { { "X-Forwarded-Prefix", "/app" } }).inner)
    assert.equal("", ask("/told").root_path)
  end)

  it("origins are compared with what the client asked for", function()
    start("--trusted-proxy", "loopback")
    local function try(origin, host, proto)
      local client = clients.run("ws.js", it_runs.ws .. "/ws", { { "close", 1000, "" } }, {
        origin = origin,
        headers = { ["x-forwarded-host"] = host, ["x-forwarded-proto"] = proto },
      })
      local refused = client:first("refused")
      return refused and refused.status or "open"
    end
    assert.equal("open", try("https://moon.test", "moon.test", "https"))
    assert.equal(403, try("http://moon.test", "moon.test", "https"))
    assert.equal(403, try("https://bad.test", "moon.test", "https"))
    assert.is_true(it_runs:says("origin https://bad.test, host moon.test", 5))
  end)

  it("settings that make no sense are refused in a sentence", function()
    local status, said = server.run { "run", APP, "--trusted-proxy", "10.0.0.1/8" }
    assert.equal(2, status)
    assert.truthy(said:find("bits set behind its prefix", 1, true), said)
    status, said = server.run { "run", APP, "--root-path", "app" }
    assert.equal(1, status)
    assert.truthy(said:find("a path like /app", 1, true), said)
  end)
end)
