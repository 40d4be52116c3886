--- LISTEN and NOTIFY: consumers that a real PostgreSQL talks to, and that tell the log of it.

local Database = require("rille.db").Database
local clients = require("spec.support.clients")
local rille = require("rille")
local server = require("spec.support.server")

local url = os.getenv("RILLE_TEST_POSTGRES")

local function with(settings)
  return url .. (url:find("?", 1, true) and "&" or "?") .. settings
end

describe("a notify route", function()
  after_each(server.clean)

  local APP = "spec/support/apps/notify.lua"

  it("needs a database that can be listened to, and says which one cannot", function()
    local status, stderr = server.run { "check", APP, "--database", "sqlite:x.db" }
    local told = 'route notify "orders": database \'default\' (sqlite:'
    assert.equal(1, status)
    assert.truthy(stderr:find(told, 1, true), stderr)
    assert.is_nil(stderr:find("traceback", 1, true), stderr)
  end)

  it("needs a database that there is", function()
    local folder = server.scratch()
    server.write(
      folder .. "/app.lua",
      [[local rille = require("rille")
      local C = rille.Consumer:extend("C")
      function C.notify() end
      return rille.app { routes = { rille.notify("a", C, { database = "reports" }) } }]]
    )
    local status, stderr = server.run { "check", folder }
    local told = 'route notify "a": there is no database \'reports\''
    assert.equal(1, status)
    assert.truthy(stderr:find(told, 1, true), stderr)
  end)

  it("stands in the list of routes with its database, channel and class", function()
    local line = { "routes", APP, "--database", "postgresql://127.0.0.1:1/x" }
    local status, _, stdout = server.run(line)
    assert.equal(0, status)
    assert.truthy(stdout:find("notify +default +orders +Listener"), stdout)
  end)
end)

