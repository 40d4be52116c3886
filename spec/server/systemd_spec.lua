local server = require("spec.support.server")

describe("a service manager", function()
  after_each(server.clean)

  --- A manager with its socket at `path`, and what answers with what it has heard.
  local function manager(path)
    local heard = server.scratch() .. "/heard"
    local line = "/usr/bin/python3 spec/support/notified.py %s %s >/dev/null 2>&1 &"
    os.execute(line:format(path, heard))
    local function hears(pattern, seconds)
      return server.eventually(seconds or 5, function()
        return (server.read_file(heard) or ""):match(pattern)
      end)
    end
    assert.truthy(hears("^ready\n"))
    return hears, function()
      return server.count(server.read_file(heard), "WATCHDOG=1")
    end
  end

  for _, kind in ipairs { "/", "@" } do
    it("hears of the start, a reload and the stop by " .. kind, function()
      local folder = server.scratch()
      local path = kind == "/" and folder .. "/notify" or "@rille-spec-" .. folder:match("[^/]*$")
      local hears = manager(path)
      local it_runs = server.start(
        { "run", "examples/hello.lua" },
        { env = { NOTIFY_SOCKET = path } }
      )
      assert.equal(tostring(it_runs.pid), hears("\nREADY=1 MAINPID=(%d+) STATUS=[^\n]+\n"))
      it_runs:signal("HUP")
      assert.truthy(hears("\nRELOADING=1 [^\n]*MONOTONIC_USEC=%d+\nREADY=1 STATUS="))
      assert.equal(0, it_runs:stop())
      assert.truthy(hears("\nSTOPPING=1 STATUS="))
    end)
  end

  it("hears who takes over at an upgrade, which is no stop", function()
    local folder = server.scratch()
    local own = folder .. "/own.sock"
    local hears = manager(folder .. "/notify")
    local it_runs = server.start(
      { "run", "examples/hello.lua", "--control", own },
      { env = { NOTIFY_SOCKET = folder .. "/notify" } }
    )
    local status, err, out = server.run { "upgrade", "--control", own }
    assert.equal(0, status, err)
    local pid = out:match("^process (%d+) serves")
    assert.not_equal(tostring(it_runs.pid), pid)
    assert.truthy(hears("\nREADY=1 MAINPID=" .. pid .. " STATUS=[^\n]+\nMAINPID=" .. pid .. "\n"))
    assert.is_truthy(server.eventually(10, function()
      return it_runs:status()
    end))
    assert.is_nil(hears("STOPPING=1", 0.1))
    server.shell("kill " .. pid)
    assert.truthy(hears("\nSTOPPING=1 STATUS="))
  end)

  describe("with a watchdog", function()
    local folder, pings, it_runs

    --- `whose`: the WATCHDOG_PID, "$$" for the server's own.
    local function start(whose)
      folder = server.scratch()
      local script = folder .. "/app.lua"
      server.write(
        script,
        ([[
          local rille = require("rille")
          return rille.app {
            limits = { handler_cpu_limit = false },
            routes = { rille.get("/busy", function()
              rille.log("busy from here on")
              repeat
                local file = io.open("%s/enough")
              until file
              return 200, "done"
            end) },
          }
        ]]):format(folder)
      )
      local _
      _, pings = manager(folder .. "/notify")
      it_runs = server.start({ "run", script, "--workers", "2" }, {
        env = { NOTIFY_SOCKET = folder .. "/notify", WATCHDOG_USEC = "100000" },
        through = { "sh", "-c", ("WATCHDOG_PID=%s exec \"$0\" \"$@\""):format(whose) },
      })
    end

    local function more_pings()
      local before = pings()
      return server.eventually(5, function()
        return pings() > before + 1
      end)
    end

    it("hears pings, but for as long as one worker's script does not let go", function()
      start("$$")
      assert.truthy(more_pings())
      os.execute(("curl -sS %s/busy >%s/said &"):format(it_runs.url, folder))
      assert.is_true(it_runs:says("busy from here on"))
      server.sleep(0.2) -- one may be on its way
      local before = pings()
      server.sleep(0.4)
      assert.equal(before, pings())
      server.write(folder .. "/enough", "")
      assert.truthy(more_pings())
      assert.equal("done", server.read_file(folder .. "/said"))
      assert.equal(0, it_runs:stop())
    end)

    it("of another process hears nothing", function()
      start("1")
      server.sleep(0.3)
      assert.equal(0, it_runs:stop())
      assert.equal(0, pings())
    end)
  end)

  it("finds nothing to object to in the units", function()
    if not server.shell("command -v systemd-analyze"):find("/") then
      return pending("there is no systemd-analyze")
    end
    local folder = server.scratch()
    local line = "cd %s; cp %s/examples/systemd/rille.* .;"
      .. " sed -i 's|^ExecStart=.*|ExecStart=/bin/true|' rille.service;"
      .. " systemd-analyze verify ./rille.service ./rille.socket 2>&1"
    local here = server.shell("pwd"):gsub("%s+$", "")
    local said = server.shell(line:format(folder, here))
    assert.is_nil(said:find("rille%.%w+:"), said)
  end)
end)
