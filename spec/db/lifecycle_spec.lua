--- The database lifecycle (contract section 5), on a real PostgreSQL that is hurt on purpose.

local core = require("rille.core")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local rille = require("rille")
local Database = require("rille.db").Database

local url = os.getenv("RILLE_TEST_POSTGRES")

describe("on PostgreSQL a database", function()
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end

  after_each(databases.close_all)

  --- A database with a pool of its own.
  local function open(settings)
    return databases.open("test", { url = url }, settings)
  end

  local function pid_of(db)
    return db:aquery("SELECT pg_backend_pid() AS pid")[1].pid
  end

  local function terminate(db, pid)
    db:aquery("SELECT pg_terminate_backend($1::int)", pid)
  end

  it("lends a connection for one statement, so that hundreds of tasks share a few", function()
    local db = open { max_connections = 3, acquire_timeout = 30 }
    local jobs, most = {}, 0
    for i = 1, 300 do
      jobs[i] = function()
        local row = db:aquery("SELECT $1::int AS i", i)[1]
        most = math.max(most, db:stats().open)
        return row.i
      end
    end
    local results = rille.agather(jobs)
    for i = 1, 300 do
      assert.equal(i, results[i])
    end
    assert.is_true(most <= 3)
  end)

  it("holds no connection while a task sleeps between statements", function()
    local db = open { max_connections = 1 }
    local sleeper = rille.spawn(function()
      db:aquery("SELECT 1")
      rille.asleep(0.2)
      db:aquery("SELECT 1")
    end)
    eventually(function()
      local stats = db:stats()
      return stats.statements == 1 and stats.busy == 0 and stats.leased == 0
    end)
    assert.equal(1, db:aquery("SELECT 1 AS one")[1].one)
    sleeper:ajoin()
  end)

  it("uses one connection again and again in a series of statements", function()
    local db = open()
    local first = pid_of(db)
    for _ = 1, 20 do
      assert.equal(first, pid_of(db))
    end
    assert.equal(1, db:stats().opened)
  end)

  it("closes what is past conn_max_age without being asked, and nothing younger", function()
    local db = open { conn_max_age = 0.3 }
    local first = pid_of(db)
    rille.close_old_connections()
    assert.equal(first, pid_of(db))
    eventually(function()
      return db:stats().open == 0
    end)
    assert.not_equal(first, pid_of(db))
    assert.equal(1, db:stats().closed_age)
  end)

  it("closes at the next boundary with conn_max_age = 0", function()
    local db = open { conn_max_age = 0 }
    local first = pid_of(db)
    rille.close_old_connections()
    assert.not_equal(first, pid_of(db))
  end)

  it("notices at once that the server closed an idle connection, and uses another", function()
    local db, other = open(), open()
    local first = pid_of(db)
    terminate(other, first)
    eventually(function()
      return db:stats().open == 0
    end)
    assert.equal(1, db:stats().closed_dead)
    assert.not_equal(first, pid_of(db))
  end)

  it("never runs a statement twice that may have run", function()
    local db, other = open(), open()
    local first = pid_of(db)
    db:aexecute("CREATE TABLE IF NOT EXISTS lifecycle_once (n int)")
    db:aexecute("DELETE FROM lifecycle_once")
    local job = rille.spawn(function()
      return db:aexecute("INSERT INTO lifecycle_once SELECT 1 FROM pg_sleep(5)")
    end)
    rille.asleep(0.2)
    local busy = other:aquery([[
      SELECT pid FROM pg_stat_activity
      WHERE query LIKE 'INSERT INTO lifecycle_once%' AND state = 'active'
    ]])[1].pid
    terminate(other, busy)
    local ok, err = pcall(job.ajoin, job)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    assert.same({}, other:aquery("SELECT * FROM lifecycle_once"))
    assert.is_number(pid_of(db))
    assert.is_number(first)
    db:aexecute("DROP TABLE lifecycle_once")
  end)

  it("pins one connection in atomic, and other tasks use others", function()
    local db = open { max_connections = 2 }
    db:atomic(function()
      local mine = pid_of(db)
      assert.equal(mine, pid_of(db))
      assert.equal(1, db:stats().leased)
      local theirs = rille.spawn(function()
        return pid_of(db)
      end):ajoin()
      assert.not_equal(mine, theirs)
      rille.close_old_connections()
      assert.equal(mine, pid_of(db))
    end)
    assert.equal(0, db:stats().leased)
  end)

  it("rolls back a transaction whose task is cancelled", function()
    local db = open { max_connections = 1 }
    db:aexecute("CREATE TABLE IF NOT EXISTS lifecycle_tx (n int)")
    local job = rille.spawn(function()
      db:atomic(function()
        db:aexecute("INSERT INTO lifecycle_tx VALUES (1)")
        rille.asleep(10)
      end)
    end)
    eventually(function()
      return db:stats().leased == 1
    end)
    rille.asleep(0.05)
    job:cancel()
    pcall(job.ajoin, job)
    assert.same({}, db:aquery("SELECT * FROM lifecycle_tx"))
    assert.equal(0, db:stats().leased)
    db:aexecute("DROP TABLE lifecycle_tx")
  end)

  it("cancels on the server what atimeout interrupts", function()
    local db, other = open { max_connections = 1 }, open()
    local ok, err = pcall(rille.atimeout, 0.1, function()
      db:aquery("SELECT pg_sleep(20) /* lifecycle timeout */")
    end)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
    eventually(function()
      return #other:aquery([[
        SELECT 1 FROM pg_stat_activity
        WHERE query LIKE '%lifecycle timeout%' AND state = 'active' AND pid <> pg_backend_pid()
      ]]) == 0
    end)
    assert.equal(1, db:aquery("SELECT 1 AS one")[1].one)
  end)

  it("says who holds the connections when nobody gives one back in time", function()
    local db = open { max_connections = 1, acquire_timeout = 1 }
    local holder = rille.spawn(function()
      db:atomic(function()
        rille.asleep(20)
      end)
    end)
    eventually(function()
      return db:stats().leased == 1
    end)
    local ok, err = pcall(db.aquery, db, "SELECT 1")
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError))
    assert.matches("test", err.message)
    assert.matches("lifecycle_spec.lua:%d+", err.message)
    holder:cancel()
  end)

  it("never leaks session state from one borrower to the next", function()
    local db = open { max_connections = 1 }
    db:apinned(function(conn)
      conn:aexecute("SET search_path TO pg_catalog")
      conn:aquery("SELECT pg_advisory_lock(4711)")
    end)
    assert.equal('"$user", public', db:aquery("SHOW search_path")[1].search_path)
    assert.same({}, db:aquery([[
      SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    ]]))
  end)

  describe("a COMMIT that takes its time", function()
    local db, other

    --- A table whose COMMIT sleeps, in a deferred trigger.
    before_each(function()
      db, other = open(), open()
      db:aexecute("DROP TABLE IF EXISTS lifecycle_commit")
      db:aexecute("CREATE TABLE lifecycle_commit (seconds float)")
      db:aexecute([[
        CREATE OR REPLACE FUNCTION lifecycle_sleep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_sleep(NEW.seconds);
          RETURN NULL;
        END $$
      ]])
      db:aexecute([[
        CREATE CONSTRAINT TRIGGER sleeps AFTER INSERT ON lifecycle_commit
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lifecycle_sleep()
      ]])
    end)

    after_each(function()
      other:aexecute("DROP TABLE lifecycle_commit")
      other:aexecute("DROP FUNCTION lifecycle_sleep()")
    end)

    --- Start a task whose COMMIT takes so long; wait until it is under way.
    local function commit(seconds, told)
      local pid
      local job = rille.spawn(function()
        db:atomic(function()
          pid = pid_of(db)
          db:aexecute("INSERT INTO lifecycle_commit VALUES ($1)", seconds)
          db:on_commit(function()
            told.hooked = true
          end)
        end)
        told.returned = true
        rille.asleep(0)
        told.waited = true
      end)
      eventually(function()
        local runs = "SELECT query FROM pg_stat_activity WHERE pid = $1"
        local row = pid and other:aquery(runs, pid)[1]
        return row and row.query == "COMMIT"
      end)
      return job, pid
    end

    it("is waited for when its task is cancelled, which then knows that it is done", function()
      local told = {}
      local job = commit(0.3, told)
      job:cancel()
      local ok, err = pcall(job.ajoin, job)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.Cancelled), tostring(err))
      assert.same({ hooked = true, returned = true }, told)
      assert.equal(1, #other:aquery("SELECT 1 FROM lifecycle_commit"))
    end)

    it("says that its outcome is unknown when its connection is lost", function()
      local told = {}
      local job, pid = commit(20, told)
      terminate(other, pid)
      local ok, err = pcall(job.ajoin, job)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
      assert.matches("outcome is unknown", err.message)
      assert.same({}, told)
    end)

    it("says so, too, when a cancelled task has waited for it in vain #slow", function()
      local told = {}
      local job = commit(30, told)
      job:cancel()
      local ok, err = pcall(job.ajoin, job)
      assert.is_false(ok)
      assert.matches("outcome is unknown", tostring(err))
      assert.same({}, told)
      other:aquery([[
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query = 'COMMIT' AND state = 'active'
      ]])
    end)
  end)

  it("has the server end a transaction that idles for too long", function()
    local db = open { idle_in_transaction_timeout = 0.1 }
    local err
    local ok = pcall(db.atomic, db, function()
      db:aquery("SELECT 1")
      rille.asleep(0.4)
      err = select(2, pcall(db.aquery, db, "SELECT 1"))
      error("rolled back")
    end)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    assert.matches("idle%-in%-transaction", err.message)
    assert.equal(1, db:aquery("SELECT 1 AS one")[1].one)
    local shown = "SHOW idle_in_transaction_session_timeout"
    local key = "idle_in_transaction_session_timeout"
    assert.equal("5min", open():aquery(shown)[1][key])
    assert.equal("0", open({ idle_in_transaction_timeout = false }):aquery(shown)[1][key])
  end)

  it("maps what the server says to classes, with the constraint and never the password", function()
    local db = open()
    local function class_of(sql, ...)
      local ok, err = pcall(db.aexecute, db, sql, ...)
      assert.is_false(ok)
      return err
    end
    assert.is_true(errors.is_error(class_of("SELEC 1"), errors.ProgrammingError))
    assert.equal("42601", class_of("SELEC 1").sqlstate)
    assert.is_true(errors.is_error(class_of("SELECT 1/0"), errors.DataError))
    assert.is_true(errors.is_error(class_of("SELECT $1::int", "x"), errors.DataError))
  end)

  it("costs little more than an empty call at a boundary with nothing to do", function()
    local db = open()
    db:aquery("SELECT 1")
    local function time(fn)
      local best = math.huge
      for _ = 1, 5 do
        local from = os.clock()
        for _ = 1, 2e5 do
          fn()
        end
        best = math.min(best, os.clock() - from)
      end
      return best
    end
    local function check()
      local ratio = time(rille.close_old_connections) / time(core.now)
      assert.is_true(ratio < 5, ("%.1f times an empty call of C"):format(ratio))
    end
    check()
    db:atomic(check)
  end)
end)

describe("close_old_connections", function()
  it("reaches every database", function()
    local names = { os.tmpname(), os.tmpname() }
    local both = {}
    for i, name in ipairs(names) do
      both[i] = Database("test", { url = "sqlite:" .. name, conn_max_age = 0 })
      both[i]:aquery("SELECT 1")
      assert.equal(1, both[i]:stats().open)
    end
    rille.close_old_connections()
    rille.asleep(0.05)
    for i, name in ipairs(names) do
      assert.equal(0, both[i]:stats().open)
      both[i]:aclose()
      os.remove(name)
    end
  end)
end)
