--- COPY out of a real PostgreSQL and into it.

local errors = require("rille.errors")
local raised = require("spec.support.raised")
local rille = require("rille")
local Database = require("rille.db").Database

local url = os.getenv("RILLE_TEST_POSTGRES")

--- Resident memory of this process, in MiB.
local function resident()
  local file = assert(io.open("/proc/self/status"))
  local kib = file:read("*a"):match("VmRSS:%s*(%d+)")
  file:close()
  return tonumber(kib) / 1024
end

local raised_by = raised.by

local function raises(class, part, fn, ...)
  local err = raised_by(fn, ...)
  raised.is(class, err)
  raised.says(part, err)
  return err
end

local function ignore() end

describe("COPY on PostgreSQL", function()
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end

  local db, other

  setup(function()
    other = Database("other", { url = url, max_connections = 2 })
    other:aexecute("DROP TABLE IF EXISTS rille_copy")
    other:aexecute("CREATE TABLE rille_copy (n int PRIMARY KEY, t text)")
    other:aexecute("DROP SEQUENCE IF EXISTS rille_copy_seq")
    other:aexecute("CREATE SEQUENCE rille_copy_seq")
  end)

  before_each(function()
    other:aexecute("TRUNCATE rille_copy")
    db = Database("test", { url = url, max_connections = 1, acquire_timeout = 7 })
  end)

  after_each(function()
    db:aclose()
  end)

  teardown(function()
    other:aexecute("DROP TABLE rille_copy")
    other:aexecute("DROP SEQUENCE rille_copy_seq")
    other:aclose()
  end)

  local function pid()
    return db:aquery("SELECT pg_backend_pid() AS pid")[1].pid
  end

  local function count()
    return other:aquery("SELECT count(*)::int AS n FROM rille_copy")[1].n
  end

  --- The connection that was used is usable, or another has taken its place.
  local function check_usable()
    assert.same({ { one = 1 } }, db:aquery("SELECT 1 AS one"))
    local stats = db:stats()
    assert.same({ 0, 1 }, { stats.leased, stats.open })
  end

  local function rows_out(sql)
    local parts = {}
    local n = db:acopy_to(sql, function(rows)
      parts[#parts + 1] = rows
    end)
    return table.concat(parts), n
  end

  it("brings rows out as text, CSV and binary", function()
    other:aexecute("INSERT INTO rille_copy VALUES (1, 'a'), (2, NULL), (3, E'tab\\t,\"é\\\\')")
    local text, n = rows_out("COPY (SELECT * FROM rille_copy ORDER BY n) TO STDOUT")
    assert.equal("1\ta\n2\t\\N\n3\ttab\\t,\"é\\\\\n", text)
    assert.equal(3, n)
    text = rows_out("COPY (SELECT * FROM rille_copy ORDER BY n) TO STDOUT (FORMAT csv, HEADER)")
    assert.equal("n,t\n1,a\n2,\n3,\"tab\t,\"\"é\\\"\n", text)
    text, n = rows_out("copy rille_copy to stdout (format binary)")
    assert.equal("PGCOPY\n\255\r\n\0", text:sub(1, 11))
    assert.equal("\255\255", text:sub(-2))
    assert.equal(3, n)
    check_usable()
  end)

  it("takes rows in as text, CSV and binary, from all kinds of sources", function()
    assert.equal(2, db:acopy_from("COPY rille_copy FROM STDIN", "1\ta\n2\t\\N\n"))
    local pieces = { "3,\"", "x", ",\"\"y\"\"\"\n4,", "", "\n" }
    assert.equal(2, db:acopy_from("COPY rille_copy FROM STDIN (FORMAT csv)", pieces))
    local i = 4
    local function source()
      i = i + 1
      rille.asleep(0.001)
      return i <= 20 and ("%d\t%s\n"):format(i, ("z"):rep(i)) or nil
    end
    assert.equal(16, db:acopy_from("COPY rille_copy FROM STDIN", source))
    assert.equal(0, db:acopy_from("COPY rille_copy FROM STDIN", ""))
    assert.equal(0, db:acopy_from("COPY rille_copy FROM STDIN", {}))
    assert.equal(20, count())
    assert.equal('x,"y"', other:aquery("SELECT t FROM rille_copy WHERE n = 3")[1].t)
    local binary = rows_out("COPY rille_copy TO STDOUT (FORMAT binary)")
    other:aexecute("TRUNCATE rille_copy")
    assert.equal(20, db:acopy_from("COPY rille_copy FROM STDIN (FORMAT binary)", binary))
    assert.equal(20, count())
    check_usable()
  end)

  it("calls no sink and asks no source when the server has no rows, or takes none", function()
    local function never()
      error("was called")
    end
    assert.equal(0, db:acopy_to("COPY rille_copy TO STDOUT", never))
    other:aexecute("INSERT INTO rille_copy VALUES (1, 'a')")
    assert.equal(1, db:acopy_to("COPY rille_copy TO PROGRAM 'cat >/dev/null'", never))
    assert.equal(1, db:acopy_from("COPY rille_copy (n) FROM PROGRAM 'echo 2'", never))
    check_usable()
  end)

  it("is not disturbed by what a trigger says meanwhile", function()
    db:atomic(function()
      db:aexecute([[
        CREATE FUNCTION pg_temp.talk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'row % %', NEW.n, repeat('E', 500); RETURN NEW; END $$]])
      db:aexecute("CREATE TEMP TABLE talking (LIKE rille_copy)")
      db:aexecute([[
        CREATE TRIGGER talk BEFORE INSERT ON talking FOR EACH ROW EXECUTE FUNCTION pg_temp.talk()]])
      local i = 0
      assert.equal(2000, db:acopy_from("COPY talking FROM STDIN", function()
        i = i + 1
        rille.asleep(i % 500 == 0 and 0.6 or 0)
        return i <= 2000 and ("%d\t%s\n"):format(i, ("x"):rep(200)) or nil
      end))
    end)
    check_usable()
  end)

  it("brings out a row that is larger than a chunk, and takes it in", function()
    other:aexecute("INSERT INTO rille_copy VALUES (1, repeat('x', 3000000))")
    local text = rows_out("COPY rille_copy TO STDOUT")
    assert.equal("1\t" .. ("x"):rep(3000000) .. "\n", text)
    other:aexecute("TRUNCATE rille_copy")
    assert.equal(1, db:acopy_from("COPY rille_copy FROM STDIN", text))
    assert.same({ { n = 3000000 } }, other:aquery("SELECT length(t) AS n FROM rille_copy"))
  end)

  it("moves a million rows both ways in the memory of a few chunks", function()
    local before, most, bytes, chunks = resident(), 0, 0, 0
    local n = db:acopy_to([[
      COPY (SELECT i, repeat('abcdefgh', 12) FROM generate_series(1, 1000000) i) TO STDOUT]],
      function(rows)
        bytes, chunks = bytes + #rows, chunks + 1
        assert.equal("\n", rows:sub(-1))
        most = math.max(most, chunks % 50 == 0 and resident() or 0)
      end)
    assert.equal(1000000, n)
    assert.equal(5888896 + 98 * 1000000, bytes) -- digits, and the rest of each row
    assert.is_true(bytes / chunks > 60000 and bytes / chunks < 70000)
    assert.is_true(most - before < 24, ("%.1f MiB more"):format(most - before))

    before, most = resident(), 0
    local i, text = 0, ("\t%s\n"):format(("abcdefgh"):rep(12))
    n = db:acopy_from("COPY rille_copy FROM STDIN", function()
      i = i + 1
      most = math.max(most, i % 20000 == 0 and resident() or 0)
      return i <= 1000000 and i .. text or nil
    end)
    assert.equal(1000000, n)
    assert.equal(1000000, count())
    assert.is_true(most - before < 24, ("%.1f MiB more"):format(most - before))
  end)

  it("makes the server wait for a slow sink", function()
    local chunks = 0
    local job = rille.spawn(function()
      return db:acopy_to([[
        COPY (SELECT repeat('x', 1000), nextval('rille_copy_seq') FROM generate_series(1, 50000))
        TO STDOUT]], function()
        chunks = chunks + 1
        if chunks == 1 then
          rille.asleep(0.5)
        end
      end)
    end)
    rille.asleep(0.3)
    assert.equal(1, chunks)
    local n = other:aquery("SELECT last_value AS n FROM rille_copy_seq")[1].n
    assert.is_true(n < 25000, ("%d rows of 50000 were made"):format(n))
    assert.equal(50000, job:ajoin())
  end)

  it("makes a source wait for a server that is not ready", function()
    local asked = 0
    local job
    other:atomic(function()
      other:aexecute("LOCK TABLE rille_copy")
      job = rille.spawn(function()
        return db:acopy_from("COPY rille_copy FROM STDIN", function()
          asked = asked + 1
          return asked <= 200 and ("%d\t%s\n"):format(asked, ("x"):rep(100000)) or nil
        end)
      end)
      rille.asleep(0.2)
      assert.is_true(asked < 100, ("asked %d times"):format(asked))
    end)
    assert.equal(200, job:ajoin())
    assert.equal(200, count())
  end)

  it("raises what the sink raised, and gives the connection back clean", function()
    local first = pid()
    for _, err in ipairs { "text", errors.DataError("x"), { 1 } } do
      local calls = 0
      assert.equal(err, raised_by(db.acopy_to, db,
        "COPY (SELECT * FROM generate_series(1, 1000000)) TO STDOUT", function()
          calls = calls + 1
          if calls == 3 then
            error(err, 0)
          end
        end))
      assert.equal(3, calls)
      check_usable()
    end
    assert.equal(first, pid())
  end)

  it("raises what the source raised, and nothing has gone in", function()
    local first = pid()
    for _, stop in ipairs { 1, 2, 5000 } do
      local i = 0
      local err = raised_by(db.acopy_from, db, "COPY rille_copy FROM STDIN", function()
        i = i + 1
        if i == stop then
          error("enough", 0)
        end
        return ("%d\t%s\n"):format(i, ("x"):rep(100))
      end)
      assert.equal("enough", err)
      check_usable()
      assert.equal(0, count())
    end
    assert.equal(first, pid())
    local err = raised_by(db.acopy_from, db, "COPY rille_copy FROM STDIN", { "1\ta\n", 5 })
    assert.truthy(err:find("must give strings, not a number", 1, true))
    assert.equal(0, count())
    check_usable()
  end)

  it("says which line the server refused", function()
    local err = raises(errors.DataError, "line 3, column n", db.acopy_from, db,
      "COPY rille_copy FROM STDIN", "1\ta\n2\tb\nx\tc\n4\td\n")
    assert.equal("22P02", err.sqlstate)
    check_usable()
    err = raises(errors.IntegrityError, "line 2", db.acopy_from, db,
      "COPY rille_copy FROM STDIN", "1\ta\n1\tb\n")
    assert.equal("rille_copy_pkey", err.constraint)
    raises(errors.DataError, "line 2", db.acopy_from, db, "COPY rille_copy FROM STDIN",
      "1\ta\n2\n")
    local i = 0
    raises(errors.DataError, "line 3", db.acopy_from, db, "COPY rille_copy FROM STDIN", function()
      i = i + 1
      return i < 100000 and (i == 3 and "x" or i) .. "\tsome text\n" or nil
    end)
    assert.equal(0, count())
    check_usable()
    raises(errors.DataError, "division by zero", db.acopy_to, db,
      "COPY (SELECT 1 / (50000 - i) FROM generate_series(1, 100000) i) TO STDOUT", ignore)
    check_usable()
  end)

  it("does not ask a source for ever when a row was refused long ago", function()
    for _, pause in ipairs { 0.005, 0.7 } do -- it ends while we wait for the server, or the source
      local i = 0
      raises(errors.DataError, "line 3, column n", db.acopy_from, db, "COPY rille_copy FROM STDIN",
        function()
          i = i + 1
          rille.asleep(i > 3 and pause or 0)
          return ("%s\t%s\n"):format(i == 3 and "x" or i, ("z"):rep(70000))
        end)
      check_usable()
    end
    assert.equal(0, count())
  end)

  it("raises errors of the statement itself before anything is asked for", function()
    local function never()
      error("was called")
    end
    raises(errors.ProgrammingError, "nowhere", db.acopy_from, db, "COPY nowhere FROM STDIN", never)
    raises(errors.ProgrammingError, "nowhere", db.acopy_to, db, "COPY nowhere TO STDOUT", never)
    raises(errors.ProgrammingError, "syntax", db.acopy_to, db, "COPY TO TO STDOUT", never)
    raises(errors.ProgrammingError, "not a COPY", db.acopy_to, db, "SELECT 1", never)
    raises(errors.ProgrammingError, "not a COPY", db.acopy_from, db, "DELETE FROM t", never)
    raises(errors.NotSupportedError, "acopy_from", db.acopy_to, db, "COPY rille_copy FROM STDIN",
      never)
    raises(errors.NotSupportedError, "acopy_to", db.acopy_from, db, "COPY rille_copy TO STDOUT",
      never)
    check_usable()
  end)

  it("is refused as a plain statement, which names the way", function()
    raises(errors.NotSupportedError, "acopy_to", db.aquery, db, "COPY rille_copy TO STDOUT")
    raises(errors.NotSupportedError, "acopy_from", db.aexecute, db, "COPY rille_copy FROM STDIN")
    check_usable()
  end)

  it("refuses what is no statement, no sink, no source", function()
    assert.truthy(raised_by(db.acopy_to, db, 1, ignore):find("SQL text, not number", 1, true))
    assert.truthy(raised_by(db.acopy_to, db, "COPY"):find("a function for its rows", 1, true))
    local err = raised_by(db.acopy_from, db, "COPY", 5)
    assert.truthy(err:find("a string, a list or a function, not number", 1, true))
  end)

  it("is part of the transaction around it", function()
    db:atomic(function()
      assert.equal(1, db:acopy_from("COPY rille_copy FROM STDIN", "1\ta\n"))
      assert.equal("1\ta\n", rows_out("COPY rille_copy TO STDOUT"))
      assert.equal(0, count())
    end)
    assert.equal(1, count())
    raised_by(db.atomic, db, function()
      db:acopy_from("COPY rille_copy FROM STDIN", "2\tb\n")
      error("back")
    end)
    assert.equal(1, count())
    check_usable()
  end)

  it("fails the block it is in, and a savepoint saves the rest", function()
    db:atomic(function()
      db:aexecute("INSERT INTO rille_copy VALUES (1, 'a')")
      for _, stop in ipairs { "source", "server" } do
        raised_by(db.atomic, db, function()
          pcall(db.acopy_from, db, "COPY rille_copy FROM STDIN", function()
            return stop == "source" and error("x") or nil
          end)
          if stop == "server" then
            pcall(db.acopy_from, db, "COPY rille_copy FROM STDIN", "1\tagain\n")
          end
          db:aquery("SELECT 1") -- raises: the block is lost
        end)
      end
      raised_by(db.atomic, db, function()
        db:acopy_to("COPY (SELECT generate_series(1, 1000000)) TO STDOUT", function()
          error("x")
        end)
      end)
      db:aexecute("INSERT INTO rille_copy VALUES (2, 'b')")
    end)
    assert.equal(2, count())
    check_usable()
  end)

  it("has one connection for itself: its own task cannot use it meanwhile", function()
    db:acopy_to("COPY (SELECT 1) TO STDOUT", function()
      raises(errors.ProgrammingError, "another statement is under way", db.aquery, db, "SELECT 1")
      raises(errors.ProgrammingError, "another COPY is under way", db.acopy_to, db,
        "COPY (SELECT 1) TO STDOUT", ignore)
    end)
    check_usable()
  end)

  it("goes from one database into another", function()
    other:aexecute("INSERT INTO rille_copy SELECT i, 'x' FROM generate_series(1, 20000) i")
    other:aexecute("CREATE TABLE rille_copy_2 (LIKE rille_copy)")
    local channel, done = {}, false
    local job = rille.spawn(function()
      db:acopy_to("COPY rille_copy TO STDOUT", function(rows)
        channel[#channel + 1] = rows
        rille.asleep(0)
      end)
      done = true
    end)
    local n = other:acopy_from("COPY rille_copy_2 FROM STDIN", function()
      while #channel == 0 and not done do
        rille.asleep(0)
      end
      return table.remove(channel, 1)
    end)
    job:ajoin()
    other:aexecute("DROP TABLE rille_copy_2")
    assert.equal(20000, n)
  end)

  it("ends with atimeout, wherever it waits", function()
    local big = "COPY (SELECT generate_series(1, 100000000)) TO STDOUT"
    raises(errors.Timeout, "", rille.atimeout, 0.2, function()
      db:acopy_to(big, ignore)
    end)
    check_usable()
    raises(errors.Timeout, "", rille.atimeout, 0.1, function()
      db:acopy_to(big, function()
        rille.asleep(10)
      end)
    end)
    check_usable()
    raises(errors.Timeout, "", rille.atimeout, 0.1, function()
      db:acopy_to("COPY (SELECT pg_sleep(20)) TO STDOUT", ignore)
    end)
    check_usable()
    raises(errors.Timeout, "", rille.atimeout, 0.2, function()
      local i = 0
      db:acopy_from("COPY rille_copy FROM STDIN", function()
        i = i + 1
        return i .. "\tx\n"
      end)
    end)
    check_usable()
    other:atomic(function()
      other:aexecute("LOCK TABLE rille_copy")
      raises(errors.Timeout, "", rille.atimeout, 0.1, function()
        db:acopy_from("COPY rille_copy FROM STDIN", "1\tx\n")
      end)
      check_usable()
    end)
    assert.equal(0, count())
  end)

  it("ends with its task", function()
    for _, way in ipairs { "out, in the sink", "out", "in, in the source", "in" } do
      local began = false
      local job = rille.spawn(function()
        local function wait()
          began = true
          rille.asleep(way:find("in the", 1, true) and 10 or 0)
        end
        if way:find("^out") then
          db:acopy_to("COPY (SELECT generate_series(1, 100000000)) TO STDOUT", wait)
        end
        local i = 0
        db:acopy_from("COPY rille_copy FROM STDIN", function()
          wait()
          i = i + 1
          return ("%d\t%s\n"):format(i, ("x"):rep(1000))
        end)
      end)
      repeat
        rille.asleep(0.01)
      until began
      job:cancel()
      assert.is_true(errors.is_error(raised_by(job.ajoin, job), errors.Cancelled))
      check_usable()
      assert.equal(0, count())
    end
  end)

  it("raises OperationalError when the backend is terminated, and nothing has gone in", function()
    local function terminate(victim)
      other:aquery("SELECT pg_terminate_backend($1::int)", victim)
    end
    local victim = pid()
    raises(errors.OperationalError, "connection was lost", db.acopy_from, db,
      "COPY rille_copy FROM STDIN", function()
        if victim then
          terminate(victim)
          victim = nil
        end
        rille.asleep(0.001)
        return ("%d\t%s\n"):format(count(), ("x"):rep(10000))
      end)
    check_usable()
    assert.equal(0, count())

    victim = pid()
    raises(errors.OperationalError, "connection was lost", db.acopy_to, db,
      "COPY (SELECT generate_series(1, 10000000)) TO STDOUT", function()
        if victim then
          terminate(victim)
          victim = nil
        end
      end)
    check_usable()
    assert.equal(2, db:stats().closed_dead)
  end)

  it("ends when the database is closed in the middle", function()
    local closing = Database("closing", { url = url })
    local began = false
    local job = rille.spawn(function()
      closing:acopy_to("COPY (SELECT generate_series(1, 100000000)) TO STDOUT", function()
        began = true
        rille.asleep(0.01)
      end)
    end)
    repeat
      rille.asleep(0.01)
    until began
    closing:aclose()
    assert.truthy(tostring(raised_by(job.ajoin, job)):find("closed", 1, true))
  end)
end)

describe("COPY on SQLite", function()
  it("is not there, and says so", function()
    local db = Database("test", { url = "sqlite::memory:" })
    raises(errors.NotSupportedError, "SQLite has no COPY", db.acopy_to, db, "COPY t TO STDOUT",
      ignore)
    raises(errors.NotSupportedError, "SQLite has no COPY", db.acopy_from, db, "COPY t FROM STDIN",
      "")
    db:aclose()
  end)
end)
