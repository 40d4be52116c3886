--- Values on their way to a database and back, on SQLite and on a real PostgreSQL.

local errors = require("rille.errors")
local raised = require("spec.support.raised")
local rille = require("rille")
local db_module = require("rille.db")

local Database = db_module.Database
local array, bytes, json = db_module.array, db_module.bytes, db_module.json
local null = rille.null
local url = os.getenv("RILLE_TEST_POSTGRES")
local NAN, INF = 0 / 0, math.huge

local every_byte = {}
for i = 0, 255 do
  every_byte[i + 1] = string.char(i)
end
every_byte = table.concat(every_byte)

--- All of ASCII but NUL, letters from everywhere, both quotes, what looks like syntax.
local odd_text = every_byte:sub(2, 128)
  .. "é ß 😀 \226\128\168 日本語 \239\191\191 {}[],;NULL $1 '' \"\\"

local function raises(class, part, fn, ...)
  raised.says(part, raised.is(class, raised.by(fn, ...)))
end

--- A mistake in the call: a plain error message.
local function misuse(part, fn, ...)
  local err = raised.by(fn, ...)
  assert.is_string(err)
  raised.says(part, err)
end

local function is_nan(value)
  return value ~= value
end

--- Alike, lists element by element; NaN is like itself.
local function check_same(want, got)
  if is_nan(want) then
    assert.is_true(is_nan(got))
  elseif type(want) == "table" then
    assert.is_table(got)
    assert.equal(#want, #got)
    for i, element in ipairs(want) do
      check_same(element, got[i])
    end
  else
    assert.equal(want, got)
  end
end

describe("values on PostgreSQL", function()
  if not url then
    pending("needs RILLE_TEST_POSTGRES, the URL of a server")
    return
  end

  local db

  setup(function()
    db = Database("test", { url = url, max_connections = 1 })
  end)

  teardown(function()
    db:aclose()
  end)

  --- `value` as this type and back.
  local function back(type_name, value)
    return db:aquery(("SELECT $1::%s AS v"):format(type_name), value)[1].v
  end

  -- Type, what goes, what comes (default: the same).
  local cases = {
    { "int2", -32768 },
    { "int2", 32767 },
    { "int4", -2147483648 },
    { "int4", 2147483647 },
    { "int8", 2 ^ 53 },
    { "int8", -2 ^ 53 },
    { "int8", "9007199254740993" },
    { "int8", "9223372036854775807" },
    { "int8", "-9223372036854775808" },
    { "int8", 9223372036854775807LL, "9223372036854775807" },
    { "int8", -9223372036854775807LL - 1, "-9223372036854775808" },
    { "int8", 9007199254740993ULL, "9007199254740993" },
    { "int8", 7LL, 7 },
    { "oid", 4294967295 },
    { "bool", true },
    { "bool", false },
    { "float8", 0.1 },
    { "float8", -0.0 },
    { "float8", 5e-324 },
    { "float8", 1.7976931348623157e308 },
    { "float8", NAN },
    { "float8", -NAN },
    { "float8", INF },
    { "float8", -INF },
    { "float8", 1e15 },
    { "float8", 2 ^ 62 },
    { "float4", 0.5 },
    { "float4", INF },
    { "numeric", ("1234567890"):rep(9) .. "." .. ("0987654321"):rep(9) .. "0" },
    { "numeric", "-0.000", "0.000" },
    { "numeric", 1.5, "1.5" },
    { "numeric", "NaN" },
    { "numeric", "Infinity" },
    { "numeric(5,2)", 2, "2.00" },
    { "text", "" },
    { "text", odd_text },
    { "varchar", "NULL" },
    { "char(4)", "ab", "ab  " },
    { "bytea", bytes(every_byte), every_byte },
    { "bytea", bytes(""), "" },
    { "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" },
    { "date", "2024-02-29" },
    { "date", "0044-03-15 BC" },
    { "date", "infinity" },
    { "date", "-infinity" },
    { "time", "23:59:59.999999" },
    { "timestamptz", "2024-05-01 12:30:00.123456+02", "2024-05-01 10:30:00.123456+00" },
    { "timestamptz", "2024-05-01T12:30:00Z", "2024-05-01 12:30:00+00" },
    { "timestamptz", "infinity" },
    { "timestamp", "0001-01-01 00:00:00 BC" },
    { "interval", "1 day 02:03:04" },
    { "inet", "10.0.0.1/8" },
    { "point", "(1.5,-2)" },
    { "int4range", "[1,10)" },
    { "xml", "<a>&amp;</a>" },
  }
  for _, case in ipairs(cases) do
    local type_name, value, want = case[1], case[2], case[3]
    it(("keep %s %s"):format(type_name, tostring(value):sub(1, 24):gsub("%c", "?")), function()
      if want == nil then
        want = value
      end
      for _ = 1, 3 do -- executed, prepared, executed as prepared
        check_same(want, back(type_name, value))
      end
    end)
  end

  it("tell -0 from 0", function()
    assert.equal(-INF, 1 / back("float8", -0.0))
    assert.equal(INF, 1 / back("float8", 0))
    assert.equal(0, back("int4", -0.0))
  end)

  it("have NULL absent, from nil as from rille.null", function()
    for _, type_name in ipairs { "int4", "text", "bytea", "jsonb", "int4[]", "bool" } do
      assert.is_nil(back(type_name, nil))
      assert.is_nil(back(type_name, null))
    end
  end)

  it("show NULL as rille.null when the database is set to", function()
    local shows = Database("test", { url = url, max_connections = 1, null = true })
    assert.same(
      { { a = null, b = 1 }, { a = 2, b = null } },
      shows:aquery("SELECT * FROM (VALUES (NULL::int, 1), (2, NULL)) t (a, b)")
    )
    assert.same({ { a = 1 } }, shows:aquery("SELECT 1 AS a"))
    assert.same({}, shows:aquery("SELECT NULL AS a WHERE false"))
    shows:aclose()
  end)

  it("decode json and jsonb, however nested", function()
    local value = {
      list = { 1, { 2, { 3 } }, "é 😀 \"\\\n" },
      nothing = null,
      yes = true,
      big = 2 ^ 53,
      small = -1.5e-7,
      empty = "",
      ["key with \" and ü"] = { a = { b = { c = "d" } } },
    }
    for _, type_name in ipairs { "json", "jsonb" } do
      assert.same(value, back(type_name, json(value)))
      assert.same({ 1, "a" }, back(type_name, '[1, "a"]'))
      assert.equal(null, back(type_name, "null"))
      assert.equal("x", back(type_name, json("x")))
      assert.equal(12345678901234567890, back(type_name, "12345678901234567890")) -- as doubles are
    end
    local rows = db:aquery("SELECT '[12345678901234567890]'::jsonb->>0 AS v")
    assert.equal("12345678901234567890", rows[1].v)
  end)

  it("take domains for what they are based on, and enums for text", function()
    db:atomic(function()
      db:aexecute("CREATE DOMAIN values_pos AS int8 CHECK (VALUE > 0)")
      db:aexecute("CREATE TYPE values_mood AS ENUM ('sad', 'very happy')")
      local row = db:aquery([[
        SELECT $1::values_pos AS d, $2::values_mood AS e,
          $3::values_mood[] AS es, $3::values_mood[]::text[] AS ts]],
        5, "very happy", array { "sad", "very happy" })[1]
      assert.equal(5, row.d)
      assert.equal("very happy", row.e)
      assert.equal('{sad,"very happy"}', row.es)
      assert.same({ "sad", "very happy" }, row.ts)
      db:aexecute("DROP DOMAIN values_pos")
      db:aexecute("DROP TYPE values_mood")
    end)
  end)

  local arrays = {
    { "int2[]", { -32768, null, 32767 } },
    { "int4[]", { 1, 2, 3 } },
    { "int8[]", { 9223372036854775807LL, "-9223372036854775808", 1 },
      { "9223372036854775807", "-9223372036854775808", 1 } },
    { "bool[]", { true, null, false } },
    { "float8[]", { 0.1, NAN, INF, -INF, null, 1e300 } },
    { "float4[]", { 0.5, -2 } },
    { "numeric[]", { "1.50", 2, null, "NaN" }, { "1.50", "2", null, "NaN" } },
    { "text[]", { "", "NULL", null, "null", odd_text, "{}", "a,b", " ", "\\", "\"", "[1:2]={}" } },
    { "varchar[]", { "a", "é😀" } },
    { "bytea[]", { bytes(every_byte), null, bytes("") }, { every_byte, null, "" } },
    { "uuid[]", { "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", null } },
    { "date[]", { "2024-02-29", "0044-03-15 BC", "infinity", null } },
    { "timestamptz[]", { "2024-05-01 12:30:00.123456+00", null } },
    { "inet[]", { "10.0.0.1" } },
    { "interval[]", { "1 day", "02:03:04" } },
    { "int4range[]", { "[1,2)", "empty" } },
    { "int4[]", { { 1, null }, { 3, 4 } } },
    { "text[]", { { { "a" }, { "{b}" } }, { { "c,d" }, { null } } } },
    { "int4[]", { { { { { { 1 } } } } } } },
  }
  for _, case in ipairs(arrays) do
    local type_name, value, want = case[1], case[2], case[3] or case[2]
    it(("keep %s of %d"):format(type_name, #value), function()
      for _ = 1, 3 do
        check_same(want, back(type_name, array(value)))
      end
    end)
  end

  it("keep arrays of JSON", function()
    for _, type_name in ipairs { "json[]", "jsonb[]" } do
      local value = { { a = { 1, "\"x\", {y}" } }, null, "plain" }
      local list = array { json(value[1]), null, json("plain") }
      assert.same(value, back(type_name, list))
      list = array { { json { 1 } }, { json { 2 } } }
      assert.same({ { { 1 } }, { { 2 } } }, back(type_name, list))
    end
  end)

  it("keep empty arrays, which stay lists as JSON", function()
    for _, type_name in ipairs { "int4[]", "text[]", "jsonb[]", "bytea[]" } do
      local list = back(type_name, array {})
      assert.same({}, list)
      assert.equal("[]", rille.json.encode(list))
    end
    assert.equal("[[1],[null]]", rille.json.encode(back("int4[]", array { { 1 }, { null } })))
  end)

  it("give arrays with other lower bounds as lists from 1", function()
    assert.same({ "a", "b" }, back("text[]", "[5:6]={a,b}"))
    assert.same({ { 1, 2 }, { 3, 4 } }, back("int4[]", "[0:1][-1:0]={{1,2},{3,4}}"))
  end)

  it("know every array type that comes with the server", function()
    local types = db:aquery([[
      SELECT t.oid::regtype::text AS name, t.typelem::regtype::text AS element FROM pg_type t
      JOIN pg_type e ON e.oid = t.typelem
      WHERE t.typcategory = 'A' AND t.oid < 10000 AND t.typname LIKE '\_%' AND e.typtype <> 'p']])
    assert.is_true(#types > 60)
    for _, kind in ipairs(types) do
      local sql = ("SELECT '{}'::%s AS none, '{NULL}'::%s AS one"):format(kind.name, kind.name)
      local row = db:aquery(sql)[1]
      assert.same({ {}, { null } }, { row.none, row.one }, kind.name)
    end
  end)

  it("read arrays of boxes, which have semicolons between them", function()
    local list = back("box[]", "{(2,2),(1,1);NULL;(4,4),(3,3)}")
    assert.same({ "(2,2),(1,1)", null, "(4,4),(3,3)" }, list)
  end)

  it("serve as lists in conditions", function()
    local rows = db:aquery("SELECT i FROM generate_series(1, 9) i WHERE i = ANY($1) ORDER BY i",
      array { 7, 3, 12 })
    assert.same({ { i = 3 }, { i = 7 } }, rows)
  end)

  it("refuse lists that are none", function()
    misuse("holes", array, { 1, nil, 3 })
    misuse("no list", array, { a = 1 })
    misuse("no list", array, { 1, a = 1 })
    misuse("no list", array, { [1.5] = 1 })
    misuse("no list", array, { 1, { b = 2 } })
    misuse("element 2 is a function", array, { 1, print })
    misuse("element 1 is a userdata", array, { io.stdout })
    misuse("nested deeper than 6", array, { { { { { { { 1 } } } } } } })
    local cycle = {}
    cycle[1] = cycle
    misuse("nested deeper than 6", array, cycle)
    misuse("table expected", array, "text")
    raises(errors.DataError, "NUL byte", back, "text[]", array { "a\0b" })
    raises(errors.DataError, "", back, "int4[]", array { { 1, 2 }, { 3 } })
    raises(errors.DataError, "", back, "int4[]", array { "x" })
  end)

  it("refuse a plain table, and name what to say instead", function()
    misuse("parameter $2: a plain table; say what it is with db.json or db.array",
      db.aquery, db, "SELECT $1, $2", 1, { 1, 2 })
  end)

  it("refuse what no database takes", function()
    local ffi = require("ffi")
    for _, value in ipairs { print, io.stdout, coroutine.create(print), 1i, ffi.new("int[2]") } do
      misuse("parameter $1: a ", db.aquery, db, "SELECT $1", value)
    end
    misuse("no integer of 64 bits", db.aquery, db, "SELECT $1", 18446744073709551615ULL)
    raises(errors.DataError, "parameter $1 is text that holds a NUL byte", back, "text", "a\0b")
    raises(errors.DataError, "", back, "text", "\255 is not UTF-8")
    raises(errors.DataError, "", back, "int2", 32768)
    raises(errors.DataError, "", back, "uuid", "not one")
    raises(errors.DataError, "", back, "jsonb", "{")
  end)

  it("come in thousands of rows", function()
    local sql = "SELECT $1::int[] AS a, i FROM generate_series(1, 3000) i"
    local rows = db:aquery(sql, array { 1, 2 })
    assert.equal(3000, #rows)
    assert.same({ 1, 2 }, rows[3000].a)
  end)
end)

describe("values on SQLite", function()
  local db

  setup(function()
    db = Database("test", { url = "sqlite::memory:" })
    db:aexecute([[CREATE TABLE t (
      n INTEGER, r REAL, t TEXT, b BLOB, yes BOOLEAN, d NUMERIC, j JSON, any_kind)]])
  end)

  teardown(function()
    db:aclose()
  end)

  local function back(column, value)
    db:aexecute("DELETE FROM t")
    db:aexecute(("INSERT INTO t (%s) VALUES ($1)"):format(column), value)
    return db:aquery(("SELECT %s AS v FROM t"):format(column))[1].v
  end

  local cases = {
    { "n", 2 ^ 53 },
    { "n", -2 ^ 53 },
    { "n", "9223372036854775807" },
    { "n", "-9223372036854775808" },
    { "n", 9223372036854775807LL, "9223372036854775807" },
    { "n", -9223372036854775807LL - 1, "-9223372036854775808" },
    { "n", 9007199254740993ULL, "9007199254740993" },
    { "n", 32767 },
    { "any_kind", 9007199254740993LL, "9007199254740993" },
    { "r", 0.1 },
    { "r", 5e-324 },
    { "r", 1.7976931348623157e308 },
    { "r", INF },
    { "r", -INF },
    { "r", -0.0 },
    { "t", "" },
    { "t", odd_text },
    { "t", "9007199254740993" },
    { "t", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" },
    { "t", "0044-03-15 BC" },
    { "t", "2024-05-01 10:30:00.123456+00" },
    { "b", bytes(every_byte), every_byte },
    { "b", bytes(""), "" },
    { "yes", true },
    { "yes", false },
    { "d", 2, "2" },
    { "d", "1.5", "1.5" },
  }
  for _, case in ipairs(cases) do
    local column, value, want = case[1], case[2], case[3]
    it(("keep %s in %s"):format(tostring(value):sub(1, 24):gsub("%c", "?"), column), function()
      if want == nil then
        want = value
      end
      check_same(want, back(column, value))
    end)
  end

  it("keep JSON", function()
    local value = { list = { 1, { 2 } }, nothing = null, big = 2 ^ 53, text = "é 😀" }
    assert.same(value, back("j", json(value)))
  end)

  it("have NULL absent, or shown", function()
    assert.is_nil(back("n", nil))
    assert.is_nil(back("t", null))
    local shows = Database("test", { url = "sqlite::memory:", null = true })
    assert.same({ { a = null, b = 1 } }, shows:aquery("SELECT NULL AS a, 1 AS b"))
    shows:aclose()
  end)

  it("have no arrays, and say so", function()
    raises(errors.NotSupportedError, "parameter $2: SQLite has no arrays", db.aquery, db,
      "SELECT $1, $2", 1, array { 1 })
    misuse("db.json or db.array", db.aquery, db, "SELECT $1", { 1 })
  end)

  it("refuse what would be lost", function()
    raises(errors.DataError, "NUL byte", back, "t", "a\0b")
    raises(errors.DataError, "NaN", back, "r", NAN)
    misuse("no integer of 64 bits", back, "n", 18446744073709551615ULL)
  end)
end)