describe("NOTIFY", function()
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end

  local NAME = "notify_spec"
  local db, running

  before_each(function()
    db = Database("test", { url = url })
  end)

  after_each(function()
    db:aclose()
    server.clean()
  end)

  local function start(app, settings)
    local database = with("application_name=" .. NAME .. (settings or ""))
    app = app or "spec/support/apps/notify.lua"
    running = server.start({ "run", app }, { database = database })
  end

  local function says(text, seconds)
    assert.is_true(running:says(text, seconds), running:stderr())
  end

  local function count(text)
    return server.count(running:stderr(), text)
  end

  --- The server's connections that listen.
  local function ears()
    return db:aquery([[
      SELECT pid FROM pg_stat_activity
      WHERE application_name = $1 AND query ~ '^(UN)?LISTEN'
    ]], NAME)
  end

  --- Wait until a channel is listened to: it happens in the background.
  local function heard(channel)
    for i = 1, 200 do
      db:anotify(channel, "ping " .. i)
      if running:says(channel .. " #", 0.1) then
        rille.asleep(0.05)
        return
      end
    end
    error("nobody listens to " .. channel .. "\n" .. running:stderr(), 2)
  end

  it("reaches the consumer of its channel, with payload and pid, and no other", function()
    start()
    heard("orders")
    local pid = db:aquery("SELECT pg_backend_pid() AS pid")[1].pid
    db:anotify("orders", "seven")
    says("seven from " .. pid)
    db:anotify("nobody", "lost")
    db:anotify("orders", { id = 7 })
    says('{"id":7} from ' .. pid)
    db:anotify("orders")
    says(":  from " .. pid)
    assert.equal(0, count("lost"))
    assert.equal(0, running:stop())
  end)

  it("takes any channel's name, letter by letter, all of them over one connection", function()
    start()
    local odd = "Odd \"name'; --"
    heard("orders")
    heard(odd)
    db:anotify(odd, "quoted")
    says("quoted from")
    db:anotify("ORDERS", "shouted")
    db:anotify("orders", "spoken")
    says("spoken from")
    assert.equal(0, count("shouted"))
    assert.equal(1, #ears())
  end)

  it("is heard when the transaction commits, and never after a rollback", function()
    start()
    heard("orders")
    db:atomic(function()
      db:anotify("orders", "committed")
      assert.is_falsy(running:says("committed from", 0.2))
    end)
    says("committed from")
    pcall(db.atomic, db, function()
      db:anotify("orders", "rolled back")
      error("no")
    end)
    db:anotify("orders", "last")
    says("last from")
    assert.equal(0, count("rolled back from"))
    db:apinned(function(conn)
      conn:anotify("orders", "pinned")
    end)
    says("pinned from")
  end)

  it("carries up to 7999 bytes", function()
    start()
    heard("orders")
    db:anotify("orders", ("x"):rep(7999))
    says(("x"):rep(7999) .. " from")
  end)

  it("goes on after a lost connection, and tells that something may have been missed", function()
    start()
    heard("orders")
    assert.equal(0, count("gap on"))
    for round = 1, 2 do
      db:aquery("SELECT pg_terminate_backend($1::int)", ears()[1].pid)
      assert.is_truthy(server.eventually(5, function()
        return count("gap on orders") == round
      end))
      db:anotify("orders", "back " .. round)
      says(("back %d from"):format(round))
    end
    assert.equal(1, #ears())
    says("database default: listening again")
    assert.equal(2, count("not listening: terminating connection"))
  end)

  it("does not end a consumer that raises: it is logged, and the next one is heard", function()
    start()
    heard("orders")
    db:anotify("orders", "raise")
    db:anotify("orders", "after")
    says("after from")
    assert.equal(1, count("as it was told"))
    assert.truthy(running:stderr():find("Listener on notify orders failed in notify: ", 1, true))
    assert.truthy(running:stderr():find("apps/notify.lua:18:", 1, true), running:stderr())
    assert.equal(0, running:stop())
    assert.equal(1, count("orders #3: left 1001")) -- it kept its self
  end)

  it("makes a consumer at the next one when its init raises", function()
    start()
    says("a consumer on notify late failed in its opening: ")
    for i = 1, 100 do
      db:anotify("late", "try " .. i)
      if running:says("late 2: try ", 0.1) then
        break
      end
    end
    assert.equal(1, count("not yet"))
    db:aquery("SELECT pg_terminate_backend($1::int)", ears()[1].pid)
    says("gap on orders")
    db:anotify("late", "on")
    says("late 2: on;")
    assert.equal(0, running:stop())
  end)

  it("drops what a full mailbox cannot hold, says so, and tells the consumer", function()
    start()
    heard("orders")
    db:anotify("orders", "sleep")
    running:says("never", 0.1)
    db:aquery("SELECT pg_notify('orders', 'n' || i) FROM generate_series(1, 25) i")
    says("gap on orders")
    assert.equal(1, count("n10 from"))
    assert.equal(0, count("n11 from"))
    assert.equal(1, count("gap on orders"))
    says("Listener on notify orders: 1 event dropped, too many waited")
    db:anotify("orders", "later")
    says("later from")
  end)

  it("gives the handler no connection that is past its age", function()
    start(nil, "&conn_max_age=0.3")
    heard("orders")
    db:anotify("orders", "connection")
    says("connection ")
    server.sleep(0.5)
    db:anotify("orders", "connection")
    assert.is_truthy(server.eventually(5, function()
      return count("connection ") == 2
    end))
    local first, second = running:stderr():match("connection (%d+);.*connection (%d+);")
    assert.not_equal(first, second)
  end)

  it("leaves its consumers members of their groups like any other", function()
    start()
    heard("orders")
    assert.equal("[2]", clients.fetch(running.url .. "/say?text=hello").body:gsub(",0", ""))
    says("orders #")
    says(": chat hello;")
  end)

  it("ends with the server: disconnect once, and the connection is closed", function()
    start()
    heard("orders")
    db:anotify("orders", "sleep")
    running:says("never", 0.1)
    assert.equal(0, running:stop())
    assert.equal(1, count("sleep from"))
    assert.equal(2, count("left 1001 the server is going away"))
    assert.is_truthy(server.eventually(2, function()
      return #ears() == 0
    end))
  end)

  it("does not keep a server from stopping that waits for ever", function()
    local path = server.scratch() .. "/app.lua"
    server.write(
      path,
      [[
        local rille = require("rille")
        local Sleeper = rille.Consumer:extend("Sleeper")
        function Sleeper:init()
          self.n = 0
        end
        function Sleeper:notify(event)
          self.n = self.n + 1
          rille.log(("a #%d %s;"):format(self.n, event.payload))
          if event.payload == "sleep" then
            rille.asleep(600)
          end
        end
        function Sleeper:disconnect()
          rille.log("left at " .. self.n)
        end
        return rille.app {
          limits = { abandon_grace = 0.2 },
          routes = { rille.notify("a", Sleeper) },
        }
      ]]
    )
    start(path)
    heard("a")
    db:anotify("a", "sleep")
    db:anotify("a", "never handled")
    says("sleep;")
    local n = running:stderr():match("a #(%d+) sleep;")
    assert.equal(0, running:stop())
    assert.equal(1, count("left at " .. n))
    assert.equal(1, count("left at"))
    assert.equal(0, count("traceback"))
  end)

  it("is listened to once there is a server, and again after its restart", function()
    local folder = server.scratch()
    local function postgres(command)
      return server.shell(("spec/support/postgres %s %s 2>/dev/null"):format(command, folder))
    end
    finally(function()
      postgres("stop")
    end)
    local own = postgres("start"):match("postgresql:%S+")
    postgres("stop")
    running = server.start({ "run", "spec/support/apps/notify.lua" }, { database = own })
    says("database default: not listening: ")
    local there = Database("there", { url = own })
    for _ = 1, 2 do
      local gaps = count("gap on orders")
      postgres("start")
      assert.is_truthy(server.eventually(20, function()
        return count("gap on orders") > gaps
      end), running:stderr())
      there:anotify("orders", "there")
      assert.is_truthy(server.eventually(5, function()
        return count("there from") > gaps
      end), running:stderr())
      postgres("stop")
    end
    there:aclose()
    assert.equal(0, running:stop())
  end)

  describe("at a reload", function()
    local folder, path

    local SCRIPT = [[
      local rille = require("rille")
      local First, Second = rille.Consumer:extend("First"), rille.Consumer:extend("Second")
      for _, cls in ipairs { First, Second } do
        function cls:init()
          self.n = 0
        end
        function cls:notify(event)
          self.n = self.n + 1
          rille.log(("%%s #%%d %s %%s;"):format(self.scope.channel, self.n, event.payload))
        end
        function cls:disconnect(code)
          rille.log(("%%s left %%d;"):format(self.scope.channel, code))
        end
      end
      return rille.app { routes = { %s } }
    ]]

    before_each(function()
      folder = server.scratch()
      path = folder .. "/app.lua"
    end)

    local function reload(script, answer)
      local before = count(answer)
      server.write(path, script)
      running:signal("HUP")
      assert.is_truthy(server.eventually(8, function()
        return count(answer) > before
      end), running:stderr())
    end

    it("consumers keep their self, new channels are heard, others no more", function()
      server.write(path, SCRIPT:format("old", 'rille.notify("a", First), rille.notify("b", First)'))
      start(path)
      heard("a")
      heard("b")
      db:anotify("a", "one")
      says("old one;")
      local n = tonumber(running:stderr():match("a #(%d+) old one"))
      local routes = 'rille.notify("c", Second), rille.notify("a", First)'
      reload(SCRIPT:format("new", routes), "reloaded")
      says("b left 1012;")
      heard("c")
      db:anotify("b", "lost")
      db:anotify("a", "two")
      says(("a #%d new two;"):format(n + 1))
      assert.equal(0, count("lost"))
      assert.equal(0, count("a left"))
      assert.equal(1, #ears())
      assert.equal(0, running:stop())
      assert.equal(1, count("b left"))
      assert.equal(1, count("a left 1001"))
      assert.equal(1, count("c left 1001"))
    end)

    it("another class on the channel is another consumer", function()
      server.write(path, SCRIPT:format("old", 'rille.notify("a", First)'))
      start(path)
      heard("a")
      db:anotify("a", "one")
      says("old one;")
      reload(SCRIPT:format("new", 'rille.notify("a", Second)'), "a left 1012;")
      db:anotify("a", "two")
      says("a #1 new two;")
    end)

    it("a script that does not load changes nothing", function()
      server.write(path, SCRIPT:format("old", 'rille.notify("a", First)'))
      start(path)
      heard("a")
      reload(SCRIPT:format("new", 'rille.notify("b", First), error("not today")'), "not today")
      for routes, told in pairs {
        ['rille.notify("b", rille.HttpConsumer)'] = "extends Consumer itself",
        ['rille.notify("b", First, { database = "x" })'] = "there is no database 'x'",
      } do
        reload(SCRIPT:format("new", routes), told)
      end
      db:anotify("a", "still")
      says("old still;")
      assert.equal(0, count("left"))
    end)

    it("all of them may go, and come again", function()
      server.write(path, SCRIPT:format("old", 'rille.notify("a", First)'))
      start(path)
      heard("a")
      reload(SCRIPT:format("new", ""), "a left 1012;")
      assert.is_truthy(server.eventually(5, function()
        return #ears() == 0
      end))
      reload(SCRIPT:format("newer", 'rille.notify("a", First)'), "reloaded")
      for i = 1, 100 do
        db:anotify("a", "again " .. i)
        if running:says("newer again", 0.1) then
          break
        end
      end
      says("newer again")
      assert.equal(0, running:stop())
    end)
  end)
end)
