--- A standby: it reads, it refuses to write, it may refuse everybody, and one day it is promoted.

local cluster = require("spec.support.cluster")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local load = require("spec.support.load")
local models = require("rille.models")
local rille = require("rille")

local Row = models.define("faults_row", { label = models.text() }, { name = "Row" })

describe("a server in recovery", function()
  local primary, standby

  local function open(url, settings)
    return databases.open("faults", { url = url, acquire_timeout = 20 }, settings)
  end

  after_each(databases.close_all)

  lazy_setup(function()
    primary = cluster.start()
    load.prepare(open(primary.url))
    databases.close_all()
    standby = primary:standby()
  end)

  lazy_teardown(cluster.clean)

  --- Both, in this order, on one URL.
  local function several(first, second, rest)
    return ("postgresql://rille@127.0.0.1:%d,127.0.0.1:%d/postgres%s"):format(
      first.port,
      second.port,
      rest or ""
    )
  end

  local function port_of(db)
    return db:aquery("SELECT inet_server_port() AS port")[1].port
  end

  it("reads", function()
    local db = open(standby.url)
    assert.equal("row 7", Row.objects:using(db):aget({ id = 7 }).label)
    assert.is_true(db:aquery("SELECT pg_is_in_recovery() AS yes")[1].yes)
    db:atomic(function()
      assert.equal(50, Row.objects:using(db):acount())
    end)
  end)

  it("refuses to write with 25006, again and again, and goes on reading", function()
    local db = open(standby.url, { max_connections = 2 })
    local jobs = {}
    for i = 1, 30 do
      jobs[i] = function()
        if i % 2 == 0 then
          return Row.objects:using(db):aget({ id = i }).id
        end
        local ok, err = pcall(db.aexecute, db, "INSERT INTO faults_write VALUES ($1)", i)
        assert.is_false(ok)
        assert.is_true(errors.is_error(err, errors.DatabaseError), tostring(err))
        assert.equal("25006", err.sqlstate)
        return i
      end
    end
    for i, got in ipairs(rille.agather(jobs)) do
      assert.equal(i, tonumber(got))
    end
    local stats = db:stats()
    assert.same({ 0, 0 }, { stats.closed_dead, stats.leased })
  end)

  it("refuses to write in a transaction, which is rolled back", function()
    local db = open(standby.url, { max_connections = 1 })
    local ok, err = pcall(db.atomic, db, function()
      assert.equal(50, Row.objects:using(db):acount())
      db:aexecute("INSERT INTO faults_write VALUES (1)")
    end)
    assert.is_false(ok)
    assert.equal("25006", err.sqlstate)
    assert.equal(50, Row.objects:using(db):acount())
    assert.equal(1, db:stats().opened)
  end)

  describe("or one of several, by target_session_attrs", function()
    it("read-write is the primary, wherever it stands", function()
      for _, url in ipairs {
        several(standby, primary, "?target_session_attrs=read-write"),
        several(primary, standby, "?target_session_attrs=read-write"),
      } do
        local db = open(url)
        assert.equal(primary.port, port_of(db))
        assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (1)"))
      end
    end)

    it("standby is the standby, and prefer-standby, too", function()
      for _, wanted in ipairs { "standby", "prefer-standby", "read-only" } do
        local db = open(several(primary, standby, "?target_session_attrs=" .. wanted))
        assert.equal(standby.port, port_of(db))
      end
    end)

    it("without it the first that is up", function()
      assert.equal(standby.port, port_of(open(several(standby, primary))))
      local nobody = { port = 1 }
      assert.equal(primary.port, port_of(open(several(nobody, primary))))
    end)

    it("nobody fits: what waits fails at its deadline and says so", function()
      local told = databases.refusal(function(patience)
        local url = standby.url .. "?target_session_attrs=primary"
        return open(url, { acquire_timeout = patience })
      end)
      assert.matches("standby", told)
    end)

    it("finds names of hosts, with one port for each", function()
      local url = several(standby, primary, "?target_session_attrs=read-write")
      assert.equal(primary.port, port_of(open((url:gsub("127%.0%.0%.1", "localhost")))))
    end)
  end)

  it("that takes nobody (57P03) makes statements wait, until it is promoted", function()
    standby:control("configure", "hot_standby = off")
    standby:control("restart", "fast")
    local from = #standby:log()
    local db = open(standby.url, { max_connections = 4 })
    local jobs = {}
    for i = 1, 20 do
      jobs[i] = function()
        if i % 2 == 0 then
          return db:aexecute("INSERT INTO faults_write VALUES ($1)", 1000 + i)
        end
        return Row.objects:using(db):acount() / 50
      end
    end
    jobs[21] = function()
      cluster.eventually(function()
        return standby:log():sub(from + 1):find("not accepting connections", 1, true)
      end)
      assert.equal(0, db:stats().open)
      standby:control("promote")
    end
    local results = rille.agather(jobs)
    for i = 1, 20 do
      assert.equal(1, results[i])
    end
    assert.equal(0, db:stats().timeouts)
    assert.equal("10", standby:sql("SELECT count(*) FROM faults_write WHERE id > 1000"))
  end)

  it("is found by those who lost their primary, once it is promoted", function()
    -- The standby of the test before is one no more: writers move over when the first is gone.
    local db = open(several(primary, standby, "?target_session_attrs=read-write"))
    assert.equal(primary.port, port_of(db))
    primary:control("stop", "immediate")
    cluster.eventually(function()
      return db:stats().open == 0
    end)
    assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES (2000)"))
    assert.equal(standby.port, port_of(db))
  end)
end)
