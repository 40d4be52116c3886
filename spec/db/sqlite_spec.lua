--- SQLite as scripts meet it: one writer, several readers, other processes, and what goes wrong.

local databases = require("spec.support.databases")
local errors = require("rille.errors")
local raised = require("spec.support.raised")
local rille = require("rille")

local ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
  .. " SELECT count(*) FROM n"

describe("on SQLite a database", function()
  local path

  --- A database on the file of this test.
  local function open(settings)
    return databases.open("test", { url = "sqlite:" .. path }, settings)
  end

  before_each(function()
    path = os.tmpname()
  end)

  after_each(function()
    databases.close_all()
    for _, suffix in ipairs { "", "-wal", "-shm" } do
      os.remove(path .. suffix)
    end
  end)

  local function raised_by(fn, ...)
    local err = raised.by(fn, ...)
    assert.is_true(errors.is_error(err), tostring(err))
    return err
  end

  local function count(db)
    return db:aquery("SELECT count(*) AS n FROM t")[1].n
  end

  --- Another program that uses the file: Python runs `code` with `db` open.
  local function program(code)
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(
      "import sqlite3, sys, time\n",
      ("db = sqlite3.connect(%q, timeout=20, isolation_level=None)\n"):format(path),
      code
    )
    file:close()
    local pipe = assert(io.popen("/usr/bin/python3 " .. script .. " 2>&1", "r"))
    return {
      line = function()
        return pipe:read("*l")
      end,
      close = function()
        local rest = pipe:read("*a")
        pipe:close()
        os.remove(script)
        return rest
      end,
    }
  end

  it("keeps a write-ahead log, and foreign keys", function()
    local db = open()
    assert.equal("wal", db:aquery("PRAGMA journal_mode")[1].journal_mode)
    assert.equal(1, db:aquery("PRAGMA foreign_keys")[1].foreign_keys)
    db:aexecute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    db:aexecute(
      "CREATE TABLE child (p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    local err = raised_by(db.aexecute, db, "INSERT INTO child VALUES (7)")
    assert.is_true(errors.is_error(err, errors.IntegrityError), tostring(err))
    local hooked = false
    err = raised_by(db.atomic, db, function() -- here it is COMMIT that fails
      db:aexecute("INSERT INTO child VALUES (7)")
      db:on_commit(function()
        hooked = true
      end)
    end)
    assert.is_true(errors.is_error(err, errors.IntegrityError), tostring(err))
    assert.is_false(hooked)
    assert.same({}, db:aquery("SELECT p FROM child"))
  end)

  it("lets readers go on while one writes and more writers wait than there are threads", function()
    local db = open { max_connections = 3 }
    db:aexecute("CREATE TABLE t (n INTEGER)")
    local writers, order = {}, {}
    db:atomic(function()
      db:aexecute("INSERT INTO t VALUES (0)")
      for i = 1, 10 do
        writers[i] = rille.spawn(function()
          if i % 2 == 0 then
            db:aexecute("INSERT INTO t VALUES ($1)", i)
          else
            db:atomic(function()
              db:aexecute("INSERT INTO t VALUES ($1)", i)
            end)
          end
          order[#order + 1] = i
        end)
      end
      rille.asleep(0.05)
      assert.same({}, order)
      assert.equal(10, db:stats().waiting)
      for _ = 1, 5 do -- what was there before, and at once
        local seen = rille.spawn(function()
          return rille.atimeout(1, function()
            return count(db)
          end)
        end)
        assert.equal(0, seen:ajoin())
      end
      assert.equal(1, count(db))
    end)
    for _, writer in ipairs(writers) do
      writer:ajoin()
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
    assert.equal(11, count(db))
  end)

  it("says that others were writing when the turn does not come in time", function()
    local db = open { acquire_timeout = 0.2 }
    db:aexecute("CREATE TABLE t (n INTEGER)")
    db:atomic(function()
      rille
        .spawn(function()
          local err = raised_by(db.aexecute, db, "INSERT INTO t VALUES (1)")
          assert.is_true(errors.is_error(err, errors.OperationalError))
          assert.matches("others were writing for 0.2 s", err.message)
          assert.matches("sqlite_spec.lua:%d+", err.message)
          assert.equal(0, count(db))
        end)
        :ajoin()
    end)
  end)

  it("waits for another program's transaction, and names the file when that lasts", function()
    local db, hasty = open { acquire_timeout = 10 }, open { acquire_timeout = 0.2 }
    db:aexecute("CREATE TABLE t (n INTEGER)")
    assert.equal(0, count(hasty))
    local other = program([[
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO t VALUES (1)")
print("writing", flush=True)
time.sleep(1.5)
db.execute("COMMIT")
print("done")
]])
    assert.equal("writing", other.line())
    local err = raised_by(hasty.aexecute, hasty, "INSERT INTO t VALUES (2)")
    assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
    assert.truthy(err.message:find(path .. ": database is locked for 0.2 s", 1, true), err.message)
    assert.equal("55P03", err.sqlstate)
    assert.equal(0, count(hasty)) -- readers do not wait
    db:atomic(function()
      db:aexecute("INSERT INTO t VALUES (3)")
    end)
    assert.equal(2, count(db))
    assert.equal("done\n", other.close())
  end)

  it("loses nothing with several programs writing at once", function()
    local db = open { acquire_timeout = 30 }
    db:aexecute("CREATE TABLE t (n INTEGER)")
    local code = [[
for i in range(50):
    db.execute("BEGIN IMMEDIATE")
    n = db.execute("SELECT count(*) FROM t").fetchone()[0]
    db.execute("INSERT INTO t VALUES (?)", (n,))
    db.execute("COMMIT")
]]
    local others = { program(code), program(code) }
    local jobs = {}
    for i = 1, 50 do
      jobs[i] = function()
        db:atomic(function()
          db:aexecute("INSERT INTO t VALUES ($1)", count(db))
        end)
      end
    end
    rille.agather(jobs)
    for _, other in ipairs(others) do
      assert.equal("", other.close())
    end
    assert.equal(150, count(db))
    assert.equal(150, db:aquery("SELECT count(DISTINCT n) AS n FROM t")[1].n)
  end)

  it("never keeps the loop waiting, and stops what a deadline cuts off", function()
    local db = open()
    local turns = 0
    local ticking = rille.spawn(function()
      while true do
        rille.asleep(0.001)
        turns = turns + 1
      end
    end)
    local err = raised_by(rille.atimeout, 0.2, function()
      db:aquery(ENDLESS)
    end)
    assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
    assert.is_true(turns > 10, turns .. " turns")
    ticking:cancel()
    for _ = 1, 500 do -- its thread is free again
      if db:stats().busy == 0 then
        break
      end
      rille.asleep(0.01)
    end
    assert.equal(0, db:stats().busy)
    assert.equal(1, db:stats().opened)
  end)

  it("tells what is wrong with the file", function()
    local function refuses(text, db, sql)
      local err = raised_by(db.aexecute, db, sql or "CREATE TABLE t (n INTEGER)")
      assert.is_true(errors.is_error(err, errors.OperationalError), tostring(err))
      assert.truthy(err.message:find(text, 1, true), err.message)
    end
    local nowhere = "/nowhere/at/all.db"
    refuses(
      "cannot open " .. nowhere .. ": unable to open database file",
      open { url = "sqlite:" .. nowhere, acquire_timeout = 0.2 }
    )

    local file = assert(io.open(path, "wb"))
    file:write(("no database at all. "):rep(100))
    file:close()
    refuses("file is not a database", open { acquire_timeout = 0.2 })
    assert(io.open(path, "wb")):close()

    local db = open { max_connections = 1 }
    db:aexecute("CREATE TABLE t (n BLOB)")
    db:apinned(function(conn)
      conn:aquery("PRAGMA max_page_count = 20")
      refuses(path .. ": database or disk is full", db, "INSERT INTO t VALUES (zeroblob(1000000))")
      refuses(path .. ": database or disk is full", db, "INSERT INTO t VALUES (zeroblob(1000000))")
    end)
    db:apinned(function(conn)
      conn:aquery("PRAGMA query_only = ON")
      refuses(path .. ": attempt to write a readonly database", db, "INSERT INTO t VALUES (1)")
    end)
    db:aexecute("INSERT INTO t VALUES (1)") -- the session was reset behind both
    assert.equal(1, count(db))
  end)

  it("rolls back a transaction that a full disk has ended on its own", function()
    local db = open { max_connections = 1 }
    db:aexecute("CREATE TABLE t (n BLOB)")
    db:apinned(function(conn)
      conn:aquery("PRAGMA max_page_count = 20")
      local err = raised_by(db.atomic, db, function()
        db:aexecute("INSERT INTO t VALUES (1)")
        db:aexecute("INSERT INTO t VALUES (zeroblob(1000000))")
      end)
      assert.matches("disk is full", err.message)
      db:atomic(function()
        db:aexecute("INSERT INTO t VALUES (2)")
      end)
    end)
    assert.equal(1, count(db))
  end)

  it("in memory lives as long as the database object, with transactions", function()
    local db = open { url = "sqlite::memory:" }
    db:aexecute("CREATE TABLE t (n INTEGER)")
    db:atomic(function()
      db:aexecute("INSERT INTO t VALUES (1)")
      pcall(db.atomic, db, function()
        db:aexecute("INSERT INTO t VALUES (2)")
        error("x")
      end)
    end)
    rille.close_old_connections()
    assert.equal(1, count(db))
  end)
end)
