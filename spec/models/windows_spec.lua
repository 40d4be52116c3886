--- Filters over windows, as Django has them since 4.2.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local compile = require("rille.models.compile")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local models = require("rille.models")

local Q, F, Window, Count, Sum = models.Q, models.F, models.Window, models.Count, models.Sum
local shelf = require("spec.models.shelf")()
local Author, Book = shelf.Author, shelf.Book

--- The place of a book among its author's, the longest first.
local function place()
  return Window(models.RowNumber(), { partition_by = "author", order_by = { "-pages", "id" } })
end

describe("a filter over a window", function()
  it("asks a query inside, and orders and slices outside", function()
    local query = Author.objects:alias({ row = Window(models.RowNumber(), { order_by = "age" }) })
    query = query:filter({ row__lte = 3, name = "x" }):order_by("-age"):limit(2)
    assert.equal(
      'SELECT "qualified"."id", "qualified"."age", "qualified"."mentor_id", "qualified"."name"'
        .. ' FROM (SELECT "shelf_author"."id", "shelf_author"."age", "shelf_author"."mentor_id",'
        .. ' "shelf_author"."name", ROW_NUMBER() OVER (ORDER BY "shelf_author"."age" ASC)'
        .. ' AS "q 1" FROM "shelf_author" WHERE "shelf_author"."name" = $1) AS "qualified"'
        .. ' WHERE "qualified"."q 1" <= $2 ORDER BY "qualified"."age" DESC LIMIT $3',
      (compile.select(query, dialects.postgresql))
    )
  end)

  it("is refused where a plain field of grouped rows may do instead", function()
    local groups = Book.objects:annotate({ n = Count("reviews") }):annotate({ place = place() })
    local mixed = groups:filter(Q({ place = 1 }) + Q({ pages__gt = 1 }))
    local ok, err = pcall(compile.select, mixed, dialects.postgresql)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.NotSupportedError))
    assert.truthy(err.message:find("a window and a plain field", 1, true))
    for _, fine in ipairs({
      Q({ place = 1 }) + Q({ n__gt = 1 }),
      Q({ place = 1 }) * Q({ pages__gt = 1 }),
      -(Q({ place = 1 }) + Q({ pages__gt = 1 })),
    }) do
      assert.truthy((compile.select(groups:filter(fine), dialects.postgresql)))
    end
  end)
