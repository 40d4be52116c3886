--- The database boundaries of consumers and requests, and what handlers leave behind, on the real
--- binary.

local cjson = require("cjson")
local clients = require("spec.support.clients")
local server = require("spec.support.server")
local Database = require("rille.db").Database

---@param url_of fun(): string
---@param count fun(server: spec.Server): integer  connections open, as seen from outside: a
---       request would be a boundary, and close them
local function boundaries_on(url_of, count)
  local it_runs

  local function start(settings)
    it_runs = server.start(
      { "run", "spec/support/apps/boundaries.lua" },
      { database = url_of() .. "?" .. settings, env = { PGAPPNAME = "boundaries" } }
    )
  end

  after_each(server.clean)

  local function stats()
    return cjson.decode(clients.fetch(it_runs.url .. "/stats").body)
  end

  --- Wait until no connection is open any more; so many were opened so far.
  local function all_closed(opened)
    local closed = server.eventually(3, function()
      return count(it_runs) == 0
    end)
    assert.is_true(closed, ("open: %d"):format(count(it_runs)))
    assert.equal(opened, stats().opened)
  end

  local function url(name)
    return it_runs.ws .. "/ws/" .. name
  end

  describe("with conn_max_age = 0 no connection is left", function()
    before_each(function()
      start("conn_max_age=0")
    end)

    it("after a request, whether it ended well or not", function()
      local before = stats().opened
      assert.equal(200, clients.fetch(it_runs.url .. "/ask").status)
      all_closed(before + 1)
      assert.equal(500, clients.fetch(it_runs.url .. "/fail").status)
      all_closed(before + 2)
    end)

    it("after a request whose client went away in mid-query", function()
      local before = stats().opened
      clients.raw(it_runs.port, {
        { "send", "GET /for-ever HTTP/1.1\r\nhost: x\r\n\r\n" },
        { "sleep", 0.3 },
        { "reset" },
      })
      all_closed(before + 1)
    end)

    it("after a request that middleware has asked for, too", function()
      local before = stats().opened
      assert.equal(200, clients.fetch(it_runs.url .. "/behind").status)
      all_closed(before + 1) -- one served both
    end)

    it("after a message that no method answers", function()
      local before = stats().opened
      clients.run("ws.py", url("asking"), { { "text", "unknown" }, { "receive" } })
      all_closed(before + 2) -- in connect and in receive
    end)

    it("after a connection that was denied", function()
      local before = stats().opened
      assert.equal(403, clients.run("ws.py", url("denied"), {}):get("refused").status)
      all_closed(before + 1)
    end)

    it("after disconnect, though it raised", function()
      local before = stats().opened
      clients.run("ws.py", url("fails-at-the-end"), { { "close", 1000, "" } })
      assert.is_true(it_runs:says("disconnect broke"))
      all_closed(before + 2)
    end)

    it("but within a handler one serves a series of queries and sends", function()
      local client = clients.run("ws.py", url("asking"), {
        { "text", "go" },
        { "receive", 6 },
        { "close", 1000, "" },
      })
      assert.equal("opened 1", client:all("message")[6].data)
    end)
  end)

  describe("a handler that ends with", function()
    before_each(function()
      start("max_connections=1&hold_warning=0.2")
    end)

    after_each(function()
      local last = stats()
      assert.equal(0, last.leased)
      assert.equal("0", clients.fetch(it_runs.url .. "/rows").body)
      assert.equal(0, it_runs:stop())
    end)

    local function leave(how)
      local steps = { { "text", how }, { "receive" }, { "close", 1000, "" } }
      clients.run("ws.py", url("leaving"), steps)
    end

    local function logs(...)
      for _, text in ipairs { ... } do
        assert.is_true(it_runs:says(text), text .. " is missing in: " .. it_runs:stderr())
      end
      local log = it_runs:stderr()
      assert.equal(1, server.count(log, "stack traceback"), log)
    end

    it("a transaction open is rolled back, and its beginning logged with a traceback", function()
      leave("transaction")
      logs(
        "a task ended inside a transaction on database default: rolled back.",
        "It began in the function at spec/support/apps/boundaries.lua:",
        "in function 'begin'"
      )
    end)

    it("one that it had begun by hand, likewise", function()
      leave("by hand")
      logs(
        "a task ended inside a transaction on database default: rolled back.",
        "By hand:\n  stack traceback",
        "in function 'work'"
      )
    end)

    it("one whose handler has yielded to nobody, likewise, and the mistake is told", function()
      clients.run("ws.py", url("leaving"), { { "text", "bare yield" }, { "receive" } })
      assert.is_true(it_runs:says("coroutine.yield() outside a coroutine of the script's own"))
      assert.is_true(it_runs:says("a task ended inside a transaction on database default"))
    end)

    it("session state left behind is reset, and its beginning logged with a traceback", function()
      local before = clients.fetch(it_runs.url .. "/state").body
      leave("session")
      local change = url_of():find("^sqlite") and "(PRAGMA): reset." or "(SET): reset."
      logs(
        "a task ended with a connection of database default pinned: taken back.",
        "It had changed the session " .. change,
        "in function 'apinned'"
      )
      assert.equal(before, clients.fetch(it_runs.url .. "/state").body)
    end)

    it("nothing is nobody's news", function()
      local before = clients.fetch(it_runs.url .. "/state").body
      leave("in time")
      assert.equal(before, clients.fetch(it_runs.url .. "/state").body)
      assert.equal(0, server.count(it_runs:stderr(), "stack traceback"))
    end)

    it("session state set on a connection that it did not pin is told once", function()
      leave("unpinned")
      local change = url_of():find("^sqlite") and "ATTACH" or "SET"
      logs("WARN", change .. " outside of apinned", "boundaries.lua:")
      assert.equal(1, server.count(it_runs:stderr(), "outside of apinned"))
    end)

    it("a transaction that was busy all the time is nobody's news, either", function()
      leave("at work")
      assert.equal(0, server.count(it_runs:stderr(), "has held a connection"))
    end)

    it("a transaction held while it slept is warned of, once, with a traceback", function()
      clients.run("ws.py", url("leaving"), { { "text", "holding" }, { "receive" } })
      assert.is_true(it_runs:says("while it waits for something else"))
      local log = it_runs:stderr()
      assert.equal(1, server.count(log, "a task has held a connection of database default for 0."))
      assert.truthy(log:find("in function 'asleep'\n[^\n]*boundaries.lua:%d+: in function"), log)
    end)
  end)
