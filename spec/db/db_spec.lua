local fake_core = require("spec.support.fake_core")
local raised = require("spec.support.raised")

local class = require("rille.class")
local db = require("rille.db")
local errors = require("rille.errors")

describe("Database", function()
  local driver, database

  before_each(function()
    driver = fake_core.new("postgresql")
    database = db.Database("default", { url = "postgresql://x" }, driver)
  end)

  --- Make statements that contain `text` fail with `err`.
  local function fail_on(text, err)
    driver.answer = function(sql)
      if sql:find(text, 1, true) then
        return nil, err
      end
      return {}, 1
    end
    return err
  end

  local raised_by = raised.by

  describe("statements", function()
    it("passes parameters on with their number, so that nil is NULL", function()
      driver.answer = function()
        return { { n = 1 } }, 0
      end
      assert.same({ { n = 1 } }, database:aquery("SELECT $1, $2, $3", 1, nil, nil))
      assert.same({ n = 3, 1 }, driver.params[1])
    end)

    it("gives the number of rows affected", function()
      driver.answer = function()
        return {}, 7
      end
      assert.equal(7, database:aexecute("DELETE FROM t"))
    end)

    it("raises the driver's error itself", function()
      local err = fail_on("SELECT", errors.OperationalError("gone"))
      assert.equal(err, raised_by(database.aquery, database, "SELECT 1"))
    end)

    it("refuses what is not SQL text", function()
      local err = raised_by(database.aquery, database, {})
      assert.truthy(err:find("aquery needs SQL text, not table", 1, true))
    end)
  end)

  describe("anotify", function()
    it("says a string, a table as JSON, or nothing at all", function()
      database:anotify("a", "text")
      database:anotify("a", { id = 7 })
      database:anotify('"B"')
      assert.same({ "SELECT pg_notify($1, $2)" }, { driver.log[1] })
      local said = { { n = 2, "a", "text" }, { n = 2, "a", '{"id":7}' }, { n = 2, '"B"', "" } }
      assert.same(said, driver.params)
    end)

    it("is part of the transaction around it, which a failure breaks", function()
      database:atomic(function()
        database:anotify("a", "text")
      end)
      assert.equal("SELECT pg_notify($1, $2)", driver.log[3])
      local err = fail_on("pg_notify", errors.OperationalError("gone"))
      assert.equal(err, raised_by(database.anotify, database, "a"))
    end)

    it("refuses what PostgreSQL would cut or refuse, and sends nothing", function()
      database:anotify(("x"):rep(63), ("x"):rep(7999))
      local err = raised_by(database.anotify, database, "a", ("x"):rep(8000))
      assert.is_true(errors.is_error(err, errors.DataError))
      assert.truthy(err.message:find("8000 bytes for channel a", 1, true), err.message)
      for _, bad in ipairs { 7, true, print } do
        err = raised_by(database.anotify, database, "a", bad)
        assert.truthy(err:find("needs a string or a table as payload", 1, true), err)
      end
      for _, bad in ipairs { "", ("x"):rep(64), 7 } do
        err = raised_by(database.anotify, database, bad, "")
        assert.truthy(err:find("the name of a channel, of 1 to 63 bytes", 1, true), err)
      end
      assert.equal(1, #driver.log)
    end)

    it("is refused on SQLite, by name", function()
      database = db.Database("test", { url = "sqlite:x" }, fake_core.new("sqlite"))
      local err = raised_by(database.anotify, database, "a")
      assert.is_true(errors.is_error(err, errors.NotSupportedError))
      assert.truthy(err.message:find("'test'", 1, true), err.message)
    end)
  end)

  describe("atomic", function()
    it("pins, begins, commits, gives back, and returns the results", function()
      local a, b, c = database:atomic(function()
        database:aexecute("INSERT")
        return 1, nil, 3
      end)
      assert.same({ 1, nil, 3 }, { a, b, c })
      assert.same({ "<pin>", "BEGIN", "INSERT", "COMMIT", "<unpin>" }, driver.take())
      assert.truthy(driver.where:find("db_spec.lua:%d+$"))
    end)

    it("begins at once with the write lock on SQLite", function()
      local lite = fake_core.new("sqlite")
      db.Database("x", { url = "sqlite:x" }, lite):atomic(function() end)
      assert.same({ "<pin>", "BEGIN IMMEDIATE", "COMMIT", "<unpin>" }, lite.take())
    end)

    it("rolls back and raises the same error, whatever it is", function()
      for _, err in ipairs({ "text", errors.DataError("x"), { 1 } }) do
        assert.equal(err, raised_by(database.atomic, database, function()
          error(err, 0)
        end))
        assert.same({ "<pin>", "BEGIN", "ROLLBACK", "<unpin>" }, driver.take())
      end
    end)

    it("notes on an error object where it was raised", function()
      local err = raised_by(database.atomic, database, function()
        error(errors.DataError("x"), 0)
      end)
      assert.truthy(err.traceback:find("db_spec.lua", 1, true))
    end)

    it("gives the connection back when BEGIN fails, and runs nothing", function()
      local err = fail_on("BEGIN", errors.OperationalError("no"))
      local ran = false
      assert.equal(err, raised_by(database.atomic, database, function()
        ran = true
      end))
      assert.is_false(ran)
      assert.equal(0, driver.pinned)
    end)

    it("raises when there is no connection to pin", function()
      driver.pin_error = errors.OperationalError("pool")
      assert.equal(driver.pin_error, raised_by(database.atomic, database, function() end))
      assert.same({}, driver.take())
    end)

    it("raises what COMMIT raised, after a ROLLBACK", function()
      local err = fail_on("COMMIT", errors.OperationalError("the outcome is unknown"))
      local called = false
      assert.equal(err, raised_by(database.atomic, database, function()
        database:on_commit(function()
          called = true
        end)
      end))
      assert.is_false(called)
      assert.same({ "<pin>", "BEGIN", "COMMIT", "ROLLBACK", "<unpin>" }, driver.take())
    end)

    it("only gives the connection back when the task is cancelled", function()
      local cancelled = errors.Cancelled("stop")
      local err = raised_by(database.atomic, database, function()
        database:atomic(function()
          driver.query = function()
            error(cancelled, 0)
          end
          database:aquery("SELECT 1")
        end)
      end)
      assert.equal(cancelled, err)
      assert.equal(0, driver.pinned)
    end)

    it("raises the cancellation that a script swallowed instead of committing", function()
      local cancelled = errors.Cancelled("stop")
      assert.equal(cancelled, raised_by(database.atomic, database, function()
        driver.query = function()
          error(cancelled, 0)
        end
        pcall(database.aquery, database, "SELECT 1")
      end))
      assert.equal(0, driver.pinned)
    end)

    it("refuses what is not a function", function()
      local err = raised_by(database.atomic, database, {})
      assert.truthy(err:find("atomic needs a function, not table", 1, true))
    end)

    it("refuses to be nested when durable", function()
      local err = raised_by(database.atomic, database, function()
        database:atomic(function() end, { durable = true })
      end)
      assert.equal(
        "A durable atomic block cannot be nested within another atomic block.",
        err.message
      )
    end)

    it("refuses statements that would end the transaction behind its back", function()
      for _, sql in ipairs({ "COMMIT", " rollback", "Begin", "END", "prepare transaction 'x'" }) do
        local err = raised_by(database.atomic, database, function()
          database:aquery(sql)
        end)
        assert.equal("This is forbidden when an 'atomic' block is active.", err.message)
      end
      driver.take()
      database:atomic(function()
        database:aexecute("ROLLBACK TO SAVEPOINT mine")
      end)
      assert.equal("ROLLBACK TO SAVEPOINT mine", driver.take()[3])
    end)
  end)

  -- Django's truth table: what the outer and the inner block do, and what is sent.
  describe("nested atomic", function()
    local SAVE, RELEASE = 'SAVEPOINT "rille_1"', 'RELEASE SAVEPOINT "rille_1"'
    local BACK = 'ROLLBACK TO SAVEPOINT "rille_1"'
    local table_of_truth = {
      { outer = "ends well", inner = "ends well", sent = { SAVE, "X", RELEASE, "COMMIT" } },
      { outer = "ends well", inner = "raises", sent = { SAVE, "X", BACK, RELEASE, "COMMIT" } },
      { outer = "raises", inner = "ends well", sent = { SAVE, "X", RELEASE, "ROLLBACK" } },
      { outer = "raises", inner = "raises", sent = { SAVE, "X", BACK, RELEASE, "ROLLBACK" } },
      { outer = "ends well", inner = "ends well", merged = true, sent = { "X", "COMMIT" } },
      { outer = "ends well", inner = "raises", merged = true, sent = { "X", "ROLLBACK" } },
      { outer = "raises", inner = "ends well", merged = true, sent = { "X", "ROLLBACK" } },
      { outer = "raises", inner = "raises", merged = true, sent = { "X", "ROLLBACK" } },
    }
    for _, case in ipairs(table_of_truth) do
      local how = case.merged and "without a savepoint " or ""
      it(("%swhen the outer %s and the inner %s"):format(how, case.outer, case.inner), function()
        local opts = case.merged and { savepoint = false } or nil
        local ok = pcall(database.atomic, database, function()
          pcall(database.atomic, database, function()
            database:aexecute("X")
            if case.inner == "raises" then
              error("inner")
            end
          end, opts)
          if case.outer == "raises" then
            error("outer")
          end
        end)
        assert.equal(case.outer == "ends well", ok)
        local sent = driver.take()
        assert.same({ "<pin>", "BEGIN" }, { sent[1], sent[2] })
        assert.same(case.sent, { unpack(sent, 3, #sent - 1) })
        assert.equal(0, driver.pinned)
      end)
    end

    it("uses the same names for blocks one after the other, others for deeper ones", function()
      database:atomic(function()
        for _ = 1, 2 do
          database:atomic(function()
            database:atomic(function() end)
          end)
        end
      end)
      local seen = {}
      for _, sql in ipairs(driver.take()) do
        seen[sql] = (seen[sql] or 0) + 1
      end
      assert.equal(2, seen['SAVEPOINT "rille_1"'])
      assert.equal(2, seen['SAVEPOINT "rille_2"'])
    end)

    it("makes a failed statement poison its block, and only that one", function()
      local cause = fail_on("BAD", errors.IntegrityError("twice"))
      database:atomic(function()
        pcall(database.atomic, database, function()
          pcall(database.aexecute, database, "BAD")
          local err = raised_by(database.aquery, database, "SELECT 1")
          assert.is_true(errors.is_error(err, errors.TransactionManagementError))
          assert.equal(
            "An error occurred in the current transaction. You can't execute queries until"
              .. " the end of the 'atomic' block.",
            err.message
          )
          assert.equal(cause, err.cause)
        end)
        database:aexecute("GOOD")
      end)
      assert.same({
        "<pin>",
        "BEGIN",
        'SAVEPOINT "rille_1"',
        "BAD",
        'ROLLBACK TO SAVEPOINT "rille_1"',
        'RELEASE SAVEPOINT "rille_1"',
        "GOOD",
        "COMMIT",
        "<unpin>",
      }, driver.take())
    end)

    it("rolls back a block that ends well after a failed statement", function()
      fail_on("BAD", errors.DataError("x"))
      assert.equal("result", database:atomic(function()
        pcall(database.aexecute, database, "BAD")
        return "result"
      end))
      assert.same({ "<pin>", "BEGIN", "BAD", "ROLLBACK", "<unpin>" }, driver.take())
    end)

    it("makes no savepoint in a block that is lost already", function()
      fail_on("BAD", errors.DataError("x"))
      database:atomic(function()
        pcall(database.aexecute, database, "BAD")
        database:atomic(function() end)
      end)
      assert.same({ "<pin>", "BEGIN", "BAD", "ROLLBACK", "<unpin>" }, driver.take())
    end)

    it("gives up the whole when a savepoint cannot be rolled back", function()
      fail_on("ROLLBACK TO", errors.OperationalError("lost"))
      database:atomic(function()
        pcall(database.atomic, database, function()
          error("inner")
        end)
        raised_by(database.aquery, database, "SELECT 1")
      end)
      local sent = driver.take()
      assert.equal("ROLLBACK", sent[#sent - 1])
    end)
  end)

  describe("on_commit", function()
    local calls

    before_each(function()
      calls = {}
    end)

    local function call(name)
      return function()
        calls[#calls + 1] = name
      end
    end

    it("calls at once without a transaction", function()
      database:on_commit(call("now"))
      assert.same({ "now" }, calls)
    end)

    it("calls in order, after COMMIT and with the connection given back", function()
      database:atomic(function()
        database:on_commit(call("a"))
        database:atomic(function()
          database:on_commit(call("b"))
        end)
        database:on_commit(function()
          calls[#calls + 1] = driver.pinned .. driver.log[#driver.log]
        end)
        assert.same({}, calls)
      end)
      assert.same({ "a", "b", "0<unpin>" }, calls)
    end)

    it("forgets what a savepoint that was rolled back had registered", function()
      database:atomic(function()
        database:on_commit(call("kept"))
        pcall(database.atomic, database, function()
          database:on_commit(call("lost"))
          database:atomic(function()
            database:on_commit(call("lost too"))
          end)
          error("x")
        end)
        database:on_commit(call("after"))
      end)
      assert.same({ "kept", "after" }, calls)
    end)

    it("forgets everything on ROLLBACK, and starts anew", function()
      pcall(database.atomic, database, function()
        database:on_commit(call("lost"))
        error("x")
      end)
      database:atomic(function() end)
      assert.same({}, calls)
    end)

    it("raises an error and drops the rest, but logs a robust one and goes on", function()
      local logged = {}
      database.log = function(message)
        logged[#logged + 1] = message
      end
      local err = raised_by(database.atomic, database, function()
        database:on_commit(function()
          error("first", 0)
        end, { robust = true })
        database:on_commit(call("second"))
        database:on_commit(function()
          error("third", 0)
        end)
        database:on_commit(call("fourth"))
      end)
      assert.equal("third", err)
      assert.same({ "second" }, calls)
      assert.equal(1, #logged)
      assert.truthy(logged[1]:find("first", 1, true))
    end)

    it("lets a hook have a transaction of its own", function()
      database:atomic(function()
        database:on_commit(function()
          database:atomic(call("inside"))
        end)
      end)
      assert.same({ "inside" }, calls)
      assert.equal(0, driver.pinned)
    end)
  end)

  describe("apinned", function()
    it("pins without a transaction, and takes the connection away afterwards", function()
      local kept
      local result = database:apinned(function(conn)
        kept = conn
        conn:aexecute("SET x = 1")
        conn:mark_dirty()
        conn:atomic(function() end)
        return "result"
      end)
      assert.equal("result", result)
      assert.is_true(driver.dirty)
      assert.same({ "<pin>", "SET x = 1", "BEGIN", "COMMIT", "<unpin>" }, driver.take())
      assert.truthy(raised_by(kept.aquery, kept, "SELECT 1"):find("was given back", 1, true))
    end)

    it("gives the connection back after an error", function()
      assert.equal("x", raised_by(database.apinned, database, function()
        error("x", 0)
      end))
      assert.equal(0, driver.pinned)
    end)
  end)
end)

describe("the registry of databases", function()
  it("opens by name, keeps what is open, and has other settings for it when told", function()
    local driver = fake_core.new("sqlite")
    db.configure({
      spec_one = "sqlite:x",
      spec_two = { url = "sqlite:y", max_connections = 3 },
    }, driver)
    local one = db.databases.spec_one
    assert.is_true(class.is_instance(one, db.Database))
    assert.equal("sqlite", one.backend)
    db.configure({ spec_one = "sqlite:x" }, driver)
    assert.equal(one, db.databases.spec_one)
    local opened, changes = db.configure({ spec_one = "sqlite:z" }, driver)
    assert.same({}, opened)
    assert.equal("sqlite:x", one.settings.url)
    db.commit(changes)
    assert.equal(one, db.databases.spec_one)
    assert.equal("sqlite:z", one.settings.url)
    assert.equal(1, driver.exchanged)
    opened, changes = db.configure({ spec_one = "sqlite:z" }, driver)
    assert.same({ {}, {} }, { opened, changes })
    assert.equal(db.databases.spec_two, db.get("spec_two"))
    assert.equal(one, db.get(one))
  end)

  it("names the databases there are when one is missing", function()
    local ok, err = pcall(function()
      return db.databases.nowhere
    end)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.ConfigurationError))
    assert.truthy(err.message:find("there is no database 'nowhere'; configured: ", 1, true))
  end)

  it("refuses settings that it does not know, and values that make no sense", function()
    for setting, value in pairs {
      max_conections = 5,
      max_connections = "5",
      min_connections = -1,
      shared_connections = 1.5,
      acquire_timeout = 0 / 0,
      conn_max_age = true,
      prepare = 0,
    } do
      local ok, err = pcall(db.configure, { odd = { url = "sqlite:x", [setting] = value } })
      assert.is_false(ok, setting)
      assert.is_true(errors.is_error(err, errors.ConfigurationError))
      assert.truthy(err.message:find(setting, 1, true), err.message)
    end
    assert.is_nil(rawget(db.databases, "odd"))
  end)

  it("refuses settings without a URL and opens none of the others", function()
    local driver = fake_core.new("sqlite")
    local ok, err = pcall(db.configure, { spec_three = "sqlite:x", spec_four = {} }, driver)
    assert.is_false(ok)
    assert.equal("database 'spec_four' needs a url", err.message)
    assert.is_nil(rawget(db.databases, "spec_three"))
  end)
end)
