--- Access lines and the names of requests, on the real binary.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/access.lua"

describe("the log of requests", function()
  after_each(server.clean)

  local function lines_of(it_runs)
    local lines = {}
    for line in it_runs:stderr():gmatch("[^\n]+") do
      if line:find("^{") then
        lines[#lines + 1] = json.decode(line)
      end
    end
    return lines
  end

  local function find(it_runs, condition)
    return server.eventually(5, function()
      for _, line in ipairs(lines_of(it_runs)) do
        if condition(line) then
          return line
        end
      end
    end)
  end

  it("is JSON line by line, whatever clients say, and knows them by their ids", function()
    local it_runs = server.start { "run", APP, "--log-format", "json" }
    local function get(path, headers)
      return clients.fetch(it_runs.url .. path, { headers = headers })
    end
    local answer = get("/id", { ["X-Request-Id"] = "mine-1.2_3" })
    assert.equal("mine-1.2_3", answer.headers["x-request-id"])
    assert.equal("mine-1.2_3", json.decode(answer.body).id)
    local function is_mine(msg)
      return function(line)
        return line.request_id == "mine-1.2_3" and line.message == msg
      end
    end
    local said = find(it_runs, is_mine("in the handler"))
    assert.equal('a "quoted" word', said.more)
    local access = find(it_runs, is_mine("request"))
    assert.same({ "GET", "/id", 200 }, { access.method, access.target, access.status })

    local parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    local trace = json.decode(get("/id", { traceparent = parent }).body).trace
    assert.equal(parent:sub(1, 36), trace:sub(1, 36))
    assert.not_equal(parent, trace)
    for _, bad in ipairs { ("x"):rep(500), 'a"b{}', "a b" } do
      local made = get("/id", { ["X-Request-Id"] = bad }).headers["x-request-id"]
      assert.truthy(made and made ~= bad and made:find("^[%w-]+$"), made)
    end

    local agent = '"},{"forged":1}\t\\u0000\\'
    local targets = { '/any/"},{"message":"forged"}', "/any/\\", "/any/%00%0a%22", "/\127" }
    for _, target in ipairs(targets) do
      clients.raw(it_runs.port, {
        { "send", "GET " .. target .. " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" },
        { "send", "user-agent: " .. agent .. "\r\nreferer: \255\254\r\n\r\n" },
      })
    end
    local hostile = find(it_runs, function(line)
      return line.target == '/any/"},{"message":"forged"}'
    end)
    assert.equal(agent, hostile.agent)
    assert.equal(0, it_runs:stop())
    for _, line in ipairs(lines_of(it_runs)) do -- each has been decoded
      assert.is_nil(line.forged)
      assert.not_equal("forged", line.message)
    end
  end)

  it("stops nobody when it is read by nobody", function()
    local pipe = server.scratch() .. "/pipe"
    server.shell(("mkfifo %s"):format(pipe))
    -- A reader that opens the pipe and never reads; the server's log goes there once it serves.
    local holder = io.popen(("sleep 60 <>%s & echo $!"):format(pipe))
    local reader = holder:read("*l")
    holder:close()
    local folder = server.scratch()
    local line = "RILLE_WORKERS=1 %s run %s --listen unix:%s/s --admin unix:%s/a"
      .. " --database sqlite:%s/db 2>%s >/dev/null & echo $!"
    local binary = os.getenv("RILLE_BIN") or ".build/src/rille"
    local started = io.popen(line:format(binary, APP, folder, folder, folder, pipe))
    local pid = started:read("*l")
    started:close()
    local function metric(name)
      local page = server.shell(("curl -s --unix-socket %s/a http://x/metrics"):format(folder))
      return tonumber(page:match("\n" .. name .. " (%d+)"))
    end
    local url = ("http://x/any/[1-1000]?" .. ("x"):rep(200))
    local flood = "curl -s -o /dev/null -w '%%{http_code}\n' --unix-socket %s/s '%s'"
    flood = flood .. " | sort | uniq -c"
    assert.truthy(server.eventually(10, function()
      return metric("rille_ready") == 1
    end))
    assert.truthy(server.shell(flood:format(folder, url)):find("^%s*1000 200"))
    assert.truthy(metric("rille_log_lines_dropped_total") > 100)
    server.shell(("kill -TERM %s"):format(pid))
    assert.truthy(server.eventually(10, function()
      return server.shell(("kill -0 %s 2>&1"):format(pid)) ~= ""
    end))
    server.shell(("kill %s"):format(reader))
  end)

  it("tells of an event stream once its peer has left, and what it was sent", function()
    local it_runs = server.start { "run", APP, "--log-format", "json" }
    local function is_ticks(line)
      return line.message == "request" and line.target == "/ticks"
    end
    local get = "GET /ticks HTTP/1.1\r\nhost: x\r\n\r\n"
    local stream = clients.open_raw(it_runs.port, {
      { "send", get },
      { "until", "data: first" },
      { "await", it_runs.folder .. "/go" },
      { "leave" },
    })
    server.sleep(0.3)
    assert.equal(0, server.count(it_runs:stderr(), '"/ticks"'))
    server.write(it_runs.folder .. "/go", "")
    stream:finish()
    local line = assert(find(it_runs, is_ticks), it_runs:stderr())
    assert.same({ 200, true }, { line.status, line.aborted })
    assert.truthy(line.bytes > #"data: first")
    assert.equal(0, it_runs:stop())
  end)
end)
