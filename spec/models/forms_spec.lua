--- Queries that send what was compiled before, against the compiler: the same text, the same
--- parameters, whatever the values and however the tables are laid out.

local fake_core = require("spec.support.fake_core")

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local db = require("rille.db")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local forms = require("rille.models.forms")
local outlines = require("rille.models.outlines")
local models = require("rille.models")
local null = require("rille.core").null
local queries = require("rille.models.query")

local Query = queries.Query

local function define()
  local Author = models.define("author", {
    name = models.text(),
    age = models.integer({ null = true }),
    mentor = models.foreign_key("self", { null = true }),
  })
  local Book = models.define("book", {
    title = models.text(),
    op = models.text({ null = true }), -- named as a part of a Q
    pages = models.integer(),
    big = models.bigint({ null = true }),
    price = models.numeric({ null = true }),
    ratio = models.float({ null = true }),
    out = models.boolean({ default = false }),
    key = models.uuid({ null = true }),
    day = models.date({ null = true }),
    at = models.timestamp({ null = true }),
    blob = models.bytes({ null = true }),
    author = models.foreign_key(Author, { null = true, related_name = "books" }),
  }, { ordering = { "title" } })
  return Author, Book
end

local Author, Book = define()

--- Keys, and values that suit them: the first ones are plain.
local VALUES = {
  pk = { 7, 8, "9007199254740993", 1e300, null },
  pk__in = { { 1, 2, 3 }, { 4 }, {}, { null }, { 1, 1e300 }, { 5, null } },
  title = { "a", "b", "%_*", null },
  title__contains = { "a", "50%", "[x*]" },
  title__istartswith = { "a", "_" },
  title__iexact = { "a", null },
  title__in = { { "a", 'b"\\' }, { "x" } },
  op = { "leaf", null },
  op__isnull = { true, false },
  pages = { 1, 2 ^ 31, null },
  pages__gte = { 10, -1e12, 1e12, 3.5 },
  pages__range = { { 1, 5 }, { 5, 1e12 } },
  big__lt = { 10, 2 ^ 60, -1e300 },
  price = { "1.50", 2, null },
  ratio__gt = { 0.5, 3 },
  out = { true, false },
  key = { "6BA7B8109DAD11D180B400C04FD430C8" },
  day__lte = { "2024-05-01" },
  at__gt = { 0, "2024-05-01T12:30:00Z" },
  author = { 3, Author({ id = 4, name = "x" }), null },
  author__name = { "Ann", null },
  author__mentor__age__lt = { 40, 1e12 },
  author__isnull = { true, false },
}

-- What is wrong with a value, by key.
local WRONG = {
  { { pages = "many" }, "ValueError" },
  { { pages = true }, "ValueError" },
  { { pk = {} }, "ValueError" },
  { { title = 7 }, "ValueError" },
  { { title = "a\0b" }, "ValueError" },
  { { title__contains = 1 }, "ValueError" },
  { { title__contains = null }, "ValueError" },
  { { pk__in = 7 }, "ValueError" },
  { { pk__in = { "x" } }, "ValueError" },
  { { op__isnull = "yes" }, "ValueError" },
  { { author = Book({ id = 1 }) }, "ValueError" },
  { { author = Author() }, "ValueError" },
  { { key = "x" }, "ValueError" },
  { { titel = "a" }, "FieldError" },
  { { title__like = "a" }, "FieldError" },
  { { author__nam = "a" }, "FieldError" },
  { { [1] = "a" }, "FieldError" },
}

local random_state = 1
--- Numbers that are the same in every run.
local function random(n)
  random_state = (random_state * 16807) % 2147483647
  return random_state % n + 1
end

