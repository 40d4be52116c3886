local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/workers.lua"

describe("several workers", function()
  after_each(server.clean)

  --- How often each worker noted this, from worker 0 on, before the ready line or at all.
  local function noted(text, what, count)
    local times = {}
    for id = 0, count - 1 do
      local line = ("noted: worker %d of %d: %s\n"):format(id, count, what)
      times[#times + 1] = server.count(text, line)
    end
    return times
  end

  it("start each, before the first connection, and stop each, after the last", function()
    local running = server.start { "run", APP, "--workers", "4" }
    assert.equal(1, server.count(running:stderr(), "rille: listening on "))
    assert.same({ 1, 1, 1, 1 }, noted(running:stderr(), "starts", 4))
    local answer = json.decode(clients.fetch(running.url .. "/worker").body)
    assert.equal(4, answer.count)
    assert.equal(0, running:stop())
    assert.same({ 1, 1, 1, 1 }, noted(running:stderr(), "stops", 4))
  end)

  describe("are as many as", function()
    local function count(arguments, env)
      local running = server.start({ "run", APP, unpack(arguments) }, { env = env })
      local answer = json.decode(clients.fetch(running.url .. "/worker").body)
      assert.equal(0, running:stop())
      return answer.count
    end

    it("the flag says, the environment, the script, in this order", function()
      assert.equal(2, count({ "--workers", "2" }, { RILLE_WORKERS = "4" }))
      assert.equal(4, count({}, { RILLE_WORKERS = "4" }))
      assert.equal(3, count({}, { RILLE_WORKERS = "" }))
    end)

    it("makes sense", function()
      for _, number in ipairs { "0", "1.5", "many", "257" } do
        local status, said = server.run { "run", APP, "--workers", number }
        assert.equal(2, status)
        assert.truthy(said:find("--workers", 1, true) or said:find("whole number"), said)
      end
    end)
  end)

  for where, told in pairs { load = "cannot load", start = "cannot start" } do
    it(("do not serve when one of them cannot %s"):format(where), function()
      local arguments = { "run", APP, "--workers", "4", "--listen", "127.0.0.1:0" }
      local status, said = server.run(arguments, { BREAK = where })
      assert.equal(1, status, said)
      assert.equal(1, server.count(said, told), said)
      assert.equal(0, server.count(said, "listening"), said)
    end)
  end

  it("do not share a port with a stranger, who learns it", function()
    local running = server.start { "run", APP, "--workers", "4" }
    local address = "127.0.0.1:" .. running.port
    for _, number in ipairs { "1", "4" } do
      local status, said =
        server.run { "run", APP, "--workers", number, "--listen", address }
      assert.equal(1, status)
      local told = ": Address already in use, by another process (port 0 picks a free one)"
      assert.truthy(said:find(address .. told, 1, true), said)
    end
    assert.equal(0, running:stop())
  end)

  describe("are one for their consumers:", function()
    local running

    before_each(function()
      running = server.start { "run", APP, "--workers", "4" }
    end)

    after_each(function()
      assert.equal(0, running:stop())
    end)

    local function ask(path)
      local answer = clients.fetch(running.url .. path)
      assert.equal(200, answer.status, answer.body)
      return json.decode(answer.body)
    end

    --- A plan for a crowd; see crowd.py.
    local function gather(plan)
      plan.path = "/room"
      return clients.open("crowd.py", tostring(running.port), plan)
    end

    for kind, what in pairs { frame = "the core sends", told = "handlers send" } do
      it("what " .. what .. " to a group, each hears once and in order", function()
        local crowd = gather { members = 40, senders = 8, messages = 40, kind = kind }
        local heard = crowd:wait("heard")
        assert.same({ 40 * 8 * 40, 0 }, { heard.count, heard.wrong })
        crowd:finish()
      end)
    end

    it("connections are spread over them evenly", function()
      local crowd = gather { members = 200 }
      local workers = crowd:wait("open").workers
      crowd:finish()
      for id = 0, 3 do
        local count = workers[tostring(id)] or 0
        assert.is_true(count >= 42 and count <= 58, json.encode(workers))
      end
    end)

    it("a group counts members wherever they are", function()
      local crowd = gather { members = 20, stay = true }
      crowd:wait("open")
      assert.same({ 20 }, ask("/count?group=room"))
      local names, known = ask("/members?group=room"), {}
      for name in running:stderr():gmatch("has (%S+)") do
        known[#known + 1] = name
      end
      table.sort(names)
      table.sort(known)
      assert.equal(20, #known)
      assert.same(known, names)
      assert.same({ 20, 0 }, ask("/send?group=room&text=kind+0+0"))
      assert.equal(0, running:stop())
      assert.equal(20, crowd:wait("closed").codes["1001"])
      crowd:finish()
    end)

    it("a channel is reached, and put into a group, from any of them", function()
      local crowd = gather { members = 6, stay = true }
      crowd:wait("open")
      local names = {}
      for name in running:stderr():gmatch("has (%S+)") do
        names[#names + 1] = name
      end
      assert.equal(6, #names)
      for i = 1, 3 do
        assert.same({ 1, 0, true, 1, 0 }, ask("/place?channel=" .. names[i]))
      end
      -- Of a channel that is gone, a worker learns only when it waits for an answer.
      local stale = ask("/place?channel=" .. names[1]:gsub("%d+$", "77"))
      assert.same({ false, 0, 0 }, { stale[3], stale[4], stale[5] })
      assert.equal(0, running:stop())
      crowd:finish()
    end)
  end)

  describe("part with their clients", function()
    local function drained(members, arguments)
      local running = server.start { "run", APP, "--workers", "4", unpack(arguments) }
      local plan = { path = "/room", members = members, stay = true }
      local crowd = clients.open("crowd.py", tostring(running.port), plan)
      crowd:wait("open")
      assert.equal(0, running:stop())
      local closed = crowd:wait("closed")
      crowd:finish()
      local left = {}
      for channel, code in running:stderr():gmatch("disconnects (%S+) with (%d+)") do
        assert.is_nil(left[channel], "two disconnects")
        left[channel] = code
        left[#left + 1] = channel
      end
      assert.equal(members, #left)
      return closed
    end

    it("one after the other, when they are many", function()
      local closed = drained(100, { "--drain-jitter", "60" })
      assert.same({ ["1001"] = 100 }, closed.codes)
      assert.is_true(closed.span > 0.6, closed.span) -- 100 times 10 ms, on four workers at once
    end)

    it("at once when told so, and with the code they were told", function()
      local closed = drained(50, { "--drain-jitter", "0", "--drain-code", "1012" })
      assert.same({ ["1012"] = 50 }, closed.codes)
    end)
  end)

  it("share what is not spread by the kernel: a Unix socket, and a limit of all", function()
    local path = server.scratch() .. "/socket"
    local running = server.start(
      { "run", APP, "--workers", "4", "--listen", "unix:" .. path },
      { env = { LIMIT = "10" } }
    )
    assert.truthy(running:stderr():find("unix:" .. path, 1, true))
    local plan = { path = "/room", members = 9, stay = true }
    local crowd = clients.open("crowd.py", tostring(running.port), plan)
    crowd:wait("open")
    local fetch = ("curl -s --max-time 5 --unix-socket %s http://x/worker"):format(path)
    assert.equal(4, json.decode(server.shell(fetch)).count) -- the tenth
    plan.members = 1
    local tenth = clients.open("crowd.py", tostring(running.port), plan)
    tenth:wait("open")
    assert.equal("", server.shell(fetch)) -- the eleventh
    assert.is_true(running:says("max_connections (10) reached"))
    assert.equal(0, running:stop())
    crowd:finish()
    tenth:finish()
    assert.is_nil(server.read_file(path))
    assert.equal("", server.shell("ls " .. path .. " 2>/dev/null"))
  end)

  describe("reload together", function()
    local SCRIPT = [[
local rille = require("rille")
local WORD = "%s"
if rille.worker.id == %d then
  error("not here")
end
return rille.app {
  routes = { rille.get("/word", function() return 200, rille.worker.id .. " " .. WORD end) },
}
]]

    --- What each worker that answers some connections says.
    local function words(running)
      local client = clients.run("again.py", tostring(running.port), "/word", "24")
      local said = {}
      for answer in pairs(client:get("answers").answers) do
        local id, word = answer:match("(%d) (%w+)")
        said[id] = word
      end
      return said
    end

    it("or not at all", function()
      local path = server.scratch() .. "/app.lua"
      server.write(path, SCRIPT:format("one", 9))
      local running = server.start { "run", path, "--workers", "3" }
      server.write(path, SCRIPT:format("two", 1))
      running:signal("HUP")
      assert.is_true(running:says("the old code serves on: worker 1: "))
      server.write(path, SCRIPT:format("two", 9))
      for _, word in pairs(words(running)) do
        assert.equal("one", word)
      end
      for _ = 1, 5 do
        running:signal("HUP") -- one of them, or two, do the work of all
      end
      assert.is_true(running:says("generation 2 serves"))
      for _, word in pairs(words(running)) do
        assert.equal("two", word)
      end
      server.write(path, "return 5")
      running:signal("HUP")
      assert.is_true(running:says("does not return rille.app"))
      assert.equal(1, server.count(running:stderr(), "does not return rille.app"))
      assert.equal(0, running:stop())
    end)
  end)
end)
