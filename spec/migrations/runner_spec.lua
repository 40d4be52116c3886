--- Migrations on real databases, there and back: after each step there must be what making the
--- tables of that version anew gives, and the rows must have come along.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local State = require("rille.migrations.state")
local apps = require("rille.migrations.app")
local diff = require("rille.migrations.diff")
local errors = require("rille.errors")
local m = require("rille.migrations")
local pictures = require("spec.support.pictures")
local runner = require("rille.migrations.runner")
local schema = require("rille.models.schema")
local versions = require("spec.support.versions")
local writer = require("rille.migrations.writer")

--- Migrations as a folder has them.
local function folder_of(...)
  local found = { path = "migrations", app = "spec", migrations = { ... } }
  for i, migration in ipairs(found.migrations) do
    migration.name, migration.number = ("%04d_step"):format(i), i
  end
  return found
end

--- The life of the application in `versions`, as files that were written and read.
local function life()
  local list, state = {}, State()
  for i, version in ipairs(versions) do
    local wanted = apps.wanted(version.models())
    local choices = {
      renamed = function(_, from, to)
        return version.renamed[from] == to
      end,
      fill = function(_, column)
        return column.kind == "boolean" and true or "it's 100%"
      end,
    }
    list[i] = assert(loadstring(writer.file("spec", diff(state, wanted, choices)), "@x.lua"))()
    state = wanted
  end
  return folder_of(unpack(list))
end

