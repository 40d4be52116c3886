--- Related objects that come along, in how many statements; raw queries; what is deferred.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
local statements = require("spec.support.statements")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null

local Prefetch, Q = models.Prefetch, models.Q
local shelf = require("spec.models.shelf")()
local Author, Book, Review, Tag = shelf.Author, shelf.Book, shelf.Review, shelf.Tag

local message_of = raised.message

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("loading on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    local tags, reviews = Tag.objects:using(database), Review.objects:using(database)
    local sent

    --- Run `fn`, and count its statements.
    local function count(fn)
      local result
      sent, result = statements.count(database, fn)
      return result
    end

    setup(function()
      backend.make()
      local warm, cold = tags:acreate({ word = "warm" }), tags:acreate({ word = "cold" })
      local ann = authors:acreate({ name = "Ann", age = 40 })
      local bob = authors:acreate({ name = "Bob", mentor = ann })
      authors:acreate({ name = "Cid" })
      shelf.Profile.objects:using(database):acreate({ author = ann, motto = "write" })
      for i, author in ipairs({ ann, ann, bob }) do
        local book = books:acreate({ title = "b" .. i, pages = i * 100, author = author })
        book.tags:aadd(cold)
        reviews:acreate({ book = book, stars = i })
      end
      books:aget({ title = "b1" }).tags:aadd(warm)
    end)
    teardown(backend.drop)

    local function titles(list)
      local found = {}
      for i, book in ipairs(list) do
        found[i] = book.title
      end
      table.sort(found)
      return found
    end

    it("prefetches what points here with one query per level", function()
      local all = count(function()
        local query = authors:prefetch_related("books__reviews", "profile"):order_by("name")
        return query:alist()
      end)
      assert.equal(4, sent)
      count(function()
        assert.same({ "b1", "b2" }, titles(all[1].books:alist()))
        assert.same({ "b3" }, titles(all[2].books:all():alist()))
        assert.same({}, all[3].books:alist())
        assert.equal(2, all[1].books:acount())
        assert.equal(1, all[1].books:alist()[1].reviews:acount())
        assert.equal(all[1], all[1].books:alist()[1].author)
        assert.equal("write", all[1].profile.motto)
        assert.is_nil(all[3].profile)
      end)
      assert.equal(0, sent)
      count(function()
        assert.equal(1, all[1].books:filter({ pages = 100 }):acount())
      end)
      assert.equal(1, sent)
    end)

    it("prefetches pairs from both sides, and forward keys", function()
      local list = count(function()
        return books:prefetch_related("tags__books", "author"):order_by("title"):alist()
      end)
      assert.equal(4, sent)
      count(function()
        assert.equal(2, list[1].tags:acount())
        assert.equal("Ann", list[1].author.name)
        local both = list[1].tags:alist()
        local cold = both[1].word == "cold" and both[1] or both[2]
        assert.same({ "b1", "b2", "b3" }, titles(cold.books:alist()))
        assert.is_nil(rawget(both[1], "prefetched_for"))
      end)
      assert.equal(0, sent)
    end)

    it("prefetches by a query, to a list of its own", function()
      local long = Prefetch("books", books:filter({ pages__gt = 100 }), { to_attr = "long" })
      local list = authors:prefetch_related(long):order_by("name"):alist()
      assert.same({ "b2" }, titles(list[1].long))
      assert.same({}, list[3].long)
      local sorted = Prefetch("books", books:order_by("-title"):prefetch_related("tags"))
      local ann = authors:prefetch_related(sorted):aget({ name = "Ann" })
      assert.equal("b2", ann.books:alist()[1].title)
      count(function()
        ann.books:alist()[1].tags:alist()
      end)
      assert.equal(0, sent)
    end)

    it("prefetches a slice for each, as it would be alone", function()
      local function first(query, limit, name)
        return Prefetch(name or "books", query:limit(limit), { to_attr = "some" })
      end
      local longest = count(function()
        local query = authors:order_by("name")
        return query:prefetch_related(first(books:order_by("-pages"), 1)):alist()
      end)
      assert.equal(2, sent)
      assert.same({ "b2" }, titles(longest[1].some))
      assert.same({ "b3" }, titles(longest[2].some))
      assert.same({}, longest[3].some)
      local ann = authors:filter({ name = "Ann" })
      local second = books:order_by("pages"):offset(1)
      assert.same({ "b2" }, titles(ann:prefetch_related(first(second, 5)):aget().some))
      assert.same({ "b2" }, titles(ann:prefetch_related(Prefetch("books", second)):aget()
        .books:alist()))
      local last = books:order_by("pages"):reverse()
      assert.same({ "b2" }, titles(ann:prefetch_related(first(last, 1)):aget().some))
      assert.same({ "b1" }, titles(ann:prefetch_related(first(books:order_by(), 1)):aget().some))
      local short = books:filter({ pages__lt = 200, author__name = "Ann" }):select_related("author")
      assert.equal("Ann", ann:prefetch_related(first(short, 1)):aget().some[1].author.name)
      local cold = tags:order_by("word")
      cold = cold:prefetch_related(first(books:order_by("-title"), 2)):alist()
      assert.same({ "b2", "b3" }, titles(cold[1].some))
      assert.same({ "b1" }, titles(cold[2].some))
      assert.is_nil(rawget(cold[1].some[1], "prefetched_for"))
      assert.same({}, ann:prefetch_related(first(books, 0)):aget().some)
    end)

    it("forgets what was prefetched when it changes", function()
      local ann = authors:prefetch_related("books"):aget({ name = "Ann" })
      local new = ann.books:acreate({ title = "new" })
      assert.equal(2, #ann.books:alist()) -- acreate leaves the list, as Django does
      ann.books:aadd(new)
      assert.equal(3, #ann.books:alist())
      new:adelete()
      assert.equal(2, #ann:arefresh_from_db().books:alist())
    end)

    it("prefetches for objects that are there, and not again", function()
      local list = authors:order_by("name"):alist()
      count(function()
        models.aprefetch_related_objects(list, "books")
      end)
      assert.equal(1, sent)
      count(function()
        models.aprefetch_related_objects(list, "books__tags")
      end)
      assert.equal(1, sent)
      assert.equal(2, list[1].books:alist()[1].tags:acount()
        + list[1].books:alist()[2].tags:acount() - 1)
    end)

    it("prefetches chunk by chunk", function()
      local n = count(function()
        local n = 0
        local query = authors:prefetch_related("books"):order_by("name")
        for author in query:aiterator({ chunk_size = 2 }) do
          n = n + author.books:acount()
        end
        return n
      end)
      assert.equal(3, n)
      assert.equal(4, sent)
    end)

    it("says what can be prefetched", function()
      assert.equal(
        "Cannot find 'shoes' on Author, 'books__author__shoes' is an invalid parameter to"
          .. " prefetch_related. Choices are: author_set, books, mentor, profile",
        message_of(authors.prefetch_related, authors, "books__author__shoes")
      )
      local values = books:values("title")
      assert.truthy(message_of(values.prefetch_related, values, "tags"))
      assert.truthy(message_of(Prefetch, "books", values))
      assert.truthy(message_of(authors.prefetch_related, authors, 7))
      local sliced = books:prefetch_related(Prefetch("author", authors:limit(1)))
      assert.truthy(message_of(sliced.alist, sliced):find("cannot be prefetched with", 1, true))
      assert.is_nil(authors:prefetch_related("books"):prefetch_related(null).prefetches)
    end)

    it("never fetches behind the reader's back", function()
      local book = books:aget({ title = "b1" })
      local message = message_of(function()
        return book.author
      end)
      assert.truthy(message:find('Ask for it with select_related("author")', 1, true))
      assert.truthy(message:find("Author.objects:aget { pk = object.author_id }", 1, true))
      local ann = authors:aget({ name = "Ann" })
      message = message_of(function()
        return ann.profile
      end)
      assert.truthy(message:find('select_related("profile")', 1, true))
      assert.truthy(message:find("Profile.objects:aget { author = object }", 1, true))
    end)

    it("selects what is related, by default what is never NULL", function()
      local list = count(function()
        return reviews:select_related():order_by("stars"):alist()
      end)
      assert.equal(1, sent)
      assert.equal("Ann", list[1].book.author.name)
      assert.truthy(message_of(function()
        return list[3].book.author.mentor
      end))
      assert.same({}, reviews:select_related("book"):select_related(null).related)
      assert.equal(2, #reviews:select_related("book"):select_related("book__author").related)
      message_of(reviews.select_related, reviews, "shoes")
    end)

    it("takes rows of one's own SQL as objects", function()
      local sql = 'SELECT id, title, pages * 2 AS "twice" FROM shelf_book'
        .. " WHERE pages > $1 ORDER BY 1"
      local raw = books:raw(sql, 100)
      local list = raw:alist()
      assert.equal(list, raw:alist())
      assert.same({ "b2", "b3" }, titles(list))
      assert.equal(400, list[1].twice)
      assert.truthy(message_of(function()
        return list[1].pages
      end):find("was left out", 1, true))
      assert.equal("b2", list[1]:arefresh_from_db({ fields = { "pages" } }).title)
      local n = 0
      for book in books:raw("SELECT * FROM shelf_book"):prefetch_related("tags"):aiterator() do
        n = n + book.tags:acount()
      end
      assert.equal(4, n)
      local none = books:raw("SELECT title FROM shelf_book")
      assert.equal("Raw query must include the primary key", message_of(none.alist, none))
    end)

    it("explains itself", function()
      local text = books:filter({ pages__gt = 1 }):aexplain()
      assert.truthy(text:find("shelf_book", 1, true))
      if backend.name == "PostgreSQL" then
        local json = books:aexplain({ format = "json", analyze = true })
        assert.truthy(json:find('"Plan"', 1, true))
        assert.truthy(books:aexplain({ format = "xml" }):find("<explain", 1, true))
        assert.truthy(books:aexplain({ format = "yaml", costs = false }):find("Plan:", 1, true))
      end
      for _, wrong in ipairs({ { format = "html" }, { analyse = true }, { verbose = "x" } }) do
        local err = select(2, pcall(books.aexplain, books, wrong))
        assert.is_true(errors.is_error(err, errors.ValueError))
      end
    end)

    it("tells whether an object is among the rows", function()
      local b1 = books:aget({ title = "b1" })
      assert.is_true(books:acontains(b1))
      assert.is_false(books:filter({ pages__gt = 100 }):acontains(b1))
      local short = books:filter({ pages = 100 })
      short:alist()
      count(function()
        assert.is_true(short:acontains(b1))
      end)
      assert.equal(0, sent)
      assert.is_false(books:acontains(authors:aget({ name = "Ann" })))
      for _, wrong in ipairs({ 7, Book({ title = "x" }) }) do
        message_of(books.acontains, books, wrong)
      end
      local values = books:values("id")
      message_of(values.acontains, values, b1)
    end)

    it("brings related objects along with some of their fields", function()
      local book = count(function()
        local query = books:select_related("author__mentor")
        return query:only("title", "author__name", "author__mentor"):aget({ title = "b3" })
      end)
      assert.equal(1, sent)
      assert.same({ "b3", "Bob", "Ann", 40 }, {
        book.title,
        book.author.name,
        book.author.mentor.name,
        book.author.mentor.age,
      })
      assert.equal(book.author_id, book.author.pk)
      for object, attr in pairs({ [book] = "pages", [book.author] = "age" }) do
        assert.truthy(message_of(function()
          return object[attr]
        end):find("left out by only or defer", 1, true))
      end
      book.author.name = "Rob"
      book.author:asave()
      local bob = authors:aget({ name = "Rob" })
      assert.equal("Ann", authors:aget({ pk = bob.mentor_id }).name)
      bob.name = "Bob"
      bob:asave()

      local query = books:filter({ title = "b1" }):select_related("author__profile")
      book = query:defer("author__age", "author__profile__motto"):defer("pages"):aget()
      assert.equal("Ann", book.author.name)
      assert.same({ pages = true }, rawget(book, "_deferred"))
      assert.same({ age = true }, rawget(book.author, "_deferred"))
      assert.same({ motto = true }, rawget(book.author.profile, "_deferred"))
      book = query:only("author", "author__profile__motto"):aget()
      assert.equal("write", book.author.profile.motto)
      assert.equal(book.author.pk, book.author.profile.author_id)
      assert.equal(40, query:defer("author__age"):defer(null):aget().author.age)
    end)

    it("does not follow a key that it leaves out", function()
      local query = books:select_related("author__mentor")
      local told = "Field %s cannot be both deferred and traversed using select_related at the same"
        .. " time."
      for field, wrong in pairs({
        ["Book.author"] = query:only("title"),
        ["Author.mentor"] = query:only("title", "author__name"),
      }) do
        assert.equal(told:format(field), message_of(wrong.alist, wrong))
      end
      local wrong = query:defer("author")
      assert.equal(told:format("Book.author"), message_of(wrong.alist, wrong))
      assert.equal(3, wrong:acount())
      assert.same({ "author_id", "id" }, (function(names)
        for key in pairs(books:only("author__name"):order_by("title"):alist()[1]) do
          names[#names + 1] = not key:find("^_") and key or nil
        end
        table.sort(names)
        return names
      end)({}))
      for path in ("tags__word author__shoes title__x reviews__stars tags"):gmatch("%S+") do
        message_of(books.only, books, path)
        message_of(books.defer, books, path)
      end
    end)

    it("gets, makes and updates as Django does", function()
      local lookup = { name = "Dan", age__isnull = true }
      local dan, created = authors:aget_or_create(lookup, {
        age = function()
          return 33
        end,
      })
      assert.is_true(created)
      assert.equal(33, dan.age)
      local again
      again, created = authors:aget_or_create({ name = "Dan" })
      assert.is_false(created)
      assert.equal(dan, again)
      again, created = authors:aupdate_or_create({ name = "Dan" }, { age = 34 }, { age = 1 })
      assert.same({ false, 34 }, { created, again.age })
      again, created = authors:aupdate_or_create({ name = "Eve" }, { age = 34 }, { age = 1 })
      assert.same({ true, 1 }, { created, again.age })
      message_of(authors.aget_or_create, authors, { shoes = 1 })
      local err = select(2, pcall(authors.aget_or_create, authors, { age = 34, name = "Ann" }))
      assert.is_true(errors.is_error(err, errors.IntegrityError))
      authors:filter({ name__in = { "Dan", "Eve" } }):adelete()
      local many = select(2, pcall(books.aget_or_create, books, { pages__gt = 0 }))
      assert.is_true(errors.is_error(many, Book.MultipleObjectsReturned))
      assert.equal(0, authors:filter(Q({ name = "Dan" })):acount())
    end)
  end)
end
