--- Backends that are terminated at every moment of a statement's life, and statements that are
--- cancelled: who is told, that nothing is run twice, and that nobody else notices.

local cluster = require("spec.support.cluster")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local load = require("spec.support.load")
local models = require("rille.models")
local rille = require("rille")
local server = require("spec.support.server")

local Row = models.define("faults_row", { label = models.text() }, { name = "Row" })

describe("a backend that is terminated", function()
  local pg, db

  lazy_setup(function()
    pg = cluster.start()
  end)

  lazy_teardown(cluster.clean)

  local function open(settings)
    return databases.open("faults", { url = pg.url, acquire_timeout = 20 }, settings)
  end

  before_each(function()
    db = open { max_connections = 6 }
    load.prepare(db)
  end)

  after_each(databases.close_all)

  --- Wait for the backend that is in the middle of such a statement.
  local function backend_of(pattern)
    return cluster.eventually(function()
      local pid = pg:sql(
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
          .. " AND query LIKE '"
          .. pattern
          .. "'"
      )
      return pid ~= "" and pid
    end)
  end

  --- … and wait until it is gone.
  local function terminate(pid)
    assert.equal("t", pg:sql("SELECT pg_terminate_backend(" .. pid .. ", 10000)"))
  end

  local function fails(job)
    local ok, err = pcall(job.ajoin, job)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    return err
  end

  local function rows(text)
    return tonumber(pg:sql("SELECT count(*) FROM " .. text))
  end

  --- Hurt the server while many others are at work; none of them may notice.
  local function among_others(hurt)
    local busy = load.start(db, { writers = 4, readers = 8, transactions = 2, pause = 0.001 })
    local function on(n)
      local from = busy.reads + busy.writes
      cluster.eventually(function()
        return busy.reads + busy.writes > from + n
      end)
    end
    on(20)
    hurt()
    on(20)
    busy:stop()
    busy:check(pg)
    assert.same({ 0, 0, 0 }, { busy:failures() })
  end

  it("while it idles costs nobody a statement", function()
    local one = open { max_connections = 3 }
    local function spread()
      local jobs = {}
      for i = 1, 3 do
        jobs[i] = function()
          return one:aquery("SELECT pg_backend_pid() AS pid FROM pg_sleep(0.1)")[1].pid
        end
      end
      return rille.agather(jobs)
    end
    for _, pid in ipairs(spread()) do
      terminate(pid)
    end
    -- At once, before the loop has had a chance to see it.
    assert.equal(3, #spread())
    assert.equal(3, one:stats().closed_dead)
    assert.equal(0, one:stats().timeouts)
  end)

  it("again and again costs nobody a statement that begins after it", function()
    for i = 1, 5 do
      local pid = db:aquery("SELECT pg_backend_pid() AS pid")[1].pid
      terminate(pid)
      assert.equal(i, db:aquery("SELECT $1::int AS i", i)[1].i)
      db:aexecute("INSERT INTO faults_write VALUES ($1)", i)
      assert.equal("row 1", Row.objects:using(db):aget({ id = 1 }).label)
    end
    assert.equal(5, rows("faults_write"))
  end)

  it("in mid-write fails that write, which is not run again, and no other", function()
    among_others(function()
      local job = rille.spawn(function()
        db:aexecute("INSERT INTO faults_write SELECT 0 FROM pg_sleep(20)")
      end)
      terminate(backend_of("INSERT INTO faults_write SELECT 0%"))
      local err = fails(job)
      assert.equal("57P01", err.sqlstate)
      assert.matches("while the statement ran", err.message, 1, true)
    end)
    assert.equal(0, rows("faults_write WHERE id = 0"))
  end)

  it("in mid-read fails that read and no other", function()
    among_others(function()
      local job = rille.spawn(function()
        db:aquery("SELECT pg_sleep(20) /* read */")
      end)
      terminate(backend_of("SELECT pg_sleep(20) /* read */"))
      fails(job)
    end)
  end)

  it("before it had the whole statement has it run by another", function()
    local one = open { max_connections = 1 }
    local pid = one:aquery("SELECT pg_backend_pid() AS pid")[1].pid
    server.shell("kill -STOP " .. pid) -- it reads no more, so most of the statement stays here
    local size = 2 ^ 25
    local job = rille.spawn(function()
      one:aexecute("INSERT INTO faults_write VALUES (length($1))", ("x"):rep(size))
    end)
    rille.asleep(0.3)
    server.shell("kill -TERM " .. pid .. "; kill -CONT " .. pid)
    job:ajoin()
    assert.equal(tostring(size), pg:sql("SELECT id FROM faults_write"))
    assert.equal(2, one:stats().opened)
  end)

  it("before it began never has a statement run twice, nor given up as not sent", function()
    local one = open { max_connections = 1 }
    local insert = "INSERT INTO faults_slow SELECT $1::bigint"
    pg:sql("DROP TABLE IF EXISTS faults_slow; CREATE TABLE faults_slow (id bigint)")
    one:aexecute(insert, 1)
    local locked = rille.spawn(function()
      db:atomic(function()
        db:aexecute("LOCK TABLE faults_slow")
        rille.asleep(1000)
      end)
    end)
    cluster.eventually(function()
      return pg:sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
        .. " AND relation = 'faults_slow'::regclass") == "1"
    end)
    -- Even to look at the statement the server needs the lock.
    local job = rille.spawn(function()
      one:aexecute(insert, 2)
    end)
    terminate(cluster.eventually(function()
      local pid = pg:sql("SELECT pid FROM pg_locks WHERE NOT granted")
      return pid ~= "" and pid
    end))
    locked:cancel()
    pcall(locked.ajoin, locked)
    local ok, err = pcall(job.ajoin, job)
    if not ok then
      assert.matches("while the statement ran", err.message, 1, true)
    end
    assert.equal(ok and "1,2" or "1", pg:sql("SELECT string_agg(id::text, ',') FROM faults_slow"))
    pg:sql("DROP TABLE faults_slow")
  end)

  it("in mid-transaction fails its next statement, and rolls it back", function()
    among_others(function()
      local err = fails(rille.spawn(function()
        db:atomic(function()
          db:aexecute("INSERT INTO faults_write VALUES (-1)")
          terminate(db:aquery("SELECT pg_backend_pid() AS pid")[1].pid)
          rille.asleep(0.05)
          db:aexecute("INSERT INTO faults_write VALUES (-2)")
        end)
      end))
      assert.matches("lost", err.message, 1, true)
    end)
    assert.equal(0, rows("faults_write WHERE id < 0"))
  end)

  it("in mid-transaction leaves no statement of it to another connection", function()
    -- Also not when the block goes on as if nothing had happened.
    local jobs = {}
    for i = 1, 5 do
      jobs[i] = function()
        pcall(db.atomic, db, function()
          db:aexecute("INSERT INTO faults_write VALUES (-1)")
          terminate(db:aquery("SELECT pg_backend_pid() AS pid")[1].pid)
          for _ = 1, 5 do
            pcall(db.aexecute, db, "INSERT INTO faults_write VALUES (-2)")
            rille.asleep(0.01)
          end
        end)
      end
    end
    rille.agather(jobs)
    assert.equal(0, rows("faults_write"))
    assert.equal(0, db:stats().leased)
  end)

  it("runs no hook of a transaction that it has ended", function()
    local called = false
    fails(rille.spawn(function()
      db:atomic(function()
        db:on_commit(function()
          called = true
        end)
        terminate(db:aquery("SELECT pg_backend_pid() AS pid")[1].pid)
      end)
    end))
    assert.is_false(called)
  end)

  describe("at COMMIT", function()
    before_each(function()
      db:aexecute("DROP TABLE IF EXISTS faults_slow")
      db:aexecute("CREATE TABLE faults_slow (id bigint)")
      db:aexecute([[
        CREATE OR REPLACE FUNCTION faults_wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(20); RETURN NULL; END']])
      db:aexecute([[
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON faults_slow
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults_wait()]])
    end)

    it("leaves the outcome unknown, which the error says", function()
      local called = false
      among_others(function()
        local job = rille.spawn(function()
          db:atomic(function()
            db:aexecute("INSERT INTO faults_slow VALUES (1)")
            db:on_commit(function()
              called = true
            end)
          end)
        end)
        terminate(backend_of("COMMIT%"))
        assert.matches("outcome is unknown", fails(job).message, 1, true)
      end)
      assert.is_false(called)
      assert.equal(0, rows("faults_slow"))
      assert.equal(0, db:stats().leased)
    end)

    it("fails a statement that commits by itself, once", function()
      local job = rille.spawn(function()
        db:aexecute("INSERT INTO faults_slow VALUES (2)")
      end)
      terminate(backend_of("INSERT INTO faults_slow%"))
      fails(job)
      rille.asleep(0.1)
      assert.equal("0", pg:sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO faults_slow%'"
          .. " AND state = 'active' AND pid <> pg_backend_pid()"
      ))
    end)
  end)

  it("under load costs a write or two each time, and nothing that was confirmed", function()
    local busy = load.start(db, { writers = 10, readers = 10, transactions = 5, pause = 0.001 })
    local times = 10
    for _ = 1, times do
      rille.asleep(0.05)
      pg:sql([[
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'rille' AND query LIKE '%faults%' ORDER BY random() LIMIT 1]])
    end
    local from = busy.writes
    cluster.eventually(function()
      return busy.writes > from + 50
    end)
    busy:stop()
    busy:check(pg)
    local writes, transactions = busy:failures()
    assert.is_true(writes + transactions <= times, writes .. " and " .. transactions)
    assert.is_true(db:stats().closed_dead > 0)
  end)

  describe("or a statement that is cancelled", function()
    it("by the server is told so, and keeps its connection", function()
      among_others(function()
        local from = db:stats().closed_dead
        local job = rille.spawn(function()
          db:aexecute("INSERT INTO faults_write SELECT 0 FROM pg_sleep(20)")
        end)
        local pid = backend_of("INSERT INTO faults_write SELECT 0%")
        pg:sql("SELECT pg_cancel_backend(" .. pid .. ")")
        assert.equal("57014", fails(job).sqlstate)
        assert.equal(from, db:stats().closed_dead)
      end)
      assert.equal(0, rows("faults_write WHERE id = 0"))
    end)

    it("by the server inside atomic rolls back its block alone", function()
      db:atomic(function()
        db:aexecute("INSERT INTO faults_write VALUES (-1)")
        local ok, err = pcall(db.atomic, db, function()
          db:aexecute("INSERT INTO faults_write VALUES (-2)")
          local pid = db:aquery("SELECT pg_backend_pid() AS pid")[1].pid
          rille.spawn(function()
            backend_of("SELECT pg_sleep(20) /* inner */")
            pg:sql("SELECT pg_cancel_backend(" .. pid .. ")")
          end)
          db:aquery("SELECT pg_sleep(20) /* inner */")
        end)
        assert.is_false(ok)
        assert.equal("57014", err.sqlstate)
      end)
      assert.equal("-1", pg:sql("SELECT id FROM faults_write"))
    end)

    it("by statement_timeout is told so, and no other", function()
      local short = open { statement_timeout = 0.2, max_connections = 4 }
      local jobs = {}
      for i = 1, 40 do
        jobs[i] = function()
          if i % 10 == 0 then
            local ok, err = pcall(short.aquery, short, "SELECT pg_sleep(20)")
            assert.is_false(ok)
            assert.equal("57014", err.sqlstate)
            return i
          end
          return tonumber(Row.objects:using(short):aget({ id = i }).id)
        end
      end
      assert.equal(40, #rille.agather(jobs))
    end)

    it("by its task takes no other with it", function()
      local one = open { max_connections = 3 }
      local wrong, done, given_up = {}, 0, 0
      local jobs = {}
      for i = 1, 60 do
        jobs[i] = function()
          for round = 1, 10 do
            local id = (i + round) % 50 + 1
            if i % 3 == 0 then -- gives up at whatever point it has come to
              local ok, err = pcall(rille.atimeout, 0.001 * (i % 7), function()
                return Row.objects:using(one):aget { id = id }
              end)
              given_up = given_up + (ok and 0 or 1)
              if not ok and not errors.is_error(err, errors.Timeout) then
                wrong[#wrong + 1] = tostring(err)
              end
            else
              local ok, row = pcall(function()
                return Row.objects:using(one):aget { id = id }
              end)
              if not ok or row.label ~= "row " .. id then
                wrong[#wrong + 1] = ok and row.label .. " for " .. id or tostring(row)
              end
              done = done + 1
            end
          end
        end
      end
      rille.agather(jobs)
      assert.same({}, wrong)
      assert.equal(400, done)
      assert.is_true(given_up > 0)
    end)

    it("by its task while it writes is there or is not, and its connection serves again", function()
      local one = open { max_connections = 1 }
      for i = 1, 5 do
        pcall(rille.atimeout, 0.05, function()
          one:aexecute("INSERT INTO faults_write SELECT $1::bigint FROM pg_sleep(20)", i)
        end)
        one:aexecute("INSERT INTO faults_write VALUES ($1)", 100 + i)
      end
      assert.equal("101,102,103,104,105", pg:sql(
        "SELECT string_agg(id::text, ',' ORDER BY id) FROM faults_write"
      ))
      assert.equal(1, one:stats().opened)
    end)
  end)
end)
