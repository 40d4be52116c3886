--- Connections that hang: what is sent on them vanishes, and nobody is told.

local clients = require("spec.support.clients")
local cluster = require("spec.support.cluster")
local core = require("rille.core")
local errors = require("rille.errors")
local netns = require("spec.support.netns")
local rille = require("rille")
local server = require("spec.support.server")
local Database = require("rille.db").Database

local opened

local function open(url, settings)
  settings.url = url
  local db = Database("faults", settings)
  opened[#opened + 1] = db
  return db
end

local function close_all()
  for _, db in ipairs(opened) do
    db:aclose()
  end
end

--- `n` idle connections of this pool.
local function fill(db, n)
  local jobs = {}
  for i = 1, n do
    jobs[i] = function()
      db:aquery("SELECT pg_sleep(0.1)")
    end
  end
  while db:stats().open < n do
    rille.agather(jobs)
  end
end

--- Start a statement that is given up after `seconds`; the task returns the error.
local function patient(seconds, db, sql, ...)
  local params = { ... }
  return rille.spawn(function()
    local ok, err = pcall(rille.atimeout, seconds, function()
      db:aexecute(sql, unpack(params))
    end)
    assert.is_false(ok)
    return err
  end)
end

--- Run `fn`, and fail if the loop stood still meanwhile.
local function keeping_time(fn)
  local over, longest, last = false, 0, core.now()
  local ticker = rille.spawn(function()
    while not over do
      rille.asleep(0.01)
      local now = core.now()
      longest, last = math.max(longest, now - last), now
    end
  end)
  local ok, err = pcall(fn)
  over = true
  ticker:ajoin()
  if not ok then
    error(err, 0)
  end
  assert.is_true(longest < 2, ("the loop stood still for %.1f s"):format(longest))
end

local function is_timeout(err)
  assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
end

describe("behind a door that hangs", function()
  local pg, door

  lazy_setup(function()
    pg = cluster.start()
    pg:sql("CREATE TABLE faults_write (id bigint)")
  end)

  lazy_teardown(cluster.clean)

  before_each(function()
    opened = {}
    door = pg:door()
    -- The server still believes in what hung before.
    pg:sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
      .. " AND backend_type = 'client backend'")
    pg:sql("TRUNCATE faults_write")
  end)

  after_each(function()
    close_all()
    server.clean()
  end)

  it("statements that met it fail at their deadline, and others get other connections", function()
    local db = open(door.url, { max_connections = 6 })
    fill(db, 2)
    door:set("old")
    keeping_time(function()
      local first = patient(0.5, db, "SELECT 1")
      local second = patient(0.5, db, "INSERT INTO faults_write VALUES (1)")
      rille.asleep(0)
      local jobs = {}
      for i = 1, 20 do
        jobs[i] = function()
          return db:aquery("SELECT $1::int AS i", i)[1].i
        end
      end
      for i, got in ipairs(rille.agather(jobs)) do
        assert.equal(i, got)
      end
      is_timeout(first:ajoin())
      is_timeout(second:ajoin())
    end)
    assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (2)"))
    assert.equal("2", pg:sql("SELECT id FROM faults_write"))
  end)

  it("a write whose answer is lost is not run again", function()
    local db, other = open(door.url, { max_connections = 3 }), open(pg.url, {})
    local job
    other:atomic(function()
      other:aquery("SELECT pg_advisory_xact_lock(1)")
      job = rille.spawn(function()
        db:aexecute("INSERT INTO faults_write SELECT 1 FROM pg_advisory_xact_lock(1)")
      end)
      cluster.eventually(function()
        return pg:sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1"
      end)
      door:set("old")
    end)
    cluster.eventually(function()
      return pg:sql("SELECT count(*) FROM faults_write") == "1"
    end)
    assert.is_false(job:is_done())
    job:cancel()
    assert.is_false(pcall(job.ajoin, job))
    assert.equal(1, db:aquery("SELECT 1 AS one")[1].one)
    assert.equal("1", pg:sql("SELECT count(*) FROM faults_write"))
  end)

  it("a transaction that met it ends at its deadline, and holds nothing up", function()
    local db = open(door.url, { max_connections = 3 })
    local ok, err = pcall(rille.atimeout, 0.5, function()
      db:atomic(function()
        db:aexecute("INSERT INTO faults_write VALUES (1)")
        door:set("old")
        db:aexecute("INSERT INTO faults_write VALUES (2)")
      end)
    end)
    assert.is_false(ok)
    is_timeout(err)
    assert.equal(0, db:stats().leased)
    assert.equal(1, db:aquery("SELECT 1 AS one")[1].one)
    assert.equal("0", pg:sql("SELECT count(*) FROM faults_write"))
  end)

  it("all connections hang: they are given up, and what waits gets new ones #slow", function()
    local db = open(door.url, { max_connections = 2, acquire_timeout = 20 })
    fill(db, 2)
    door:set("old")
    keeping_time(function()
      local jobs = {}
      for i = 1, 2 do
        jobs[i] = patient(0.2, db, "INSERT INTO faults_write VALUES (-1)")
      end
      rille.asleep(0.3)
      for i = 1, 10 do
        jobs[2 + i] = rille.spawn(function()
          return db:aexecute("INSERT INTO faults_write VALUES ($1)", i)
        end)
      end
      for i = 1, 2 do
        is_timeout(jobs[i]:ajoin())
      end
      for i = 3, 12 do
        assert.equal(1, jobs[i]:ajoin())
      end
    end)
    assert.equal("55", pg:sql("SELECT sum(id) FROM faults_write WHERE id > 0"))
    assert.equal(2, db:stats().closed_dead)
  end)

  it("health checks find idle connections that hang before anybody uses them", function()
    local db = open(door.url, {
      max_connections = 4,
      conn_health_checks = true,
      acquire_timeout = 4,
    })
    fill(db, 4)
    door:set("old")
    rille.close_old_connections()
    keeping_time(function()
      assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (1)"))
    end)
    assert.equal("1", pg:sql("SELECT id FROM faults_write"))
  end)

  it("a server that takes no connection fails what waits at its deadline, not later", function()
    local db = open(door.url, { acquire_timeout = 0.5 })
    door:set("stuck")
    keeping_time(function()
      local ok, err = pcall(db.aquery, db, "SELECT 1")
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    end)
    door:set("pass")
    cluster.eventually(function()
      return pcall(db.aquery, db, "SELECT 1")
    end)
  end)

  it("a process stops in time, whatever hangs", function()
    local it_runs = server.start(
      { "run", "spec/support/apps/database.lua", "--drain-timeout", "1" },
      { database = door.url }
    )
    assert.equal(200, clients.fetch(it_runs.url .. "/told").status)
    door:set("stuck")
    local asking = {}
    for i = 1, 3 do -- one on the connection that hangs, others while they wait for one
      asking[i] = clients.open("fetch.py", it_runs.url .. "/told", { method = "GET" })
    end
    rille.asleep(0.3)
    assert.equal(200, clients.fetch(it_runs.url .. "/alive").status)
    local from = core.now()
    it_runs:stop()
    assert.is_true(core.now() - from < 8, "it took too long to stop")
    for _, one in ipairs(asking) do
      pcall(one.finish, one) -- cut off, which it may complain about
    end
  end)
end)

