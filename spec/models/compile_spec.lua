require("spec.support.fake_core")

local compile = require("rille.models.compile")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null
local raised = require("spec.support.raised")
local resolve = require("rille.models.resolve")

local Q, F = models.Q, models.F
local pg, lite = dialects.postgresql, dialects.sqlite

local Author = models.define("author", {
  name = models.text(),
  nick = models.text({ null = true }),
  age = models.integer({ null = true }),
  home = models.text({ null = true, db_column = "Home \"Town\"" }),
})
local Book = models.define("book", {
  title = models.text(),
  pages = models.integer(),
  author = models.foreign_key(Author),
  editor = models.foreign_key(Author, { null = true }),
})

--- Everything from FROM on; the columns are tested once.
local function tail(query, dialect)
  local sql, params = compile.select(query, dialect or pg)
  return sql:match(" FROM .*$"):gsub('^ FROM "%a+" ?', ""), params
end

local function params_of(...)
  return { n = select("#", ...), ... }
end

local message_of = raised.message

describe("compiling a query", function()
  it("selects every column, named as the attribute where that differs", function()
    assert.equal(
      'SELECT "author"."id", "author"."age", "author"."Home ""Town""" AS "home",'
        .. ' "author"."name", "author"."nick" FROM "author"',
      (compile.select(Author.objects:all(), pg))
    )
  end)

  -- conditions, then the WHERE clause and parameters on PostgreSQL, then on SQLite if different
  local cases = {
    { { name = "x" }, 'WHERE "author"."name" = $1', { "x" } },
    { { name__exact = "x" }, 'WHERE "author"."name" = $1', { "x" } },
    { { pk = 7 }, 'WHERE "author"."id" = $1', { 7 } },
    { { age__gt = 1 }, 'WHERE "author"."age" > $1', { 1 } },
    { { age__gte = 1 }, 'WHERE "author"."age" >= $1', { 1 } },
    { { age__lt = 1 }, 'WHERE "author"."age" < $1', { 1 } },
    { { age__lte = 1 }, 'WHERE "author"."age" <= $1', { 1 } },
    {
      { age__range = { 1, 5 } },
      'WHERE "author"."age" >= $1 AND "author"."age" <= $2',
      { 1, 5 },
    },
    { { age = null }, 'WHERE "author"."age" IS NULL', {} },
    { { age__isnull = false }, 'WHERE "author"."age" IS NOT NULL', {} },
    { { home = "x" }, 'WHERE "author"."Home ""Town""" = $1', { "x" } },
    { { age__gt = 1.5 }, 'WHERE "author"."age" > $1', { 1 } },
    { { age__gte = 1.5 }, 'WHERE "author"."age" >= $1', { 2 } },
    { { age__lt = 1e12 }, 'WHERE "author"."age" <= $1', { 2 ^ 31 - 1 } },
    { { id = "9223372036854775807" }, 'WHERE "author"."id" = $1', { "9223372036854775807" } },
    {
      { name__contains = "5%_\\*" },
      'WHERE "author"."name" LIKE $1',
      { "%5\\%\\_\\\\*%" },
      'WHERE "author"."name" GLOB $1',
      { "*5%_\\[*]*" },
    },
    {
      { name__startswith = "a[b?" },
      'WHERE "author"."name" LIKE $1',
      { "a[b?%" },
      'WHERE "author"."name" GLOB $1',
      { "a[[]b[?]*" },
    },
    {
      { name__endswith = "z" },
      'WHERE "author"."name" LIKE $1',
      { "%z" },
      'WHERE "author"."name" GLOB $1',
      { "*z" },
    },
    {
      { name__iexact = "a_" },
      'WHERE UPPER("author"."name") LIKE UPPER($1)',
      { "a\\_" },
      "WHERE \"author\".\"name\" LIKE $1 ESCAPE '\\'",
      { "a\\_" },
    },
    {
      { name__icontains = "x" },
      'WHERE UPPER("author"."name") LIKE UPPER($1)',
      { "%x%" },
      "WHERE \"author\".\"name\" LIKE $1 ESCAPE '\\'",
      { "%x%" },
    },
    {
      { id__in = { 3, 1, 2 } },
      'WHERE "author"."id" = ANY($1::bigint[])',
      { "{3,1,2}" },
      'WHERE "author"."id" IN ($1, $2, $3, $4)',
      { 3, 1, 2, 2 },
    },
    {
      { name__in = { 'a"b', "c\\,}" } },
      'WHERE "author"."name" = ANY($1::text[])',
      { '{"a\\"b","c\\\\,}"}' },
      'WHERE "author"."name" IN ($1, $2)',
      { 'a"b', "c\\,}" },
    },
  }
  for _, case in ipairs(cases) do
    local key, value = next(case[1])
    it(("filters by %s = %s"):format(key, tostring(value)), function()
      local query = Author.objects:filter(case[1])
      local sql, params = tail(query)
      assert.equal(case[2], sql)
      assert.same(params_of(unpack(case[3])), params)
      sql, params = tail(query, lite)
      assert.equal(case[4] or case[2], sql)
      assert.same(params_of(unpack(case[5] or case[3])), params)
    end)
  end

  it("has regular expressions on PostgreSQL, and says so elsewhere", function()
    local query = Author.objects:filter({ name__regex = "^a" })
    assert.equal('WHERE "author"."name" ~ $1', (tail(query)))
    local message, err = message_of(function()
      compile.select(query, lite)
    end)
    assert.equal("the lookup 'regex' needs PostgreSQL; sqlite does not have it", message)
    assert.is_true(errors.is_error(err, errors.NotSupportedError))
  end)

  it("gives the same keys the same text, in whatever order they come", function()
    local first = tail(Author.objects:filter({ name = "a", age = 1, nick = "n" }))
    for _ = 1, 20 do
      local again = {}
      for _, key in ipairs({ "nick", "age", "name" }) do
        again[key] = key == "age" and 2 or "b"
      end
      assert.equal(first, (tail(Author.objects:filter(again))))
    end
    assert.equal(
      'WHERE "author"."age" = $1 AND "author"."name" = $2 AND "author"."nick" = $3',
      first
    )
  end)

  it("gives lists of any length the same text, or on SQLite one of a few", function()
    local texts = { [pg.name] = {}, [lite.name] = {} }
    for n = 1, 16 do
      local list = {}
      for i = 1, n do
        list[i] = i
      end
      for _, dialect in ipairs({ pg, lite }) do
        local sql = compile.select(Author.objects:filter({ id__in = list }), dialect)
        texts[dialect.name][sql] = true
      end
    end
    local function count(set)
      local n = 0
      for _ in pairs(set) do
        n = n + 1
      end
      return n
    end
    assert.equal(1, count(texts.postgresql))
    assert.equal(5, count(texts.sqlite))
  end)

  it("combines conditions with or, and, not", function()
    local sql, params = tail(Book.objects:filter(
      Q({ title = "x" }) + -Q({ pages__lt = 100 }) * Q({ author = 3 })
    ))
    assert.equal(
      'WHERE ("book"."title" = $1 OR (NOT ("book"."pages" < $2) AND "book"."author_id" = $3))',
      sql
    )
    assert.same({ n = 3, "x", 100, 3 }, params)
  end)

  it("keeps what is NULL when excluding, unless it cannot be", function()
    assert.equal(
      'WHERE NOT (("author"."nick" = $1 AND "author"."nick" IS NOT NULL))',
      (tail(Author.objects:exclude({ nick = "x" })))
    )
    assert.equal('WHERE NOT ("author"."name" = $1)', (tail(Author.objects:exclude({ name = "x" }))))
    assert.equal(
      'WHERE NOT (NOT ("author"."nick" = $1))',
      (tail(Author.objects:exclude(-Q({ nick = "x" }))))
    )
  end)

  it("joins along foreign keys, once for each path, and outer where one may be NULL", function()
    local sql = tail(Book.objects
      :filter({ author__name = "a", author__age__gt = 1 })
      :exclude({ editor__name = "e" })
      :order_by("editor__nick"))
    assert.equal(
      'INNER JOIN "author" AS "join 1" ON "join 1"."id" = "book"."author_id"'
        .. ' LEFT JOIN "author" AS "join 2" ON "join 2"."id" = "book"."editor_id"'
        .. ' WHERE ("join 1"."age" > $1 AND "join 1"."name" = $2)'
        .. ' AND NOT (("join 2"."name" = $3 AND "join 2"."name" IS NOT NULL))'
        .. ' ORDER BY "join 2"."nick" ASC',
      sql
    )
  end)

  it("joins outer after a key that may be NULL, whatever the next one says", function()
    local Review = models.define("review", { book = models.foreign_key(Book, { null = true }) })
    assert.equal(
      'LEFT JOIN "book" AS "join 1" ON "join 1"."id" = "review"."book_id"'
        .. ' LEFT JOIN "author" AS "join 2" ON "join 2"."id" = "join 1"."author_id"'
        .. ' WHERE NOT (("join 2"."name" = $1 AND "join 2"."name" IS NOT NULL))',
      (tail(Review.objects:exclude({ book__author__name = "x" })))
    )
  end)

  it("selects fewer fields with only and defer, and always the key", function()
    local function selected(query)
      return (compile.select(query, pg):gsub('"author"%.', ""):match("^SELECT (.-) FROM"))
    end
    assert.equal('"id", "name"', selected(Author.objects:only("name")))
    assert.equal('"id", "age"', selected(Author.objects:only("name"):only("pk", "age")))
    assert.equal('"id", "age"', selected(Author.objects:defer("name", "home"):defer("nick")))
    assert.equal('"id"', selected(Author.objects:only("name"):defer("name")))
    local _, err = message_of(function()
      Book.objects:only("author__nothing")
    end)
    assert.is_true(errors.is_error(err, errors.FieldError))
  end)

  it("needs no join for the key of a related object", function()
    for _, key in ipairs({ "author", "author_id", "author__id", "author__pk" }) do
      assert.equal('WHERE "book"."author_id" = $1', (tail(Book.objects:filter({ [key] = 3 }))))
    end
    assert.equal(
      'WHERE "book"."editor_id" IS NULL',
      (tail(Book.objects:filter({ editor__isnull = true })))
    )
  end)

  it("takes an instance for a foreign key", function()
    local ann = Author({ id = 5, name = "Ann" })
    local sql, params = tail(Book.objects:filter({ author = ann, editor__in = { ann } }))
    assert.equal(
      'WHERE "book"."author_id" = $1 AND "book"."editor_id" = ANY($2::bigint[])',
      sql
    )
    assert.same({ n = 2, 5, "{5}" }, params)
  end)

  it("compares fields with fields", function()
    local sql, params = tail(Book.objects:filter({ pages__gt = F("author__age") * 2 }))
    assert.truthy(sql:find('WHERE "book"."pages" > ("join 1"."age" * $1)', 1, true))
    assert.same({ n = 1, 2 }, params)
  end)

  it("orders, reverses, slices", function()
    assert.equal(
      'ORDER BY "book"."pages" DESC, "book"."title" ASC, RANDOM() LIMIT $1 OFFSET $2',
      (tail(Book.objects:order_by("-pages", "title", "?"):limit(5):offset(2)))
    )
    assert.equal(
      'ORDER BY "book"."pages" ASC, "book"."author_id" DESC',
      (tail(Book.objects:order_by("-pages", "author"):reverse()))
    )
    assert.equal("OFFSET $1", (tail(Book.objects:offset(2))))
    assert.equal("LIMIT -1 OFFSET $1", (tail(Book.objects:offset(2), lite)))
    local _, params = tail(Book.objects:offset(2):limit(10):offset(3):limit(4))
    assert.same({ n = 2, 4, 5 }, params)
    _, params = tail(Book.objects:limit(10):offset(7))
    assert.same({ n = 2, 3, 7 }, params)
  end)

  it("selects fields and distinct rows", function()
    assert.equal(
      'SELECT DISTINCT "book"."title", "join 1"."name" AS "author__name" FROM "book"'
        .. ' INNER JOIN "author" AS "join 1" ON "join 1"."id" = "book"."author_id"',
      (compile.select(Book.objects:values("title", "author__name"):distinct(), pg))
    )
    assert.truthy(compile
      .select(Book.objects:distinct("author"):order_by("author"), pg)
      :find('SELECT DISTINCT ON ("book"."author_id") "book"."id"', 1, true))
    message_of(function()
      compile.select(Book.objects:distinct("author"), lite)
    end)
  end)

  it("names the columns of related objects by their path", function()
    assert.truthy(compile
      .select(Book.objects:select_related("editor"), pg)
      :find('"join 1"."Home ""Town""" AS "editor__home"', 1, true))
  end)

  it("locks the rows of the model alone", function()
    local query = Book.objects:filter({ author__name = "x" }):select_for_update({ nowait = true })
    assert.truthy((tail(query)):find(' FOR UPDATE OF "book" NOWAIT$'))
    assert.is_nil((tail(query, lite)):find("FOR UPDATE", 1, true))
  end)

  it("counts rows, and through a subquery what is cut", function()
    assert.equal(
      'SELECT COUNT(*) AS "n" FROM "book" WHERE "book"."pages" > $1',
      (compile.count(Book.objects:filter({ pages__gt = 1 }):order_by("title"), pg))
    )
    assert.equal(
      'SELECT COUNT(*) AS "n" FROM (SELECT "book"."title" FROM "book" LIMIT $1) AS "counted"',
      (compile.count(Book.objects:values("title"):limit(3), pg))
    )
  end)

  it("asks for one row to learn whether there is any", function()
    assert.equal(
      'SELECT 1 AS "n" FROM "book" WHERE "book"."title" = $1 LIMIT 1',
      (compile.exists(Book.objects:filter({ title = "x" }):order_by("pages"), pg))
    )
  end)

  it("aggregates, over a slice from a query inside", function()
    local function aggregate(name, expression)
      return { name = name, node = resolve.expression({ model = Book }, expression) }
    end
    local list = { aggregate("n", models.Count("*")), aggregate("total", models.Sum("id")) }
    assert.equal(
      'SELECT COUNT(*) AS "n", CAST(SUM("book"."id") AS bigint) AS "total" FROM "book"'
        .. ' WHERE "book"."pages" > $1',
      (compile.aggregate(Book.objects:filter({ pages__gt = 1 }), pg, list))
    )
    assert.equal(
      'SELECT COUNT(*) AS "n", CAST(SUM("rows"."a 1") AS bigint) AS "total"'
        .. ' FROM (SELECT "book"."id" AS "a 1" FROM "book" ORDER BY "book"."title" ASC'
        .. ' LIMIT $1) AS "rows"',
      (compile.aggregate(Book.objects:order_by("title"):limit(3), pg, list))
    )
  end)

  it("updates and deletes through a subquery when a filter joins", function()
    assert.equal(
      'DELETE FROM "book" WHERE "book"."title" = $1',
      (compile.delete(Book.objects:filter({ title = "x" }), pg))
    )
    assert.equal(
      'DELETE FROM "book" WHERE "book"."id" IN (SELECT "book"."id" FROM "book" INNER JOIN'
        .. ' "author" AS "join 1" ON "join 1"."id" = "book"."author_id"'
        .. ' WHERE "join 1"."name" = $1)',
      (compile.delete(Book.objects:filter({ author__name = "x" }), pg))
    )
  end)
end)

