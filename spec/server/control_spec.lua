--- The control socket of a running process, and the commands that use it.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
local Echo = rille.WebsocketConsumer:extend("Echo")
function Echo:receive(text) self:asend { text_data = text } end
return rille.app {
  limits = { handler_cpu_limit = false },
  routes = {
    rille.websocket("/ws", Echo),
    rille.get("/word", function() return 200, "%s" end),
    rille.get("/busy", function()
      repeat until io.open(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/enough")
      return 200, "done"
    end),
  },
}
]]

describe("the control socket", function()
  local folder, path, env, it_runs, client

  local function rille(...)
    return server.run({ ... }, env)
  end

  local function word()
    return clients.fetch(it_runs.url .. "/word").body
  end

  local function socket()
    return server.shell(("ls %s/rille 2>/dev/null"):format(folder)):gsub("%s+$", "")
  end

  setup(function()
    folder = server.scratch()
    path = folder .. "/shop/app.lua"
    env = { XDG_RUNTIME_DIR = folder }
    os.execute("mkdir " .. folder .. "/shop")
    server.write(path, APP:format("one"))
    it_runs = server.start({ "run", path, "--workers", "2" }, { env = env })
  end)

  teardown(server.clean)

  it("is named after the application, and for its user alone", function()
    assert.truthy(socket():find("^shop%-%x+%." .. it_runs.pid .. "%.sock$"), socket())
    local modes = server.shell(("stat -c %%a %s/rille %s/rille/*"):format(folder, folder))
    assert.equal("700\n600\n", modes)
  end)

  it("tells how the process does", function()
    client = clients.open("ws.js", it_runs.ws .. "/ws", { { "text", "a" }, { "receive" } })
    client:wait("message")
    local status, err, out = rille("status", folder .. "/shop", "--json")
    assert.equal(0, status, err)
    local told = json.decode(out)
    assert.equal(it_runs.pid, told.pid)
    assert.equal("serving", told.state)
    assert.equal(1, told.generation.number)
    assert.same({ it_runs.url }, told.listening)
    assert.equal(2, #told.workers)
    assert.equal(1, told.workers[1].websockets + told.workers[2].websockets)
    local routes = {}
    for _, route in ipairs(told.routes) do
      routes[route.route] = route
    end
    assert.equal(1, routes["/ws"].open)
    assert.equal("Echo", routes["/ws"].consumer)
    assert.equal("default", told.databases[1].name)
    assert.equal(2, #told.layer)
    assert.equal(0, told.counters.handlers_failed)

    status, err, out = rille("status", path)
    assert.equal(0, status, err)
    assert.truthy(out:find("pid " .. it_runs.pid .. ", up ", 1, true), out)
    assert.truthy(out:find("websocket /ws Echo\n", 1, true), out)
  end)

  it("reloads, rolls back, and says what came of it", function()
    server.write(path, APP:format("two"))
    assert.equal("one", word())
    local status, err, out = rille("reload", folder .. "/shop")
    assert.equal(0, status, err)
    assert.truthy(out:find("^generation 2 %(%x+%) serves\n$"), out)
    assert.equal("two", word())

    server.write(path, "local x =\n" .. APP:format("three"))
    status, err = rille("reload") -- the only one there is
    assert.equal(1, status)
    assert.truthy(err:find("rille: .*app.lua:2: unexpected symbol"), err)
    server.write(path, "local function fail()\n  error('not today')\nend\nfail()\nreturn 1\n")
    status, err = rille("reload", path)
    assert.equal(1, status)
    assert.truthy(err:find("app.lua:2: not today\nstack traceback:", 1, true), err)
    assert.equal("two", word())
    local _, _, told = rille("status", path)
    assert.truthy(told:find("reloads    1, 2 failed\nthe last reload failed: ", 1, true), told)

    status, err, out = rille("rollback", path)
    assert.equal(0, status, err)
    assert.truthy(out:find("^generation 1 "), out)
    assert.equal("one", word())
    status, err = rille("rollback", path)
    assert.equal(1, status)
    assert.truthy(err:find("there is no code to return to", 1, true), err)
    server.write(path, APP:format("two"))
  end)

  it("answers while a worker does not", function()
    local busy = io.popen(("curl -s -m 30 %s/busy 2>&1"):format(it_runs.url))
    assert.is_truthy(server.eventually(10, function()
      local _, _, out = rille("status", path)
      return out:find("gives no answer: a handler does not let go of it", 1, true)
    end))
    server.write(folder .. "/shop/enough", "")
    assert.equal("done", busy:read("*a"))
    busy:close()
  end)

  it("hangs up on whoever speaks something else, and bounds what it keeps", function()
    local test = [[
import socket, struct, sys
def talk(data, answers):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(sys.argv[1])
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR) if answers is None else None
        while s.recv(65536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    s.close()
def frame(kind, payload=b""):
    return struct.pack(">I", len(payload) + 1) + kind + payload
talk(b"GET / HTTP/1.1\r\n\r\n", 0)
talk(struct.pack(">I", 0), 0)
talk(b"\xff" * 100, 0)
talk(frame(b"?"), 0)
talk(frame(b"s") + frame(b"s"), 0)
talk(frame(b"e", b"1") + b"\x00\x00", None)
talk(frame(b"a", b"99"), None)
talk(frame(b"a") + frame(b"a"), None)
talk(frame(b"i") + frame(b"c"), None)
for n in range(60):
    talk(frame(b"s", b"json"), None)
print("through")
]]
    local said = server.shell(("/usr/bin/python3 -c %s %s/rille/%s 2>&1"):format(
      server.quote(test), folder, socket()))
    assert.equal("through\n", said)
    assert.equal(0, (rille("status", path)))
  end)

  it("says in a sentence when nobody is there, or nobody may", function()
    local status, err = rille("status", "spec")
    assert.equal(1, status)
    assert.truthy(err:find("no process of this user serves spec (looked in ", 1, true), err)
    status, err = rille("reload", "--control", folder .. "/nothing")
    assert.equal(1, status)
    assert.truthy(err:find("^rille: nobody answers at .*/nothing: No such file or directory\n$"),
      err)
    status, err = rille("reload", folder .. "/no-such-app")
    assert.equal(1, status)
    assert.truthy(err:find("no application at ", 1, true), err)
    -- As somebody who is not root; root may do everything.
    local drop = server.shell("id -u"):find("^0") and "setpriv --reuid=65534 --clear-groups " or ""
    os.execute(("cp %s %s/rille-copy && chmod 755 %s %s/rille-copy"):format(
      os.getenv("RILLE_BIN") or ".build/src/rille", folder, folder, folder))
    os.execute(("chmod %s %s/rille/*"):format(drop == "" and "0" or "600", folder))
    os.execute(("chmod 711 %s/rille"):format(folder))
    local said = server.shell(("%s%s/rille-copy reload --control %s/rille/%s 2>&1"):format(
      drop, folder, folder, socket()))
    assert.truthy(said:find("^rille: no permission for .*: it is for %w+ alone\n$"), said)
    os.execute(("chmod 700 %s/rille && chmod 600 %s/rille/*"):format(folder, folder))
  end)

  it("goes with the process, and a dead one's is replaced", function()
    assert.equal(0, it_runs:stop())
    client:finish()
    assert.equal("", socket())
    local own = folder .. "/own.sock"
    it_runs = server.start({ "run", path, "--control", own }, { env = env })
    it_runs:signal("KILL")
    server.eventually(5, function()
      return it_runs:status()
    end)
    assert.equal(1, (rille("status", "--control", own)))
    it_runs = server.start({ "run", path, "--control", own }, { env = env })
    assert.equal(0, (rille("status", "--control", own)))
    local status, err = rille("run", path, "--listen", "127.0.0.1:0", "--control", own)
    assert.equal(1, status)
    assert.truthy(err:find("own.sock", 1, true), err)
    assert.equal(0, it_runs:stop())
    assert.equal("", server.shell("ls " .. own .. " 2>/dev/null"))
    it_runs = server.start({ "run", path, "--control", "off" }, { env = env })
    assert.equal("", socket())
    assert.equal(0, it_runs:stop())
  end)

  it("is where the script wants it, and found by the script's name", function()
    local shop = folder .. "/shop"
    local text = APP:format("two"):gsub("limits", 'control = "own,mode=0660", limits', 1)
    server.write(path, text)
    it_runs = server.start({ "run", path, "--workers", "1" }, { env = env })
    assert.equal("660\n", server.shell("stat -c %a " .. shop .. "/own"))
    assert.equal(0, (rille("status", "--control", shop .. "/own")))
    assert.equal(0, (rille("status", "--control", shop .. "/own,mode=0660")))
    server.write(path, (text:gsub('"own,mode=0660"', '"off"')))
    assert.equal(0, (rille("reload", shop)))
    assert.truthy(it_runs:stderr():find("control: off is for the next start", 1, true))
    assert.equal(0, it_runs:stop())
    assert.equal("", socket())
    it_runs = server.start({ "run", path }, { env = env })
    assert.equal(1, (rille("status", shop)))
    assert.equal(0, it_runs:stop())
    it_runs = server.start({ "run", path, "--control", folder .. "/mine" }, { env = env })
    assert.equal(0, (rille("status", shop))) -- a flag is stronger
    assert.equal(0, it_runs:stop())
  end)
end)
