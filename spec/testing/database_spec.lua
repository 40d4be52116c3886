--- Databases in tests: one transaction that all consumers share, and that nothing closes.

local databases = require("spec.support.databases")
local models = require("rille.models")
local rille = require("rille")
local testing = require("rille.testing")

local function define()
  local Note = models.define("kit_note", {
    id = models.auto(),
    text = models.text { unique = true },
  })

  --- Each text is an order of its own.
  local Writer = rille.WebsocketConsumer:extend("Writer")
  local orders = {}

  function Writer:connect()
    Note.objects:acount() -- as Channels' own test has it
    self:accept()
  end

  function Writer:receive(text)
    local order, rest = text:match("^(%S+) ?(.*)$")
    self:asend { text_data = tostring(orders[order](rest) or "done") }
  end

  function orders.add(note)
    Note.objects:acreate { text = note }
  end

  function orders.count()
    return Note.objects:acount()
  end

  function orders.roll_back(note)
    local _, err = pcall(rille.atomic, function()
      Note.objects:acreate { text = note }
      error("no", 0)
    end)
    return err
  end

  function orders.nested(note)
    rille.atomic(function()
      Note.objects:acreate { text = note }
      pcall(rille.atomic, function()
        Note.objects:acreate { text = note .. " inside" }
        error("no", 0)
      end)
    end)
  end

  function orders.clash(note)
    local ok, err = pcall(orders.add, note)
    return not ok and rille.is_error(err, rille.IntegrityError) and "clash"
  end

  function orders.slowly(note)
    rille.atomic(function()
      Note.objects:acreate { text = note }
      rille.asleep(0.02)
      error("no", 0)
    end)
  end

  function orders.announce(note)
    rille.atomic(function()
      Note.objects:acreate { text = note }
      rille.on_commit(function()
        Note.objects:acreate { text = note .. ", committed" }
      end)
    end)
  end

  function orders.close_all()
    rille.close_old_connections()
  end

  return Note, Writer
end

local urls = { SQLite = "sqlite:never_made.db", PostgreSQL = os.getenv("RILLE_TEST_POSTGRES") }

