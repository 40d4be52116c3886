--- Ten thousand connections that rest, a thousand that talk, and peers among them that mean no
--- good: nobody else is to notice.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local LOAD = (os.getenv("RILLE_BIN") or ".build/src/rille"):gsub("src/rille$", "spec/bench/load")
local PEERS, SECONDS = 120, 4
local MEMORY = 64 * 2 ^ 20 -- what peers of that number may make it need, whatever they do

-- Descriptors bound both sides: the server has all of them, the load generator what rests.
local descriptors = tonumber((server.shell("ulimit -Hn"):gsub("unlimited", "1000000")))
local IDLE = math.min(10000, math.floor((descriptors - 600) / 1.1))
local ACTIVE = math.floor(IDLE / 10)

local function say_scaled(wanted, got)
  if got < wanted then
    io.stderr:write(
      ("crowd_spec: %d connections, not %d: there are %d descriptors\n"):format(
        got,
        wanted,
        descriptors
      )
    )
  end
end

describe("a server in a crowd #slow", function()
  local it_runs, admin, idle

  after_each(function()
    if idle then
      idle:close()
      idle = nil
    end
    server.clean()
  end)

  local function start(...)
    it_runs = server.start {
      "run",
      "spec/support/apps/crowd.lua",
      "--no-access-log",
      "--admin",
      "127.0.0.1:0",
      ...,
    }
    admin = it_runs:stderr():match("rille: admin on (%S+)")
  end

  --- The generator holds connections until its standard input is closed.
  local function hold(count)
    local line = ("%s idle -c %d 127.0.0.1:%d/rest >%s/idle 2>&1; echo $? >%s/idle.status"):format(
      LOAD,
      count,
      it_runs.port,
      it_runs.folder,
      it_runs.folder
    )
    idle = io.popen(line, "w")
    assert(server.eventually(120, function()
      return (server.read_file(it_runs.folder .. "/idle") or ""):find("connections=" .. count)
        or server.read_file(it_runs.folder .. "/idle.status")
    end))
    local said = server.read_file(it_runs.folder .. "/idle")
    assert.equal(("idle connections=%d\n"):format(count), said)
  end

  --- They are let go; status 0: not one of them was cut off or written to.
  local function release()
    idle:close()
    idle = nil
    assert.equal("0\n", server.read_file(it_runs.folder .. "/idle.status"))
  end

  --- The sum over the workers of a metric; `label`: of those samples that have it.
  local function metric(name, label)
    local total = 0
    local page = server.shell("curl -s --max-time 10 " .. admin .. "/metrics")
    for labels, value in page:gmatch("\n" .. name .. "{([^\n]*)} (%S+)") do
      total = total + (labels:find(label or "", 1, true) and tonumber(value) or 0)
    end
    return total
  end

  local function settles(name, value)
    local now
    server.eventually(30, function()
      now = metric(name)
      return now == value
    end)
    assert.equal(value, now, name)
  end

  --- Of the process: "VmRSS", or "VmHWM", its peak.
  local function memory(which)
    local status = server.read_file(("/proc/%d/status"):format(it_runs.pid))
    return tonumber(status:match(which .. ":%s*(%d+) kB")) * 1024
  end

  it("of enemies loses no word and keeps its bounds", function()
    say_scaled(10000, IDLE)
    start(
      "--workers=2",
      "--limit=request_timeout=1",
      "--limit=body_timeout=1",
      "--limit=keepalive_timeout=1",
      "--limit=send_timeout=1",
      "--limit=close_timeout=1"
    )
    hold(IDLE)
    local command = ("%s pace --calm -c %d --rate %d -w 0.5 -t %d 127.0.0.1:%d/rest 2>&1"):format(
      LOAD,
      ACTIVE,
      ACTIVE,
      SECONDS + 1,
      it_runs.port
    )
    local active = io.popen(command, "r")
    settles("rille_websockets", IDLE + ACTIVE)
    local before = memory("VmRSS")
    local mob = clients.run("mob.py", tostring(it_runs.port), tostring(SECONDS), tostring(PEERS))
    for habit, count in pairs(mob:get("mob").counts) do
      assert.is_true(count[1] > 0, habit)
      assert.equal(0, count[3], habit .. ": the server never got rid of some")
      if not habit:find("^resets") then
        assert.equal(count[1], count[2], habit)
      end
    end
    local said = active:read("*a")
    active:close()
    local answered = tonumber(said:match("answered=(%d+)"))
    assert(answered and answered >= ACTIVE * SECONDS, said)

    settles("rille_websockets", IDLE)
    settles("rille_connections", IDLE)
    settles("rille_requests", 0)
    settles("rille_unsent_bytes", 0)
    local grown = memory("VmHWM") - before
    assert.is_true(grown < MEMORY, ("%.1f MiB more than before"):format(grown / 2 ^ 20))
    assert.equal("fine", clients.fetch(it_runs.url .. "/fine").body)
    for _, limit in ipairs {
      "request_timeouts",
      "body_timeouts",
      "stalled",
      "ws_floods",
      "ws_too_big",
      "ws_pong_timeouts",
      "too_long_heads",
      "bad_requests",
    } do
      local hits = metric("rille_limit_hits_total", ('limit="%s"'):format(limit))
      assert.is_true(hits > 0, limit)
    end
    release()
    assert.equal(0, it_runs:stop())
    assert.is_nil(it_runs:stderr():find("failed in", 1, true), it_runs:stderr())
  end)

  it("of eighteen thousand holds them all, and lets go of what they had", function()
    local many = math.min(18000, descriptors - 600)
    say_scaled(18000, many)
    start("--workers=1")
    local before = memory("VmRSS")
    hold(many)
    assert.equal(many, metric("rille_websockets"))
    local each = (memory("VmRSS") - before) / many
    assert.is_true(each < 2048, ("%d bytes for a connection that rests"):format(each))
    assert.equal("fine", clients.fetch(it_runs.url .. "/fine").body)
    release()
    settles("rille_connections", 0)
    settles("rille_tasks", 0)
    assert.equal(0, it_runs:stop())
  end)
end)