describe("a filter table", function()
  local function refuses(conditions, sentence, class)
    local message, err = message_of(function()
      Book.objects:filter(conditions)
    end)
    assert.truthy(message:find(sentence, 1, true), message)
    if class then
      assert.is_true(errors.is_error(err, class))
    end
  end

  it("raises for what is no field, and lists the fields", function()
    for _, key in ipairs({
      "titel",
      "title\" = '' OR 1=1 --",
      "title__exact__exact",
      "pages;DROP TABLE book",
      "_connector",
      "__class__",
      "",
    }) do
      refuses(
        { [key] = "x" },
        ("Cannot resolve keyword '%s' into field."):format(key)
          .. " Choices are: author, editor, id, pages, review, title",
        errors.FieldError
      )
    end
    refuses({ [1] = "x" }, "Cannot resolve keyword '1' into field", errors.FieldError)
    refuses({ author__shoes = 1 }, "Cannot resolve keyword 'shoes' into field. Choices are: age")
  end)

  it("raises for a lookup that the field does not have, and lists its lookups", function()
    refuses(
      { pages__contains = "x" },
      "Unsupported lookup 'contains' for the integer field 'pages'. Lookups are: exact, in, gt",
      errors.FieldError
    )
    refuses({ title__sounds = "x" }, "Unsupported lookup 'sounds' for the text field 'title'")
  end)

  it("raises for values that do not fit", function()
    refuses(
      { pages = "many" },
      "Field 'pages' expected an integer of four bytes but got 'many'.",
      errors.ValueError
    )
    refuses({ title = 7 }, "Field 'title' expected a string but got 7.")
    refuses({ title = "a\0b" }, "Field 'title' expected a string but got")
    refuses({ title = { "x" } }, "Field 'title' expected a string but got a table.")
    refuses({ title__in = "x" }, "'title__in' needs a list, not string.")
    refuses({ editor__isnull = 1 }, "'editor__isnull' needs true or false, not number.")
    refuses({ pages__range = { 1 } }, "'pages__range' needs a list of two values, not table.")
    refuses({ pages__gt = null }, "'pages__gt' cannot be compared with null; use isnull.")
    refuses({ author = Book({}) }, "Field 'author' expected an instance of Author but got a table.")
    refuses(
      { author = Author({ name = "x" }) },
      "Field 'author' was given Author object (nil), which has not been saved."
    )
  end)

  it("raises when it is empty, since a nil value leaves no trace", function()
    for _, method in ipairs({ "filter", "exclude" }) do
      local message = message_of(function()
        Book.objects[method](Book.objects, { pk = nil })
      end)
      assert.truthy(message:find(method .. " was given an empty table", 1, true))
    end
  end)

  it("never brings a value into the text", function()
    local evil = "'; DROP TABLE book; --"
    for _, lookup in ipairs({ "exact", "contains", "istartswith", "regex", "gt" }) do
      local sql = compile.select(Book.objects:filter({ ["title__" .. lookup] = evil }), pg)
      assert.is_nil(sql:find("DROP", 1, true))
    end
    local sql = compile.select(Book.objects:filter({ title__in = { evil } }), pg)
    assert.is_nil(sql:find("DROP", 1, true))
  end)

  it("is copied, so that changing it later changes nothing", function()
    local list = { 1, 2 }
    local given = { id__in = list }
    local query = Book.objects:filter(given)
    list[1], given.title = 99, "x"
    local _, params = compile.select(query, lite)
    assert.same({ n = 2, 1, 2 }, params)
  end)
end)

describe("names elsewhere", function()
  for label, attempt in pairs({
    order_by = function(name)
      return Book.objects:order_by(name)
    end,
    values = function(name)
      return Book.objects:values(name)
    end,
    distinct = function(name)
      return Book.objects:distinct(name)
    end,
  }) do
    it("are checked by " .. label, function()
      for _, name in ipairs({ 'x"; DROP TABLE book', "title ASC", "title__exact", "--title" }) do
        local _, err = message_of(function()
          attempt(name)
        end)
        assert.is_true(errors.is_error(err, errors.FieldError))
      end
    end)
  end
end)