describe("over a network that swallows packets", function()
  local net, why, pg

  lazy_setup(function()
    net, why = netns.new()
    if not net then
      return
    end
    pg = cluster.start({ ("listen_addresses = '%s'"):format(net.far) }, { netns = net.name })
    pg:admit { "local all all trust", "host all all 198.18.0.0/15 trust" }
    pg.url = ("postgresql://rille@%s:%d/postgres"):format(net.far, pg.port)
    pg:sql("CREATE TABLE faults_write (id bigint)")
  end)

  lazy_teardown(function()
    cluster.clean()
    if net then
      net:remove()
    end
  end)

  before_each(function()
    opened = {}
  end)

  after_each(close_all)

  --- An `it` that needs the network.
  local function over_it(name, fn)
    it(name, function()
      if not net then
        return pending(why)
      end
      pg:sql("TRUNCATE faults_write")
      fn()
    end)
  end

  over_it("what ran fails by tcp_user_timeout, what waits goes on when it is back #slow", function()
    local db = open(pg.url .. "?tcp_user_timeout=500", {
      max_connections = 2,
      acquire_timeout = 30,
    })
    fill(db, 2)
    net:cut()
    keeping_time(function()
      local lost = {}
      for i = 1, 2 do -- on the connections there are
        lost[i] = rille.spawn(function()
          return { pcall(db.aexecute, db, "INSERT INTO faults_write VALUES (-1)") }
        end)
      end
      rille.asleep(0)
      local waiting = {}
      for i = 1, 10 do
        waiting[i] = rille.spawn(function()
          return db:aexecute("INSERT INTO faults_write VALUES ($1)", i)
        end)
      end
      for i = 1, 2 do
        local ok, err = unpack(lost[i]:ajoin())
        assert.is_false(ok)
        assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
        assert.matches("while the statement ran", err.message, 1, true)
      end
      net:mend()
      for i = 1, 10 do
        assert.equal(1, waiting[i]:ajoin())
      end
    end)
    assert.equal("55", pg:sql("SELECT sum(id) FROM faults_write WHERE id > 0"))
    -- The two may have run after all, once each.
    assert.is_true(tonumber(pg:sql("SELECT count(*) FROM faults_write WHERE id < 0")) <= 2)
  end)

  over_it("a cancel that cannot arrive holds up neither the loop nor the close", function()
    local db = open(pg.url, { max_connections = 1 })
    db:aquery("SELECT 1")
    net:cut()
    keeping_time(function()
      is_timeout(patient(0.3, db, "SELECT pg_sleep(20)"):ajoin())
      local from = core.now()
      db:aclose()
      opened = {}
      assert.is_true(core.now() - from < 4)
    end)
    net:mend()
  end)

  over_it("a connection that the server gave up unheard is found by a health check", function()
    local db = open(pg.url, {
      max_connections = 2,
      conn_health_checks = true,
      acquire_timeout = 10,
    })
    fill(db, 2)
    net:cut()
    pg:control("restart", "fast") -- its farewell is not heard
    net:forget()
    net:mend()
    assert.equal(2, db:stats().open)
    rille.close_old_connections()
    assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (1)"))
    assert.equal("1", pg:sql("SELECT count(*) FROM faults_write"))
  end)

  over_it("without one it costs a statement, which is told, and the next goes on", function()
    local db = open(pg.url, { max_connections = 1, acquire_timeout = 10 })
    db:aquery("SELECT 1")
    net:cut()
    pg:control("restart", "fast")
    net:forget()
    net:mend()
    local ok, err = pcall(db.aexecute, db, "INSERT INTO faults_write VALUES (1)")
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (2)"))
    assert.equal("2", pg:sql("SELECT id FROM faults_write"))
  end)
end)
