--- Expressions, functions, aggregates and combinations, on real databases.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
require("spec.support.fake_core")

local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local compile = require("rille.models.compile")
local models = require("rille.models")
local null = require("rille.core").null

local Q, F, Value, Count, Sum = models.Q, models.F, models.Value, models.Count, models.Sum
local Case, When = models.Case, models.When
local Exists, Subquery, OuterRef = models.Exists, models.Subquery, models.OuterRef
local shelf = require("spec.models.shelf")()
local Author, Book, Review = shelf.Author, shelf.Book, shelf.Review

local message_of = raised.message

describe("an expression", function()
  it("is the same text wherever it stands", function()
    local query = Book.objects:values("author")
    query = query:annotate({ n = Sum(F("pages") * 2) }):filter({ n__gt = 7 }):order_by("-n")
    assert.equal(
      'SELECT "shelf_book"."author_id" AS "author",'
        .. ' CAST(SUM(("shelf_book"."pages" * $1)) AS bigint) AS "n" FROM "shelf_book"'
        .. ' GROUP BY "shelf_book"."author_id"'
        .. ' HAVING CAST(SUM(("shelf_book"."pages" * $1)) AS bigint) > $2'
        .. ' ORDER BY CAST(SUM(("shelf_book"."pages" * $1)) AS bigint) DESC',
      (compile.select(query, dialects.postgresql))
    )
  end)

  it("speaks of the query around it", function()
    local newest = Review.objects:filter({ book = OuterRef("pk") }):order_by("-id"):values("stars")
    local query = Book.objects:annotate({ last = Subquery(newest:limit(1)) }):values("last")
    assert.equal(
      'SELECT (SELECT "inner 1"."stars" FROM "shelf_review" AS "inner 1"'
        .. ' WHERE "inner 1"."book_id" = "shelf_book"."id" ORDER BY "inner 1"."id" DESC'
        .. ' LIMIT $1) AS "last" FROM "shelf_book"',
      (compile.select(query, dialects.postgresql))
    )
    local outer = message_of(tostring, Review.objects:filter({ book = OuterRef("pk") }))
    assert.equal("OuterRef('pk') is for a query inside of another, in Subquery or Exists", outer)
  end)

  it("of the same table inside of another is not the same row", function()
    local older = Author.objects:filter({ age__gt = OuterRef("age") })
    local sql = compile.select(Author.objects:filter(-Exists(older)), dialects.postgresql)
    assert.truthy(sql:find('"inner 1"."age" > "shelf_author"."age"', 1, true))
  end)

  it("is refused where it makes no sense", function()
    local books = Book.objects
    for _, mistake in ipairs({
      { "conflicts with a field", books.annotate, books, { title = Count("id") } },
      { "is no expression", books.annotate, books, { n = 7 } },
      { "require an alias", books.annotate, books, { Count("*") } },
      { "Cannot resolve keyword 'x'", books.annotate, books, { n = Count("x") } },
      { "it is an aggregate itself", books.annotate, books, { n = Count(Count("id")) } },
      { "not an aggregate expression", books.aaggregate, books, { n = F("pages") } },
      { "only Count can have", Sum, "*" },
      { "Count has no option 'disinct'", Count, "id", { disinct = true } },
      { "must be a Q", Count, "id", { filter = {} } },
      { "Lower takes 1 argument", models.Lower },
      { "Case needs", Case, {} },
      { "Exists needs a query", Exists, "x" },
      { "Window needs an aggregate", models.Window, models.Lower("title") },
      { "needs a query for one value", books.annotate, books, {
        n = Subquery(Author.objects:values("id", "name")),
      } },
    }) do
      local message = message_of(unpack(mistake, 2))
      assert.truthy(message:find(mistake[1], 1, true), message)
    end
  end)
end)

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("expressions on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    local reviews = Review.objects:using(database)
    local is_postgresql = backend.name == "PostgreSQL"
    setup(function()
      backend.make()
      local ann = authors:acreate({ name = "Ann", age = 40 })
      local bob = authors:acreate({ name = "bob" })
      local red = books:acreate({
        title = "Red",
        pages = 100,
        author = ann,
        price = "10.50",
        printed = "2024-02-29T12:30:45Z",
        day = "2024-12-30",
        data = { kind = "novel", year = 2020, tags = { "a", "b" }, deep = { x = true } },
      })
      books:acreate({
        title = "Blue",
        pages = 300,
        author = ann,
        printed = "2023-12-31T23:59:59.5Z",
        day = "2024-01-07",
        data = { kind = "essay", year = 1999, nothing = null },
      })
      books:acreate({ title = "green", pages = 50, author = bob })
      reviews:acreate({ book = red, stars = 5, text = "A brown fox" })
      reviews:acreate({ book = red, stars = 1, text = "It jumps over dogs" })
    end)
    teardown(backend.drop)

    local function titles(query)
      return query:order_by("pk"):values_list("title", { flat = true }):alist()
    end
    local function column(query, expression)
      query = query:order_by("pk"):annotate({ x = expression })
      return query:values_list("x", { flat = true }):alist()
    end

    it("calls functions", function()
      local seven = Value(7, models.float())
      for _, case in ipairs({
        { models.Lower("title"), { "red", "blue", "green" } },
        { models.Upper("title"), { "RED", "BLUE", "GREEN" } },
        { models.Length("title"), { 3, 4, 5 } },
        { models.Concat("title", Value("-"), "pages"), { "Red-100", "Blue-300", "green-50" } },
        { models.Substr("title", 2, 2), { "ed", "lu", "re" } },
        { models.Left("title", 1), { "R", "B", "g" } },
        { models.Right("title", 2), { "ed", "ue", "en" } },
        { models.Replace("title", Value("e"), Value("_")), { "R_d", "Blu_", "gr__n" } },
        { models.Coalesce("author__age", Value(-1)), { 40, 40, -1 } },
        { models.Greatest("pages", Value(90)), { 100, 300, 90 } },
        { models.Least("pages", Value(90)), { 90, 90, 50 } },
        { models.NullIf("pages", Value(50)), { 100, 300, null } },
        { models.Abs(F("pages") - 200), { 100, 100, 150 } },
        { models.Round(F("pages") / seven), { 14, 43, 7 } },
        { models.Floor(F("pages") / seven), { 14, 42, 7 } },
        { models.Ceil(F("pages") / seven), { 15, 43, 8 } },
        { models.Mod("pages", Value(7)), { 2, 6, 1 } },
        { models.Cast("pages", models.text()), { "100", "300", "50" } },
        { models.Trim(Value("  x ")), { "x", "x", "x" } },
        { models.LPad("title", 4, Value("*-")), { "*Red", "Blue", "gree" } },
        { models.RPad("title", 5, Value("*-")), { "Red*-", "Blue*", "green" } },
        { models.LPad("title", 4), { " Red", "Blue", "gree" } },
        { models.Repeat(models.Left("title", 1), 3), { "RRR", "BBB", "ggg" } },
        { models.StrIndex("title", Value("e")), { 2, 4, 3 } },
        { models.Ord("title"), { 82, 66, 103 } },
        { models.Chr(F("pages") - 10), { "Z", "Ģ", "(" } },
        { models.Sign(F("pages") - 100), { 0, 1, -1 } },
        { models.Mod(Value(7.5, models.float()), Value(2)), { 1.5, 1.5, 1.5 } },
        { models.Round(models.Exp(models.Ln("pages"))), { 100, 300, 50 } },
        { models.Round(models.Log(Value(10), "pages"), 2), { 2, 2.48, 1.7 } },
        { models.Sqrt(models.Power("pages", 2)), { 100, 300, 50 } },
        { models.Round(models.Degrees(models.Pi())), { 180, 180, 180 } },
        { models.Round(models.Tan(models.ATan2("pages", "pages"))), { 1, 1, 1 } },
        { models.Round(models.Cot(models.Radians(Value(45)))), { 1, 1, 1 } },
        { models.Sqrt("price"), { 10.5 ^ 0.5, null, null } },
        { F("price") ^ 2, { 110.25, null, null } },
        { F("pages"):bitand(6), { 4, 4, 2 } },
        { F("pages"):bitor(1), { 101, 301, 51 } },
        { F("pages"):bitxor(7), { 99, 299, 53 } },
        { F("pages"):bitleftshift(1), { 200, 600, 100 } },
        { F("pages"):bitrightshift(1), { 50, 150, 25 } },
        { F("pages") * 2 + F("author__age"), { 240, 640, null } },
        { -F("pages"), { -100, -300, -50 } },
      }) do
        assert.same(case[2], column(books, case[1]))
      end
    end)

    it("takes times apart and cuts them off", function()
      local printed = books:filter({ printed__isnull = false })
      for _, case in ipairs({
        { models.ExtractYear("printed"), { 2024, 2023 } },
        { models.ExtractMonth("printed"), { 2, 12 } },
        { models.ExtractDay("printed"), { 29, 31 } },
        { models.ExtractHour("printed"), { 12, 23 } },
        { models.ExtractMinute("printed"), { 30, 59 } },
        { models.ExtractSecond("printed"), { 45, 59 } },
        { models.ExtractQuarter("printed"), { 1, 4 } },
        { models.ExtractWeek("day"), { 1, 1 } },
        { models.ExtractIsoYear("day"), { 2025, 2024 } },
        { models.ExtractWeekDay("day"), { 2, 1 } },
        { models.ExtractIsoWeekDay("day"), { 1, 7 } },
        { models.TruncYear("printed"), { "2024-01-01 00:00:00+00", "2023-01-01 00:00:00+00" } },
        { models.TruncQuarter("printed"), { "2024-01-01 00:00:00+00", "2023-10-01 00:00:00+00" } },
        { models.TruncMonth("day"), { "2024-12-01", "2024-01-01" } },
        { models.TruncWeek("day"), { "2024-12-30", "2024-01-01" } },
        { models.TruncHour("printed"), { "2024-02-29 12:00:00+00", "2023-12-31 23:00:00+00" } },
        { models.TruncSecond("printed"), { "2024-02-29 12:30:45+00", "2023-12-31 23:59:59+00" } },
        { models.TruncDate("printed"), { "2024-02-29", "2023-12-31" } },
        { models.TruncTime("printed"), { "12:30:45", "23:59:59" } },
        { models.Trunc("day", "month"), { "2024-12-01", "2024-01-01" } },
        { models.Extract("day", "iso_year"), { 2025, 2024 } },
      }) do
        assert.same(case[2], column(printed, case[1]))
      end
      assert.same({ "Red" }, titles(books:filter({ printed__year = 2024 })))
      assert.same({ "Blue" }, titles(books:filter({ printed__year__lt = 2024 })))
      assert.same({ "Red", "Blue" }, titles(books:filter({ printed__year__gte = 2023 })))
      assert.same({ "Red" }, titles(books:filter({ printed__month__in = { 2, 3 } })))
      assert.same({ "Red" }, titles(books:filter({ printed__date = "2024-02-29" })))
      assert.same({ "Blue" }, titles(books:filter({ day__week_day = 1 })))
      assert.same({ "green" }, titles(books:filter({ title__length = 5, title__lower = "green" })))
      assert.same({ "2023-01-01", "2024-01-01" }, books:dates("printed", "year"):alist())
      local hours = books:datetimes("printed", "hour", "DESC"):alist()
      assert.same({ "2024-02-29 12:00:00+00", "2023-12-31 23:00:00+00" }, hours)
      local now = books:annotate({ x = models.Now() }):values_list("x", { flat = true }):afirst()
      assert.truthy(now:find("^20%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d[.%d]*%+00$"))
    end)

    it("decides by cases", function()
      local size = Case({
        When(Q({ pages__lt = 80 }), "short"),
        When({ pages__lt = 200 }, "fair"),
        default = "long",
      })
      assert.same({ "fair", "long", "short" }, column(books, size))
      assert.same({ "green" }, titles(books:annotate({ size = size }):filter({ size = "short" })))
      books:filter({ title = "green" }):aupdate({
        pages = Case({ When(Q({ pages = 50 }), F("pages") + 1), default = F("pages") }),
      })
      assert.equal(51, books:aget({ title = "green" }).pages)
      books:filter({ title = "green" }):aupdate({ pages = 50 })
    end)

    it("takes a condition for a value", function()
      local long = books:annotate({ long = Q({ pages__gt = 60 }) * -Q({ title = "Blue" }) })
      assert.same({ true, false, false }, column(books, Q({ title = "Red" })))
      assert.same({ "Red" }, titles(long:filter({ long = true })))
      assert.same({ "Blue", "green" }, titles(long:filter({ long = false })))
      assert.equal("Red", long:order_by("-long", "title"):afirst().title)
      assert.is_true(long:filter(F("long")):aget().long)
      local groups = books:values("author__name"):annotate({ n = Count("id") })
      groups = groups:annotate({ many = Q({ n__gt = 1 }) }):order_by("author__name")
      assert.same({ true, false }, groups:values_list("many", { flat = true }):alist())
      local of = { of = Q({ pages__in = {} }) }
      assert.same({ { of = false } }, books:filter({ title = "Red" }):values(of):alist())
      local first = models.Window(models.RowNumber(), { order_by = "-pages" })
      local marked = books:annotate({ row = first }):annotate({ first = Q({ row = 1 }) })
      assert.same({ "Blue" }, titles(marked:filter({ first = true })))
    end)

    it("takes SQL of one's own, with its parameters", function()
      local raw = models.RawSQL("pages * $1 + $1", { 2 }, models.integer())
      assert.same({ 202, 602, 102 }, column(books:filter({ pages__gt = 1 }), raw))
      local query = books:alias({ x = raw }):filter({ x__gt = 200, title__in = { "Red", "green" } })
      assert.same({ "Red" }, titles(query))
      assert.equal(2, books:filter(models.RawSQL("pages > $1", { 60 }, models.boolean())):acount())
      for text, given in pairs({ ["no parameter for $2"] = "$2", ["needs SQL text"] = 7 }) do
        assert.truthy(message_of(models.RawSQL, given, { 1 }):find(text, 1, true))
      end
    end)

    it("looks into other queries", function()
      local best = reviews:filter({ book = OuterRef("pk") }):order_by("-stars"):values("stars")
      assert.same({ 5, null, null }, column(books, Subquery(best:limit(1))))
      local rated = Exists(reviews:filter({ book = OuterRef("pk") }))
      assert.same({ true, false, false }, column(books, rated))
      assert.same({ "Red" }, titles(books:filter(rated)))
      assert.same({ "Blue", "green" }, titles(books:filter(-rated)))
      assert.same({ "Blue" }, titles(books:filter(-rated * Q({ pages__gt = 60 }))))
      assert.same({ "Red" }, titles(books:filter({ pk__in = reviews:values("book") })))
      local any = Subquery(reviews:values("stars"):limit(1))
      books:filter({ title = "green" }):aupdate({ pages = any })
      assert.truthy(books:aget({ title = "green" }).pages <= 5)
      books:filter({ title = "green" }):aupdate({ pages = 50 })
    end)

    it("aggregates over some, over none, and over what is cut", function()
      local figures = books:aaggregate({
        long = Count("id", { filter = Q({ pages__gte = 100 }) }),
        writers = Count("author", { distinct = true }),
        none = Sum("pages", { filter = Q({ pages__gt = 1000 }), default = 0 }),
        mean = models.Avg("pages"),
        spread = Sum("pages") - models.Min("pages"),
        Sum("price"),
      })
      assert.equal(2, figures.long)
      assert.equal(2, figures.writers)
      assert.equal(0, figures.none)
      assert.equal(150, figures.mean)
      assert.equal(400, figures.spread)
      assert.equal(10.5, tonumber(figures.price__sum))
      local function pages(query)
        return query:aaggregate({ n = Sum("pages") }).n
      end
      assert.equal(150, pages(books:order_by("pages"):limit(2)))
      assert.equal(150, pages(books:order_by("-pages"):offset(1)))
      assert.equal(450, pages(books:distinct()))
      local each = books:values("author"):annotate({ n = Count("id") })
      local over = each:aaggregate({ most = models.Max("n"), all = Sum("n") })
      assert.same({ most = 2, all = 3 }, over)
      assert.same({ n = 0 }, books:none():aaggregate({ n = Count("*"), s = Sum("pages") }))
      if is_postgresql then
        local lists = authors:annotate({
          titles = models.ArrayAgg("books__title", { order_by = "books__title" }),
          line = models.StringAgg("books__title", { delimiter = ", ", order_by = "-books__title" }),
        })
        local ann = lists:aget({ name = "Ann" })
        assert.same({ "Blue", "Red" }, ann.titles)
        assert.equal("Red, Blue", ann.line)
      end
    end)

    it("looks at the rows around", function()
      local rank = models.Window(models.Rank(), { partition_by = "author", order_by = "-pages" })
      assert.same({ 2, 1, 1 }, column(books, rank))
      local sum = models.Window(Sum("pages"), { order_by = "pages" })
      assert.same({ 150, 450, 50 }, column(books, sum))
      local before = models.Window(models.Lag("title", 1), { order_by = "pages" })
      assert.same({ "green", "Red", null }, column(books, before))
      local frame = { rows = { -1, 0 } }
      local moving = models.Window(Sum("pages"), { order_by = "pages", frame = frame })
      assert.same({ 150, 400, 50 }, column(books, moving))
    end)

    it("finds its way in JSON", function()
      for _, case in ipairs({
        { { data__kind = "novel" }, { "Red" } },
        { { data__year__gt = 2000 }, { "Red" } },
        { { data__deep__x = true }, { "Red" } },
        { { data__tags__0 = "a" }, { "Red" } },
        { { data__kind__icontains = "ESS" }, { "Blue" } },
        { { data__kind__in = { "novel", "essay" } }, { "Red", "Blue" } },
        { { data__has_key = "tags" }, { "Red" } },
        { { data__has_any_keys = { "deep", "nothing" } }, { "Red", "Blue" } },
        { { data__has_keys = { "deep", "nothing" } }, {} },
        { { data__nothing = null }, { "Blue" } },
        { { data__nothing__isnull = true }, { "Red", "green" } },
        { { data__nothing__isnull = false }, { "Blue" } },
        { { data__isnull = true }, { "green" } },
        { { data__deep = { x = true } }, { "Red" } },
      }) do
        assert.same(case[2], titles(books:filter(case[1])), next(case[1]))
      end
      assert.same({ 2020, 1999, null }, books:order_by("pk")
        :values_list("data__year", { flat = true }):alist())
      local contains = books:filter({ data__contains = { kind = "novel" } })
      if is_postgresql then
        assert.same({ "Red" }, titles(contains))
      else
        assert.truthy(message_of(contains.alist, contains):find("needs PostgreSQL", 1, true))
      end
    end)

    it("searches texts, where the backend does", function()
      local found = reviews:filter({ text__search = "dog jumping" })
      if not is_postgresql then
        assert.truthy(message_of(found.alist, found):find("needs PostgreSQL", 1, true))
        return
      end
      assert.equal(1, found:aget().stars)
      local vector = models.SearchVector("text", "book__title")
      local ranked = reviews:annotate({
        v = vector,
        rank = models.SearchRank(vector, models.SearchQuery("fox")),
      })
      assert.equal(5, ranked:filter({ v = "fox red" }):aget().stars)
      assert.equal(5, ranked:filter({ v = models.SearchQuery("fox or wolf") }):aget().stars)
      assert.equal(5, ranked:order_by("-rank"):afirst().stars)
    end)

    it("makes JSON, and compares as a collation says", function()
      local made = models.JSONObject({
        title = models.Lower("title"),
        age = "author__age",
        long = models.Case({ models.When(Q({ pages__gt = 60 }), true), default = false }),
        deep = models.JSONObject({ data = "data" }),
        list = models.JSONArray("pages", Value("x")),
      })
      local green = books:annotate({ made = made }):aget({ title = "green" })
      assert.same({
        title = "green",
        age = null,
        long = false,
        deep = { data = null },
        list = { 50, "x" },
      }, green.made)
      local red = books:annotate({ made = made }):aget({ title = "Red" }).made
      assert.is_true(red.long)
      assert.same({ x = true }, red.deep.data.deep)
      assert.same({ "Red" }, titles(books:annotate({ made = made }):filter({
        made__deep__data__kind = "novel",
      })))
      local collation = is_postgresql and "C" or "nocase"
      local sorted = books:order_by(models.Collate("title", collation)):afirst().title
      assert.equal("Blue", sorted)
      assert.equal("green", books:order_by(models.Collate("title", collation)):alast().title
        :gsub("Red", is_postgresql and "Red" or "green"))
      for _, wrong in ipairs({ 'C" --', "", 7 }) do
        assert.truthy(message_of(models.Collate, "title", wrong):find("Invalid collation", 1, true))
      end
      local counted = books:values(models.Lower("author__name"))
      assert.truthy(counted:alist()[1])
    end)

    it("orders by what it makes, and NULLs where they are wanted", function()
      local function names(...)
        return authors:order_by(...):values_list("name", { flat = true }):alist()
      end
      assert.same({ "Ann", "bob" }, names(models.Lower("name")))
      assert.same({ "bob", "Ann" }, names(models.Lower("name"):desc()))
      assert.same({ "bob", "Ann" }, names(F("age"):asc({ nulls_first = true })))
      assert.same({ "Ann", "bob" }, names(F("age"):desc({ nulls_last = true })))
      local reversed = authors:order_by(F("age"):desc({ nulls_last = true })):reverse()
      assert.equal("bob", reversed:afirst().name)
    end)

    it("joins, cuts and subtracts what queries give", function()
      local long, anns = books:filter({ pages__gt = 90 }), books:filter({ author__name = "Ann" })
      local short = books:filter({ pages__lt = 90 })
      local function of(query)
        local found = {}
        for i, book in ipairs(query:order_by("title"):alist()) do
          found[i] = book.title
        end
        return found
      end
      assert.same({ "Blue", "Red", "green" }, (function(list)
        table.sort(list)
        return list
      end)(of(long:union(short))))
      assert.same({ "Blue", "Red" }, of(long:union(anns)))
      assert.equal(4, #of(long:union(anns, { all = true })))
      assert.same({ "Blue", "Red" }, of(long:intersection(anns)))
      assert.same({}, of(anns:difference(long)))
      assert.same({}, of(long:intersection(short)))
      assert.same({ "Blue", "Red" }, of(long:union(books:none())))
      assert.same({}, of(long:intersection(books:none())))
      local both = long:union(short)
      assert.equal(3, both:acount())
      assert.is_true(both:aexists())
      assert.equal("green", both:order_by("pages"):afirst().title)
      assert.same({ "Blue" }, of(books:filter({ pages = 300 }):union(books:none())))
      assert.equal(2, #both:order_by("-pages"):limit(2):alist())
      local words = books:values_list("title"):union(authors:values_list("name"))
      assert.equal(5, #words:alist())
      for _, call in ipairs({ "filter", "exclude", "annotate", "only", "select_related" }) do
        local message = message_of(both[call], both, { x = 1 })
        assert.truthy(message:find("after union, intersection or difference", 1, true), message)
      end
    end)

    it("locks in the ways there are", function()
      database:atomic(function()
        for _, opts in ipairs({ {}, { nowait = true }, { skip_locked = true, no_key = true } }) do
          assert.equal(3, #books:select_for_update(opts):alist())
        end
        local both = books:select_related("author"):select_for_update({ of = { "self", "author" } })
        assert.equal(3, #both:alist())
      end)
      local both = { nowait = true, skip_locked = true }
      assert.truthy(message_of(books.select_for_update, books, both))
      assert.truthy(message_of(books.select_for_update, books, { of = { "author" } }))
      if is_postgresql then
        local far = books:select_related("author"):select_for_update({ of = { "author" } })
        local sql = compile.select(far, dialects.postgresql)
        assert.truthy(sql:find(' FOR UPDATE OF "join 1"$'))
      end
    end)

    it("raises for a list that is too long", function()
      local long = {}
      for i = 1, 10001 do
        long[i] = i
      end
      local message = message_of(books.filter, books, { pk__in = long })
      assert.truthy(message:find("a list of 10001 values, and the most is 10000", 1, true))
      books:ain_bulk(long) -- in several statements
    end)

    it("is an error that says so, where somebody passes one table for another", function()
      local err = select(2, pcall(books.filter, books, { author = { kind = "f", name = "id" } }))
      assert.is_true(errors.is_error(err, errors.ValueError))
    end)
  end)
end
