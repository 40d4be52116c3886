--- What a database tells about itself, and what it writes into the log.

local errors = require("rille.errors")
local rille = require("rille")
local Database = require("rille.db").Database
local server = require("spec.support.server")

local url = os.getenv("RILLE_TEST_POSTGRES")

local file = os.tmpname()

for backend, where in pairs { postgresql = url or false, sqlite = "sqlite:" .. file } do
  describe("on " .. backend .. " the figures of a database", function()
    if not where then
      pending("needs RILLE_TEST_POSTGRES, the URL of a server")
      return
    end

    local db

    before_each(function()
      db = Database("test", { url = where })
    end)

    after_each(function()
      db:aclose()
      os.remove(file)
    end)

    local function total(histogram)
      local n = 0
      for _, count in ipairs(histogram.buckets) do
        n = n + count
      end
      return n
    end

    it("count statements, borrows, errors by class, and what they took", function()
      for _ = 1, 3 do
        db:aquery("SELECT 1")
      end
      db:atomic(function()
        db:aquery("SELECT 2")
      end)
      local _, err = pcall(db.aquery, db, "SELECT nothing")
      assert.is_true(errors.is_error(err, errors.DatabaseError))

      local stats = db:stats()
      assert.equal(7, stats.statements) -- with BEGIN and COMMIT
      assert.equal(1, stats.borrows)
      local failed = 0
      for _, n in pairs(stats.errors) do
        failed = failed + n
      end
      assert.equal(1, failed)
      assert.equal(1, stats.errors[getmetatable(err).__name])
      assert.equal(7, stats.run.count)
      assert.equal(5, stats.wait.count) -- those inside the transaction did not wait
      assert.equal(1, stats.lease.count)
      assert.equal(#stats.bounds + 1, #stats.run.buckets)
      assert.equal("{", require("rille.json").encode(stats):sub(1, 1))
      for _, name in ipairs { "run", "wait", "lease" } do
        assert.equal(stats[name].count, total(stats[name]))
        assert.is_true(stats[name].sum >= 0)
      end
    end)

    it("have the age of a connection when it is closed", function()
      db:aclose()
      db = Database("test", { url = where, conn_max_age = 0 })
      db:aquery("SELECT 1")
      rille.asleep(0.1)
      rille.close_old_connections()
      local age = db:stats().age
      assert.equal(1, age.count)
      assert.is_true(age.sum >= 0.09 and age.sum < 60)
    end)
  end)
end

describe("a slow statement", function()
  it("is logged with its wait, its text and the line of the script, without parameters", function()
    local folder = server.scratch()
    server.write(folder .. "/app.lua", [[
local rille = require "rille"
return rille.app {
  databases = { default = { url = "sqlite::memory:", slow_statement = 0.001 } },
  routes = {
    rille.get("/", function()
      local rows = rille.db:aquery(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) " ..
        "SELECT count(*) AS n, $1 AS secret FROM n", "hush")
      return 200, tostring(rows[1].n)
    end),
  },
}
]])
    local app = server.start { "run", folder .. "/app.lua" }
    finally(server.clean)
    assert.equal("200000", require("spec.support.clients").fetch(app.url .. "/").body)
    local log = app:stderr()
    assert.truthy(log:find("database default: a statement took", 1, true), log)
    assert.truthy(log:find("app.lua:6", 1, true) or log:find("app.lua:7", 1, true), log)
    assert.truthy(log:find("WITH RECURSIVE", 1, true), log)
    assert.falsy(log:find("hush", 1, true), log)
  end)
end)