end)

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("filters over windows on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    local placed = books:annotate({ place = place() })
    setup(function()
      backend.make()
      local ann = authors:acreate({ name = "Ann", age = 40 })
      local bob = authors:acreate({ name = "Bob", mentor = ann })
      local house = shelf.Publisher.objects:using(database):acreate({ name = "House" })
      for i, author in ipairs({ ann, ann, ann, bob, bob }) do
        local book = books:acreate({
          title = "b" .. i,
          pages = i * 100,
          author = author,
          publisher = i == 1 and house or nil,
          data = { n = i },
        })
        for stars = 1, i do
          shelf.Review.objects:using(database):acreate({ book = book, stars = stars })
        end
      end
    end)
    teardown(backend.drop)

    local function titles(query, order)
      return query:order_by(order or "title"):values_list("title", { flat = true }):alist()
    end

    it("find the first of each group, and the first few", function()
      assert.same({ "b3", "b5" }, titles(placed:filter({ place = 1 })))
      assert.same({ "b2", "b3", "b4", "b5" }, titles(placed:filter({ place__lte = 2 })))
      assert.same({ "b5", "b3" }, titles(placed:filter({ place = 1 }), "-pages"))
      assert.same({ "b1" }, titles(placed:filter({ place = 3 })))
      assert.same({ "b3" }, titles(placed:filter({ place = 1, author__name = "Ann" })))
      assert.same({ "b1", "b2", "b4" }, titles(placed:exclude({ place = 1 })))
      assert.same({ "b2", "b4" }, titles(placed:filter({ place__in = { 2, 7 } })))
      assert.same({ "b2", "b4" }, titles(placed:filter({ place__range = { 2, 2 } })))
    end)

    it("come with whole objects, their annotations and what is related", function()
      local query = placed:select_related("author", "publisher"):annotate({ next = F("pages") + 1 })
      local list = query:filter({ place = 1 }):order_by("title"):alist()
      assert.equal(2, #list)
      local book = list[1]
      assert.same({ "b3", 1, "Ann", 301 }, { book.title, book.place, book.author.name, book.next })
      assert.same({ n = 3 }, book.data)
      for name in pairs(book) do
        assert.is_nil(name:find("q ", 1, true), name)
      end
      local alias = books:alias({ place = place() }):filter({ place = 1 })
      assert.is_nil(rawget(alias:afirst(), "place"))
      local some = alias:only("title"):order_by("title"):afirst()
      assert.equal("b3", some.title)
      assert.is_false(pcall(function()
        return some.pages
      end))
    end)

    it("are sliced, counted, asked for and gone through", function()
      local firsts = placed:filter({ place__lte = 2 })
      assert.equal(4, firsts:acount())
      assert.equal(2, firsts:order_by("title"):offset(2):limit(3):acount())
      local rest = firsts:order_by("title"):offset(2)
      assert.same({ "b4", "b5" }, rest:values_list("title", { flat = true }):alist())
      assert.is_true(firsts:aexists())
      assert.is_false(placed:filter({ place = 9 }):aexists())
      assert.equal("b2", firsts:order_by("title"):afirst().title)
      assert.equal("b5", firsts:order_by("title"):alast().title)
      assert.equal("b1", placed:aget({ place = 3 }).title)
      local b1, b5 = books:aget({ title = "b1" }), books:aget({ title = "b5" })
      assert.is_true(firsts:acontains(b5))
      assert.is_false(firsts:acontains(b1))
      local seen = {}
      for book in firsts:aiterator({ chunk_size = 1 }) do
        seen[#seen + 1] = book.title .. book.place
      end
      table.sort(seen)
      assert.same({ "b22", "b31", "b42", "b51" }, seen)
    end)

    it("keep the places of the whole while an iteration goes on", function()
      local seen = {}
      for book in placed:aiterator({ chunk_size = 2 }) do
        seen[book.title] = book.place
      end
      assert.same({ b1 = 3, b2 = 2, b3 = 1, b4 = 2, b5 = 1 }, seen)
    end)

    it("combine with other conditions", function()
      local first, short = Q({ place = 1 }), Q({ pages__lt = 200 })
      assert.same({ "b1", "b3", "b5" }, titles(placed:filter(first + short)))
      assert.same({ "b1" }, titles(placed:filter(first * short))) -- of the short ones the first
      assert.same({ "b2", "b4" }, titles(placed:exclude(first + short)))
      assert.same({ "b1", "b3", "b5" }, titles(placed:filter(first ^ short)))
      local own = Q({ author__name = "Bob" }) + Q({ publisher__name = "House" })
      assert.same({ "b1", "b5" }, titles(placed:filter((first + short) * own)))
      assert.same({ "b3", "b4", "b5" }, titles(placed:filter(first + -Q({
        author__books__pages = 100,
      }))))
    end)

    it("compare with fields, with each other, and within what is made of them", function()
      local sum = Window(Sum("pages"), { partition_by = "author" })
      local both = placed:annotate({ sum = sum, own = F("pages") * 2 })
      assert.same({ "b3", "b4", "b5" }, titles(both:filter({ own__gte = F("sum") - 100 })))
      assert.same({ "b4", "b5" }, titles(both:filter({ sum__gt = 700 })))
      local near = both:annotate({ share = F("sum") / F("place") })
      assert.same({ "b4" }, titles(near:filter({ share = 450 })))
      local label = models.Case({ models.When(Q({ place = 1 }), "top"), default = "rest" })
      assert.same({ "b3", "b5" }, titles(placed:annotate({ l = label }):filter({ l = "top" })))
      local before = Window(models.Lag("title"), { order_by = "pages" })
      local lagging = books:annotate({ before = before })
      assert.same({ "b4" }, titles(lagging:filter({ before = "b3" })))
      assert.same({ "b1" }, titles(lagging:filter({ before__isnull = true })))
      assert.same({ "b1", "b2", "b3", "b5" }, titles(lagging:exclude({ before = "b3" })))
      assert.same({ "b2" }, titles(lagging:filter({ before__upper = "B1" })))
      local long = books:filter({ pages__gt = 400 }):values("pages")
      assert.same({ "b5" }, titles(placed:filter({ place = 1, pages__in = long })))
      local rows = books:filter({ title = "b1" }):annotate({ one = models.Value(1) }):values("one")
      assert.same({ "b3", "b5" }, titles(placed:filter({ place__in = rows })))
    end)

    it("go with groups, distinct rows and figures", function()
      local by_author = books:values("author__name"):annotate({ n = Count("id") })
      by_author = by_author:annotate({ rank = Window(models.Rank(), { order_by = "-n" }) })
      local rows = by_author:filter({ rank = 1, n__gt = 1 }):alist()
      assert.same({ { author__name = "Ann", n = 3, rank = 1 } }, rows)
      assert.equal(1, by_author:filter({ rank = 1 }):acount())
      local firsts = placed:filter({ place__lte = 2 })
      assert.equal(1400, firsts:aaggregate({ sum = Sum("pages") }).sum)
      assert.equal(4, firsts:aaggregate({ n = Count("*") }).n)
      assert.equal(2, firsts:aaggregate({ top = models.Max("place") }).top)
      assert.same({ "Ann", "Bob" }, firsts:order_by("author__name"):distinct()
        :values_list("author__name", { flat = true }):alist())
      local names = firsts:values("author__name"):distinct()
      assert.equal(2, names:acount())
      assert.equal(2, names:aaggregate({ n = Count("author__name") }).n)
      local reviewed = books:annotate({ n = Count("reviews") }):annotate({ place = place() })
      assert.same({ "b3", "b4", "b5" }, titles(reviewed:filter(Q({ place = 1 }) + Q({ n = 4 }))))
    end)

    it("stand in other queries", function()
      local firsts = placed:filter({ place = 1 })
      assert.same({ "b3", "b5" }, titles(books:filter({ pk__in = firsts:values("pk") })))
      local of_author = placed:filter({ place = 2, author = models.OuterRef("pk") })
      assert.equal(2, authors:filter(models.Exists(of_author)):acount())
      local second = authors:annotate({ second = models.Subquery(of_author:values("title")) })
      assert.same({ "b2", "b4" }, second:order_by("name")
        :values_list("second", { flat = true }):alist())
      local both = firsts:values_list("title"):union(placed:filter({ place = 3 })
        :values_list("title"))
      assert.equal(3, #both:alist())
    end)

    it("say what is changed and deleted", function()
      local copies = {}
      for i = 1, 3 do
        copies[i] = { title = "copy", pages = i, author = authors:aget({ name = "Bob" }) }
      end
      books:abulk_create(copies)
      local mine = books:filter({ title = "copy" }):annotate({ place = place() })
      assert.equal(2, mine:filter({ place__gt = 1 }):aupdate({ pages = F("pages") + 10 }))
      assert.same({ 3, 11, 12 }, mine:order_by("pages")
        :values_list("pages", { flat = true }):alist())
      assert.equal(1, (mine:filter({ place = 1 }):adelete()))
      assert.same({ 3, 11 }, mine:order_by("pages"):values_list("pages", { flat = true }):alist())
      mine:adelete()
      assert.equal(5, books:acount())
    end)
  end)
end
