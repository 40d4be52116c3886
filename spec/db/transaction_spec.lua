--- Transactions on both real backends: what is in the table at the end is the proof.

local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local raised = require("spec.support.raised")
local rille = require("rille")
local Database = require("rille.db").Database

local TransactionManagementError = errors.TransactionManagementError

local raised_by = raised.by

--- Raises a TransactionManagementError that says `text`.
local function refused(text, fn, ...)
  raised.says(text, raised.is(TransactionManagementError, raised_by(fn, ...)))
end

--- The same specs for every backend.
local function transactions_on(url_of, slow)
  local opened, url, db

  local function open(settings)
    local given = { url = url }
    for name, value in pairs(settings or {}) do
      given[name] = value
    end
    opened[#opened + 1] = Database("test", given)
    return opened[#opened]
  end

  before_each(function()
    url, opened = url_of(), {}
    db = open()
    db:aexecute("DROP TABLE IF EXISTS txn")
    db:aexecute("CREATE TABLE txn (n integer PRIMARY KEY)")
  end)

  after_each(function()
    for _, database in ipairs(opened) do
      assert.equal(0, database:stats().leased)
      if database == db then
        database:aexecute("DROP TABLE txn")
      end
    end
    for _, database in ipairs(opened) do
      database:aclose()
    end
  end)

  local function insert(n)
    assert.equal(1, db:aexecute("INSERT INTO txn VALUES ($1)", n))
  end

  --- A statement that fails, since `n` is there; the script carries on.
  local function fail_with(n)
    local err = raised_by(db.aexecute, db, "INSERT INTO txn VALUES ($1)", n)
    assert.is_true(errors.is_error(err, errors.IntegrityError), tostring(err))
  end

  local function rows()
    local list = {}
    for i, row in ipairs(db:aquery("SELECT n FROM txn ORDER BY n")) do
      list[i] = row.n
    end
    return list
  end

  describe("a block in a block, by Django's rules:", function()
    local outers = { "ends well", "raises" }
    local inners = { "ends well", "raises", "fails, but ends well", "fails and raises" }

    --- What the blocks below leave, worked out from the rules alone.
    local function expected(outer, inner, savepoint, caught)
      local raises = inner == "raises" or inner == "fails and raises"
      local broken = inner ~= "ends well"
      local marked = broken and not savepoint -- the outer block can only be rolled back
      if outer == "raises" or marked or (raises and not caught) then
        return {}
      end
      return broken and { 1, 3 } or { 1, 2, 3 }
    end

    for _, outer in ipairs(outers) do
      for _, inner in ipairs(inners) do
        for _, savepoint in ipairs { true, false } do
          for _, caught in ipairs { true, false } do
            local title = ("the outer %s, the inner%s %s%s"):format(
              outer,
              savepoint and "" or " without a savepoint",
              inner,
              caught and "" or ", and nobody catches it"
            )
            it(title, function()
              local function run_inner()
                return db:atomic(function()
                  insert(2)
                  if inner:find("^fails") then
                    fail_with(2)
                    refused("You can't execute queries", db.aquery, db, "SELECT 1")
                  end
                  if inner:find("raises") then
                    error("inner", 0)
                  end
                end, { savepoint = savepoint })
              end
              local ok, err = pcall(db.atomic, db, function()
                insert(1)
                if caught then
                  pcall(run_inner)
                else
                  run_inner()
                end
                if inner ~= "ends well" and not savepoint then
                  refused("You can't execute queries", insert, 3)
                else
                  insert(3)
                end
                if outer == "raises" then
                  error("outer", 0)
                end
              end)
              local stops = not caught and inner:find("raises")
              assert.equal(outer == "ends well" and not stops, ok)
              if not ok then
                assert.equal(stops and "inner" or "outer", err)
              end
              assert.same(expected(outer, inner, savepoint, caught), rows())
            end)
          end
        end
      end
    end

    --- Blocks in blocks as chance wants them, run on the database and in a model of sets. What a
    --- block keeps is decided by three rules, and by nothing else.
    it("whatever is nested in what", function()
      local random, next_row
      local function chance(n) -- an own generator: the same cases everywhere
        random = (random * 16807) % 2147483647
        return random % n
      end

      --- Run a block; returns did it raise, is its transaction only good for rollback, its rows.
      local function block(depth, savepoint, broken, present)
        local mine, failed = {}, broken
        local raises = false
        local ok = pcall(db.atomic, db, function()
          for _ = 1, 1 + chance(4) do
            local what = chance(8)
            if what < 3 then
              next_row = next_row + 1
              if failed then
                refused("You can't execute queries", insert, next_row)
              else
                insert(next_row)
                mine[#mine + 1] = next_row
              end
            elseif what == 3 and #present + #mine > 0 and not failed then
              fail_with(mine[#mine] or present[#present])
              failed = true
            elseif what == 4 then
              raises = true
              error("by chance")
            elseif depth < 4 then
              local seen = { unpack(present) }
              for _, n in ipairs(mine) do
                seen[#seen + 1] = n
              end
              local own = chance(3) > 0
              local inner_raised, inner_failed, kept = block(depth + 1, own, failed, seen)
              for _, n in ipairs(kept) do
                mine[#mine + 1] = n
              end
              failed = inner_failed
              if inner_raised and chance(2) == 0 then
                raises = true
                error("passed on")
              end
            end
          end
        end, { savepoint = savepoint })
        assert.equal(not raises, ok)
        if depth == 0 then
          return raises, false, (raises or failed) and {} or mine
        elseif savepoint and not broken then
          return raises, false, (raises or failed) and {} or mine
        end
        return raises, failed or raises, mine -- its fate is that of the block around
      end

      for seed = 1, 150 do
        random, next_row = seed * 7919, 0
        local _, _, kept = block(0, true, false, {})
        table.sort(kept)
        assert.same({ seed, kept }, { seed, rows() })
        db:aexecute("DELETE FROM txn")
      end
    end)
  end)

  it("gives back what the function returned, nils and all, and raises what it raised", function()
    local function count(...)
      return select("#", ...), ...
    end
    assert.same(
      { 4, nil, 2, nil, nil },
      { count(db:atomic(function()
        return nil, 2, nil, nil
      end)) }
    )
    assert.equal(1, (count(db:atomic(function()
      return nil
    end))))
    assert.equal(0, (count(db:atomic(function() end))))
    for _, err in ipairs { {}, errors.DataError("x"), 7, print, false, "text" } do
      assert.equal(
        err,
        raised_by(db.atomic, db, function()
          db:atomic(function()
            insert(1)
            error(err, 0)
          end)
        end)
      )
    end
    local ok, err = pcall(db.atomic, db, function()
      error()
    end)
    assert.same({ false, nil }, { ok, err })
    assert.same({}, rows())
  end)

  it("rolls back a block whose task is cancelled: in BEGIN, in a statement, between two", function()
    local started
    local function job(fn)
      started = false
      local handle = rille.spawn(function()
        db:atomic(function()
          insert(1)
          started = true
          fn()
        end)
      end)
      eventually(function()
        return started
      end)
      handle:cancel()
      local err = raised_by(handle.ajoin, handle)
      assert.is_true(errors.is_error(err, errors.Cancelled), tostring(err))
      assert.same({}, rows())
    end
    job(function()
      rille.asleep(10)
    end)
    job(function()
      db:aquery(slow)
    end)
    job(function()
      pcall(db.aquery, db, slow) -- swallowed, and never committed
    end)

    local in_begin = rille.spawn(function()
      db:atomic(function()
        insert(1)
      end)
    end)
    rille.asleep(0)
    in_begin:cancel()
    raised_by(in_begin.ajoin, in_begin)
    assert.same({}, rows())
  end)

  it("rolls back what a deadline around the block interrupts", function()
    local err = raised_by(rille.atimeout, 0.05, function()
      db:atomic(function()
        insert(1)
        db:aquery(slow)
      end)
    end)
    assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
    assert.same({}, rows())
  end)

  it("after a deadline inside of the block goes on if no statement was lost", function()
    db:atomic(function()
      insert(1)
      raised_by(rille.atimeout, 0.02, function()
        rille.asleep(10)
      end)
      insert(2)
    end)
    assert.same({ 1, 2 }, rows())

    db:atomic(function()
      insert(3)
      local err = raised_by(rille.atimeout, 0.02, function()
        db:aquery(slow)
      end)
      assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
      refused("You can't execute queries", insert, 4)
    end)
    assert.same({ 1, 2 }, rows())

    db:atomic(function()
      insert(3)
      pcall(rille.atimeout, 0.02, function()
        db:atomic(function()
          insert(4)
          db:aquery(slow)
        end)
      end)
    end)
    assert.is_true(#rows() <= 3) -- the savepoint could not be rolled back in time, or it could
    assert.is_nil(rows()[4])
  end)

  describe("says COMMIT to the end", function()
    local real, job, ended

    --- Run `work`, whose COMMIT ends after the turn in which it was sent.
    local function run(work, when_sent)
      real, ended = db.driver, {}
      db.driver = setmetatable({
        query = function(handle, sql, ...)
          if sql == "COMMIT" then
            when_sent()
          end
          return real.query(handle, sql, ...)
        end,
      }, { __index = real })
      job = rille.spawn(function()
        work(function()
          db:atomic(function()
            insert(1)
            db:on_commit(function()
              ended.hooked = true
            end)
          end)
          ended.atomic = true
        end)
        rille.asleep(0)
        ended.waited = true
      end)
      local ok, err = pcall(job.ajoin, job)
      db.driver = real
      assert.same({ 1 }, rows())
      return ok, err
    end

    it("when the task is cancelled meanwhile, which its next wait learns", function()
      local ok, err = run(function(work)
        work()
      end, function()
        rille.spawn(function() -- at the end of this turn
          job:cancel()
        end)
      end)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.Cancelled), tostring(err))
      assert.same({ hooked = true, atomic = true }, ended)
    end)

    it("when a deadline passes meanwhile", function()
      local ok, err = run(function(work)
        rille.atimeout(0.4, work)
      end, function()
        local from = os.clock()
        while os.clock() - from < 0.5 do -- the deadline passes in this turn
        end
      end)
      assert.is_true(ok, tostring(err))
      assert.same({ hooked = true, atomic = true, waited = true }, ended)
    end)
  end)

  describe("on_commit", function()
    local calls

    before_each(function()
      calls = {}
    end)

    local function note(name)
      return function()
        calls[#calls + 1] = name
      end
    end

    it("calls in order when the rows are there, on no connection, without a transaction", function()
      db:atomic(function()
        insert(1)
        db:on_commit(function()
          assert.is_false(db:in_atomic_block())
          assert.equal(0, db:stats().leased)
          assert.same({ 1 }, rows())
          db:on_commit(note("at once, in a hook"))
          calls[#calls + 1] = "first"
        end)
        db:atomic(function()
          db:on_commit(note("second"))
        end, { savepoint = false })
        db:on_commit(note("third"))
      end)
      assert.same({ "at once, in a hook", "first", "second", "third" }, calls)
    end)

    it("drops what a rolled back savepoint had registered, or one around it", function()
      db:atomic(function()
        db:on_commit(note("kept"))
        pcall(db.atomic, db, function()
          db:on_commit(note("lost"))
          db:atomic(note("block ran"))
          db:atomic(function()
            db:on_commit(note("lost with the one around"))
          end)
          error("x")
        end)
        db:atomic(function()
          db:on_commit(note("lost with a failed statement"))
          insert(1)
          fail_with(1)
        end)
      end)
      assert.same({ "block ran", "kept" }, calls)
    end)

    it("raises a hook's error with everything committed; a robust one's is logged", function()
      local logged
      db.log = function(message)
        logged = message
      end
      local err = raised_by(db.atomic, db, function()
        insert(1)
        db:on_commit(function()
          error(errors.DataError("of a robust hook"))
        end, { robust = true })
        db:on_commit(function()
          error("of another")
        end)
        db:on_commit(note("too late"))
      end)
      assert.truthy(err:find("of another", 1, true))
      assert.same({ 1 }, rows())
      assert.same({}, calls)
      assert.truthy(logged:find("DataError: of a robust hook\nstack traceback", 1, true), logged)
      assert.truthy(logged:find("transaction_spec.lua", 1, true), logged)
    end)

    it("has transactions of its own, durable ones too", function()
      db:atomic(function()
        db:on_commit(function()
          db:atomic(function()
            insert(2)
            db:on_commit(note("inner"))
          end, { durable = true })
        end)
        insert(1)
      end, { durable = true })
      assert.same({ 1, 2 }, rows())
      assert.same({ "inner" }, calls)
    end)

    it("belongs to one database, whatever is open on another", function()
      local other = open { url = "sqlite::memory:" }
      local err = raised_by(other.atomic, other, function()
        db:on_commit(note("not in a transaction there"))
        db:atomic(function()
          db:on_commit(note("committed"))
          other:on_commit(note("lost"))
          insert(1)
        end)
        assert.same({ "not in a transaction there", "committed" }, calls)
        error("of the outer one", 0)
      end)
      assert.equal("of the outer one", err)
      assert.same({ "not in a transaction there", "committed" }, calls)
      assert.same({ 1 }, rows())
    end)
  end)

  it("refuses to be durable inside another block, and is not in the way of one", function()
    refused("durable", db.atomic, db, function()
      insert(1)
      db:atomic(function() end, { durable = true })
    end)
    assert.same({}, rows())
    db:apinned(function(conn)
      conn:atomic(function()
        insert(1)
      end, { durable = true })
    end)
    assert.same({ 1 }, rows())
  end)

  describe("belongs to its task:", function()
    it("the object of apinned is refused to another", function()
      db:apinned(function(conn)
        conn:aexecute("INSERT INTO txn VALUES (1)")
        rille
          .spawn(function()
            refused("pinned to another task", conn.aquery, conn, "SELECT 1")
            refused("pinned to another task", conn.aexecute, conn, "DELETE FROM txn")
            refused("pinned to another task", conn.on_commit, conn, print)
            refused("pinned to another task", conn.atomic, conn, print)
            refused("pinned to another task", conn.mark_dirty, conn)
            db:apinned(function() -- nor does a pin of its own make it better
              refused("pinned to another task", conn.aquery, conn, "SELECT 1")
            end)
          end)
          :ajoin()
        assert.equal(1, conn:aquery("SELECT n FROM txn")[1].n)
      end)
    end)

    it("a spawned task has a connection of its own, and sees nothing uncommitted", function()
      db:atomic(function()
        insert(1)
        local seen = rille.spawn(function()
          assert.is_false(db:in_atomic_block())
          return #rows()
        end)
        assert.equal(0, seen:ajoin())
      end)
    end)

    it("a gathered task may not use the database, which looks like part of the block", function()
      local other = open()
      db:atomic(function()
        insert(1)
        local results = rille.agather {
          function()
            refused("agather began this task inside atomic", insert, 2)
            refused("agather began this task inside atomic", db.atomic, db, print)
            refused("agather began this task inside atomic", db.apinned, db, print)
            refused("agather began this task inside atomic", db.on_commit, db, print)
            return "refused"
          end,
          function() -- nor one that such a task gathers
            rille.agather {
              function()
                refused("agather began this task inside atomic", insert, 2)
              end,
            }
            return other:aquery("SELECT 7 AS n")[1].n
          end,
          function()
            return rille
              .spawn(function()
                return db:aquery("SELECT 8 AS n")[1].n
              end)
              :ajoin()
          end,
        }
        assert.same({ "refused", 7, 8 }, results)
      end)
      assert.same({ 1 }, rows())
      assert.same({ 9 }, rille.agather { -- and none of this outside of a block
        function()
          return db:atomic(function()
            return db:aquery("SELECT 9 AS n")[1].n
          end)
        end,
      })
    end)

    --- A generator that stands inside a block between what it yields.
    local function numbers_in_a_block(n, opts)
      return coroutine.create(function()
        return db:atomic(function()
          for i = 1, n do
            insert(i)
            coroutine.yield(i)
          end
          return "done"
        end, opts)
      end)
    end

    local function resume(co)
      local results = { coroutine.resume(co) }
      assert.is_true(results[1], tostring(results[2]))
      return results[2]
    end

    it("a coroutine may yield out of its block and come back", function()
      local co = numbers_in_a_block(2)
      assert.equal(1, resume(co))
      assert.equal(2, resume(co))
      assert.equal("done", resume(co))
      assert.same({ 1, 2 }, rows())
    end)

    it("until it has come back, the rest of the task is kept out", function()
      local co = numbers_in_a_block(1)
      resume(co)
      local text = "has yielded in a coroutine of its own"
      refused(text, insert, 5)
      refused(text, db.atomic, db, print)
      refused(text, db.on_commit, db, print)
      refused(text, db.apinned, db, print)
      rille
        .spawn(function()
          assert.same({}, rows()) -- others have connections of their own
        end)
        :ajoin()
      resume(co)
      insert(5)
      assert.same({ 1, 5 }, rows())
    end)

    it("another task cannot resume it, nor one that it has resumed", function()
      local inner = numbers_in_a_block(1)
      local outer = coroutine.create(function()
        while coroutine.status(inner) ~= "dead" do
          coroutine.yield(resume(inner))
        end
      end)
      resume(outer)
      rille
        .spawn(function()
          local ok, err = coroutine.resume(inner)
          assert.is_false(ok)
          assert.is_true(errors.is_error(err, TransactionManagementError), tostring(err))
          assert.truthy(err.message:find("begun by another task", 1, true))
          assert.equal("suspended", coroutine.status(inner))
        end)
        :ajoin()
      resume(outer)
      assert.same({ 1 }, rows())
    end)

    it("one that is left inside a nested block costs the block around it", function()
      local co
      refused("has yielded and was never resumed", db.atomic, db, function()
        co = numbers_in_a_block(1)
        insert(7)
        resume(co)
      end)
      assert.same({}, rows())
      local ok, err = coroutine.resume(co)
      assert.is_false(ok)
      assert.truthy(err.message:find("the block around it has ended", 1, true), err.message)
      assert.same({}, rows())
    end)

    it("only the savepoint around it, if there is one", function()
      db:atomic(function()
        insert(8)
        refused("has yielded and was never resumed", db.atomic, db, function()
          resume(numbers_in_a_block(1, { savepoint = false }))
        end)
        insert(9)
      end)
      assert.same({ 8, 9 }, rows())
    end)

    it("iterators of queries may be left half way", function()
      for i = 1, 5 do
        insert(i)
      end
      local seen = 0
      db:atomic(function()
        local pages = coroutine.wrap(function()
          for _, row in ipairs(db:aquery("SELECT n FROM txn")) do
            coroutine.yield(row.n)
          end
        end)
        for n in pages do
          seen = n
          if n == 2 then
            break
          end
        end
        insert(6)
      end)
      assert.equal(2, seen)
      assert.equal(6, #rows())
    end)
  end)

  describe("by hand", function()
    it("is refused where it could not work", function()
      for _, sql in ipairs { "BEGIN", "/* x */ start transaction", "-- x\n;COMMIT", "ROLLBACK" } do
        refused("is borrowed for one statement", db.aexecute, db, sql)
      end
      db:atomic(function()
        for _, sql in ipairs { "/* x */ COMMIT", "-- x\nROLLBACK", "; end", "rollback work" } do
          refused("forbidden when an 'atomic' block is active", db.aexecute, db, sql)
        end
        insert(1)
        db:aexecute("SAVEPOINT mine")
        insert(2)
        db:aexecute("ROLLBACK TRANSACTION TO SAVEPOINT mine")
      end)
      assert.same({ 1 }, rows())
    end)

    it("works on a pinned connection, and keeps atomic out", function()
      db:apinned(function(conn)
        conn:aexecute("BEGIN")
        conn:aexecute("INSERT INTO txn VALUES (1)")
        refused("begun by hand", conn.atomic, conn, print)
        conn:aexecute("COMMIT")
        conn:atomic(function()
          insert(2)
        end)
      end)
      assert.same({ 1, 2 }, rows())
    end)

    it("is rolled back when it is left open, and logged with the place of its BEGIN", function()
      local logged = {}
      db.log = function(message)
        logged[#logged + 1] = message
      end
      local function begin_here(conn)
        conn:aexecute("BEGIN")
      end
      db:apinned(function(conn)
        begin_here(conn)
        conn:aexecute("INSERT INTO txn VALUES (1)")
      end)
      assert.same({}, rows())
      assert.equal(1, #logged)
      assert.truthy(logged[1]:find("ended with a transaction open", 1, true), logged[1])
      assert.truthy(logged[1]:find("stack traceback", 1, true), logged[1])
      assert.truthy(logged[1]:find("in function 'begin_here'", 1, true), logged[1])
      db:apinned(function(conn) -- what went well is nobody's news
        conn:aexecute("BEGIN")
        conn:aexecute("ROLLBACK")
      end)
      raised_by(db.apinned, db, function(conn) -- and this error tells it all
        conn:aexecute("BEGIN")
        error("x")
      end)
      assert.equal(1, #logged)
    end)
  end)

  it("never touches a pinned transaction when old connections are closed", function()
    local strict = open { conn_max_age = 0 }
    strict:atomic(function()
      strict:aexecute("INSERT INTO txn VALUES (1)")
      for _ = 1, 1000 do
        rille.close_old_connections()
        strict:close_old_connections()
      end
      assert.equal(1, strict:stats().opened)
      assert.equal(1, #strict:aquery("SELECT n FROM txn"))
    end)
    assert.same({ 1 }, rows())
    eventually(function()
      return strict:stats().open == 0
    end)
  end)
end

describe("on SQLite a transaction", function()
  local path

  before_each(function()
    path = os.tmpname()
  end)

  after_each(function()
    for _, suffix in ipairs { "", "-wal", "-shm" } do
      os.remove(path .. suffix)
    end
  end)

  local endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    .. " SELECT count(*) FROM n"
  transactions_on(function()
    return "sqlite:" .. path
  end, endless)
end)

describe("on PostgreSQL a transaction", function()
  local url = os.getenv("RILLE_TEST_POSTGRES")
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end
  transactions_on(function()
    return url
  end, "SELECT pg_sleep(20)")
end)
