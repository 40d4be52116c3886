--- What lies between two states, as operations, and operations as files. No database.

require("spec.support.fake_core")

local State = require("rille.migrations.state")
local apps = require("rille.migrations.app")
local diff = require("rille.migrations.diff")
local folder = require("rille.migrations.folder")
local m = require("rille.migrations")
local models = require("rille.models")
local operations = require("rille.migrations.operations")
local versions = require("spec.support.versions")
local writer = require("rille.migrations.writer")

--- Choices that rename what is in a table of names, and fill with one value.
local function choosing(renamed, fill)
  return {
    renamed = function(_, from, to)
      return (renamed or {})[from] == to
    end,
    fill = function()
      return fill
    end,
  }
end

local function described(list)
  local words = {}
  for i, op in ipairs(list) do
    words[i] = operations.describe(op)
  end
  return words
end

--- The migration that a text is.
local function load_text(text)
  return assert(loadstring(text, "@0001_x.lua"))()
end

local function state_of(list)
  local migration = m.migration("spec", list)
  migration.name = "0001_x"
  return folder.state({ migration })
end

local NOTE = { { "id", "auto" }, { "title", "text", max_length = 80 } }

describe("the difference between two versions", function()
  local states = { [0] = State() }
  for i, version in ipairs(versions) do
    states[i] = apps.wanted(version.models())
  end

  for i, version in ipairs(versions) do
    local which = ("%d and %d "):format(i - 1, i)

    it(which .. "is what leads from one to the other, also as a file", function()
      local list = diff(states[i - 1], states[i], choosing(version.renamed, "1"))
      local migration = load_text(writer.file("spec", list))
      migration.name = "0001_x"
      local reached = folder.advance(migration, states[i - 1]:copy())
      assert.same(described(list), described(migration.operations))
      for _, name in ipairs(states[i]:names()) do
        local got, want = reached:get(name), states[i]:get(name)
        local function by_name(a, b)
          return a.name < b.name
        end
        table.sort(got.columns, by_name)
        table.sort(want.columns, by_name)
        assert.same(want, got)
      end
      assert.same(states[i]:names(), reached:names())
    end)

    it(which .. "can be undone, operation by operation", function()
      local at = states[i - 1]:copy()
      for _, op in ipairs(diff(at, states[i], choosing(version.renamed, "1"))) do
        local before = at:copy()
        operations.apply(op, at)
        local back = at:copy()
        operations.apply(operations.inverse(op, before), back)
        local function sorted(state)
          for _, name in ipairs(state:names()) do
            for _, key in ipairs({ "columns", "unique", "indexes", "checks" }) do
              table.sort(state:get(name)[key], function(a, b)
                return (a.name or table.concat(a.columns or a))
                  < (b.name or table.concat(b.columns or b))
              end)
            end
          end
          return state.tables
        end
        assert.same(sorted(before), sorted(back), operations.describe(op))
      end
    end)
  end

  it("is nothing between a version and itself", function()
    assert.same({}, diff(states[2], states[2], choosing()))
  end)

  it("drops and adds what nobody says was renamed", function()
    local asked = {}
    local choices = choosing()
    choices.renamed = function(what, from, to, alike)
      asked[#asked + 1] = { what, from, to, alike }
      return false
    end
    local from = state_of({ m.create_table("note", NOTE) })
    local to = state_of({ m.create_table("note", { { "id", "auto" }, { "name", "text" } }) })
    local words = described(diff(from, to, choices))
    assert.same({ "add_column note.name", "drop_column note.title" }, words)
    assert.same({ { "column", "note.title", "note.name", false } }, asked)
  end)

  it("breaks circles, coming and going", function()
    local words = described(diff(states[1], states[2], choosing(nil, "1")))
    local text = table.concat(words, "\n")
    assert.truthy(text:find("create_table hen\n.*create_table egg\n.*alter_column hen.egg_id"))
    words = described(diff(states[2], states[1], choosing(nil, "1")))
    text = table.concat(words, "\n")
    assert.truthy(text:find("alter_column hen.egg_id\n.*drop_table egg\n.*drop_table hen"), text)
  end)

  it("leaves alone what is somebody else's", function()
    local Theirs = models.define("auth_user", { name = models.text() }, { managed = false })
    local Ours = models.define("note", { user = models.foreign_key(Theirs) })
    local list = diff(State(), apps.wanted({ Theirs, Ours }), choosing())
    assert.same({ "create_table note" }, described(list))
  end)
end)

describe("a column that is renamed", function()
  local conditions = require("rille.migrations.conditions")

  for before, after in pairs({
    ['"a" > 1'] = '"b" > 1',
    ["a > 1 AND aa < 2"] = '"b" > 1 AND aa < 2',
    ["a(a) <> 'a' OR t.a = 'it''s a'"] = "a(\"b\") <> 'a' OR t.\"b\" = 'it''s a'",
    ["a1 = 1a"] = "a1 = 1a",
  }) do
    it("is renamed in " .. before, function()
      assert.equal(after, conditions.rename(before, "a", "b"))
    end)
  end

  it("takes its conditions along", function()
    local state = state_of({
      m.create_table("note", { { "id", "auto" }, { "n", "integer" } }, {
        checks = { some = { postgresql = '"n" > 0', sqlite = '"n" > 1' } },
        indexes = { { "-n", where = '"n" > 2' } },
      }),
      m.rename_column("note", "n", "size"),
    })
    local note = state:get("note")
    assert.same({ postgresql = '"size" > 0', sqlite = '"size" > 1' }, note.checks[1].sql)
    assert.same(
      { { columns = { "size" }, descending = { size = true }, where = '"size" > 2' } },
      note.indexes
    )
  end)
end)

describe("a migration file", function()
  it("is written to be read", function()
    local list = diff(State(), apps.wanted(versions[1].models()), choosing())
    assert.equal(
      [[
local m = require("rille.migrations")

return m.migration("spec", {
  m.create_table("room", {
    { "id", "auto" },
    { "size", "integer" },
    { "slug", "text", max_length = 20, unique = true },
  }),
  m.create_table("message", {
    { "id", "auto" },
    { "at", "timestamp" },
    { "author", "text", null = true },
    { "body", "text", index = true },
    { "room_id", "bigint", index = true, references = "room.id", on_delete = "cascade" },
  }, {
    unique = {
      { "room_id", "at" },
    },
    indexes = {
      { "at", "room_id" },
    },
  }),
})
]],
      writer.file("spec", list)
    )
  end)

  it("has a name made of what is in it", function()
    local add = m.add_column("note", { "x", "text", null = true })
    assert.equal("initial", writer.name({ add }, true))
    assert.equal("note_x", writer.name({ add }, false))
    assert.equal("note_x_drop_note", writer.name({ add, m.drop_table("note") }, false))
    assert.equal("note_x_and_more", writer.name({ add, add, add, add, add, add, add }, false))
    assert.equal("by_hand", writer.name({}, false))
  end)

  it("says any value so that it is read back", function()
    for _, fill in ipairs({ "a\nb\"c\\", 0.1, 2 ^ 53, true, { sql = "now()" } }) do
      local list = { m.add_column("note", { "x", "text" }, { fill = fill }) }
      assert.same(fill, load_text(writer.file("spec", list)).operations[1].fill)
    end
  end)

  for wrong, why in pairs({
    ['m.create_table("note", { { "id", "serial" } })'] = "there is no kind 'serial'; there are: ar",
    ['m.create_table("note", { { "id" } })'] = 'a column is { "name", "kind", option = … }',
    ['m.add_column("note", { "x", "text", nul = true })'] = "has no option 'nul'; there are: d",
    ['m.add_column("note", { "x", "text", null = 1 })'] = "null must be a boolean, not a number",
    ['m.add_column("note", { "x", "bigint", references = "note" })'] = 'is "table.column", not',
    ['m.add_column("note", { "x", "text" }, { fil = 1 })'] = "no option 'fil'; there are: fill",
    ['m.add_index("note", {})'] = "columns are a list of names",
    ["m.run { sql = 1 }"] = "there is no option 'sql'; there are: 1, reverse, state",
    ["m.run {}"] = "run needs a statement, a list",
  }) do
    it("is told what is wrong with " .. wrong, function()
      local text = 'local m = require("rille.migrations")\nreturn m.migration("spec", {\n%s })'
      local ok, err = pcall(load_text, text:format(wrong))
      assert.is_false(ok)
      assert.truthy(err:find(why, 1, true), err)
      assert.truthy(err:find("^0001_x.lua:%d: "), err)
    end)
  end

  it("is told that SQL is no operation", function()
    local ok, err = pcall(m.migration, "spec", { "DROP TABLE note" })
    assert.is_false(ok)
    assert.truthy(err:find("operation 1 is none: it is made by m.create_table", 1, true))
  end)

  for _, case in ipairs({
    { m.drop_table("nope"), "there is no table 'nope' at this point; there are: note" },
    { m.create_table("note", NOTE), "the table 'note' is there already" },
    { m.drop_column("note", "x"), "has no column 'x' at this point; it has: id, title" },
    { m.add_column("note", { "title", "text" }), "the table 'note' has a column 'title' already" },
    { m.drop_unique("note", { "title" }), "these columns are not unique together" },
    { m.drop_index("note", { "title" }), "there is no index 'note_title_idx'" },
    { m.drop_check("note", "full"), "the table 'note' has no check 'full'" },
  }) do
    it("is told with its line that " .. case[2], function()
      local ok, err = pcall(state_of, { m.create_table("note", NOTE), case[1] })
      assert.is_false(ok)
      assert.truthy(err.message:find("operation 2 (" .. operations.describe(case[1]), 1, true))
      assert.truthy(err.message:find(case[2], 1, true), err.message)
    end)
  end
end)
