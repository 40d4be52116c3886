--- Tables of others as models: names, types, keys and references of all sorts.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local inspect = require("rille.inspect")
local types = require("rille.inspect.types")

local STATEMENTS = {
  PostgreSQL = {
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
    "CREATE DOMAIN code AS varchar(7)",
    [[CREATE TABLE shop (
      id serial PRIMARY KEY, code code UNIQUE, rate numeric(8,3) DEFAULT 1.5,
      open boolean DEFAULT true,
      mood mood NOT NULL DEFAULT 'sad', tags text[], data jsonb DEFAULT '{}', blob bytea,
      since timestamptz NOT NULL DEFAULT now(), local timestamp, day date, took interval,
      "end" text DEFAULT 'a''b', "Odd  Name_" smallint, uid uuid DEFAULT gen_random_uuid(),
      pk real)]],
    [[CREATE TABLE clerk (
      shop integer PRIMARY KEY REFERENCES shop ON DELETE CASCADE,
      boss_id integer REFERENCES clerk ON DELETE SET NULL,
      old_code varchar(7) REFERENCES shop (code), a bigint NOT NULL, b bigint,
      seat bigint GENERATED ALWAYS AS IDENTITY, UNIQUE (a, b))]],
    "CREATE INDEX ON clerk (a, seat DESC)",
    "CREATE INDEX ON clerk (b)",
    "CREATE INDEX ON clerk (lower(old_code))",
    [[CREATE TABLE shift (
      clerk_id integer NOT NULL REFERENCES clerk, other_id integer UNIQUE REFERENCES clerk,
      a bigint, b bigint, day date NOT NULL, PRIMARY KEY (clerk_id, day),
      FOREIGN KEY (a, b) REFERENCES clerk (a, b))]],
    "CREATE TABLE loose (word text)",
    "CREATE VIEW seen AS SELECT 1 AS one",
  },
  SQLite = {
    [[CREATE TABLE shop (
      id integer PRIMARY KEY, code varchar(7) UNIQUE, rate decimal(8,3) DEFAULT 1.5,
      open bool DEFAULT 1, mood text CHECK (length("mood") <= 9) NOT NULL DEFAULT 'sad',
      data text CHECK (JSON_VALID("data") OR "data" IS NULL), blob BLOB,
      since datetime NOT NULL DEFAULT CURRENT_TIMESTAMP, day date, took something,
      "end" text DEFAULT 'a''b', "Odd  Name_" smallint, pk real)]],
    [[CREATE TABLE clerk (
      shop integer PRIMARY KEY REFERENCES shop ON DELETE CASCADE,
      boss_id integer REFERENCES clerk ON DELETE SET NULL,
      old_code varchar(7) REFERENCES shop (code), a bigint NOT NULL, b bigint, UNIQUE (a, b))]],
    "CREATE INDEX one ON clerk (a, boss_id DESC)",
    "CREATE INDEX two ON clerk (b)",
    "CREATE INDEX three ON clerk (lower(old_code))",
    [[CREATE TABLE shift (
      clerk_id integer NOT NULL REFERENCES clerk, other_id integer UNIQUE REFERENCES clerk,
      a bigint, b bigint, day date NOT NULL, PRIMARY KEY (clerk_id, day),
      FOREIGN KEY (a, b) REFERENCES clerk (a, b))]],
    "CREATE TABLE loose (word text)",
    "CREATE VIEW seen AS SELECT 1 AS one",
  },
}