local KEYS = {}
for key in pairs(VALUES) do
  KEYS[#KEYS + 1] = key
end
table.sort(KEYS)

--- A filter table of one to four keys; `plain`: with values that never decide anything.
local function some_filter(plain)
  local given = {}
  for _ = 1, random(4) do
    local key = KEYS[random(#KEYS)]
    local values = VALUES[key]
    given[key] = values[plain and 1 or random(#values)]
  end
  return given
end

--- The same entries, put in another order.
local function shuffled(given)
  local keys, copy = {}, {}
  for key in pairs(given) do
    table.insert(keys, random(#keys + 1), key)
  end
  for i = 1, random(9) do
    copy["filler" .. i] = true -- the table grows, so its keys lie elsewhere
  end
  for _, key in ipairs(keys) do
    copy[key] = given[key]
  end
  for key in pairs(copy) do
    if key:find("^filler") then
      copy[key] = nil
    end
  end
  return copy
end

--- An ordinary query, made without any form.
local function ordinary(given)
  return Query.filter(queries.new(Book), given)
end

for _, backend in ipairs({ "postgresql", "sqlite" }) do
  describe("a query of a known form, on " .. backend .. ",", function()
    local dialect = dialects[backend]
    local driver, database, books

    before_each(function()
      Author, Book = define()
      VALUES.author[2] = Author({ id = 4, name = "x" })
      driver = fake_core.new(backend)
      database = db.Database("spec", { url = "sqlite:x" }, driver)
      books = Book.objects:using(database)
    end)

    --- What `run` sends is what the compiler says, or both send nothing.
    local function same(label, run, sql, params)
      driver.take()
      local ok, err = pcall(run)
      if not ok and not errors.is_error(err, errors.ObjectDoesNotExist) then
        error(err, 0)
      end
      local sent, given = driver.log, driver.params
      if sql == nil then
        assert.equal(0, #sent, label)
        return
      end
      assert.equal(sql, sent[1], label)
      assert.same(params, given[1], label)
    end

    local function check(given)
      local query = ordinary(given)
      local nothing = query.where == false
      local function expect(way, most, other)
        if not nothing then
          return compile[way](other or query, dialect, most)
        end
      end
      local label = tostring(query)
      driver.answer = function(sql)
        return sql:find("COUNT", 1, true) and { { n = 0 } } or {}, 0
      end
      for _ = 1, 2 do -- as it is learned, and as it is known
        same(label, function()
          books:aget(shuffled(given))
        end, expect("select", 21, query:_with({ order = {} })))
        same(label, function()
          books:filter(shuffled(given)):afirst()
        end, expect("select", 1))
        same(label, function()
          books:filter(shuffled(given)):alast()
        end, expect("select", 1, query:reverse()))
        same(label, function()
          books:filter(shuffled(given)):alist()
        end, expect("select"))
        same(label, function()
          books:filter(shuffled(given)):acount()
        end, expect("count"))
        same(label, function()
          books:filter(shuffled(given)):aexists()
        end, expect("exists"))
      end
      local light = books:filter(shuffled(given))
      local where = light.where -- it has turned into an ordinary one
      assert.equal(type(query.where), type(where), label)
      if not nothing then
        local sql, params = compile.select(query, dialect)
        local its_sql, its_params = compile.select(light, dialect)
        assert.equal(sql, its_sql)
        assert.same(params, its_params, label)
      end
    end

    it("sends what the compiler says, for hundreds of conditions", function()
      for i = 1, 400 do
        check(some_filter(i % 2 == 0))
      end
    end)

    it("sends what the compiler says after any builders", function()
      local steps = {
        { "exclude", { pages__gt = 5 } },
        { "filter", models.Q({ op = "a" }) + models.Q({ title = "b", pages__gt = 2 }) },
        { "filter", -(models.Q({ op = null }) * models.Q({ author__name__in = { "x", "y" } })) },
        { "exclude", models.Q({ pages__lt = 9 }) + -models.Q({ op__isnull = false }) },
        { "filter", models.Q({ pages = 1e12 }) + models.Q({ title = "c" }) },
        { "exclude", { op = "x", author__name = "y" } },
        { "exclude", { op = null } },
        { "prefetch_related", "author" },
        { "filter", { pages__gt = 3 } },
        { "filter", { title = "x", author__name = "y" } },
        { "filter", { op__isnull = true } },
        { "exclude", { title = "z" } },
        { "filter", models.Q({ op = "leaf" }) + -models.Q({ pages = 2 }) },
        { "filter", { pages = models.F("big") } },
        { "order_by", "-pages", "author__name" },
        { "order_by" },
        { "reverse" },
        { "distinct" },
        { "select_related", "author" },
        { "only", "title", "author__name" },
        { "only", "pages", "author" },
        { "defer", "author__name" },
        { "defer", "op" },
        { "limit", 5 },
        { "limit", 3 },
        { "offset", 7 },
        { "all" },
        { "using", database },
      }
      for _ = 1, 400 do
        local light, plain = Book.objects:using(database), queries.new(Book):using(database)
        local label = {}
        for _ = 1, random(5) do
          local step = steps[random(#steps)]
          label[#label + 1] = step[1]
          local ok, next_light = pcall(light[step[1]], light, step[2], step[3])
          local ok_plain, next_plain = pcall(Query[step[1]], plain, step[2], step[3])
          assert.equal(ok_plain, ok, table.concat(label, " "))
          if not ok then
            assert.equal(tostring(next_plain), tostring(next_light))
            break
          end
          light, plain = next_light, next_plain
        end
        label = table.concat(label, " ")
        for way, most in pairs({ alist = false, afirst = 1, aget = 21 }) do
          local other = plain
          if way == "afirst" then
            other = plain:_by_key()
          elseif way == "aget" and not plain:_is_sliced() then
            other = plain:_with({ order = {} })
          end
          local query = light:all()
          local run = function()
            query[way](query)
          end
          if plain.limit_to == 0 then
            same(label, run)
          else
            same(label .. " " .. way, run, compile.select(other, dialect, most or nil))
          end
        end
        assert.same(compile.select(plain, dialect), (compile.select(light, dialect)), label)
      end
    end)

    it("raises for values and keys that are wrong, as the builders do", function()
      books:aexists()
      for _, case in ipairs(WRONG) do
        local given, class = case[1], case[2]
        for key in pairs(given) do -- the key is known by then
          if VALUES[key] then
            pcall(books.aget, books, { [key] = VALUES[key][1] })
          end
        end
        driver.take()
        local ok, wanted = pcall(ordinary, given)
        assert.is_false(ok)
        for _, method in ipairs({ "filter", "aget" }) do
          local query = books
          local fine, err = pcall(query[method], query, given)
          assert.is_false(fine)
          assert.is_true(errors.is_error(err, errors[class]), tostring(err))
          assert.equal(tostring(wanted), tostring(err))
        end
        assert.same({}, driver.take())
      end
      local _, err = pcall(books.filter, books, { titel = 1 })
      assert.truthy(err.message:find("Choices are: at, author, big, blob", 1, true))
    end)

    it("blames the caller of a builder that cannot do it", function()
      for _, call in ipairs({
        function()
          books:filter({}):alist()
        end,
        function()
          books:limit(2):order_by("title"):alist()
        end,
        function()
          books:limit(-1):alist()
        end,
        function()
          books:filter({ pages = 1 }):limit(2):alatest("pages")
          return
        end,
        function()
          books:limit(2):alast()
          return -- not a tail call: it is this line that is blamed
        end,
      }) do
        local _, err = pcall(call)
        assert.truthy(tostring(err):find("forms_spec.lua:%d+: "), tostring(err))
      end
    end)
  end)
end

describe("the forms of a model", function()
  local driver, books, most

  before_each(function()
    most = forms.MOST
    Author, Book = define()
    driver = fake_core.new("postgresql")
    books = Book.objects:using(db.Database("spec", { url = "sqlite:x" }, driver))
  end)

  after_each(function()
    forms.MOST = most
  end)

  local function counting(name)
    local calls, real = 0, compile[name]
    compile[name] = function(...)
      calls = calls + 1
      return real(...)
    end
    return function()
      compile[name] = real
      return calls
    end
  end

  local function form_of(query)
    return rawget(query, "form")
  end

  it("are one for all values", function()
    local function form_with(pages, title, big)
      return form_of(books:filter({ pages = pages, title = title, big = big }))
    end
    local form = form_with(1, "a", 2)
    assert.truthy(form)
    for i = 1, 50 do
      assert.equal(form, form_with(i, "b" .. i, -i))
    end
    assert.not_equal(form, form_with(1, "a", null))
    local in_form = form_of(books:filter({ pk__in = { 1 } }))
    assert.equal(in_form, form_of(books:filter({ pk__in = { 1, 2, 3 } })))
    assert.equal(
      form_of(books:order_by("-pages"):filter({ pages = 1 }):limit(3)),
      form_of(books:order_by("-pages"):filter({ pages = 2 }):limit(9))
    )
  end)

  it("are compiled once", function()
    local conditions_built = 0
    local build = conditions.build
    conditions.build = function(...)
      conditions_built = conditions_built + 1
      return build(...)
    end
    local compiled = counting("select")
    for i = 1, 20 do
      pcall(books.aget, books, { pk = i })
    end
    assert.equal(1, compiled())
    conditions.build = build
    assert.equal(1, conditions_built)
    assert.same({ n = 1, 20 }, driver.params[20])
  end)

  it("keep nothing of a value", function()
    local secret = "a value that nobody should find again"
    books:filter({ title = secret, op__contains = secret, title__in = { secret } }):alist()
    local seen = {}
    local function search(value)
      assert.not_equal(secret, value)
      if type(value) == "table" and not seen[value] then
        seen[value] = true
        for key, inner in pairs(value) do
          search(key)
          search(inner)
        end
      end
    end
    search(rawget(Book.objects, "form"))
    search(Book._meta.resolved)
  end)

  it("are bounded, whatever is asked", function()
    forms.MOST = 50
    local held = books:filter({ pages__gt = 0 }) -- a query that a script keeps
    local function size_of(form)
      local seen, n = {}, 0
      local function walk(part)
        if type(part) == "table" and not seen[part] and getmetatable(part) == nil then
          seen[part], n = true, n + 1
          for key, inner in pairs(part) do
            if key ~= "template" and key ~= "plans" and key ~= "lesson" then
              walk(inner)
            end
          end
        end
      end
      walk(form)
      return n
    end
    local biggest = 0
    for _ = 1, 1000 do
      local given = shuffled(some_filter(true))
      books:filter(given):order_by(({ "title", "-pages", "op" })[random(3)])
      held:filter(given)
      biggest = math.max(biggest, form_of(books).tree.size)
    end
    assert.is_true(biggest <= 50 + outlines.MOST_WORDS, tostring(biggest))
    assert.is_true(size_of(form_of(books)) < 2000, tostring(size_of(form_of(books))))
    assert.is_true(size_of(form_of(held)) < 2000)
  end)

  it("belong to the model: one that is defined anew has its own", function()
    local old = form_of(books:filter({ pages = 1 }))
    local _, Again = define()
    local again = Again.objects:filter({ pages = 1 })
    assert.truthy(form_of(again))
    assert.not_equal(old, form_of(again))
    assert.equal(Again, form_of(again).template.model)
    driver.answer = function()
      return { { id = 1, title = "a" } }, 1
    end
    assert.equal(Again._meta.instance, getmetatable(
      Again.objects:using(db.Database("spec", { url = "sqlite:x" }, driver)):aget({ pages = 1 })
    ))
  end)

  it("are sent as what they are when they lock, and only inside of atomic", function()
    local query = books:filter({ pages = 1 }):select_for_update()
    assert.truthy(form_of(query))
    local ok, err = pcall(query.alist, query)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.TransactionManagementError))
    driver.pin()
    driver.pin_state().depth = 1
    query:alist()
    query:filter({ pages = 2 }):order_by("pages"):afirst()
    driver.unpin()
    assert.equal(0, driver.reads)
    assert.equal(2, #driver.params)
  end)

  it("leave managers as they are", function()
    local before = tostring(Book.objects)
    Book.objects:filter({ pages = 1 })
    Book.objects:exclude({ pages = 1 })
    assert.is_nil(rawget(Book.objects, "where"))
    assert.is_nil(rawget(Book.objects, "cached"))
    assert.equal(before, tostring(Book.objects))
  end)
end)
