--- Queries that go along relations, both ways: what Django's own suites say of them.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local compile = require("rille.models.compile")
local models = require("rille.models")

local Q, F, Count = models.Q, models.F, models.Count
local shelf = require("spec.models.shelf")()
local Author, Book, Review, Tag = shelf.Author, shelf.Book, shelf.Review, shelf.Tag

local function tail(query)
  return (compile.select(query, dialects.postgresql):match(' FROM "shelf_%a+" ?(.*)$'))
end

describe("a path", function()
  it("joins against a foreign key, and through the table between", function()
    assert.equal(
      'INNER JOIN "shelf_book" AS "join 1" ON "join 1"."author_id" = "shelf_author"."id"'
        .. ' WHERE "join 1"."title" = $1',
      tail(Author.objects:filter({ books__title = "x" }))
    )
    assert.equal(
      'INNER JOIN "shelf_book_tags" AS "join 1" ON "join 1"."book_id" = "shelf_book"."id"'
        .. ' INNER JOIN "shelf_tag" AS "join 2" ON "join 2"."id" = "join 1"."tag_id"'
        .. ' WHERE "join 2"."word" = $1',
      tail(Book.objects:filter({ tags__word = "x" }))
    )
  end)

  it("needs no table for the key of the last object", function()
    local join = 'INNER JOIN "shelf_book_tags" AS "join 1"'
      .. ' ON "join 1"."book_id" = "shelf_book"."id"'
    for _, key in ipairs({ "tags", "tags__id", "tags__pk" }) do
      local found = tail(Book.objects:filter({ [key] = 7 }))
      assert.equal(join .. ' WHERE "join 1"."tag_id" = $1', found)
    end
  end)

  it("is about one related object in a filter, and another in the next", function()
    local one = tail(Author.objects:filter({ books__title = "x", books__pages = 1 }))
    assert.is_nil(one:find("join 2", 1, true))
    local two = tail(Author.objects:filter({ books__title = "x" }):filter({ books__pages = 1 }))
    assert.truthy(two:find('"join 1"."title" = $1 AND "join 2"."pages" = $2', 1, true))
    local order = tail(Author.objects:filter({ books__title = "x" }):order_by("books__pages"))
    assert.is_nil(order:find("join 2", 1, true))
  end)

  it("asks whether there is one, to exclude", function()
    assert.equal(
      'WHERE NOT (EXISTS (SELECT 1 FROM "shelf_book" AS "inner 1" WHERE'
        .. ' "inner 1"."author_id" = "shelf_author"."id" AND "inner 1"."title" = $1))',
      tail(Author.objects:exclude({ books__title = "x" }))
    )
  end)

  it("orders by what orders the other end", function()
    local House = models.define("ordered_house", { name = models.text() }, {
      ordering = { "-name" },
    })
    local Room = models.define("ordered_room", {
      house = models.foreign_key(House),
      next = models.foreign_key("self", { null = true }),
    }, { ordering = { "house", "id" } })
    local function order(...)
      return tostring(Room.objects:order_by(...)):match("ORDER BY (.*)$")
    end
    assert.equal('"join 1"."name" DESC', order("house"))
    assert.equal('"join 1"."name" ASC', order("-house"))
    assert.equal('"ordered_room"."house_id" ASC', order("house_id"))
    assert.equal('"join 2"."name" ASC, "ordered_room"."next_id" DESC', order("-next"))
    assert.truthy(tostring(Room.objects:all()):find('"name" DESC, "ordered_room"."id" ASC$'))
    local Loop = models.define("ordered_loop", {
      to = models.foreign_key("self"),
    }, { ordering = { "to" } })
    local ok, err = pcall(function()
      return Loop.objects:all()
    end)
    assert.is_false(ok)
    assert.equal("Infinite loop caused by ordering.", err.message)
  end)

  it("says what it could have been", function()
    local ok, err = pcall(Author.objects.filter, Author.objects, { bocks__title = 1 })
    assert.is_false(ok)
    assert.equal(
      "Cannot resolve keyword 'bocks__title' into field."
        .. " Choices are: age, author, books, id, mentor, name, profile",
      err.message
    )
    ok, err = pcall(Author.objects.filter, Author.objects, { books__titel = 1 })
    assert.is_false(ok)
    assert.truthy(err.message:find("Choices are: author, data, day, id", 1, true))
  end)
end)

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("related rows on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    local reviews, tags = Review.objects:using(database), Tag.objects:using(database)
    local ann, bob
    setup(backend.make)
    teardown(backend.drop)

    local function between(book, tag)
      local through = Book._meta.many.tags:between()
      through.objects:using(database):acreate({ book = book, tag = tag })
    end

    before_each(function()
      backend.empty()
      ann = authors:acreate({ name = "Ann", age = 40 })
      bob = authors:acreate({ name = "Bob", age = 20, mentor = ann })
      authors:acreate({ name = "Cid" })
      local red = books:acreate({ title = "Red", pages = 100, author = ann, price = "10.50" })
      local blue = books:acreate({ title = "Blue", pages = 300, author = ann, price = "4" })
      local green = books:acreate({ title = "Green", pages = 50, author = bob })
      reviews:acreate({ book = red, stars = 5 })
      reviews:acreate({ book = red, stars = 1 })
      reviews:acreate({ book = green, stars = 3 })
      local warm, cold = tags:acreate({ word = "warm" }), tags:acreate({ word = "cold" })
      between(red, warm)
      between(blue, cold)
      between(green, cold)
      between(green, warm)
    end)

    local function names(query)
      return query:order_by("name"):values_list("name", { flat = true }):alist()
    end
    local function titles(query)
      return query:order_by("title"):values_list("title", { flat = true }):alist()
    end

    it("are found both ways, once for each row that joins", function()
      assert.same({ "Ann" }, names(authors:filter({ books__title = "Red" })))
      assert.same({ "Ann", "Ann" }, names(authors:filter({ books__pages__gte = 100 })))
      assert.same({ "Ann" }, names(authors:filter({ books__pages__gte = 100 }):distinct()))
      assert.same({ "Red" }, titles(books:filter({ reviews__stars = 5 })))
      assert.same({ "Blue", "Green" }, titles(books:filter({ tags__word = "cold" })))
      assert.same({ "Ann", "Bob" }, names(authors:filter({ books__tags__word = "cold" })))
      assert.same({ "cold", "warm" }, tags:filter({ books__author = bob }):order_by("word")
        :values_list("word", { flat = true }):alist())
      assert.same({ "Bob" }, names(authors:filter({ mentor__books__title = "Red" })))
      assert.same({ "Ann" }, names(authors:filter({ author = bob }))) -- whose mentor she is
    end)

    it("take objects, keys, lists and queries", function()
      local red = books:aget({ title = "Red" })
      assert.same({ "Ann" }, names(authors:filter({ books = red })))
      assert.same({ "Ann" }, names(authors:filter({ books = red.pk })))
      assert.same({ "Ann" }, names(authors:filter({ books__in = { red, red.pk } })))
      local long = books:filter({ pages__gt = 60 })
      assert.same({ "Ann" }, names(authors:filter({ pk__in = long:values("author") }):distinct()))
      local old = authors:filter({ age = 40 })
      assert.same({ "Blue", "Red" }, titles(books:filter({ author__in = old })))
      assert.same({}, names(authors:filter({ pk__in = books:none() })))
    end)

    it("tell one row that has both from two that have one each", function()
      local both = { books__title = "Red", books__pages = 300 }
      assert.same({}, names(authors:filter(both)))
      local each = authors:filter({ books__title = "Red" }):filter({ books__pages = 300 })
      assert.same({ "Ann" }, names(each))
    end)

    it("are missed, and excluded", function()
      assert.same({ "Cid" }, names(authors:filter({ books__isnull = true })))
      assert.same({ "Ann", "Bob" }, names(authors:filter({ books__isnull = false }):distinct()))
      assert.same({ "Ann", "Bob" }, names(authors:exclude({ books__isnull = true })))
      assert.same({ "Bob", "Cid" }, names(authors:exclude({ books__title = "Red" })))
      assert.same({ "Blue" }, titles(books:exclude({ reviews__stars__gte = 1 })))
      assert.same({ "Red" }, titles(books:exclude({ tags__word = "cold" })))
      assert.same({ "Blue" }, titles(books:exclude({ tags__word__in = { "warm" } })))
      assert.same({ "Cid" }, names(authors:exclude({ books__pages__range = { 1, 1000 } })))
      local twice = authors:filter(-(-Q({ books__pages__gt = 1 })))
      assert.same({ "Ann", "Bob" }, names(twice:distinct()))
    end)

    it("order, and come as values", function()
      local rows = reviews:order_by("-book__title", "stars"):values("book__title", "stars"):alist()
      assert.same({
        { book__title = "Red", stars = 1 },
        { book__title = "Red", stars = 5 },
        { book__title = "Green", stars = 3 },
      }, rows)
      rows = books:filter({ title = "Green" }):order_by("tags__word")
      rows = rows:values_list("title", "tags__word")
      assert.same({ { "Green", "cold" }, { "Green", "warm" } }, rows:alist())
    end)

    it("are counted and added up for each object", function()
      local rows = authors:annotate({ n = Count("books") }):order_by("name"):alist()
      assert.same({ 2, 1, 0 }, { rows[1].n, rows[2].n, rows[3].n })
      assert.equal("Ann", rows[1].name)
      local busy = authors:annotate({ n = Count("books") }):filter({ n__gte = 1, age__lt = 50 })
      assert.same({ "Ann", "Bob" }, names(busy))
      assert.equal(2, busy:acount())
      assert.is_true(busy:aexists())
      assert.equal(1, busy:filter({ n = 2 }):acount())
      local most = authors:order_by(Count("books"):desc(), "name")
      assert.same({ "Ann", "Bob", "Cid" }, most:values_list("name", { flat = true }):alist())
      local either = authors:annotate({ n = Count("books") }):filter(Q({ n = 0 }) + Q({ age = 20 }))
      assert.same({ "Bob", "Cid" }, names(either))
    end)

    it("are annotated as a filter before says, and not as one behind", function()
      local before = authors:filter({ books__pages__gt = 200 }):annotate({ n = Count("books") })
      assert.equal(1, before:aget({ name = "Ann" }).n)
      local behind = authors:annotate({ n = Count("books", { distinct = true }) })
      behind = behind:filter({ books__pages__gt = 200 })
      assert.equal(2, behind:aget({ name = "Ann" }).n)
    end)

    it("are grouped by what values selects", function()
      local rows = books:values("author__name")
      rows = rows:annotate({ n = Count("id"), p = models.Sum("pages") })
      assert.same({
        { author__name = "Ann", n = 2, p = 400 },
        { author__name = "Bob", n = 1, p = 50 },
      }, rows:order_by("author__name"):alist())
      rows = books:annotate({ n = Count("reviews") }):values("title", "n"):order_by("title")
      assert.same({
        { title = "Blue", n = 0 },
        { title = "Green", n = 1 },
        { title = "Red", n = 2 },
      }, rows:alist())
      assert.equal(2, books:values("author"):annotate({ n = Count("id") }):acount())
    end)

    it("are compared with the row", function()
      assert.same({ "Ann" }, names(authors:filter({ books__pages__gt = F("age") * 5 })))
      books:filter({ title = "Red" }):aupdate({ pages = F("pages") * 2 + 1 })
      assert.equal(201, books:aget({ title = "Red" }).pages)
      assert.equal(2, books:filter({ author__name = "Ann" }):aupdate({ pages = 7 }))
      local ok, err = pcall(books.aupdate, books, { pages = F("author__age") })
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.FieldError))
    end)

    it("of a one-to-one are one object, from either side", function()
      local profiles = shelf.Profile.objects:using(database)
      profiles:acreate({ author = ann, motto = "write" })
      assert.same({ "Ann" }, names(authors:filter({ profile__motto = "write" })))
      assert.same({ "Bob", "Cid" }, names(authors:filter({ profile__isnull = true })))
    end)

    it("come along as deep as asked", function()
      local rows = reviews:select_related("book__author__mentor")
      rows = rows:filter({ book__author = bob }):alist()
      assert.equal("Ann", rows[1].book.author.mentor.name)
      local profiles = shelf.Profile.objects:using(database)
      profiles:acreate({ author = ann, motto = "write" })
      local all = authors:select_related("profile"):order_by("name"):alist()
      assert.equal("write", all[1].profile.motto)
      assert.equal(all[1], all[1].profile.author)
      assert.is_nil(all[2].profile)
      assert.is_nil(rows[1].book.author.profile_id)
    end)
  end)
end
