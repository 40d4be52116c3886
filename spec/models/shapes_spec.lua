--- Random queries of everything that a script can write, twice: as forms, whose SQL is compiled
--- once, and by the builders alone. The texts, the parameters and the errors are the same.

local fake_core = require("spec.support.fake_core")

local compile = require("rille.models.compile")
local db = require("rille.db")
local errors = require("rille.errors")
local functions = require("rille.models.functions")
local models = require("rille.models")
local null = require("rille.core").null
local outlines = require("rille.models.outlines")
local queries = require("rille.models.query")

local Q, F, Value = models.Q, models.F, models.Value
local SHAPES = tonumber(os.getenv("RILLE_FUZZ_ROUNDS") or 150)

local Shop = models.define("shapes_shop", {
  name = models.text(),
  rank = models.integer({ null = true }),
})
local Item = models.define("shapes_item", {
  title = models.text(),
  note = models.text({ null = true }),
  pages = models.integer(),
  big = models.bigint({ null = true }),
  price = models.numeric({ null = true }),
  ratio = models.float({ null = true }),
  sold = models.boolean({ default = false }),
  day = models.date({ null = true }),
  at = models.timestamp({ null = true }),
  data = models.json({ null = true }),
  words = models.array(models.text(), { null = true }),
  shop = models.foreign_key(Shop, { null = true, related_name = "items" }),
})
local Mark = models.define("shapes_mark", {
  item = models.foreign_key(Item, { related_name = "marks" }),
  stars = models.integer(),
})

-- Chances: shapes come from one row of numbers, and values from another, so that a query can be
-- made again with other values.
local Chance = {}
Chance.__index = Chance

function Chance:upto(n)
  self.state = (self.state * 16807) % 2147483647
  return math.floor(self.state / 2147483647 * n) + 1
end

local function chance(seed)
  local self = setmetatable({ state = seed }, Chance)
  for _ = 1, 5 do
    self:upto(1)
  end
  return self
end