for backend, url in pairs(urls) do
  describe("a test with a database on " .. backend, function()
    local Note, Writer = define()
    local app = rille.app {
      databases = { default = { url = url, conn_max_age = 0, acquire_timeout = 2 } },
      models = { Note },
      routes = { rille.websocket("/", Writer) },
    }
    local opened

    setup(function()
      testing.load(app)
    end)

    before_each(function()
      Note.objects:acreate { text = "before" } -- part of the test, too
      opened = rille.db:stats().opened
    end)

    local function connected()
      local ann = testing.WebsocketCommunicator(app, "/")
      assert.is_true(ann:aconnect())
      return ann
    end

    local function ask(ann, order)
      ann:asend_to { text_data = order }
      return ann:areceive_from(5)
    end

    for _ = 1, 2 do
      it("begins with what before_each has made, and nothing else", function()
        assert.equal(1, Note.objects:acount())
        local ann = connected()
        assert.equal("1", ask(ann, "count"))
        assert.equal("done", ask(ann, "add second"))
        assert.equal(2, Note.objects:acount())
        ann:adisconnect()
      end)
    end

    it("shares its transaction among all consumers, and no boundary ends it", function()
      local ann, bob = connected(), connected()
      ask(ann, "add of ann")
      assert.equal("2", ask(bob, "count"))
      ask(bob, "close_all")
      rille.close_old_connections()
      ann:adisconnect()
      assert.equal("2", ask(bob, "count"))
      bob:adisconnect()
      assert.equal(2, Note.objects:acount())
      assert.equal(opened, rille.db:stats().opened)
    end)

    it("rolls back what an atomic block did, and no more", function()
      local ann = connected()
      assert.equal("no", ask(ann, "roll_back gone"))
      ask(ann, "nested kept")
      assert.equal(2, Note.objects:acount())
      assert.is_true(Note.objects:filter({ text = "kept" }):aexists())
      ann:adisconnect()
    end)

    it("survives a statement that fails", function()
      local ann = connected()
      assert.equal("clash", ask(ann, "clash before"))
      assert.equal("1", ask(ann, "count"))
      ann:adisconnect()
    end)

    it("keeps one consumer's statements out of another's block", function()
      local ann, bob = connected(), connected()
      ann:asend_to { text_data = "slowly gone" }
      rille.asleep(0.01)
      assert.equal("done", ask(bob, "add kept"))
      assert.is_false((pcall(ann.areceive_from, ann)))
      assert.equal("2", ask(bob, "count"))
      ann:adisconnect()
      bob:adisconnect()
    end)

    it("runs on_commit functions when the outermost block ends", function()
      local ann = connected()
      ask(ann, "announce it")
      assert.equal("3", ask(ann, "count"))
      ann:adisconnect()
    end)

    it("holds on_commit functions until it wants them", function()
      testing.hold_on_commit()
      local ann = connected()
      ask(ann, "announce it")
      assert.equal("2", ask(ann, "count"))
      assert.equal(1, testing.arun_on_commit())
      assert.equal("3", ask(ann, "count"))
      assert.equal(0, testing.arun_on_commit())
      ann:adisconnect()
    end)

    it("captures on_commit functions", function()
      local ann = connected()
      local functions = testing.acapture_on_commit(function()
        ask(ann, "announce it")
      end)
      assert.equal(1, #functions)
      assert.equal(2, Note.objects:acount())
      functions = testing.acapture_on_commit(function()
        ask(ann, "announce more")
      end, { execute = true })
      assert.equal(1, #functions)
      assert.equal(4, Note.objects:acount())
      ann:adisconnect()
    end)

    it("has the state of a transaction told as in production", function()
      assert.error_matches(function()
        rille.db:aexecute("COMMIT")
      end, "has no effect")
      assert.error_matches(function()
        rille.atomic(function()
          pcall(rille.db.aexecute, rille.db, "INSERT INTO nowhere VALUES (1)")
          Note.objects:acount()
        end)
      end, "An error occurred in the current transaction")
      rille.db:apinned(function(conn)
        conn:aexecute("BEGIN")
        Note.objects:acreate { text = "by hand" }
        conn:aexecute("ROLLBACK")
        pcall(conn.aexecute, conn, "INSERT INTO nowhere VALUES (1)")
        Note.objects:acreate { text = "on the pin" }
      end)
      assert.equal(2, Note.objects:acount())
    end)

    it("gives back what a task has left pinned", function()
      local task = rille.spawn(function()
        rille.atomic(function()
          Note.objects:acreate { text = "left" }
          rille.asleep(60)
        end)
      end)
      rille.asleep(0.01)
      task:cancel()
      assert.equal(1, Note.objects:acount())
    end)

    describe("that is transactional", function()
      it("commits, on as many connections as it likes", function()
        Note.objects:adelete()
        testing.transactional()
        local ann = connected()
        ask(ann, "add committed")
        assert.equal(1, Note.objects:acount())
        assert.is_nil(rille.db.driver.transaction(rille.db.handle))
        ann:adisconnect()
      end)

      it("leaves nothing to the next", function()
        assert.equal(1, Note.objects:acount())
        assert.is_true(Note.objects:filter({ text = "before" }):aexists())
      end)
    end)
  end)
end

describe("a file whose tests are all transactional", function()
  local Note = define()

  setup(function()
    testing.load(rille.app { models = { Note } }, { transactional = true })
  end)

  for _ = 1, 2 do
    it("has each of them commit, and begin with nothing", function()
      assert.equal(0, Note.objects:acount())
      Note.objects:acreate { text = "kept" }
      rille.db:apinned(function()
        assert.is_nil(rille.db.driver.transaction(rille.db.handle))
        rille.db:aexecute("BEGIN")
        rille.db:aexecute("ROLLBACK")
      end)
      assert.equal(1, Note.objects:acount())
    end)
  end
end)

--- The URL of another database where this one is.
local function beside(url, name)
  local server, query = url:match("^(postgres%a*://[^/?]*)/?[^?]*(.*)$")
  return server and ("%s/%s%s"):format(server, name, query) or "sqlite:" .. name .. ".db"
end

for backend, url in pairs(urls) do
  describe("an application with several databases on " .. backend, function()
    local Note = models.define("kit_note", { id = models.auto(), text = models.text() })
    local Odd = models.define("kit_odd", { id = models.auto(), tags = models.array(models.text()) })
    local Keeper = rille.WebsocketConsumer:extend("Keeper")

    function Keeper:receive(text)
      local archive = Note.objects:using("archive")
      rille.atomic(function()
        Note.objects:acreate { text = text }
        rille.databases.archive:atomic(function()
          archive:acreate { text = text }
          archive:acreate { text = text .. ", again" }
        end)
        pcall(rille.databases.archive.atomic, rille.databases.archive, function()
          archive:acreate { text = "never" }
          error("no", 0)
        end)
      end)
      self:asend { text_data = "kept" }
    end

    local app

    setup(function()
      app = testing.load(rille.app {
        databases = {
          default = url,
          archive = beside(url, "kit_archive"),
          elsewhere = { url = "sqlite:kit_elsewhere.db" },
          replica = { url = url .. "?conn_max_age=5" },
        },
        models = backend == "PostgreSQL" and { Note, Odd } or { Note },
        routes = { rille.websocket("/", Keeper) },
      })
    end)

    local function keep()
      local ann = testing.WebsocketCommunicator(app, "/")
      assert.is_true(ann:aconnect())
      ann:asend_to { text_data = "note" }
      assert.equal("kept", ann:areceive_from(5))
      ann:adisconnect()
    end

    local function count(name)
      return Note.objects:using(name):acount()
    end

    for _ = 1, 2 do
      it("has the tables on each, and one transaction of the test on each", function()
        assert.equal(0, count("default") + count("archive") + count("elsewhere"))
        testing.hold_on_commit()
        keep()
        Note.objects:using("elsewhere"):acreate { text = "third" }
        assert.same({ 1, 2, 1 }, { count("default"), count("archive"), count("elsewhere") })
      end)
    end

    it("has two names of one database be one", function()
      Note.objects:acreate { text = "written" }
      assert.equal(1, count("replica"))
    end)

    for _ = 1, 2 do
      it("has all of them commit, and emptied, in a transactional test", function()
        testing.transactional()
        assert.equal(0, count("default") + count("archive"))
        keep()
        for _, name in ipairs { "default", "archive" } do
          local one = rille.databases[name]
          assert.is_nil(one.driver.transaction(one.handle))
        end
        assert.same({ 1, 2 }, { count("default"), count("archive") })
      end)
    end
  end)
end

describe("a consumer whose query takes long", function()
  local Sleeper = rille.WebsocketConsumer:extend("Sleeper")

  function Sleeper:receive(text)
    if text == "echo" then
      return self:asend { text_data = text }
    end
    rille.db:apinned(function(conn)
      local pid = conn:aquery("SELECT pg_backend_pid() AS pid")[1].pid
      self:asend { text_data = tostring(pid) }
      local slept = pcall(conn.aquery, conn, "SELECT pg_sleep(60)")
      self:asend { text_data = slept and "slept" or "woken" }
    end)
  end

  it("delays no other", function()
    local app = testing.load(rille.app {
      databases = { default = urls.PostgreSQL },
      routes = { rille.websocket("/", Sleeper) },
    }, { transactional = true })
    local ann = testing.WebsocketCommunicator(app, "/")
    local bob = testing.WebsocketCommunicator(app, "/")
    assert.is_true(ann:aconnect())
    assert.is_true(bob:aconnect())
    ann:asend_to { text_data = "sleep" }
    local pid = ann:areceive_from(5)
    for _ = 1, 3 do
      bob:asend_to { text_data = "echo" }
      assert.equal("echo", bob:areceive_from())
    end
    assert.is_true(ann:areceive_nothing(0))
    repeat
      rille.db:aquery("SELECT pg_cancel_backend($1)", pid)
    until not ann:areceive_nothing(0.1)
    assert.equal("woken", ann:areceive_from())
    ann:adisconnect()
    bob:adisconnect()
  end)
end)

describe("the stage of a PostgreSQL database", function()
  local db

  before_each(function()
    db = databases.open("staged", { url = urls.PostgreSQL, acquire_timeout = 10 })
    db.driver.stage(db.handle)
    db:aexecute("CREATE TABLE kit_staged (n integer)")
    db:aexecute("INSERT INTO kit_staged VALUES (1)")
  end)

  after_each(databases.close_all)

  local function count()
    return #db:aquery("SELECT n FROM kit_staged")
  end

  it("outlives a statement that is given up, and one in a block", function()
    local function sleep_long()
      db:aquery("SELECT pg_sleep(60)")
    end
    assert.is_false((pcall(rille.atimeout, 0.05, sleep_long)))
    assert.equal(1, count())
    assert.is_false((pcall(rille.atimeout, 0.05, function()
      db:atomic(function()
        db:aexecute("INSERT INTO kit_staged VALUES (2)")
        sleep_long()
      end)
    end)))
    assert.equal(1, count())
    local task = rille.spawn(function()
      db:atomic(function()
        db:aexecute("INSERT INTO kit_staged VALUES (3)")
        sleep_long()
      end)
    end)
    rille.asleep(0.05)
    task:cancel()
    assert.equal(1, count())
    assert.is_true(db.driver.unstage(db.handle))
  end)

  it("carries a COPY", function()
    local rows = { "5\n", "6\n" }
    db:acopy_from("COPY kit_staged FROM STDIN", function()
      return table.remove(rows, 1)
    end)
    assert.equal(3, count())
    assert.is_false((pcall(function()
      local bad = { "7\n", "no number\n" }
      db:acopy_from("COPY kit_staged FROM STDIN", function()
        return table.remove(bad, 1)
      end)
    end)))
    assert.equal(3, count())
    assert.is_true(db.driver.unstage(db.handle))
  end)

  it("tells when its connection is lost, instead of beginning another transaction", function()
    assert.is_false((pcall(db.aquery, db, "SELECT pg_terminate_backend(pg_backend_pid())")))
    for _ = 1, 2 do
      local ok, err = pcall(count)
      assert.is_false(ok)
      assert.truthy(err.message:find("the test's transaction on database staged is gone", 1, true))
    end
    local ok, err = db.driver.unstage(db.handle)
    assert.is_nil(ok)
    assert.truthy(err.message:find("is gone", 1, true))
    assert.is_nil(db:aquery("SELECT to_regclass('kit_staged') AS there")[1].there)
  end)
end)