local SAID = {
  PostgreSQL = [[
M.Shop = models.define("shop", {
  id = models.auto(),
  code = models.text({ max_length = 7, unique = true, null = true }),
  rate = models.numeric({ max_digits = 8, decimal_places = 3, null = true, default = 1.5 }),
  open = models.boolean({ null = true, default = true }),
  mood = models.text({ default = "sad", choices = { "sad", "it's ok" } }),
  tags = models.array(models.text(), { null = true }),
  data = models.json({ null = true }), -- default: '{}'
  blob = models.bytes({ null = true }),
  since = models.timestamp({ auto_now_add = true }),
  local_field = models.timestamp({ null = true, db_column = "local" }), -- without a time zone
  day = models.date({ null = true }),
  took = models.text({ null = true }), -- interval
  end_field = models.text({ null = true, default = "a'b", db_column = "end" }),
  Odd_Name = models.integer({ null = true, db_column = "Odd  Name_" }),
  uid = models.uuid({ null = true }), -- default: gen_random_uuid()
  pk_field = models.float({ null = true, db_column = "pk" }),
}, { managed = false })

M.Clerk = models.define("clerk", {
  shop = models.one_to_one(M.Shop, {
    primary_key = true,
    on_delete = "cascade",
    db_column = "shop",
  }),
  boss = models.foreign_key("self", { null = true, on_delete = "set_null" }),
  old_code = models.text({ max_length = 7, null = true }), -- refers to shop (code)
  a = models.bigint(),
  b = models.bigint({ index = true, null = true }),
  seat = models.bigint(), -- the database counts it
}, {
  managed = false,
  unique = { { "a", "b" } },
  indexes = { models.Index({ fields = { "a", "-seat" } }) },
})

-- the primary key is (clerk_id, day), of which a model has but one column
-- (a, b) refers to clerk (a, b)
M.Shift = models.define("shift", {
  clerk = models.foreign_key(M.Clerk, {
    primary_key = true,
    on_delete = "do_nothing",
    related_name = "shift_clerk_set",
  }),
  other = models.one_to_one(M.Clerk, {
    null = true,
    on_delete = "do_nothing",
    related_name = "shift_other",
  }),
  a = models.bigint({ null = true }),
  b = models.bigint({ null = true }),
  day = models.date(),
}, { managed = false })
]],
  SQLite = [[
M.Shop = models.define("shop", {
  id = models.auto(),
  code = models.text({ max_length = 7, unique = true, null = true }),
  rate = models.numeric({ max_digits = 8, decimal_places = 3, null = true, default = 1.5 }),
  open = models.boolean({ null = true, default = true }),
  mood = models.text({ max_length = 9, default = "sad" }),
  data = models.json({ null = true }),
  blob = models.bytes({ null = true }),
  since = models.timestamp({ auto_now_add = true }),
  day = models.date({ null = true }),
  took = models.text({ null = true }), -- something
  end_field = models.text({ null = true, default = "a'b", db_column = "end" }),
  Odd_Name = models.integer({ null = true, db_column = "Odd  Name_" }),
  pk_field = models.float({ null = true, db_column = "pk" }),
}, { managed = false })

M.Clerk = models.define("clerk", {
  shop = models.one_to_one(M.Shop, {
    primary_key = true,
    on_delete = "cascade",
    db_column = "shop",
  }),
  boss = models.foreign_key("self", { null = true, on_delete = "set_null" }),
  old_code = models.text({ max_length = 7, null = true }), -- refers to shop (code)
  a = models.bigint(),
  b = models.bigint({ index = true, null = true }),
}, {
  managed = false,
  unique = { { "a", "b" } },
  indexes = { models.Index({ fields = { "a", "-boss" } }) },
})
]],
}

for _, backend in ipairs(backends.all({})) do
  describe("inspectdb on " .. backend.name, function()
    local database = backend.database
    local text

    setup(function()
      backend.make()
      for _, sql in ipairs(STATEMENTS[backend.name]) do
        database:aexecute(sql)
      end
      text = inspect.module(inspect.atables(database, {}), database.backend, "the spec")
    end)
    teardown(backend.drop)

    it("writes what a model can say, and notes what it cannot", function()
      for part in (SAID[backend.name] .. "\n"):gmatch("(.-\n)\n") do
        assert.truthy(text:find(part, 1, true), part .. "\nis not in\n" .. text)
      end
      local note = "-- there is no primary key; the first column stands for it\nM.Loose = "
      assert.truthy(text:find(note, 1, true))
      assert.is_nil(text:find("seen", 1, true))
    end)

    it("writes a module that loads", function()
      local M = assert(loadstring(text, "@models.lua"))()
      assert.equal("end", M.Shop._meta.by_name.end_field.column)
      M.Shop.objects:using(database):acreate({ code = "x", mood = "sad", end_field = "z" })
      local row = database:aquery('SELECT "end" AS e FROM shop')[1]
      assert.equal("z", row.e)
      assert.equal("z", M.Shop.objects:using(database):aget({ code = "x" }).end_field)
    end)

    it("writes the tables that are named, also views", function()
      local some = inspect.atables(database, { "seen", "clerk" })
      local said = inspect.module(some, database.backend, "the spec")
      assert.truthy(said:find('M.Seen = models.define("seen", {', 1, true))
      assert.is_nil(said:find("M.Shop", 1, true))
      assert.truthy(said:find("-- refers to shop", 1, true))
      assert(loadstring(said))()
      local ok, err = pcall(inspect.atables, database, { "nowhere" })
      assert.is_false(ok)
      assert.truthy(err.message:find("has no table 'nowhere'", 1, true))
    end)
  end)
end

describe("the kind of a column", function()
  for name, kind in pairs({
    ["timestamp(3) with time zone"] = "timestamp",
    ["numeric"] = "numeric",
    ["character varying"] = "text",
    ["double precision"] = "float",
    ["smallint unsigned"] = "integer",
    ["int4range"] = "text",
    ["integer[]"] = "array",
    [""] = "text",
  }) do
    it(("of type '%s' is %s"):format(name, kind), function()
      assert.equal(kind, (types.kind({ type = name }, "postgresql")))
    end)
  end
end)
