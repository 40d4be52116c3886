--- rille makemigrations and rille migrate, as people run them, on both backends.

local script = require("spec.support.script")
local server = require("spec.support.server")

local BINARY = os.getenv("RILLE_BIN") or ".build/src/rille"

local APP = [[
local rille = require("rille")
local models = require("rille.models")
local Note = models.define("note", { %s })
return rille.app { models = { Note }, routes = {
  rille.get("/", function() return 200, tostring(Note.objects:acount()) end),
} }
]]

local folder

--- The application with these fields, in a folder that is called notes.
local function app_with(fields)
  script.write(folder, "notes/app.lua", APP:format(fields))
  return folder .. "/notes"
end

local function migration(name, ...)
  local lines = { 'local m = require("rille.migrations")', 'return m.migration("notes", {', ... }
  lines[#lines + 1] = "})\n"
  script.write(folder, "notes/migrations/" .. name .. ".lua", table.concat(lines, "\n"))
end

local function read(name)
  return server.read_file(folder .. "/notes/migrations/" .. name .. ".lua")
end

describe("rille makemigrations #slow", function()
  before_each(function()
    folder = script.folder({})
  end)
  after_each(function()
    script.clean()
    server.clean()
  end)

  local function make(...)
    return server.run({ "makemigrations", folder .. "/notes", ... })
  end

  it("writes what changed, once, and says so", function()
    app_with("title = models.text()")
    local status, _, out = make("--check")
    assert.equal(1, status)
    assert.equal("not in a migration yet:\n  create_table note\n", out)
    assert.is_nil(read("0001_initial"))
    status, _, out = make()
    assert.equal(0, status)
    assert.equal(folder .. "/notes/migrations/0001_initial.lua\n  create_table note\n", out)
    assert.truthy(read("0001_initial"):find('m.migration("notes", {', 1, true))
    status, _, out = make("--check")
    assert.equal(0, status)
    assert.equal("no changes\n", out)

    app_with("title = models.text(), pages = models.integer({ default = 7 })")
    status, _, out = make("--dry-run")
    assert.equal(0, status)
    local line = 'm.add_column("note", { "pages", "integer" }, { fill = 7 }),'
    assert.truthy(out:find(line, 1, true))
    assert.is_nil(read("0002_note_pages"))
    assert.equal(0, (make()))
    assert.truthy(read("0002_note_pages"):find(line, 1, true))
    assert.equal(0, (make("--empty", "--name", "words")))
    assert.truthy(read("0003_words"))
  end)

  it("takes no rename for granted, and asks a terminal", function()
    app_with("title = models.text({ default = 'x' })")
    make()
    app_with("heading = models.text({ default = 'x' })")
    local status, err, out = make("--dry-run")
    assert.equal(0, status)
    assert.truthy(err:find("--rename note.title=note.heading", 1, true))
    assert.truthy(out:find("m.drop_column", 1, true))
    local renames = 'm.rename_column("note", "title", "heading")'
    local renamed
    status, renamed, out = make("--dry-run", "--rename", "note.title=note.heading")
    assert.same({ 0, "" }, { status, renamed })
    assert.truthy(out:find(renames, 1, true))
    local line = ("echo y | script -qec '%s makemigrations %s/notes --dry-run' /dev/null"):format(
      BINARY,
      folder
    )
    out = server.shell(line)
    assert.truthy(out:find("Was the column note.title renamed to note.heading? [y/N]", 1, true))
    assert.truthy(out:find(renames, 1, true))
    status, err = make("--rename", "note.titel=note.heading")
    assert.equal(1, status)
    assert.truthy(err:find("note.titel=note.heading: nothing of the kind", 1, true))
  end)

  it("wants to know what existing rows get", function()
    app_with("title = models.text()")
    make()
    app_with("title = models.text(), pages = models.integer()")
    local status, err = make()
    assert.equal(1, status)
    assert.truthy(err:find("note.pages cannot be NULL", 1, true))
    assert.truthy(err:find("--fill note.pages=VALUE", 1, true))
    status, err = make("--fill", "note.pages=many")
    assert.equal(1, status)
    assert.truthy(err:find("Field 'pages' expected an integer", 1, true))
    assert.equal(0, (make("--fill", "note.pages=sql:length(title)")))
    assert.truthy(read("0002_note_pages"):find('fill = { sql = "length(title)" }', 1, true))
    app_with([[title = models.text(), pages = models.integer(),
      slug = models.text({ unique = true, default = function() return "x" end })]])
    status, err = make("--dry-run")
    assert.equal(0, status)
    assert.truthy(err:find("note.slug is unique, and all rows that are there would get", 1, true))
  end)

  it("keeps the scripts of one folder apart", function()
    app_with("title = models.text()")
    os.rename(folder .. "/notes/app.lua", folder .. "/notes/tree.lua")
    local status, _, out = server.run({ "makemigrations", folder .. "/notes/tree.lua" })
    assert.equal(0, status)
    local file = folder .. "/notes/tree_migrations/0001_initial.lua"
    assert.truthy(out:find(file, 1, true))
    assert.truthy(server.read_file(file):find('m.migration("tree", {', 1, true))
    app_with("title = models.text()")
    assert.equal(1, (make("--check")))
  end)

  it("says what is wrong with the files there are", function()
    app_with("title = models.text()")
    migration("0001_initial", "m.drop_table('note'),")
    local status, err = make()
    assert.equal(1, status)
    assert.truthy(err:find("0001_initial.lua:3, operation 1 (drop_table note): ", 1, true))
    migration("0001_again")
    status, err = make()
    assert.equal(1, status)
    assert.truthy(err:find("0001_again and 0001_initial have the same number", 1, true))
    status, err = server.run({ "makemigrations" })
    assert.equal(2, status)
    assert.truthy(err:find("usage: rille makemigrations APP", 1, true))
    status, err = make("--nmae=x")
    assert.equal(2, status)
    assert.truthy(err:find("unknown option '--nmae=x'", 1, true))
  end)
end)

--- A database of one's own: its URL, and how it is asked and dropped.
local BACKENDS = {
  SQLite = function()
    return "sqlite:" .. server.scratch() .. "/spec.db", function() end
  end,
}

local postgres = os.getenv("RILLE_TEST_POSTGRES")
if postgres and postgres ~= "" then
  BACKENDS.PostgreSQL = function()
    local name = ("spec_migrate_%d_%s"):format(os.time(), tostring({}):match("%x+$"))
    local admin = require("rille.db").Database("spec", { url = postgres })
    admin:aexecute(('CREATE SCHEMA "%s"'):format(name))
    local sign = postgres:find("?", 1, true) and "&" or "?"
    return postgres .. sign .. "options=-csearch_path%3D" .. name, function()
      admin:aexecute(('DROP SCHEMA "%s" CASCADE'):format(name))
      admin:aclose()
    end
  end
end

for label, open in pairs(BACKENDS) do
  describe("rille migrate on " .. label, function()
    local url, drop

    before_each(function()
      folder = script.folder({})
      url, drop = open()
    end)
    after_each(function()
      server.clean()
      script.clean()
      drop()
    end)

    local function migrate(...)
      return server.run({ "migrate", folder .. "/notes", ... }, { DATABASE_URL = url })
    end

    it("goes up and down, shows its plan, and can pretend", function()
      app_with("title = models.text()")
      migration("0001_initial", 'm.create_table("note", { { "id", "auto" } }),')
      migration("0002_title", 'm.add_column("note", { "title", "text" }, { fill = "x" }),')
      local _, _, out = migrate("--plan")
      assert.equal(
        "apply 0001_initial\n  create_table note\napply 0002_title\n  add_column note.title\n",
        out
      )
      _, _, out = migrate("--to", "1")
      assert.equal("applied 0001_initial\n", out)
      _, _, out = migrate()
      assert.equal("applied 0002_title\n", out)
      _, _, out = migrate()
      assert.truthy(out:find("nothing to do in ", 1, true))
      _, _, out = migrate("--to", "zero")
      assert.equal("undone 0002_title\nundone 0001_initial\n", out)
      _, _, out = migrate("--fake", "--to=0001")
      assert.equal("noted as applied 0001_initial\n", out)
      local status, err = migrate()
      assert.equal(1, status)
      assert.truthy(err:find("0002_title.lua:3, operation 1 (add_column note.title): ", 1, true))
      status, err = migrate("--to", "seven")
      assert.equal(1, status)
      assert.truthy(err:find("seven is no migration of", 1, true))
    end)

    it("waits for another that is at it, and finds nothing left to do", function()
      app_with("title = models.text()")
      migration(
        "0001_initial",
        'm.create_table("note", { { "id", "auto" }, { "title", "text" } }),',
        "m.run { function() require('rille').asleep(0.5) end, reverse = {} },"
      )
      local at, patience = server.scratch(), label == "SQLite" and "?acquire_timeout=0.1" or ""
      local lines = {}
      for i = 1, 3 do
        lines[i] = ("(DATABASE_URL=%s %s migrate %s/notes >%s 2>&1; echo $? >>%s) &"):format(
          server.quote(url .. patience),
          BINARY,
          folder,
          at .. "/" .. i,
          at .. "/" .. i
        )
      end
      server.shell(table.concat(lines, " ") .. " wait")
      local applied, nothing = 0, 0
      for i = 1, 3 do
        local text = server.read_file(at .. "/" .. i)
        applied = applied + server.count(text, "applied 0001_initial")
        nothing = nothing + server.count(text, "nothing to do")
        assert.truthy(text:find("0\n$"), text)
      end
      assert.same({ 1, 2 }, { applied, nothing })
    end)

    it("is done before serving, by --migrate or by itself on SQLite", function()
      app_with("title = models.text()")
      local flag = label == "SQLite" and "--no-access-log" or "--migrate"
      local it_runs = server.start({ "run", folder .. "/notes", flag }, { database = url })
      assert.truthy(it_runs:says("created note in"))
      it_runs:stop()
      server.run({ "makemigrations", folder .. "/notes" })
      app_with("title = models.text(), pages = models.integer({ null = true })")
      it_runs = server.start({ "run", folder .. "/notes", flag }, { database = url })
      assert.truthy(it_runs:says("0001_initial: its tables are there already"))
      assert.truthy(it_runs:says("the models are ahead of the migrations (add_column note.pages)"))
      it_runs:stop()
      local status, _, out = server.run({ "makemigrations", folder .. "/notes" })
      assert.equal(0, status)
      assert.truthy(out:find("0002_note_pages", 1, true))
      it_runs = server.start({ "run", folder .. "/notes", flag }, { database = url })
      assert.truthy(it_runs:says("applied 0002_note_pages"))
      assert.equal("0", server.shell("curl -s " .. it_runs.url .. "/"))
      assert.equal(0, server.count(it_runs:stderr(), "ahead of the migrations"))
      it_runs:stop()
    end)

    it("takes another of the application's databases, and is read back from it", function()
      script.write(folder, "notes/app.lua", ([[
        local rille = require("rille")
        return rille.app { databases = { default = "sqlite::memory:", other = %q } }
      ]]):format(url))
      migration("0001_initial", 'm.create_table("note", { { "id", "auto" } }),')
      local status, _, out = server.run({ "migrate", folder .. "/notes", "--database", "other" })
      assert.same({ 0, "applied 0001_initial\n" }, { status, out })
      local arguments = { "inspectdb", folder .. "/notes", "--database=other", "note" }
      status, _, out = server.run(arguments)
      assert.equal(0, status)
      assert.truthy(out:find('M.Note = models.define("note", {\n  id = models.auto(),', 1, true))
      arguments[3] = "--database=nowhere"
      local err
      status, err = server.run(arguments)
      assert.equal(1, status)
      assert.truthy(err:find("there is no database 'nowhere'; configured: default, other", 1, true))
    end)

    it("creates what is missing for an application without migrations", function()
      app_with("title = models.text()")
      local _, _, out = migrate()
      assert.truthy(out:find("^created in .*: note\n$"))
      _, _, out = migrate()
      assert.truthy(out:find("^nothing to create in "))
      local status, err = migrate("--plan")
      assert.equal(1, status)
      assert.truthy(err:find("--plan is for migrations, and there is no folder", 1, true))
    end)
  end)
end
