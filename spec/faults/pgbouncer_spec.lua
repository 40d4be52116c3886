--- pgbouncer in transaction mode: each transaction may meet another session, which keeps nothing.

local cluster = require("spec.support.cluster")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local load = require("spec.support.load")
local models = require("rille.models")
local rille = require("rille")
local bytes = require("rille.db").bytes
local Database = require("rille.db").Database

local Row = models.define("faults_row", { label = models.text() }, { name = "Row" })

describe("through pgbouncer a database", function()
  local pg, bouncer, db

  lazy_setup(function()
    -- What a role or a server may prefer, rille reads in its own way.
    pg = cluster.start {
      "synchronous_commit = on",
      "timezone = 'Asia/Tokyo'",
      "datestyle = 'German'",
    }
    bouncer = pg:bouncer {
      "default_pool_size = 3",
      "max_client_conn = 40",
      "server_login_retry = 0.2", -- else it waits for 15 s before it tries again
    }
  end)

  lazy_teardown(cluster.clean)

  --- Let the load come through for a while.
  local function settle(busy)
    local reads, writes = busy.reads, busy.writes
    cluster.eventually(function()
      return busy.reads > reads + 30 and busy.writes > writes + 30
    end, 20)
  end

  local function open(settings)
    local common = { url = bouncer.url, acquire_timeout = 20, pgbouncer = true }
    return databases.open("faults", common, settings)
  end

  before_each(function()
    db = open { max_connections = 8 }
  end)

  after_each(databases.close_all)

  it("runs statements again and again, and leaves nothing prepared on the server", function()
    load.prepare(db)
    for i = 1, 10 do
      assert.equal("row 7", Row.objects:using(db):aget({ id = 7 }).label)
      assert.equal(1, db:aexecute("INSERT INTO faults_write VALUES ($1)", i))
      assert.equal("7", db:aquery("SELECT $1::text AS t", 7)[1].t)
    end
    assert.same({}, db:aquery("SELECT name FROM pg_prepared_statements"))
  end)

  it("shares fewer sessions among many connections", function()
    load.prepare(db)
    local busy = load.start(db, { writers = 10, readers = 15, transactions = 10, pause = 0.001 })
    settle(busy)
    busy:stop()
    busy:check(pg)
    assert.same({ 0, 0, 0 }, { busy:failures() })
    local sessions = tonumber(pg:sql(
      "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )) - 1
    assert.is_true(sessions <= 3, sessions .. " sessions")
    assert.is_true(db:stats().open > 3)
  end)

  it("reads dates, times and bytes in its own way in whatever session", function()
    local jobs = {}
    for i = 1, 20 do
      jobs[i] = function()
        local row = db:aquery([[
          SELECT '2026-01-02 03:04:05+00'::timestamptz::text AS at, '2026-01-02'::date::text AS day,
                 current_setting('client_encoding') AS encoding,
                 '2026-01-02 03:04:05+00'::timestamptz AS value
          FROM pg_sleep(0.01)]])[1]
        return row.at .. " " .. row.day .. " " .. row.encoding .. " " .. row.value
      end
    end
    local one = "2026-01-02 03:04:05+00"
    for _, got in ipairs(rille.agather(jobs)) do
      assert.equal(one .. " 2026-01-02 UTF8 " .. one, got)
    end
    assert.equal("h\195\169", db:aquery("SELECT $1::text AS t", "h\195\169")[1].t)
    local raw = "\0\1\255\\"
    assert.equal(raw, db:aquery("SELECT $1::bytea AS b", bytes(raw))[1].b)
  end)

  it("keeps a transaction to itself, and nests", function()
    load.prepare(db)
    local jobs = {}
    for i = 1, 10 do
      jobs[i] = function()
        db:atomic(function()
          db:aexecute("INSERT INTO faults_write VALUES ($1)", i)
          pcall(db.atomic, db, function()
            db:aexecute("INSERT INTO faults_write VALUES ($1)", -i)
            error("no")
          end)
          rille.asleep(0.01)
          local rows = db:aquery("SELECT id FROM faults_write WHERE id IN ($1, $2)", i, -i)
          assert.same({ { id = i } }, rows)
        end)
      end
    end
    rille.agather(jobs)
    assert.equal("55", pg:sql("SELECT sum(id) FROM faults_write"))
  end)

  it("cancels what atimeout interrupts, and nothing else", function()
    local one = open { max_connections = 2 }
    for _ = 1, 5 do
      local other = rille.spawn(function()
        return one:aquery("SELECT 1 AS one FROM pg_sleep(0.2)")[1].one
      end)
      local ok, err = pcall(rille.atimeout, 0.05, function()
        one:aquery("SELECT pg_sleep(20) /* given up */")
      end)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.Timeout), tostring(err))
      assert.equal(1, other:ajoin())
    end
    cluster.eventually(function()
      return pg:sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        .. " AND query LIKE '%given up%' AND pid <> pg_backend_pid()") == "0"
    end)
  end)

  it("does not keep a connection whose session was changed", function()
    local one = open { max_connections = 1 }
    one:apinned(function(conn)
      conn:aexecute("SET TimeZone TO 'Europe/Berlin'")
    end)
    assert.equal("UTC", one:aquery("SELECT current_setting('TimeZone') AS zone")[1].zone)
    assert.equal(2, one:stats().opened)
  end)

  it("refuses a statement_timeout, which would need a session", function()
    local ok, err = pcall(Database, "faults", {
      url = bouncer.url,
      pgbouncer = true,
      statement_timeout = 1,
    })
    assert.is_false(ok)
    assert.matches("statement_timeout cannot be set through pgbouncer", err.message, 1, true)
  end)

  it("takes the setting from its URL, and is told by pgbouncer when it is missing", function()
    local told = databases.refusal(function(patience)
      return open { pgbouncer = false, acquire_timeout = patience }
    end)
    assert.matches("unsupported startup parameter: options", told, 1, true)
    local with = open { url = bouncer.url .. "?pgbouncer=true", pgbouncer = false }
    assert.equal(1, with:aquery("SELECT 1 AS one")[1].one)
  end)

  it("survives a pgbouncer that is restarted under load", function()
    load.prepare(db)
    local busy = load.start(db, { writers = 10, readers = 10, transactions = 5, pause = 0.001 })
    settle(busy)
    bouncer:restart()
    settle(busy)
    bouncer:restart()
    settle(busy)
    busy:stop()
    busy:check(pg)
    assert.is_true(db:stats().closed_dead > 0, "nothing was hurt")
  end)

  it("survives a server that is restarted behind pgbouncer, under load #slow", function()
    load.prepare(db)
    local busy = load.start(db, { writers = 10, readers = 10, transactions = 5, pause = 0.001 })
    settle(busy)
    pg:control("restart", "immediate")
    settle(busy)
    busy:stop()
    busy:check(pg)
  end)

  describe("of which prepare = false is a part, and works alone: it", function()
    local function prepared(settings)
      settings.max_connections = 1
      settings.pgbouncer = false
      local one = open(settings)
      for i = 1, 5 do
        assert.equal(i, one:aquery("SELECT $1::int AS i", i)[1].i)
      end
      return #one:aquery("SELECT name FROM pg_prepared_statements")
    end

    it("leaves nothing prepared on the server", function()
      assert.equal(0, prepared { url = pg.url, prepare = false })
    end)

    it("rides on the URL, too", function()
      assert.equal(0, prepared { url = pg.url .. "?prepare=false" })
    end)

    it("is not the default", function()
      assert.is_true(prepared { url = pg.url } > 0)
    end)
  end)
end)