end

describe("on SQLite", function()
  boundaries_on(function()
    return "sqlite:" .. server.scratch() .. "/spec.db"
  end, function(it_runs)
    return tonumber(server.shell(("ls -l /proc/%d/fd | grep -c 'spec.db$'"):format(it_runs.pid)))
  end)
end)

describe("on PostgreSQL", function()
  local url = os.getenv("RILLE_TEST_POSTGRES")
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end

  local observer

  setup(function()
    observer = Database("observer", { url = url })
  end)

  teardown(function()
    observer:aclose()
  end)

  it("a COMMIT that is under way when all patience ends has an unknown outcome", function()
    local it_runs = server.start(
      { "run", "spec/support/apps/boundaries.lua" },
      { database = url, env = { PGAPPNAME = "slow commit" } }
    )
    local pending_commit =
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'slow commit' AND query = 'COMMIT'"
    local request = clients.open("raw.py", it_runs.port, {
      { "send", "GET /slow-commit HTTP/1.1\r\nhost: x\r\n\r\n" },
    })
    assert.is_true(server.eventually(5, function()
      return #observer:aquery(pending_commit) == 1
    end))
    it_runs:signal("TERM")
    assert.is_true(it_runs:says("stopping"))
    it_runs:signal("TERM")
    assert.equal(0, it_runs:stop())
    request:finish()
    assert.truthy(it_runs:stderr():find("its outcome is unknown", 1, true), it_runs:stderr())
    observer:aquery("SELECT pg_terminate_backend(pid) FROM (" .. pending_commit .. ") AS pending")
    observer:aexecute("DROP TABLE IF EXISTS boundaries")
    observer:aexecute("DROP FUNCTION boundaries_sleep()")
    server.clean()
  end)

  boundaries_on(function()
    return url
  end, function()
    return #observer:aquery("SELECT 1 FROM pg_stat_activity WHERE application_name = 'boundaries'")
  end)
end)
