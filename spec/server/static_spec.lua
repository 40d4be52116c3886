-- Files over the wire; what decides about them is in spec/static_spec.lua.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
return rille.app {
  routes = {
    rille.static("/files/", "root"),
    rille.static("/app/", "root", {
      cache_control = "max-age=60", fallback = "index.html", precompressed = true,
    }),
  },
}
]]

describe("static files", function()
  local it_runs, large

  setup(function()
    local folder = server.scratch()
    os.execute(("mkdir -p %s/root/sub"):format(folder))
    large = {}
    for i = 1, 60000 do
      large[i] = ("%07d\n"):format(i)
    end
    large = table.concat(large)
    for name, text in pairs {
      ["app.lua"] = APP,
      ["root/digits.txt"] = "0123456789",
      ["root/empty.txt"] = "",
      ["root/large.txt"] = large,
      ["root/index.html"] = "<p>",
      ["root/sub/index.html"] = "<p>sub",
      ["root/code.js"] = "code",
      ["root/code.js.gz"] = "gz of it",
      ["root/code.js.br"] = "br of it",
      ["root/.env"] = "secret",
      ["secret.txt"] = "secret",
    } do
      server.write(folder .. "/" .. name, text)
    end
    it_runs = server.start { "run", folder .. "/app.lua" }
  end)

  teardown(function()
    assert.equal(0, it_runs:stop(), it_runs:stderr())
    assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    server.clean()
  end)

  local function get(path, headers, method)
    return clients.fetch(it_runs.url .. path, { headers = headers, method = method })
  end

  it("come whole, with what is known of them", function()
    local answer = get("/files/large.txt")
    assert.same({ 200, true }, { answer.status, answer.body == large })
    assert.equal("bytes", answer.headers["accept-ranges"])
    assert.equal("no-cache", answer.headers["cache-control"])
    assert.is_nil(answer.headers.vary)
    assert.equal("", get("/files/empty.txt").body)
  end)

  it("come in one part", function()
    local answer = get("/files/digits.txt", { range = "bytes=2-4" })
    assert.same({ 206, "234" }, { answer.status, answer.body })
    assert.equal("bytes 2-4/10", answer.headers["content-range"])
    assert.equal("3", answer.headers["content-length"])
    answer = get("/files/large.txt", { range = "bytes=-300000" })
    assert.same({ 206, true }, { answer.status, answer.body == large:sub(-300000) })
    assert.equal(206, get("/files/digits.txt", { range = "bytes=0-" }).status)
  end)

  it("come in several parts", function()
    local answer = get("/files/digits.txt", { range = "bytes=0-1, -2" })
    local boundary = answer.headers["content-type"]:match("^multipart/byteranges; boundary=(%w+)$")
    assert.equal(206, answer.status)
    assert.is_nil(answer.headers["content-range"])
    local part = "\r\n--%s\r\ncontent-type: text/plain; charset=utf-8\r\n"
      .. "content-range: bytes %s/10\r\n\r\n%s"
    local body = part:format(boundary, "0-1", "01") .. part:format(boundary, "8-9", "89")
    assert.equal(body .. ("\r\n--%s--\r\n"):format(boundary), answer.body)
    assert.equal(#answer.body, tonumber(answer.headers["content-length"]))
  end)

  it("have no part beyond their end", function()
    local answer = get("/files/digits.txt", { range = "bytes=10-" })
    assert.same({ 416, "bytes */10" }, { answer.status, answer.headers["content-range"] })
    local changed = get("/files/digits.txt", { range = "bytes=2-4", ["if-range"] = '"other"' })
    assert.same({ 200, "0123456789" }, { changed.status, changed.body })
    local head = get("/files/digits.txt", { range = "bytes=2-4" }, "HEAD")
    assert.same({ 200, "", "10" }, { head.status, head.body, head.headers["content-length"] })
  end)

  it("are conditional", function()
    local headers = get("/files/digits.txt").headers
    assert.equal(304, get("/files/digits.txt", { ["if-none-match"] = headers.etag }).status)
    local since = { ["if-modified-since"] = headers["last-modified"] }
    assert.equal(304, get("/files/digits.txt", since).status)
    assert.equal(412, get("/files/digits.txt", { ["if-match"] = '"other"' }).status)
    local some = { range = "bytes=2-4", ["if-range"] = headers.etag }
    assert.equal("234", get("/files/digits.txt", some).body)
  end)

  it("answer GET and HEAD only", function()
    local answer = get("/files/digits.txt", nil, "DELETE")
    assert.same({ 405, "GET, HEAD, OPTIONS" }, { answer.status, answer.headers.allow })
  end)

  it("come compressed from where they lie so, to who accepts it", function()
    local function coded(accepted)
      local answer = get("/app/code.js", { ["accept-encoding"] = accepted })
      assert.equal("accept-encoding", answer.headers.vary)
      assert.truthy(answer.headers["content-type"]:find("^text/javascript"))
      return { answer.body, answer.headers["content-encoding"] }
    end
    assert.same({ "br of it", "br" }, coded("gzip, deflate, br"))
    assert.same({ "gz of it", "gzip" }, coded("gzip;q=0.5, br;q=0"))
    assert.same({ "code" }, coded("identity"))
    assert.equal("max-age=60", get("/app/code.js").headers["cache-control"])
  end)

  it("have one that stands in for those that are not there", function()
    local answer = get("/app/no/such/page")
    assert.same({ 200, "<p>" }, { answer.status, answer.body })
    assert.equal(404, get("/files/no/such/page").status)
  end)

  it("are not reached by tricks", function()
    for _, path in ipairs {
      "/files/../secret.txt",
      "/files/..%2fsecret.txt",
      "/files/%2e%2e/secret.txt",
      "/files/sub/..%2f..%2fsecret.txt",
      "/files/..%5csecret.txt",
      "/files//../secret.txt",
      "/files/.env",
      "/files/%2eenv",
      "/files/digits.txt%00.html",
      "/files/digits.txt/",
    } do
      local head = ("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path)
      local answer = clients.raw(it_runs.port, { { "send", head } }).received
      assert.truthy(answer:find("^HTTP/1.1 40[04] "), path .. ": " .. answer)
      assert.is_nil(answer:find("secret", 1, true))
    end
  end)

  it("lead from a folder to its slash, wherever that is", function()
    local curl = "curl -sSL -w ' %%{url_effective}' %s 2>&1"
    local said = server.shell(curl:format(server.quote(it_runs.url .. "/files/sub?a=b")))
    if said:find("not found") then
      return pending("there is no curl")
    end
    assert.equal("<p>sub " .. it_runs.url .. "/files/sub/?a=b", said)
  end)
end)
