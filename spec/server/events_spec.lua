-- Event streams: what goes over the wire, and how they end. A browser reads one in
-- spec/server/examples_spec.lua.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

describe("an event stream", function()
  local it_runs

  setup(function()
    it_runs = server.start { "run", "spec/support/apps/events.lua", "--workers", "1" }
  end)

  teardown(function()
    if not it_runs:status() then
      it_runs:stop()
    end
    server.clean()
  end)

  before_each(function()
    assert.is_nil(it_runs:status())
    clients.fetch(it_runs.url .. "/ended") -- forget them
  end)

  local function get(path, headers)
    return ("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(path, headers or "")
  end

  --- A client of a path that reads until it is told to go, or the server ends the stream.
  local function listen(path, ...)
    local client = clients.open_raw(it_runs.port, { { "send", get(path) }, ... })
    assert.is_truthy(server.eventually(5, function()
      return json.decode(clients.fetch(it_runs.url .. "/census").body).consumers >= 2
    end))
    return client
  end

  local function tell(message)
    local body = json.encode(message)
    local told = clients.fetch(it_runs.url .. "/tell", { method = "POST", body = body })
    assert.equal(204, told.status)
  end

  --- How streams ended so far; waits for the first.
  local function ends()
    local ended
    server.eventually(5, function()
      ended = json.decode(clients.fetch(it_runs.url .. "/ended").body)
      return ended[1]
    end)
    return ended
  end

  --- The body, out of its chunks; and whether the last one came.
  local function body_of(received)
    local rest = received:match("\r\n\r\n(.*)$")
    local body = {}
    while rest do
      local size, behind = rest:match("^(%x+)\r\n(.*)$")
      if not size then
        return table.concat(body), false
      end
      local n = tonumber(size, 16)
      if n == 0 then
        return table.concat(body), true
      end
      body[#body + 1] = behind:sub(1, n)
      rest = behind:sub(n + 3)
    end
  end

  it("says what it is, and carries fields as they must be", function()
    local said = clients.raw(it_runs.port, { { "send", get("/dressed", "Connection: close\r\n") } })
    local head = said.received:match("^(.-)\r\n\r\n"):lower()
    assert.truthy(head:find("^http/1.1 200 "))
    assert.truthy(head:find("content-type: text/event-stream; charset=utf-8", 1, true))
    assert.truthy(head:find("x-accel-buffering: no", 1, true))
    assert.truthy(head:find("cache-control: no-store", 1, true))
    assert.is_nil(head:find("no-cache", 1, true))
    assert.truthy(head:find("x-more: 1", 1, true))
    local body, whole = body_of(said.received)
    assert.is_true(whole)
    local events = {}
    for event in body:gmatch("(.-)\n\n") do
      events[#events + 1] = event
    end
    assert.same({
      'event: all\nid: 7\nretry: 1500\ndata: {"a":1}',
      "data: one\ndata: two\ndata: three\ndata: four\ndata: ",
      "data: ",
      "id: ",
    }, { unpack(events, 1, 4) })
    assert.equal(10, #events)
    for i = 5, 10 do
      assert.truthy(events[i]:find("^event: refused\ndata: .*event"), events[i])
    end
  end)

  it("carries messages of the layer, to a client of Node that nobody here wrote", function()
    local headers = { ["last-event-id"] = "41" }
    local reader = clients.open("fetch_stream.js", it_runs.url .. "/feed", headers)
    assert.equal("event: hello\ndata: 41", reader:wait("part").text)
    tell { type = "feed.news", event = { data = "a", id = 42 } }
    assert.equal("id: 42\ndata: a", reader:wait("part").text)
    tell { type = "feed.close" }
    assert.is_true(reader:wait("end").whole)
    reader:finish()
    assert.same({ { code = 1000, reason = "enough" } }, ends())
  end)

  it("holds no task while nothing happens, and goes with its client", function()
    local client = listen("/feed", { "until", "bye" }, { "leave" })
    local idle = json.decode(clients.fetch(it_runs.url .. "/census").body)
    assert.same({ 2, 1 }, { idle.consumers, idle.tasks }) -- the question is one of either
    tell { type = "feed.news", event = { data = "bye" } }
    client:finish()
    assert.equal(1006, ends()[1].code)
    local census = json.decode(clients.fetch(it_runs.url .. "/census").body)
    assert.equal(1, census.consumers)
  end)

  it("has a pulse while nothing happens", function()
    local said = clients.raw(it_runs.port, {
      { "send", get("/slow") },
      { "until", ":\n\n\r\n3\r\n:\n\n" },
      { "leave" },
    })
    local body = body_of(said.received)
    assert.truthy(body:find("^event: hello\ndata: new\n\n:\n\n:\n\n"), body)
  end)

  it("waits for a slow client, and loses none of its events", function()
    local client = listen("/feed", { "until", "hello" }, { "sleep", 0.5 }, { "until", " 150 x" },
      { "until", "x\n\n\r\n" }, { "leave" })
    tell { type = "feed.flood", times = 150 }
    local said = client:next()
    client:finish()
    local body = body_of(said.received)
    local n = 0
    for i in body:gmatch("data: (%d+) x") do
      n = n + 1
      assert.equal(n, tonumber(i))
    end
    assert.equal(150, n)
  end)

  it("is cut off without an end when a handler raises", function()
    local client = listen("/feed", { "until", "hello" })
    tell { type = "feed.raise" }
    local said = client:next()
    client:finish()
    local _, whole = body_of(said.received)
    assert.is_false(whole)
    assert.equal(1011, ends()[1].code)
    assert.is_true(it_runs:says("no more"))
  end)

  it("is cut off when connect raises behind the beginning", function()
    local said = clients.raw(it_runs.port, { { "send", get("/raising") } })
    local body, whole = body_of(said.received)
    assert.same({ "data: so far\n\n", false }, { body, whole })
  end)

  it("can be denied, and answers HEAD and nothing but GET", function()
    assert.equal(204, clients.fetch(it_runs.url .. "/shy").status)
    assert.equal(403, clients.fetch(it_runs.url .. "/closed").status)
    local head = clients.fetch(it_runs.url .. "/feed", { method = "HEAD" })
    assert.same({ 200, "" }, { head.status, head.body })
    assert.truthy(head.headers["content-type"]:find("^text/event%-stream"))
    local post = clients.fetch(it_runs.url .. "/feed", { method = "POST" })
    assert.same({ 405, "GET, HEAD, OPTIONS" }, { post.status, post.headers.allow })
  end)

  it("ends in order when the server drains, the last thing it does", function()
    local client = listen("/feed", { "until", "hello" })
    it_runs:signal("TERM")
    local said = client:next()
    client:finish()
    local body, whole = body_of(said.received)
    assert.same({ "event: hello\ndata: new\n\n", true, "closed" }, { body, whole, said.ended })
    assert.equal(0, it_runs:stop(), it_runs:stderr())
  end)
end)
