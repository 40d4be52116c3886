local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = "spec/support/apps/addresses.lua"

describe("an address", function()
  after_each(server.clean)

  local function start(address, options)
    return server.start({ "run", APP, "--listen", address }, options)
  end

  local function status_at(where)
    return clients.at(where, { path = "/" }).status
  end

  --- The ready line behind the one that `match` finds is the address's own.
  local function port_of(it_runs, pattern)
    return assert(it_runs:stderr():match("listening on http://" .. pattern .. ":(%d+)"))
  end

  it("that is localhost is both loopbacks, on one port", function()
    local it_runs = start("localhost:0")
    local port = port_of(it_runs, "%[::1%]")
    assert.truthy(it_runs:stderr():find("http://127.0.0.1:" .. port .. "\n", 1, true))
    assert.equal(200, status_at("127.0.0.1:" .. port))
    assert.equal(200, status_at("[::1]:" .. port))
    assert.equal(0, it_runs:stop())
  end)

  it("of everything takes IPv4 and IPv6, and tells who came as people write it", function()
    for _, address in ipairs { ":0", "[::]:0" } do
      local it_runs = start(address)
      local port = port_of(it_runs, "%[::%]")
      local body = clients.at("127.0.0.1:" .. port, { path = "/" }).body
      assert.truthy(body:find('"127.0.0.1"', 1, true), body)
      assert.is_nil(body:find("ffff", 1, true), body)
      assert.equal(200, status_at("[::1]:" .. port))
    end
  end)

  it("of IPv6 alone leaves IPv4 to others", function()
    local port = port_of(start("[::]:0,v6only"), "%[::%]")
    assert.equal(200, status_at("[::1]:" .. port))
    assert.truthy(clients.at("127.0.0.1:" .. port, { path = "/" }).error)
  end)

  it("of IPv6 stands beside one of IPv4 with that port", function()
    --- A port that was free for both a moment ago; somebody else may be quicker.
    local function start_both()
      local first = start("[::]:0")
      local port = port_of(first, "%[::%]")
      assert.equal(0, first:stop())
      local listen = { "--listen", "[::]:" .. port, "--listen", "0.0.0.0:" .. port }
      local ok, both = pcall(server.start, { "run", APP, unpack(listen) }, { listen = false })
      assert(ok or both:find("in use", 1, true), both)
      return ok and both, port
    end

    local both, port
    for _ = 1, 5 do
      both, port = start_both()
      if both then
        break
      end
    end
    assert.equal(200, status_at("127.0.0.1:" .. port))
    assert.equal(200, status_at("[::1]:" .. port))
    assert.equal(0, both:stop())
  end)

  describe("that is a file", function()
    it("has the mode it is given, and goes when the server does", function()
      local path = server.scratch() .. "/rille.sock"
      local it_runs = start("unix:" .. path .. ",mode=0620")
      assert.equal("620 socket\n", server.shell("stat -c '%a %F' " .. path))
      assert.equal(200, status_at("unix:" .. path))
      assert.equal(0, it_runs:stop())
      assert.equal("no\n", server.shell("test -e " .. path .. " && echo yes || echo no"))
    end)

    it("is replaced when nobody answers, and refused when somebody does", function()
      local path = server.scratch() .. "/rille.sock"
      local first = start("unix:" .. path)
      local status, said = server.run { "run", APP, "--listen", "unix:" .. path }
      assert.equal(1, status)
      assert.truthy(said:find("in use", 1, true), said)
      assert.equal(200, status_at("unix:" .. path))
      first:signal("KILL")
      server.eventually(5, function()
        return first:status()
      end)
      local second = start("unix:" .. path)
      assert.equal(200, status_at("unix:" .. path))
      assert.equal(0, second:stop())
    end)

    it("is left alone when it has become somebody else's", function()
      local path = server.scratch() .. "/rille.sock"
      local first = start("unix:" .. path)
      os.remove(path)
      local second = start("unix:" .. path)
      assert.equal(0, first:stop())
      assert.equal(200, status_at("unix:" .. path))
      assert.equal(0, second:stop())
    end)

    it("and no socket is never replaced", function()
      local path = server.scratch() .. "/precious"
      server.write(path, "words")
      local status, said = server.run { "run", APP, "--listen", "unix:" .. path }
      assert.equal(1, status, said)
      assert.equal("words", server.read_file(path))
    end)
  end)

  it("may be a name without a file", function()
    local name = "rille-spec-" .. server.scratch():match("[^/]*$")
    local it_runs = start("unix:@" .. name)
    assert.equal(200, status_at("unix:@" .. name))
    assert.is_nil(clients.at("unix:@" .. name, { path = "/told" }).body:find("client", 1, true))
    assert.equal(0, it_runs:stop())
  end)

  describe("that was passed on", function()
    local function activated(doors, arguments)
      local through = { "/usr/bin/python3", "spec/support/activate.py" }
      for _, door in ipairs(doors) do
        through[#through + 1] = door
      end
      through[#through + 1] = "--"
      local all = { "run", APP }
      for _, argument in ipairs(arguments or {}) do
        all[#all + 1] = argument
      end
      return server.start(all, { listen = false, through = through })
    end

    it("by systemd is taken without a word", function()
      local path = server.scratch() .. "/passed.sock"
      local it_runs = activated { "web=127.0.0.1:0", "local=unix:" .. path }
      assert.equal(200, clients.fetch(it_runs.url .. "/").status)
      assert.equal(200, status_at("unix:" .. path))
      assert.equal(0, it_runs:stop())
      -- It is systemd's, not ours.
      assert.equal("yes\n", server.shell("test -S " .. path .. " && echo yes || echo no"))
    end)

    it("by systemd is found by its name, or by its number", function()
      local path = server.scratch() .. "/passed.sock"
      local doors = { "local=unix:" .. path, "web=127.0.0.1:0" }
      local it_runs = activated(doors, { "--listen", "systemd:web" })
      assert.equal(200, clients.fetch(it_runs.url .. "/").status)
      assert.is_nil(it_runs:stderr():find(path, 1, true))
      it_runs = activated({ "web=127.0.0.1:0" }, { "--listen", "fd:3" })
      assert.equal(200, clients.fetch(it_runs.url .. "/").status)
    end)

    it("to another process is not ours", function()
      local env = { LISTEN_FDS = "1", LISTEN_PID = "1" }
      local status, said = server.run({ "run", APP, "--listen", "systemd" }, env)
      assert.equal(1, status)
      assert.truthy(said:find("passed no sockets", 1, true), said)
    end)
  end)

  it("that makes no sense is refused in a sentence", function()
    for address, why in pairs {
      ["unix:/tmp/x,mod=600"] = "no option 'mod'",
      ["systemd"] = "passed no sockets",
    } do
      local status, said = server.run { "run", APP, "--listen", address }
      assert.equal(1, status, said)
      assert.truthy(said:find(why, 1, true), said)
      assert.equal(1, server.count(said, "\n"), said)
    end
  end)
end)
