local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/channels.lua"

describe("a background channel", function()
  after_each(server.clean)

  local running

  local function start(arguments, env)
    running = server.start({ "run", APP, unpack(arguments or {}) }, { env = env })
  end

  local function count(text)
    return server.count(running:stderr(), text)
  end

  local function says(text)
    assert.is_true(running:says(text, 10), running:stderr())
  end

  local function send(messages, name)
    local body = server.quote(json.encode(messages))
    local url = ("%s/send/%s"):format(running.url, name or "jobs")
    return json.decode(server.shell(("curl -sS --data-binary %s %s"):format(body, url)))
  end

  local function notes(n)
    local list = {}
    for i = 1, n do
      list[i] = { type = "note", n = i }
    end
    return list
  end

  it("has each message handled once, on all workers", function()
    start { "--workers", "2" }
    assert.same({ 200, 0 }, send(notes(200)))
    assert.is_truthy(server.eventually(10, function()
      return count("note ") >= 200
    end), running:stderr())
    local seen, on = {}, {}
    for n, id in running:stderr():gmatch("note (%d+) on (%d);") do
      assert.is_nil(seen[n], "twice: " .. n)
      seen[n], on[id] = true, true
    end
    assert.same({ ["0"] = true, ["1"] = true }, on)
    assert.equal(0, running:stop())
  end)

  it("is in order when it has one at a time", function()
    start({ "--workers", "2" }, { CONCURRENCY = "1" })
    send(notes(30))
    says("note 30 on")
    local last = 0
    for n in running:stderr():gmatch("note (%d+) on 0;") do
      assert.equal(last + 1, tonumber(n))
      last = tonumber(n)
    end
    assert.equal(30, last)
  end)

  it("tries again what raised, and gives it up to the dead letters", function()
    start()
    send { { type = "shaky", fails = 2 } }
    says("it holds;")
    assert.equal(3, count("try "))
    assert.equal(2, count("failed in channel.job: "))
    assert.truthy(running:stderr():find("channels.lua:36:", 1, true), running:stderr())
    send { { type = "shaky", fails = 100 }, { type = "unknown" } }
    says("dead jobs shaky 3;")
    says("dead jobs unknown 3;")
    says('no handler for message type "unknown" in Jobs')
    assert.equal(6, count("try "))
    assert.equal(0, running:stop())
  end)

  it("keeps the newest with drop_oldest, and ends a handler when its time is over", function()
    start()
    send({ { type = "long", seconds = 600 } }, "newest")
    says("long begins;")
    send(notes(6), "newest")
    says("long ends Timeout: ")
    says("note 6 on")
    local heard = {}
    for n in running:stderr():gmatch("note (%d+) on") do
      heard[#heard + 1] = n
    end
    assert.same({ "4", "5", "6" }, heard)
    says("channel newest is full: ")
    assert.equal(0, running:stop())
  end)

  it("drops what does not fit, and says so to who sends", function()
    start({}, { CAPACITY = "3", CONCURRENCY = "1" })
    send { { type = "long", seconds = 1000 } }
    says("long begins;")
    assert.same({ 3, 2 }, send(notes(5)))
    says("channel jobs is full: 1 messages dropped")
    assert.same({ 0, 0 }, send({ { type = "note", n = 1 } }, "nobody"))
    running:signal("KILL")
  end)

  it("is awaited by a drain, while it lasts; what waits then is counted", function()
    start({}, { CONCURRENCY = "1" })
    send { { type = "long", seconds = 0.4 }, { type = "note", n = 1 } }
    says("long begins;")
    assert.equal(0, running:stop())
    assert.equal(1, count("long ends whole;"))
    assert.equal(0, count("note 1"))
    assert.equal(1, count("channel jobs: 1 messages were still waiting, and are lost"))

    start({ "--drain-timeout", "0.2" }, { CONCURRENCY = "1" })
    send { { type = "long", seconds = 1000 } }
    says("long begins;")
    running:stop()
    assert.equal(1, count("is cancelled in channel.job: the drain took too long"))
    assert.equal(1, count("long ends Cancelled"))
  end)

  it("follows a reload: jobs under way end in their code, the line is kept", function()
    local path = server.scratch() .. "/app.lua"
    local SCRIPT = [[
      local rille = require("rille")
      local Jobs = rille.Consumer:extend("Jobs")
      function Jobs:note(event)
        rille.log("%s " .. event.n .. " begins;")
        if event.n == 1 then rille.asleep(0.5) end
        rille.log("%s " .. event.n .. " ends;")
      end
      return rille.app { routes = {
        %s
        rille.get("/fill", function()
          for i = 1, 3 do rille.channel_layer:asend("jobs", { type = "note", n = i }) end
          return 200
        end),
      } }
    ]]
    local route = 'rille.channel("jobs", Jobs),'
    server.write(path, SCRIPT:format("old", "old", route))
    running = server.start { "run", path, "--workers", "2" }
    clients.fetch(running.url .. "/fill")
    says("old 1 begins;")
    server.write(path, SCRIPT:format("new", "new", route))
    running:signal("HUP")
    says("new 3 ends;")
    assert.equal(1, count("old 1 ends;"))
    assert.equal(1, count("new 2 ends;"))
    server.write(path, SCRIPT:format("newer", "newer", ""))
    running:signal("HUP")
    says("generation 3 serves")
    assert.equal(200, clients.fetch(running.url .. "/fill").status)
    server.write(path, SCRIPT:format("newest", "newest", route))
    running:signal("HUP")
    says("generation 4 serves")
    clients.fetch(running.url .. "/fill")
    says("newest 3 ends;")
    assert.equal(0, count("newer"))
    assert.equal(0, running:stop())
  end)

  it("is all that a process does, or does not do, when it is told so", function()
    local folder = server.scratch()
    local line = "RILLE_WORKERS=2 %s run %s --only-channels jobs --control off "
      .. "--database sqlite:%s/db "
      .. ">/dev/null 2>%s/err </dev/null & echo $!" -- whose pipe it must not keep open
    local binary = os.getenv("RILLE_BIN") or ".build/src/rille"
    local pid = tonumber(server.shell(line:format(binary, APP, folder, folder)))
    local ready = server.eventually(10, function()
      return (server.read_file(folder .. "/err") or ""):find("receiving from jobs", 1, true)
    end)
    local sockets = server.shell(("ls -l /proc/%d/fd | grep -c socket:"):format(pid))
    server.shell("kill -TERM " .. pid)
    assert.is_truthy(server.eventually(10, function()
      return server.shell(("kill -0 %d 2>&1"):format(pid)) ~= ""
    end))
    local said = server.read_file(folder .. "/err")
    assert.is_truthy(ready, said)
    assert.equal("0", sockets:match("%d+"), said)
    assert.is_nil(said:find("listening", 1, true), said)
    assert.is_nil(said:find("traceback", 1, true), said)

    local status, told = server.run { "run", APP, "--only-channels", "jobs,mail" }
    assert.equal(1, status)
    local refusal = 'there is no channel "mail"; there are: newest, jobs, dead'
    assert.truthy(told:find(refusal, 1, true), told)

    start { "--no-channels" }
    assert.same({ 0, 0 }, send(notes(1)))
    assert.equal(0, running:stop())
  end)

  it("is refused with its line when it makes no sense", function()
    local path = server.scratch() .. "/app.lua"
    for text, told in pairs {
      ['rille.channel("a b", C)'] = "a name has 1 to 99 letters",
      ['rille.channel("a", rille.HttpConsumer)'] = "extends Consumer itself",
      ['rille.channel("a", C, { concurrency = 0 })'] = "concurrency: a whole number from 1",
      ['rille.channel("a", C, { capacity = 1.5 })'] = "capacity: a whole number from 1",
      ['rille.channel("a", C, { retry = { tries = 3 } })'] = 'retry has no "tries"',
      ['rille.channel("a", C, { retry = { times = -1 } })'] = "retry.times: a whole number from 0",
      ['rille.channel("a", C, { policy = "close" })'] = "policy is drop_newest or drop_oldest",
      ['rille.channel("a", C, { often = true })'] = 'no option "often"; there are concurrency',
      ['rille.channel("a", C), rille.channel("a", C)'] = 'channel "a": twice',
    } do
      server.write(
        path,
        'local rille = require("rille")\nlocal C = rille.Consumer:extend("C")\n'
          .. ("return rille.app { routes = { %s } }"):format(text)
      )
      local status, said = server.run { "check", path }
      assert.equal(1, status)
      assert.truthy(said:find(told, 1, true), said)
      assert.truthy(said:find("app.lua:3", 1, true), said)
    end
  end)
end)
