--- Filters from afar: whatever JSON says, the SQL speaks of the model's tables and columns alone.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local json = require("rille.json")
local kinds = require("rille.models.kinds")
local models = require("rille.models")
local null = require("rille.core").null

local shelf = require("spec.models.shelf")()
local ROUNDS = tonumber(os.getenv("RILLE_FUZZ_ROUNDS") or 1000)

-- A generator of our own: the same on every machine.
local state = 7
local function random(n)
  state = (state * 1103515245 + 12345) % 2 ^ 31
  return math.floor(state / 2 ^ 31 * n) + 1
end
local function one_of(list)
  return list[random(#list)]
end

local WORDS = { "", "x", "pk", "_meta", "kind", "f", "__", "objects", "asave", "'; --", '"', "\0" }
local LOOKUPS = {}
for _, kind in pairs(require("rille.models.kinds")) do
  for _, lookup in ipairs(kind.lookups) do
    LOOKUPS[#LOOKUPS + 1] = lookup
  end
end
for _, transform in ipairs({ "year", "date", "lower", "length", "week_day", "0", "a\"b", "x" }) do
  LOOKUPS[#LOOKUPS + 1] = transform
end
table.sort(LOOKUPS)

local NAMES = {}
local KNOWN = { inner = true }
for _, model in ipairs(require("rille.models.schema").with_between(shelf.all)) do
  local meta = model._meta
  KNOWN[meta.table] = true
  for _, field in ipairs(meta.fields) do
    KNOWN[field.column] = true
    NAMES[#NAMES + 1], NAMES[#NAMES + 2] = field.name, field.attr
  end
  for _, list in ipairs({ meta.many, meta.reverse_keys, meta.reverse }) do
    for name in pairs(list) do
      NAMES[#NAMES + 1] = name
    end
  end
end
table.sort(NAMES)

--- A key that leads somewhere, and a value that may fit.
local function likely(model)
  local key, depth = nil, 0
  while true do
    local meta, choices = model._meta, {}
    for _, field in ipairs(meta.fields) do
      choices[#choices + 1] = { name = field.name, field = field }
    end
    for _, list in ipairs({ meta.many, meta.reverse_keys }) do
      for name in pairs(list) do
        choices[#choices + 1] = { name = name, relation = list[name] }
      end
    end
    table.sort(choices, function(a, b)
      return a.name < b.name
    end)
    local choice = one_of(choices)
    key = key and key .. "__" .. choice.name or choice.name
    local field, relation = choice.field, choice.relation
    depth = depth + 1
    local onward = field and field.kind == "foreign_key" and field:target()
    if relation then
      local own = relation.kind == "many_to_many" and relation.model == model
      onward = own and relation:target() or relation.model
    end
    if not onward or depth > 3 or random(3) == 1 then
      local behaviour = field and field:behaviour() or kinds.auto
      local lookup = one_of(behaviour.lookups)
      key = random(4) > 1 and key .. "__" .. lookup or key
      return key, lookup, field and field:storage().kind or "auto"
    end
    model = onward
  end
end

local FITTING = {
  integer = { 1, -5, 7 },
  text = { "x", "' OR 1=1 --", "%", "$1" },
  uuid = { "00112233-4455-6677-8899-aabbccddeeff" },
  date = { "2024-01-01" },
  timestamp = { "2024-01-01T10:00:00Z", 0 },
  numeric = { 1.5, "2.50" },
}
FITTING.auto, FITTING.bigint = FITTING.integer, FITTING.integer

local function fitting(lookup, kind)
  local list = FITTING[kind] or { { a = 1 }, "x", 7, true }
  if lookup == "isnull" then
    return random(2) == 1
  elseif lookup == "in" or lookup == "range" or lookup:find("^has_.*keys$") then
    return { one_of(list), one_of(list) }
  end
  return one_of(list)
end

local function random_key()
  local parts = {}
  for i = 1, random(4) do
    local dice = random(20)
    parts[i] = dice > 2 and one_of(NAMES) or one_of(WORDS)
  end
  if random(2) == 1 then
    parts[#parts + 1] = one_of(LOOKUPS)
  end
  return table.concat(parts, "__")
end

local random_value
local makes = {
  function()
    return one_of({ "x", "", "' OR 1=1 --", '"; DROP TABLE x; --', "2024-01-01", "$1", "%1", "\0" })
  end,
  function()
    return one_of({ 0, -1, 7, 1.5, 1e300, 2 ^ 53 })
  end,
  function()
    return one_of({ true, false, null })
  end,
  function(depth)
    local list = {}
    for i = 1, random(3) do
      list[i] = random_value(depth + 1)
    end
    return list
  end,
  function(depth)
    local key = one_of({ "kind", "op", "conditions", "query", "_ordinary", "x", "1" })
    return { [key] = random_value(depth + 1), name = one_of(NAMES) }
  end,
}
function random_value(depth)
  return makes[random(depth > 2 and 3 or #makes)](depth)
end

--- What a request would bring: through JSON and back.
local function random_filter(model)
  local given = {}
  local wild = random(3) == 1
  for _ = 1, random(3) do
    local key, lookup, kind = likely(model)
    if wild then
      key = random_key()
    end
    given[key] = random(6) == 1 and random_value(0) or fitting(lookup, kind)
  end
  local ok, text = pcall(json.encode, given)
  return ok and json.decode(text) or nil
end

local SQL = {}
for word in ([[
  SELECT DISTINCT FROM WHERE NOT AND OR EXISTS IS NULL IN ANY LIKE GLOB UPPER BETWEEN ESCAPE LEFT
  INNER JOIN ON AS ORDER BY ASC DESC LIMIT CASE WHEN THEN ELSE END COALESCE EXTRACT FLOOR YEAR MONTH
  DAY HOUR MINUTE SECOND QUARTER WEEK DOW ISODOW ISOYEAR AT TIME ZONE CAST INTEGER integer bigint
  text numeric double precision date uuid boolean jsonb timestamp with time zone LOWER LENGTH
  TRIM TO_CHAR substr
  STRFTIME DATE json json_extract json_type TO_TSVECTOR PLAINTO_TSQUERY
]]):gmatch("%S+") do
  SQL[word] = true
end

-- The texts that our own templates have: none of them is from a value.
local TEXTS = { ["'\\'"] = true, ["'UTC'"] = true, ["''"] = true, ["'null'"] = true }
for text in ("HH24:MI:SS|-3 days|weekday 4|%Y|%m|%d|%H|%M|%S|%j|%w"):gmatch("[^|]+") do
  TEXTS["'" .. text .. "'"] = true
end

--- The first token of SQL that is neither a name of the model nor a word of ours; nil: none.
local function stranger(sql, n)
  local at = 1
  while at <= #sql do
    local token = sql:match("^%s+", at)
      or sql:match('^"[^"]*"', at)
      or sql:match("^'[^']*'", at)
      or sql:match("^%$%d+", at)
      or sql:match("^%d+", at)
      or sql:match("^[%a_][%w_]*", at)
      or sql:match("^[-=<>~*@?#|&()%[%],.:+/%%]", at)
    if not token then
      return sql:sub(at, at + 20)
    end
    local first = token:sub(1, 1)
    local name = token:match('^"(.*)"$')
    if name and not (KNOWN[name] or name:match("^join %d+$") or name:match("^inner %d+$")) then
      return token
    elseif first == "'" and not TEXTS[token] then
      return token
    elseif first == "$" and tonumber(token:sub(2)) > n then
      return token
    elseif token:match("^[%a_]") and not SQL[token] then
      return token
    end
    at = at + #token
  end
end

local EXPECTED = { errors.FieldError, errors.ValueError, errors.NotSupportedError }

local function is_expected(err)
  for _, class in ipairs(EXPECTED) do
    if errors.is_error(err, class) then
      return true
    end
  end
  return false
end

describe("a filter that came as JSON", function()
  it("names what exists, or raises and says so", function()
    local compiled, refused = 0, 0
    for _ = 1, ROUNDS do
      local model = one_of(shelf.all)
      local given = random_filter(model)
      local method = one_of({ "filter", "exclude" })
      if given and next(given) ~= nil then
        local ok, query = pcall(model.objects[method], model.objects, given)
        if not ok then
          assert.is_true(is_expected(query), tostring(query) .. json.encode(given))
          refused = refused + 1
        elseif query:_ordinary().where ~= false then
          for _, dialect in pairs(dialects) do
            local done, sql, params = pcall(compile.select, query:_ordinary(), dialect)
            if done then
              local found = stranger(sql, params.n)
              assert.is_nil(found, (found or "") .. " in " .. sql .. " of " .. json.encode(given))
              compiled = compiled + 1
            else
              assert.is_true(is_expected(sql), tostring(sql) .. json.encode(given))
            end
          end
        end
      end
    end
    assert.is_true(compiled > ROUNDS / 2, "compiled: " .. compiled)
    assert.is_true(refused > ROUNDS / 5, "refused: " .. refused)
  end)

  it("is not remembered without end, key by key", function()
    shelf.Author._meta.resolved, shelf.Author._meta.resolved_count = {}, 0
    local function ask(key)
      return (pcall(conditions.build, { model = shelf.Author }, { [key] = 1 }))
    end
    for _ = 1, 3 do
      for i = 1, 1100 do
        ask(("mentor__"):rep(i % 40) .. "age" .. (i % 2 == 0 and "__gt" or ""))
        ask("unknown" .. i)
      end
    end
    local n = 0
    for _ in pairs(shelf.Author._meta.resolved) do
      n = n + 1
    end
    assert.is_true(n <= 80)
    assert.is_false(ask("mentor__unknown"))
    shelf.Author._meta.resolved_count = 1000
    ask(("mentor__"):rep(50) .. "age")
    n = 0
    for _ in pairs(shelf.Author._meta.resolved) do
      n = n + 1
    end
    assert.equal(1, n)
  end)

  it("would be noticed if it did more", function()
    assert.equal('"evil"', stranger('SELECT "shelf_book"."evil" FROM "shelf_book"', 0))
    assert.equal("DROP", stranger('SELECT "id" FROM "shelf_book" WHERE DROP', 0))
    assert.equal("'x'", stranger("SELECT 'x'", 0))
    assert.equal("$2", stranger("SELECT $1 = $2", 1))
    assert.equal(";", stranger("SELECT ;", 1):sub(1, 1))
  end)

  it("takes a name out of a list that it may choose from, and no other", function()
    local wanted = json.decode('{"order": "-title\\" --"}')
    local ok, err = pcall(shelf.Book.objects.order_by, shelf.Book.objects, wanted.order)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.FieldError))
    for method in ("values values_list only defer distinct select_related"):gmatch("%S+") do
      ok, err = pcall(shelf.Book.objects[method], shelf.Book.objects, 'id" --')
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.FieldError))
    end
    for _, name in ipairs({ 'n" --', "1n", "", "a b" }) do
      ok, err = pcall(shelf.Book.objects.annotate, shelf.Book.objects, {
        [name] = models.Count("id"),
      })
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.ValueError))
    end
  end)
end)

-- What was compiled is also SQL that the backends take.
for _, backend in ipairs(backends.all(shelf.all)) do
  describe("filters that came as JSON, on " .. backend.name, function()
    setup(backend.make)
    teardown(backend.drop)

    it("run, or fail for their values alone", function()
      local ran = 0
      for _ = 1, ROUNDS / 10 do
        local model = one_of(shelf.all)
        local given = random_filter(model)
        local method = one_of({ "filter", "exclude" })
        local objects = model.objects:using(backend.database)
        local ok, query = pcall(objects[method], objects, given)
        if ok then
          local done, err = pcall(query.acount, query)
          local is_known = done
            or is_expected(err)
            or errors.is_error(err, errors.DataError)
            or err.message:find("CREATE EXTENSION", 1, true) ~= nil
          assert.is_true(
            is_known,
            tostring(err) .. json.encode(given)
          )
          ran = ran + (done and 1 or 0)
        end
      end
      assert.is_true(ran > ROUNDS / 40, "ran: " .. ran)
    end)
  end)
end