for _, backend in ipairs(backends.all({})) do
  describe("migrations on " .. backend.name, function()
    local database = backend.database
    local said

    local function picture()
      return pictures.atake(database)
    end

    local function migrate(found, opts)
      said = {}
      opts = opts or {}
      opts.tell = function(text)
        said[#said + 1] = text
      end
      return runner.amigrate(database, found, opts)
    end

    setup(backend.make)
    teardown(backend.drop)
    after_each(function()
      database:aexecute('DROP TABLE IF EXISTS "rille_migrations"')
    end)

    it("lead where making the tables anew leads, step by step, and back", function()
      local found = life()
      local wanted = { [0] = picture() }
      for i, version in ipairs(versions) do
        local all = version.models()
        schema.acreate_missing(database, all)
        wanted[i] = picture()
        database:apinned(function(conn)
          if backend.name == "SQLite" then
            conn:aexecute("PRAGMA foreign_keys = OFF")
          end
          for name in pairs(apps.wanted(all).tables) do
            conn:aexecute(
              ('DROP TABLE "%s"%s'):format(name, backend.name == "SQLite" and "" or " CASCADE")
            )
          end
        end)
        assert.same(wanted[0], picture())
      end

      migrate(found, { target = 1 })
      assert.same(wanted[1], picture())
      database:aexecute("INSERT INTO room (slug, size) VALUES ('7', 3), ('8', 4), ('9', 5)")
      database:aexecute("DELETE FROM room WHERE slug = '9'")
      database:aexecute([[INSERT INTO message (room_id, body, at)
        SELECT id, 'hi ' || slug, '2024-05-01 12:00:00+00' FROM room]])
      for i = 2, #versions do
        migrate(found, { target = i })
        assert.same(wanted[i], picture())
        local rows = database:aquery("SELECT count(*) AS n, min(id) AS id FROM message")
        assert.same({ { n = 2, id = 1 } }, rows)
      end
      local channel = database:aquery("SELECT * FROM channel ORDER BY id")
      assert.same({ { id = 1, size = 3, slug = 7 }, { id = 2, size = 4, slug = 8 } }, channel)
      local id = database:aquery("INSERT INTO channel (slug) VALUES (1) RETURNING id")[1].id
      assert.equal(4, id) -- 3 has been somebody's

      database:aexecute("DELETE FROM channel") -- and its messages
      assert.equal(0, database:aquery("SELECT count(*) AS n FROM message")[1].n)
      for i = #versions - 1, 0, -1 do
        assert.equal(1, migrate(found, { target = i }))
        assert.same(wanted[i], picture(), "back to " .. i)
      end
    end)

    it("are applied once, and known by name", function()
      local found = folder_of(
        m.migration("spec", { m.create_table("note", { { "id", "auto" } }) }),
        m.migration("spec", { m.add_column("note", { "title", "text", null = true }) })
      )
      assert.equal(2, migrate(found))
      assert.same({ "applied 0001_step", "applied 0002_step" }, said)
      assert.equal(0, migrate(found))
      assert.same({}, said)
      assert.same({ ["0001_step"] = true, ["0002_step"] = true }, runner.aapplied(database, "spec"))
      assert.same({}, runner.aapplied(database, "another"))
      assert.equal(2, migrate(found, { target = 0 }))
      assert.same({ "undone 0002_step", "undone 0001_step" }, said)
    end)

    it("leave nothing behind when one fails, and say which operation it was", function()
      local found = folder_of(
        m.migration("spec", { m.create_table("note", { { "id", "auto" }, { "n", "integer" } }) }),
        m.migration("spec", {
          m.add_column("note", { "title", "text" }, { fill = "x" }),
          m.run({ "INSERT INTO note (n, title) VALUES (1, 'y')", reverse = {} }),
          m.run({ "INSERT INTO nothing VALUES (1)" }),
        })
      )
      migrate(found, { target = 1 })
      local before = picture()
      local ok, err = pcall(migrate, found)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.DatabaseError))
      local place = debug.getinfo(1, "S").short_src:match("[^/]*$")
      assert.truthy(err.message:find(place .. ":%d+, operation 3 %(run INSERT INTO nothing"))
      assert.truthy(err.message:find("the database is as it was before this migration", 1, true))
      assert.same(before, picture())
      assert.same({ ["0001_step"] = true }, runner.aapplied(database, "spec"))
      ok, err = pcall(migrate, found, { target = 0, fake = true })
      assert.is_true(ok, err)
      database:aexecute("DROP TABLE note")
    end)

    it("run functions inside the transaction, and know no way back without one", function()
      local failing = true
      local found = folder_of(
        m.migration("spec", { m.create_table("note", { { "id", "auto" }, { "n", "integer" } }) }),
        m.migration("spec", {
          m.run({
            function(db)
              db:aexecute("INSERT INTO note (n) VALUES ($1)", 7)
              if failing then
                error("no luck")
              end
            end,
            reverse = function(db)
              db:aexecute("DELETE FROM note")
            end,
          }),
        }),
        m.migration("spec", { m.run({ { postgresql = "SELECT 1", sqlite = "SELECT 2" } }) })
      )
      local ok, err = pcall(migrate, found, { target = 2 })
      assert.is_false(ok)
      assert.truthy(err.message:find("no luck", 1, true))
      assert.truthy(err.message:find("stack traceback", 1, true))
      assert.equal(0, database:aquery("SELECT count(*) AS c FROM note")[1].c)
      failing = false
      migrate(found, { target = 2 })
      assert.equal(7, database:aquery("SELECT n FROM note")[1].n)
      migrate(found)
      ok, err = pcall(migrate, found, { target = 0 })
      assert.is_false(ok)
      assert.truthy(err.message:find("there is no way back: it has no `reverse`", 1, true))
      assert.equal(7, database:aquery("SELECT n FROM note")[1].n)
      migrate(folder_of(found.migrations[1], found.migrations[2]), { target = 0 })
    end)

    it("keep what others have hung on a table", function()
      local index = 'CREATE INDEX "by hand" ON note (n)'
      local found = folder_of(
        m.migration("spec", {
          m.create_table("note", { { "id", "auto" }, { "n", "integer" } }),
          m.create_table("page", {
            { "id", "auto" },
            { "note_id", "bigint", references = "note.id", on_delete = "cascade" },
          }),
          m.run({ index, reverse = {} }),
        }),
        m.migration("spec", { m.alter_column("note", { "n", "text" }) })
      )
      migrate(found, { target = 1 })
      database:aexecute("INSERT INTO note (n) VALUES (1)")
      database:aexecute("INSERT INTO page (note_id) SELECT id FROM note")
      migrate(found)
      assert.equal(1, database:aquery("SELECT count(*) AS c FROM page")[1].c)
      assert.equal("1", database:aquery("SELECT n FROM note")[1].n)
      database:aexecute('DROP INDEX "by hand"')
      database:aexecute("DELETE FROM note")
      assert.equal(0, database:aquery("SELECT count(*) AS c FROM page")[1].c)
      migrate(found, { target = 0 })
    end)

    it("refuse to leave rows that refer to nothing", function()
      local found = folder_of(
        m.migration("spec", {
          m.create_table("note", { { "id", "auto" } }),
          m.create_table("page", { { "id", "auto" }, { "note_id", "bigint" } }),
        }),
        m.migration("spec", {
          m.alter_column("page", { "note_id", "bigint", references = "note.id" }),
        })
      )
      migrate(found, { target = 1 })
      database:aexecute("INSERT INTO page (note_id) VALUES (7)")
      local ok, err = pcall(migrate, found)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.IntegrityError), tostring(err))
      assert.truthy(err.message:find("operation 1 (alter_column page.note_id)", 1, true))
      database:aexecute("DELETE FROM page")
      migrate(found)
      migrate(found, { target = 0 })
    end)

    it("take over the tables that were made before there were any", function()
      local all = versions[1].models()
      local list = diff(State(), apps.wanted(all), {})
      schema.acreate_missing(database, all)
      local found = folder_of(m.migration("spec", list))
      assert.equal(1, migrate(found))
      assert.same({
        "0001_step: its tables are there already, as it would make them",
        "noted as applied 0001_step",
      }, said)
      migrate(found, { target = 0 })

      database:aexecute("CREATE TABLE message (id integer, at text, author text, body text)")
      local ok, err = pcall(migrate, found)
      assert.is_false(ok)
      assert.truthy(err.message:find("is there, without the column 'room_id'", 1, true))
      database:aexecute("DROP TABLE message")
    end)

    if backend.name == "SQLite" then
      it("lose no column that they do not know", function()
        local found = folder_of(
          m.migration("spec", { m.create_table("note", { { "id", "auto" }, { "n", "text" } }) }),
          m.migration("spec", { m.alter_column("note", { "n", "integer" }) })
        )
        migrate(found, { target = 1 })
        database:aexecute("ALTER TABLE note ADD COLUMN by_hand text")
        local ok, err = pcall(migrate, found)
        assert.is_false(ok)
        assert.truthy(err.message:find("has a column 'by_hand' that no migration", 1, true))
        table.insert(found.migrations[2].operations, 1, m.run({
          {},
          reverse = {},
          state = { m.add_column("note", { "by_hand", "text", null = true }) },
        }))
        migrate(found)
        local columns = database:aquery("SELECT name FROM pragma_table_info('note')")
        assert.equal("by_hand", columns[3].name)
        database:aexecute("DROP TABLE note")
      end)
    end

    it("check the whole way back before the first step of it", function()
      local found = folder_of(
        m.migration("spec", { m.run({ "SELECT 1" }) }),
        m.migration("spec", { m.create_table("note", { { "id", "auto" } }) })
      )
      migrate(found)
      local ok, err = pcall(migrate, found, { target = 0 })
      assert.is_false(ok)
      assert.truthy(err.message:find("operation 1 (run SELECT 1): there is no way back", 1, true))
      assert.equal(0, database:aquery("SELECT count(*) AS c FROM note")[1].c)
      database:aexecute("DROP TABLE note")
    end)

    if backend.name == "PostgreSQL" then
      it("are given the time that they need", function()
        local hasty = require("rille.db").Database("hasty", {
          url = database.settings.url,
          statement_timeout = 0.05,
        })
        local found = folder_of(
          m.migration("spec", { m.run({ "SELECT pg_sleep(0.2)", reverse = {} }) })
        )
        local done = runner.amigrate(hasty, found, {})
        local ok = pcall(hasty.aquery, hasty, "SELECT pg_sleep(0.2)")
        hasty:aclose()
        assert.same({ 1, false }, { done, ok })
      end)

      it("may do without a transaction", function()
        local note = m.migration("spec", { m.create_table("note", { { "id", "auto" } }) })
        local function with_vacuum(options)
          local work = { m.run({ "VACUUM note", reverse = {} }) }
          return folder_of(note, m.migration("spec", work, options))
        end
        local ok, err = pcall(migrate, with_vacuum())
        assert.is_false(ok)
        assert.truthy(err.message:find("cannot run inside a transaction block", 1, true))
        local found = with_vacuum({ transaction = false })
        assert.equal(1, migrate(found))
        assert.equal(2, migrate(found, { target = 0 }))
      end)
    end
  end)
end
