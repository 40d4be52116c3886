local server = require("spec.support.server")

describe("a service manager", function()
  after_each(server.clean)

  for _, kind in ipairs { "/", "@" } do
    it("hears of the start, a reload and the stop by " .. kind, function()
      local folder = server.scratch()
      local path = kind == "/" and folder .. "/notify" or "@rille-spec-" .. folder:match("[^/]*$")
      local heard = folder .. "/heard"
      local manager = "/usr/bin/python3 spec/support/notified.py %s %s >/dev/null 2>&1 &"
      os.execute(manager:format(path, heard))
      local function hears(pattern)
        return server.eventually(5, function()
          return (server.read_file(heard) or ""):match(pattern)
        end)
      end
      assert.truthy(hears("^ready\n"))
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