function Chance:of(list)
  return list[self:upto(#list)]
end

---@class spec.Maker  makes one query
---@field shape table
---@field value table
---@field start fun(model: rille.models.Model): rille.models.Query
local Maker = {}
Maker.__index = Maker

local INTEGERS = { 1, 7, -3, 40, 2 ^ 20, 2 ^ 31, 2 ^ 40, 1e300, 3.5 }
local TEXTS = { "a", "b%", "_x", "[y*]", "it's", "", "$1", 'q"q' }

--- A value of a kind; mostly one that decides nothing.
local VALUES = {
  integer = function(maker)
    return INTEGERS[maker.value:upto(maker.value:upto(4) > 1 and 5 or #INTEGERS)]
  end,
  text = function(maker)
    return maker.value:of(TEXTS)
  end,
  float = function(maker)
    return maker.value:of({ 0.5, 3, -1e10 })
  end,
  numeric = function(maker)
    return maker.value:of({ "1.50", 2, 0.25, "x" })
  end,
  boolean = function(maker)
    return maker.value:upto(2) == 1
  end,
  date = function(maker)
    return maker.value:of({ "2024-05-01", "1999-12-31", "no day" })
  end,
  timestamp = function(maker)
    return maker.value:of({ 0, 1.7e9, "2024-05-01T12:30:00Z" })
  end,
  json = function(maker)
    return maker.value:of({ 1, "x", true, { a = { 1, null } }, { 1, 2 }, null })
  end,
  shop = function(maker)
    return maker.value:of({ 3, Shop({ id = 4, name = "x" }), Shop({ id = 5, name = "y" }), Shop() })
  end,
}

local function list_of(kind, longest)
  return function(maker)
    local list = {}
    for i = 1, maker.value:upto(longest) do
      list[i] = VALUES[kind](maker)
    end
    return list
  end
end

VALUES.integers, VALUES.texts, VALUES.pair = list_of("integer", 6), list_of("text", 3), nil
VALUES.jsons = list_of("json", 3)
VALUES.year = function(maker)
  return maker.value:of({ 2001, 2024, 1, 9999, 0, "x" })
end
VALUES.pair = function(maker)
  return { VALUES.integer(maker), VALUES.integer(maker) }
end

--- Keys, and what their values are. What is a number can be compared with expressions, too.
local TESTS = {
  { "pages", "integer", "number" },
  { "pages__gt", "integer", "number" },
  { "pages__in", "integers" },
  { "pages__range", "pair" },
  { "big__lte", "integer", "number" },
  { "price__gte", "numeric" },
  { "ratio__lt", "float", "number" },
  { "sold", "boolean" },
  { "title", "text", "text" },
  { "title__contains", "text" },
  { "title__istartswith", "text" },
  { "title__iexact", "text" },
  { "title__in", "texts" },
  { "title__length__gt", "integer", "number" },
  { "title__lower", "text", "text" },
  { "note__isnull", "boolean" },
  { "day", "date" },
  { "day__year", "year", "number" },
  { "at__gt", "timestamp" },
  { "at__year__gte", "year" },
  { "at__month", "integer", "number" },
  { "at__date", "date" },
  { "data", "json" },
  { "data__a__0", "json" },
  { "data__a__gt", "json" },
  { "data__a__in", "jsons" },
  { "data__a__icontains", "text" },
  { "data__a__isnull", "boolean" },
  { "data__contains", "json" },
  { "data__has_key", "text" },
  { "data__a__has_keys", "texts" },
  { "data__has_any_keys", "texts" },
  { "words__contains", "texts" },
  { "words__overlap", "texts" },
  { "words__len", "integer", "number" },
  { "words__0", "text", "text" },
  { "shop", "shop" },
  { "shop__rank__lt", "integer", "number" },
  { "shop__name", "text", "text" },
  { "marks__stars", "integer", "number" },
  { "marks__stars__range", "pair" },
}

--- A table of one to three tests.
function Maker:tests(depth)
  local given = {}
  for _ = 1, self.shape:upto(3) do
    local key, kind, compares = unpack(self.shape:of(TESTS))
    local dice = self.shape:upto(10)
    if dice == 1 and not key:find("__", 1, true) then
      given[key] = null
    elseif dice <= 4 and compares and depth > 0 then
      given[key] = self[compares](self, depth - 1)
    else
      given[key] = VALUES[kind](self)
    end
  end
  if self.shape:upto(12) == 1 then
    given.shop__in = self.start(Shop):filter({ rank = VALUES.integer(self) })
  end
  return given
end

function Maker:exists()
  local marks = self.start(Mark):filter({ item = models.OuterRef("pk") })
  marks = marks:filter({ stars__gt = VALUES.integer(self) })
  local found = models.Exists(marks)
  return self.shape:upto(2) == 1 and -found or found
end

local WORDS = {
  function(a, b)
    return a + b
  end,
  function(a, b)
    return a * b
  end,
  function(a)
    return -a
  end,
  function(a, b)
    return a ^ b
  end,
}

function Maker:condition(depth)
  local dice = self.shape:upto(6)
  if depth > 0 and dice <= 2 then
    return self.shape:of(WORDS)(self:condition(depth - 1), self:condition(depth - 1))
  elseif depth > 0 and dice == 3 then
    return Q({ title = "x" }) * self:exists()
  end
  return Q(self:tests(depth))
end

local NUMBERS = {
  function()
    return F("pages")
  end,
  function()
    return F("shop__rank")
  end,
  function(maker)
    return Value(VALUES.integer(maker))
  end,
  function(maker, depth)
    return maker:number(depth) + VALUES.integer(maker)
  end,
  function(maker, depth)
    local a, b = maker:number(depth), maker:number(depth)
    local op = maker.shape:upto(3)
    return op == 1 and a * b or op == 2 and a - b or a / b
  end,
  function(maker)
    return models.Length(maker:text(0))
  end,
  function(maker, depth)
    return models.Coalesce(maker:number(depth), VALUES.integer(maker))
  end,
  function(maker, depth)
    return models.Cast(maker:number(depth), models.bigint())
  end,
  function()
    return models.ExtractYear("at")
  end,
  function(maker, depth)
    return models.Case({
      models.When(maker:condition(depth), maker:number(depth)),
      models.When(maker:tests(depth), VALUES.integer(maker)),
      default = maker.shape:upto(2) == 1 and VALUES.integer(maker) or nil,
    })
  end,
  function(maker)
    local marks = maker.start(Mark):filter({ item = models.OuterRef("pk") })
    marks = marks:filter({ stars__lt = VALUES.integer(maker) }):order_by("-stars")
    return models.Subquery(marks:values("stars"):limit(maker.value:upto(3)))
  end,
}

--- An expression that is a number.
function Maker:number(depth)
  if depth <= 0 then
    return NUMBERS[self.shape:upto(3)](self)
  end
  return self.shape:of(NUMBERS)(self, depth - 1)
end

local STRINGS = {
  function()
    return F("title")
  end,
  function(maker)
    return Value(VALUES.text(maker))
  end,
  function(maker, depth)
    return models.Concat("title", maker:text(depth), Value(VALUES.text(maker)))
  end,
  function(maker, depth)
    return models.Upper(maker:text(depth))
  end,
  function(maker, depth)
    return models.Replace(maker:text(depth), Value(VALUES.text(maker)), Value("-"))
  end,
  function(maker)
    return models.Substr("title", 1, maker.value:upto(5))
  end,
  function(maker, depth)
    return models.Case({
      models.When(maker:tests(depth), VALUES.text(maker)),
      default = models.Lower("title"),
    })
  end,
}

--- An expression that is a text.
function Maker:text(depth)
  if depth <= 0 then
    return STRINGS[self.shape:upto(2)](self)
  end
  return self.shape:of(STRINGS)(self, depth - 1)
end

function Maker:aggregate()
  local opts = {
    distinct = self.shape:upto(3) == 1,
    filter = self.shape:upto(3) == 1 and self:condition(1) or nil,
  }
  local name = self.shape:of({ "Count", "Sum", "Max" })
  if name ~= "Count" and self.shape:upto(2) == 1 then
    opts.default = self.value:upto(9)
  end
  if self.shape:upto(8) == 1 then
    return models.StringAgg("title", { delimiter = VALUES.text(self) })
  end
  return models[name](self.shape:upto(2) == 1 and "marks__stars" or self:number(1), opts)
end

function Maker:window()
  return models.Window(self.shape:upto(2) == 1 and models.Rank() or models.Lag("pages", 1), {
    partition_by = self.shape:upto(2) == 1 and { "shop", self:number(1) } or nil,
    order_by = { "-pages", F("title"):desc({ nulls_last = true }) },
    frame = self.shape:upto(4) == 1 and { rows = { -1, false } } or nil,
  })
end

--- Builders: each is given the query and gives the next.
local STEPS = {
  function(maker, query)
    return query:filter(maker:tests(1))
  end,
  function(maker, query)
    return query:filter(maker:condition(2))
  end,
  function(maker, query)
    return query:exclude(maker:condition(1))
  end,
  function(maker, query)
    return query:filter(maker:exists(), { title = VALUES.text(maker) })
  end,
  function(maker, query)
    return query:annotate({ number = maker:number(2), word = maker:text(2) })
  end,
  function(maker, query)
    return query:alias({ hidden = maker:number(2) }):filter({ hidden__gt = VALUES.integer(maker) })
  end,
  function(maker, query)
    return query:annotate({ total = maker:aggregate() })
  end,
  function(maker, query)
    local counted = query:annotate({ n = models.Count("marks") })
    return counted:filter(Q({ n__gt = VALUES.integer(maker) }) + Q({ title = VALUES.text(maker) }))
  end,
  function(maker, query)
    return query:annotate({ place = maker:window() })
  end,
  function(maker, query)
    return query:order_by(maker:number(2):desc({ nulls_first = true }), "-title")
  end,
  function(maker, query)
    return query:values("title", { doubled = maker:number(1) })
  end,
  function(maker, query)
    return query:values_list(maker.shape:of({ "pages", "data__a" }), { flat = true })
  end,
  function(_, query)
    return query:distinct()
  end,
  function(maker, query)
    return query:limit(maker.value:upto(9))
  end,
  function(maker, query)
    return query:offset(maker.value:upto(9))
  end,
  function(maker, query)
    local other = maker.start(Item):filter(maker:tests(1))
    local name = maker.shape:of({ "union", "intersection", "difference" })
    if name == "union" then
      return query:union(other, { all = maker.shape:upto(2) == 1 })
    end
    return query[name](query, other)
  end,
  function(_, query)
    return query:select_related("shop")
  end,
  function(maker, query)
    return query:only("title", maker.shape:of({ "pages", "day" }))
  end,
}

local function changes_of(maker)
  return {
    pages = maker.shape:upto(2) == 1 and maker:number(2) or VALUES.integer(maker),
    title = maker.shape:upto(2) == 1 and maker:text(2) or VALUES.text(maker),
    note = maker.shape:upto(3) == 1 and null or VALUES.text(maker),
    data = VALUES.json(maker),
  }
end

--- Methods that send one statement.
local ENDS = {
  function(_, query)
    return query:alist()
  end,
  function(_, query)
    return query:afirst()
  end,
  function(_, query)
    return query:alast()
  end,
  function(_, query)
    return query:acount()
  end,
  function(_, query)
    return query:aexists()
  end,
  function(maker, query)
    return query:aget(maker:tests(1))
  end,
  function(maker, query)
    return query:aaggregate({ total = maker:aggregate(), n = models.Count("*") })
  end,
  function(maker, query)
    return query:aupdate(changes_of(maker))
  end,
  function(_, query)
    return query:adelete()
  end,
}

--- Make a query and run it. What was sent, or why nothing was; and whether the query had a form.
local function run(driver, database, shape, value, start)
  local maker = setmetatable({
    shape = chance(shape),
    value = chance(value),
    start = function(model)
      return start(model):using(database)
    end,
  }, Maker)
  driver.take()
  local query
  local ok, err = pcall(function()
    query = maker.start(Item)
    for _ = 1, maker.shape:upto(4) do
      query = maker.shape:of(STEPS)(maker, query)
    end
    maker.shape:of(ENDS)(maker, query)
  end)
  local said = not ok and not errors.is_error(err, errors.ObjectDoesNotExist) and tostring(err)
  return {
    sql = driver.log[1],
    params = driver.params[1],
    -- without what tells the two apart: where it was, and which table
    said = said and said:gsub("^[%w_/.]+:%d+: ", ""):gsub("table: 0x%x+", "table"),
  }, query
end

local function start_plain(model)
  return queries.new(model)
end

local function start_light(model)
  return model.objects
end

local function answer(sql)
  return sql:find("^SELECT COUNT") and { { n = 0 } }
    or sql:find("^SELECT.* AS \"total\"") and { {} }
    or {}, 0
end

--- What the core is given for JSON and arrays, to be compared.
local core = require("rille.core.db")
local contents = setmetatable({}, { __mode = "k" })

local function shown(params)
  local list = {}
  for key, value in pairs(params or {}) do
    list[key] = contents[value] or value
  end
  return list
end

for _, backend in ipairs({ "postgresql", "sqlite" }) do
  describe("queries of all shapes, on " .. backend, function()
    local driver, database
    local real = {}

    setup(function()
      for _, name in ipairs({ "json", "array" }) do
        real[name] = core[name]
        core[name] = function(content)
          local wrapped = real[name](content)
          contents[wrapped] = { name, content }
          return wrapped
        end
      end
    end)

    teardown(function()
      for name, fn in pairs(real) do
        core[name] = fn
      end
    end)

    before_each(function()
      driver = fake_core.new(backend)
      driver.answer = answer
      database = db.Database("spec", { url = "sqlite:x" }, driver)
    end)

    --- Run one query both ways; raises unless they are the same.
    local function check(shape, value)
      local plain = run(driver, database, shape, value, start_plain)
      local light, query = run(driver, database, shape, value, start_light)
      local label = ("shape %d, values %d, %s"):format(shape, value, tostring(plain.said))
      assert.equal(plain.said, light.said, label)
      assert.equal(plain.sql, light.sql, label)
      assert.same(shown(plain.params), shown(light.params), label)
      return light, query
    end

    it("are compiled once, and then as the compiler says", function()
      local sent, formed = 0, 0
      for shape = 1, SHAPES do
        for value = 1, 3 do
          local light, query = check(shape, value)
          sent = sent + (light.sql and 1 or 0)
          formed = formed + (light.sql and query and rawget(query, "form") and 1 or 0)
        end
      end
      assert.is_true(sent > SHAPES, ("%d were sent"):format(sent))
      assert.is_true(formed > sent * 0.5, ("%d of %d had a form"):format(formed, sent))
    end)

    it("would be noticed if a form said too little", function()
      local outline = outlines.of_kind.arithmetic
      local function told()
        local items = Item.objects:using(database)
        items:filter({ big = F("pages") + 1 }):alist()
        driver.take()
        items:filter({ big = F("pages") - 1 }):alist()
        return driver.log[1]:find("- $1", 1, true) ~= nil
      end
      assert.is_true(told())
      local op = outline[1]
      outline[1] = { "op", function(given)
        return given
      end }
      local ok, wrong = pcall(told)
      outline[1] = op
      assert.is_true(ok, tostring(wrong))
      assert.is_false(wrong)
    end)
  end)
end

describe("a query that is built a second time", function()
  local driver, items

  before_each(function()
    driver = fake_core.new("postgresql")
    driver.answer = answer
    items = Item.objects:using(db.Database("spec", { url = "sqlite:x" }, driver))
  end)

  --- How often something is compiled while `ask` runs for two rows of values.
  local function compiled(ask)
    local count, real = 0, {}
    for _, name in ipairs({ "select", "count", "exists", "aggregate", "update", "delete" }) do
      real[name] = compile[name]
      compile[name] = function(...)
        count = count + 1
        return real[name](...)
      end
    end
    local ok, err = pcall(function()
      ask(1, "a")
      count = 0
      ask(2, "b")
      ask(3, "c")
    end)
    for name, fn in pairs(real) do
      compile[name] = fn
    end
    assert.is_true(ok or errors.is_error(err, errors.ObjectDoesNotExist), tostring(err))
    return count
  end

  local ASKS = {
    ["annotate, by an aggregate"] = function(n)
      return items:annotate({ n = models.Count("marks") }):filter({ n__gt = n }):alist()
    end,
    ["an aggregate with a filter and a default"] = function(n, text)
      local filter = Q({ title = text })
      local sum = models.Sum("marks__stars", { filter = filter, default = n })
      return items:annotate({ sum = sum }):alist()
    end,
    ["F with arithmetic"] = function(n)
      return items:filter({ pages__gt = F("big") * 2 + n }):alist()
    end,
    ["Case and Concat"] = function(n, text)
      local when = models.When({ pages = n }, models.Concat("title", Value(text)))
      return items:annotate({ word = models.Case({ when, default = text }) }):alist()
    end,
    ["Exists and OuterRef"] = function(n)
      local marks = Mark.objects:filter({ item = models.OuterRef("pk"), stars = n })
      return items:filter(models.Exists(marks)):alist()
    end,
    ["Subquery, cut"] = function(n)
      local marks = Mark.objects:filter({ item = models.OuterRef("pk") }):values("stars"):limit(n)
      return items:annotate({ best = models.Subquery(marks) }):alist()
    end,
    ["in, a query"] = function(_, text)
      return items:filter({ shop__in = Shop.objects:filter({ name = text }) }):alist()
    end,
    ["in, a list of any length"] = function(n)
      return items:filter({ pages__in = { 1, n, n > 1 and 9 or nil } }):alist()
    end,
    ["transforms"] = function(n, text)
      return items:filter({ at__month = n, title__lower = text, words__len = n }):alist()
    end,
    ["a year"] = function(n)
      return items:filter({ at__year = 2000 + n }):alist()
    end,
    ["range"] = function(n)
      return items:filter({ pages__range = { n, n + 5 } }):alist()
    end,
    ["JSON"] = function(n, text)
      return items:filter({ data__a__0 = n, data__has_keys = { "x", text } }):alist()
    end,
    ["arrays"] = function(_, text)
      return items:filter({ words__contains = { text } }):alist()
    end,
    ["Q, xor"] = function(n, text)
      return items:filter(Q({ pages = n }) ^ Q({ title = text })):alist()
    end,
    ["several arguments"] = function(n, text)
      return items:filter(Q({ pages = n }), { title = text }):acount()
    end,
    ["order_by an expression"] = function(n)
      return items:order_by((F("pages") + n):desc({ nulls_last = true })):afirst()
    end,
    ["values with an expression"] = function(n)
      return items:values("title", { more = F("pages") + n }):alist()
    end,
    ["a window"] = function(n)
      local lag = models.Window(models.Lag("pages", n, n), { order_by = "pages" })
      return items:annotate({ before = lag }):alist()
    end,
    ["dates"] = function(n)
      return items:filter({ pages = n }):dates("day", "month"):alist()
    end,
    ["union"] = function(n, text)
      return items:filter({ pages = n }):union(items:filter({ title = text })):alist()
    end,
    ["aaggregate"] = function(n)
      return items:filter({ pages = n }):aaggregate({ all = models.Sum(F("pages") * n) })
    end,
    ["aupdate, values"] = function(n, text)
      return items:filter({ pk = n }):aupdate({ title = text, note = null })
    end,
    ["aupdate, F"] = function(n)
      return items:filter({ pk = n }):aupdate({ pages = F("pages") + n })
    end,
    ["adelete"] = function(n)
      return Mark.objects:using(items.database):filter({ stars = n }):adelete()
    end,
  }
  for what, ask in pairs(ASKS) do
    it("is not compiled: " .. what, function()
      assert.equal(0, compiled(ask))
    end)
  end

  it("is not compiled, whatever function it calls", function()
    local fields = { "title", "pages", "pages" }
    for name, definition in pairs(functions.by_name) do
      if not definition.window then
        local field = name:find("^Extract") or name:find("^Trunc")
        local args = {}
        for i = 1, definition.least do
          args[i] = field and "at" or fields[i]
        end
        local call = functions[name](unpack(args))
        assert.truthy(rawget(items:annotate({ x = call }), "form"), name)
      end
    end
  end)

  it("has no form with a value that decides, or with a query that was run", function()
    local run_before = Mark.objects:filter({ stars = 1 }):all():_ordinary()
    for _, query in ipairs({
      items:filter({ pages = 1e300 }),
      items:filter({ pages__in = {} }),
      items:filter({ pages__in = { 1, null } }),
      items:filter(models.Exists(run_before)),
      items:none(),
    }) do
      assert.is_nil(rawget(query, "form"))
    end
    assert.truthy(rawget(items:filter({ pages__in = { 1 } }), "form"))
  end)

  it("is told from one whose list of keys is longer, or whose value is of another kind", function()
    local function form_of(given)
      return rawget(items:filter(given), "form")
    end
    assert.equal(form_of({ data__has_keys = { "a" } }), form_of({ data__has_keys = { "b" } }))
    local two = { "a", "b" }
    assert.not_equal(form_of({ data__has_keys = { "a" } }), form_of({ data__has_keys = two }))
    assert.not_equal(form_of({ note__isnull = true }), form_of({ note__isnull = false }))
    assert.not_equal(form_of({ data__a = 1 }), form_of({ data__a = true }))
    assert.equal(form_of({ at__year = 1999 }), form_of({ at__year = 2024 }))
    assert.not_equal(form_of({ at__year = 1999 }), form_of({ at__year = 99999 }))
  end)
end)
