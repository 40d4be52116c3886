--- A server that is stopped and started, and one that is not there yet, seen by a busy pool.

local cluster = require("spec.support.cluster")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local load = require("spec.support.load")
local rille = require("rille")
local server = require("spec.support.server")

describe("a server that", function()
  local pg

  lazy_setup(function()
    -- What was confirmed must survive an immediate stop.
    pg = cluster.start { "log_connections = on", "synchronous_commit = on" }
  end)

  lazy_teardown(cluster.clean)

  after_each(databases.close_all)

  local function open(settings)
    return databases.open("faults", { url = pg.url, acquire_timeout = 20 }, settings)
  end

  --- Connections that reached the server since its log was `from` bytes long.
  local function attempts(from)
    return server.count(pg:log():sub(from + 1), "connection received")
  end

  --- Let the load come through for a while.
  local function settle(busy)
    local reads, writes = busy.reads, busy.writes
    cluster.eventually(function()
      return busy.reads > reads + 30 and busy.writes > writes + 30
    end, 20)
  end

  local function restart_under_load(mode, times)
    local db = open { max_connections = 6 }
    load.prepare(db)
    local busy = load.start(db, { writers = 10, readers = 10, transactions = 5, pause = 0.001 })
    settle(busy)
    for _ = 1, times do
      pg:control("restart", mode)
      settle(busy)
    end
    busy:stop()
    busy:check(pg)
    assert.is_true(db:stats().closed_dead > 0, "nothing was hurt")
  end

  for _, mode in ipairs { "fast", "immediate" } do
    it(("restarts (%s) under load loses nothing and repeats nothing"):format(mode), function()
      restart_under_load(mode, 1)
    end)

    it(("restarts (%s) again and again under load #slow"):format(mode), function()
      restart_under_load(mode, 3)
    end)
  end

  it("restarts is not stormed by a thousand who wait", function()
    local db = open { max_connections = 5 }
    db:aquery("SELECT 1")
    pg:control("stop", "fast")
    local from, jobs = #pg:log(), {}
    for i = 1, 1000 do
      jobs[i] = function()
        return db:aquery("SELECT $1::int AS i", i)[1].i
      end
    end
    jobs[1001] = function()
      rille.asleep(0.5)
      pg:control("start")
    end
    local results = rille.agather(jobs)
    for i = 1, 1000 do
      assert.equal(i, results[i])
    end
    assert.is_true(db:stats().opened <= 1 + 5)
    local n = attempts(from)
    assert.is_true(n <= 5 + 8, n .. " connections")
  end)

  it("stays away is not asked all the time by a thousand who wait", function()
    local door = pg:door()
    local db = open { url = door.url, max_connections = 5 }
    door:set("refuse")
    local jobs = {}
    for i = 1, 1000 do
      jobs[i] = function()
        return db:aquery("SELECT $1::int AS i", i)[1].i
      end
    end
    local asked
    jobs[1001] = function()
      rille.asleep(1)
      asked = door:visitors()
      door:set("pass")
    end
    local results = rille.agather(jobs)
    for i = 1, 1000 do
      assert.equal(i, results[i])
    end
    assert.is_true(asked >= 1 and asked <= 12, asked .. " times")
  end)

  it("was not there at the start is used as soon as it is", function()
    pg:control("stop", "fast")
    local db = open { max_connections = 3 }
    local jobs = {}
    for i = 1, 20 do
      jobs[i] = function()
        return db:aquery("SELECT $1::int AS i", i)[1].i
      end
    end
    jobs[21] = function()
      rille.asleep(0.2)
      assert.equal(0, db:stats().open)
      pg:control("start")
    end
    local results = rille.agather(jobs)
    for i = 1, 20 do
      assert.equal(i, results[i])
    end
    assert.equal(0, db:stats().timeouts)
  end)

  it("stays away fails what waits at its deadline, and is used when it is back", function()
    local db = open { acquire_timeout = 1 }
    pg:control("stop", "fast")
    local ok, err = pcall(db.aquery, db, "SELECT 1")
    pg:control("start")
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    assert.matches("within 1 s", err.message, 1, true)
    assert.matches("refused", err.message, 1, true)
    cluster.eventually(function()
      return pcall(db.aquery, db, "SELECT 1")
    end)
  end)

  it("is on its way down (57P03) counts as not there", function()
    local db, holder = open(), open { max_connections = 1 }
    -- A backend that a signal has stopped keeps the server from ending; until it goes on, whoever
    -- knocks is told that the system is shutting down.
    local pid = holder:aquery("SELECT pg_backend_pid() AS pid")[1].pid
    server.shell("kill -STOP " .. pid)
    local from = #pg:log()
    local restart = rille.spawn(function()
      pg:control("restart", "fast")
    end)
    local waiting = rille.spawn(function()
      cluster.eventually(function()
        return pg:log():sub(from + 1):find("received fast shutdown", 1, true)
      end)
      return db:aquery("SELECT 1 AS one")[1].one
    end)
    local told = pcall(cluster.eventually, function()
      return pg:log():sub(from + 1):find("the database system is shutting down", 1, true)
    end)
    server.shell("kill -CONT " .. pid)
    restart:ajoin()
    assert.is_true(told)
    assert.equal(1, waiting:ajoin())
    assert.equal(0, db:stats().timeouts)
  end)

  describe("has few connections to give", function()
    local MOST = 5

    lazy_setup(function()
      pg:control(
        "configure",
        "max_connections = " .. MOST,
        "superuser_reserved_connections = 0",
        "autovacuum = off"
      )
      pg:control("restart", "fast")
    end)

    it("gives those to a pool that wanted more, and nobody fails", function()
      local db = open { max_connections = 10 }
      local jobs, from = {}, #pg:log()
      for i = 1, 40 do
        jobs[i] = function()
          return db:aquery("SELECT $1::int AS i FROM pg_sleep(0.05)", i)[1].i
        end
      end
      local results = rille.agather(jobs)
      for i = 1, 40 do
        assert.equal(i, results[i])
      end
      assert.equal(0, db:stats().timeouts)
      assert.matches("too many clients", pg:log():sub(from + 1), 1, true)
      assert.equal(MOST, db:stats().open)
    end)

    it("makes writers, readers and transactions share what there is", function()
      local db = open { max_connections = 10 }
      load.prepare(db)
      local busy = load.start(db, { writers = 10, readers = 10, transactions = 10 })
      settle(busy)
      busy:stop()
      assert.same({ 0, 0, 0 }, { busy:failures() })
      databases.close(db)
      busy:check(pg)
    end)

    it("lets a statement wait until somebody else gives one back", function()
      local greedy, db = open { max_connections = MOST }, open()
      local holders = {}
      for i = 1, MOST do
        holders[i] = rille.spawn(function()
          greedy:apinned(function(conn)
            conn:aquery("SELECT 1")
            rille.asleep(1000)
          end)
        end)
      end
      cluster.eventually(function()
        return greedy:stats().leased == MOST
      end)
      local waiting = rille.spawn(function()
        return db:aquery("SELECT 1 AS one")[1].one
      end)
      rille.asleep(0.3)
      assert.is_false(waiting:is_done())
      for _, one in ipairs(holders) do
        one:cancel()
        pcall(one.ajoin, one)
      end
      databases.close(greedy)
      assert.equal(1, waiting:ajoin())
    end)
  end)
end)
