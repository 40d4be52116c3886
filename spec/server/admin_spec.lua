--- The admin address: what is told there, and when.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = "spec/support/apps/admin.lua"

describe("the admin address", function()
  after_each(server.clean)

  local folder, socket

  before_each(function()
    folder = server.scratch()
    socket = folder .. "/admin.sock"
  end)

  local function open(gate)
    server.write(folder .. "/" .. gate, "")
  end

  --- A server whose admin is on a Unix socket.
  local function start(arguments, env)
    env = env or {}
    env.GATES = folder
    return server.start({ "run", APP, "--admin", "unix:" .. socket, unpack(arguments or {}) }, {
      env = env,
    })
  end

  local function ask(path)
    return clients.at("unix:" .. socket, { path = path })
  end

  local function scrape()
    local answer = ask("/metrics")
    assert.equal(200, answer.status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    server.write(folder .. "/page", answer.body)
    local page = clients.run("scrape.py", folder .. "/page"):get("scraped")
    assert.same({}, page.wrong)
    return page
  end

  --- The sum of the samples of that name that have these labels.
  local function sum(page, name, labels)
    local total = 0
    for _, sample in ipairs(page.samples) do
      local fits = sample[1] == name
      for label, value in pairs(labels or {}) do
        fits = fits and sample[2][label] == value
      end
      total = total + (fits and sample[3] or 0)
    end
    return total
  end

  --- README's table, of which a row is a family's name, type, labels and help.
  local function check_table(page)
    local rows, labels = {}, {}
    local section = server.read_file("README.md"):match("\n## Logs and metrics\n(.-)\n## ")
    for name, kind, names, help in
      section:gmatch("\n| `([%w_]+)` | (%a+) | ([%w ]*) | ([^\n]*) |%f[\n]")
    do
      rows[#rows + 1] = table.concat({ name, help, kind }, "\n")
      labels[name] = names
    end
    local exported = {}
    for name, help, kind in
      server.read_file(folder .. "/page"):gmatch("# HELP (%S+) ([^\n]*)\n# TYPE %S+ (%a+)")
    do
      local own = not name:find("^rille_") and not name:find("^process_")
      exported[#exported + 1] = not own and table.concat({ name, help, kind }, "\n") or nil
    end
    assert.same(exported, rows)
    for _, sample in ipairs(page.samples) do
      local said = labels[sample[1]] or labels[sample[1]:gsub("_%a+$", "")]
      for label in pairs(sample[1]:find("^shop_") and {} or sample[2]) do
        assert.truthy(label == "le" or said:find(label, 1, true), sample[1] .. " " .. label)
      end
    end
  end

  local function fetch(it_runs, path, options)
    return clients.fetch(it_runs.url .. path, options).status
  end

  it("counts what clients did, in words that Prometheus reads", function()
    local it_runs = start { "--workers", "2" }
    for _ = 1, 3 do
      assert.equal(200, fetch(it_runs, "/ok"))
    end
    for id = 1, 2 do
      assert.equal(201, fetch(it_runs, "/made/" .. id, { method = "POST", body = "x" }))
    end
    assert.equal(500, fetch(it_runs, "/raises"))
    assert.equal(404, fetch(it_runs, "/nowhere/" .. ("x"):rep(100)))
    assert.equal(405, fetch(it_runs, "/ok", { method = "DELETE" }))
    assert.equal(200, fetch(it_runs, "/odd%22route%5C"))
    local malformed = clients.raw(it_runs.port, { { "send", "GET /\r\n\r\n" } }).received
    assert.equal("400", malformed:match(" (%d+)"))
    local steps = { { "text", "one" }, { "receive" }, { "text", "three" }, { "receive" } }
    local stays = clients.open("ws.py", it_runs.ws .. "/echo", {
      steps[1],
      steps[2],
      { "text", "raise" },
      { "closed" },
    })
    stays:finish()
    assert.equal(1011, stays:get("close").code)
    steps[5] = { "close", 4001, "enough" }
    clients.run("ws.py", it_runs.ws .. "/echo", steps)

    local page
    assert.truthy(server.eventually(5, function()
      page = scrape()
      return sum(page, "rille_websockets") == 0 and sum(page, "rille_connections") == 0
    end))
    check_table(page)
    local function requests(route, method, status)
      local labels = { route = route, method = method, status = status }
      return sum(page, "rille_http_requests_total", labels)
    end
    assert.equal(3, requests("/ok", "GET", "2xx"))
    assert.equal(2, requests("/made/<int:id>", "POST", "2xx"))
    assert.equal(1, requests("/raises", "GET", "5xx"))
    assert.equal(1, requests('/odd"route\\', "GET", "2xx"))
    assert.equal(2, requests("/echo", "GET", "1xx"))
    assert.equal(12, requests())
    assert.equal(12, sum(page, "rille_connections_accepted_total"))
    assert.equal(1, sum(page, "rille_limit_hits_total", { limit = "bad_requests" }))
    assert.equal(4, sum(page, "rille_websocket_messages_received_total"))
    assert.equal(3, sum(page, "rille_websocket_messages_sent_total"))
    assert.equal(1, sum(page, "rille_websockets_closed_total", { code = "1011" }))
    assert.equal(1, sum(page, "rille_websockets_closed_total", { code = "4xxx" }))
    local function events(event, route)
      return sum(page, "rille_events_total", { event = event, route = route })
    end
    assert.equal(4, events("receive", "/echo"))
    assert.equal(2, events("disconnect", "/echo"))
    assert.equal(3, events("open", "/ok"))
    assert.equal(1, sum(page, "rille_handler_errors_total", { route = "/echo" }))
    assert.equal(1, sum(page, "rille_handler_errors_total", { route = "/raises" }))
    assert.equal(2, sum(page, "rille_worker_up"))
    assert.equal(0, sum(page, "rille_groups"))
    assert.equal("histogram", page.families.rille_event_seconds)
    assert.equal(2, sum(page, "shop_made_total", { kind = 'a "thing"' }))
    assert.equal(3, sum(page, "shop_stock", { worker = "1" }))
    assert.equal(2, sum(page, "shop_size_bytes_bucket", { le = "10" }))
    assert.equal(42, sum(page, "shop_size_bytes_sum"))
    assert.truthy(sum(page, "process_resident_memory_bytes") > 2 ^ 20)
    assert.truthy(sum(page, "process_cpu_seconds_total") > 0)
    local age = os.time() - sum(page, "process_start_time_seconds")
    assert.truthy(age > -2 and age < 300, age)
    it_runs:signal("HUP")
    assert.truthy(it_runs:says("generation 2 serves"))
    page = scrape()
    assert.equal(1, sum(page, "rille_reloads_total"))
    assert.equal(4, sum(page, "rille_generation"))
    assert.equal(2, sum(page, "shop_made_total"))
    assert.equal(0, it_runs:stop())
    assert.is_nil(server.read_file(socket))
  end)

  it("says whether it is ready: not before the start has ended, nor while it drains", function()
    local poll = "until curl -s --unix-socket %s http://x/readyz | tee %s/first | grep -q .;"
      .. " do sleep 0.02; done; touch %s/start"
    poll = poll:format(socket, folder, folder)
    os.execute(("timeout 20 sh -c %s &"):format(server.quote(poll)))
    local it_runs = start({}, { GATE_START = "1" })
    assert.equal("starting\n", server.read_file(folder .. "/first"))
    local answer = ask("/readyz")
    assert.same({ 200, "ready\n" }, { answer.status, answer.body })
    local waiter = clients.open("fetch.py", it_runs.url .. "/waits", { method = "GET" })
    assert.truthy(server.eventually(5, function()
      return sum(scrape(), "rille_requests") == 1
    end))
    it_runs:signal("TERM")
    assert.truthy(it_runs:says("stopping"))
    answer = ask("/readyz")
    assert.same({ 503, "draining\n" }, { answer.status, answer.body })
    assert.equal(200, ask("/healthz").status)
    open("waits")
    assert.equal(200, waiter:next().status)
    waiter:finish()
    assert.equal(0, it_runs:stop())
  end)

  it("names a worker that does not answer, until it does", function()
    local it_runs = start()
    assert.equal(200, ask("/healthz").status)
    local spinner = clients.open("fetch.py", it_runs.url .. "/spins", { method = "GET" })
    local answer
    assert.truthy(server.eventually(5, function()
      answer = ask("/healthz")
      return answer.status ~= 200
    end))
    assert.same(
      { 503, "no answer from worker 0 within 1 s\n" },
      { answer.status, answer.body }
    )
    assert.equal(503, ask("/healthz").status)
    local page = scrape()
    assert.equal(1, sum(page, "rille_workers"))
    assert.equal(0, sum(page, "rille_worker_up"))
    open("spins")
    assert.equal(200, spinner:next().status)
    spinner:finish()
    assert.truthy(server.eventually(5, function()
      return ask("/healthz").status == 200
    end))
    assert.equal(1, sum(scrape(), "rille_worker_up"))
    os.remove(folder .. "/spins") -- once more: who waits for an answer when it ends is let go
    spinner = clients.open("fetch.py", it_runs.url .. "/spins", { method = "GET" })
    assert.truthy(server.eventually(5, function()
      return ask("/healthz").status == 503
    end))
    local waiting = clients.open("at.py", "unix:" .. socket, { path = "/metrics" })
    it_runs:signal("TERM")
    assert.truthy(it_runs:says("stopping"))
    open("spins")
    assert.equal(0, it_runs:stop())
    waiting:finish()
    spinner:finish()
  end)

  it("is where the flag says, the environment, the script, in this order", function()
    local function where(arguments, env)
      local it_runs = server.start({ "run", APP, unpack(arguments) }, { env = env })
      local url = it_runs:stderr():match("rille: admin on (%S+)")
      local status = url and url:find("^http") and clients.fetch(url .. "/readyz").status or 200
      assert.equal(200, status)
      assert.equal(0, it_runs:stop())
      return url
    end
    local unix = "unix:" .. socket
    local env = { RILLE_ADMIN = "[::1]:0", SCRIPT_ADMIN = unix }
    assert.truthy(where({ "--admin", "127.0.0.1:0" }, env):find("^http://127.0.0.1:%d+$"))
    assert.equal(unix, where({}, { RILLE_ADMIN = unix, SCRIPT_ADMIN = "127.0.0.1:0" }))
    assert.equal(unix, where({}, { SCRIPT_ADMIN = unix }))
    local status, said = server.run { "run", APP, "--listen", "127.0.0.1:0", "--admin", "nowhere" }
    assert.equal(1, status)
    assert.truthy(said:find("nowhere", 1, true), said)
  end)

  it("answers GET and HEAD, and what is wrong with the rest", function()
    local it_runs = server.start { "run", APP, "--admin", "127.0.0.1:0" }
    local port = it_runs:stderr():match("rille: admin on http://127.0.0.1:(%d+)")
    local function says(bytes)
      return clients.raw(port, { { "send", bytes }, { "finish" } }).received
    end
    local function status(line, more)
      local head = line .. " HTTP/1.1\r\nhost: x\r\n" .. (more or "") .. "\r\n"
      return says(head):match("^HTTP/1.1 (%d+)")
    end
    assert.equal("200", status("GET /readyz?verbose"))
    assert.equal("404", status("GET /"))
    assert.equal("404", status("GET /ok"))
    assert.equal("404", status("GET /metrics/"))
    assert.equal("405", status("POST /metrics", "content-length: 0\r\n"))
    assert.equal("405", status("DELETE /healthz"))
    assert.equal("413", status("GET /readyz", "content-length: 99999\r\n"))
    assert.equal("414", status("GET /" .. ("x"):rep(5000)))
    assert.equal("431", status("GET /readyz", "x: " .. ("x"):rep(20000) .. "\r\n"))
    assert.equal("400", says("GET /readyz\r\n\r\n"):match(" (%d+)"))
    assert.equal("400", says("\22\3\1\2\0\1\0\1"):match(" (%d+)"))
    local shake = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    assert.equal("200", status("GET /readyz", shake))
    local head = says("HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    assert.truthy(head:find("version=0.0.4", 1, true) and head:find("\r\n\r\n$"), head)
    local two = says(("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"):rep(2))
    assert.equal(2, server.count(two, "\r\n\r\nok\n"), two)
    assert.is_nil(it_runs:stderr():find("metrics", 1, true))
    assert.equal(0, it_runs:stop())
  end)
end)
