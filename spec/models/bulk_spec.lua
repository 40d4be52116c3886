--- The bulk methods, on real databases.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")

local F = models.F
local shelf = require("spec.models.shelf")()
local Author, Book = shelf.Author, shelf.Book

local function is_raised(class, fn, ...)
  raised.is(class, raised.by(fn, ...))
end

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("bulk methods on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    setup(backend.make)
    before_each(backend.empty)
    teardown(backend.drop)

    it("insert many, with keys and without", function()
      local made = authors:abulk_create({
        { name = "a" },
        Author({ name = "b", age = 3 }),
        { id = 900001, name = "c" },
      }, { batch_size = 1 })
      assert.equal(3, authors:acount())
      assert.equal(made[2], authors:aget({ name = "b" }))
      assert.equal("number", type(made[1].pk))
      assert.same({}, authors:abulk_create({}))
    end)

    it("insert very many, as they are", function()
      local ann = authors:acreate({ name = "Ann" })
      local values = {}
      for i = 1, 1200 do
        values[i] = {
          title = ("a\tb\\c\nd\r%d 'e\" \\N"):format(i),
          pages = i,
          price = i % 2 == 0 and i + 0.25 or nil,
          printed = i,
          day = "2024-05-01",
          data = i % 3 == 0 and { text = "x\\y\n", n = { i } } or nil,
          author = ann,
        }
      end
      local made = books:abulk_create(values)
      local read = books:ain_bulk()
      for i, book in ipairs(made) do
        local other = read[book.pk]
        assert.equal(values[i].title, other.title)
        assert.equal(i, other.pages)
        assert.same(values[i].data, other.data)
        assert.equal(values[i].price, tonumber(other.price))
        assert.equal(book.printed, other.printed)
        assert.equal(ann.pk, other.author_id)
        assert.is_nil(rawget(book, "_adding"))
      end
      books:acreate({ title = "behind", author = ann }) -- the sequence goes on
      local wrong = {}
      for i = 1, 600 do
        wrong[i] = { name = i == 599 and "Ann" or "n" .. i }
      end
      is_raised(errors.IntegrityError, authors.abulk_create, authors, wrong)
      assert.equal(1, authors:acount())
      wrong[599] = { name = "n599", age = "old" }
      is_raised(errors.ValueError, authors.abulk_create, authors, wrong)
      wrong[599] = { name = "n599", id = 123456 }
      authors:abulk_create(wrong)
      assert.equal(601, authors:acount())
    end)

    it("skip, or update, what is there", function()
      authors:acreate({ name = "a", age = 1 })
      local skip = { ignore_conflicts = true }
      authors:abulk_create({ { name = "a", age = 2 }, { name = "b" } }, skip)
      assert.equal(1, authors:aget({ name = "a" }).age)
      local upsert = {
        update_conflicts = true,
        unique_fields = { "name" },
        update_fields = { "age" },
      }
      local made = authors:abulk_create({ { name = "a", age = 3 }, { name = "c" } }, upsert)
      assert.equal(3, authors:aget({ name = "a" }).age)
      assert.equal(authors:aget({ name = "a" }).pk, made[1].pk)
      assert.equal(3, authors:acount())
      for _, wrong in ipairs({
        { batch_size = 0 },
        { batch_size = -1 },
        { ignore_conflicts = true, update_conflicts = true },
        { update_conflicts = true },
        { update_conflicts = true, update_fields = { "age" } },
        { update_conflicts = true, update_fields = { "id" }, unique_fields = { "name" } },
        { update_conflicts = true, update_fields = { "x" }, unique_fields = { "name" } },
      }) do
        is_raised(errors.ValueError, authors.abulk_create, authors, { { name = "z" } }, wrong)
      end
    end)

    it("update many", function()
      local ann = authors:acreate({ name = "Ann", age = 1 })
      local bob = authors:acreate({ name = "Bob" })
      ann.age, bob.age, bob.mentor = nil, 7, ann
      assert.equal(2, authors:abulk_update({ ann, bob }, { "age", "mentor" }))
      assert.is_nil(authors:aget({ name = "Ann" }).age)
      local found = authors:aget({ name = "Bob" })
      assert.same({ 7, ann.pk }, { found.age, found.mentor_id })
      local book = books:acreate({ title = "x", author = ann, data = { 1 }, price = "1.50" })
      book.data, book.price, book.printed = { a = { b = true } }, "2.25", 0
      books:abulk_update({ book }, { "data", "price", "printed" }, { batch_size = 1 })
      local read = books:aget()
      assert.same({ a = { b = true } }, read.data)
      assert.equal(2.25, tonumber(read.price))
      assert.equal("1970-01-01 00:00:00+00", read.printed)
      assert.equal(0, authors:abulk_update({}, { "age" }))
      for _, wrong in ipairs({
        { { ann }, {} },
        { { ann }, { "id" } },
        { { ann }, { "x" } },
        { { Author({ name = "new" }) }, { "age" } },
        { { ann }, { "age" }, { batch_size = 0 } },
      }) do
        is_raised(errors.ValueError, authors.abulk_update, authors, unpack(wrong))
      end
    end)

    it("update many, each row by its own expressions", function()
      local ann = authors:acreate({ name = "Ann", age = 1 })
      local made = {}
      for i = 1, 4 do
        made[i] = books:acreate({ title = "b" .. i, author = ann, pages = i * 10, price = "1.5" })
      end
      local more = F("pages") + 1
      made[1].pages, made[2].pages, made[3].pages = more, more, 5
      made[4].pages = models.Case({ models.When(models.Q({ title = "b4" }), 400), default = 0 })
      made[1].title, made[2].title = models.Upper("title"), "two"
      made[2].price = F("price") * 2
      made[3].day = "2024-02-03"
      assert.equal(4, books:abulk_update(made, { "pages", "title", "price", "day" }))
      local found = books:order_by("pk"):values_list("title", "pages"):alist()
      assert.same({ { "B1", 11 }, { "two", 21 }, { "b3", 5 }, { "b4", 400 } }, found)
      assert.equal(3, tonumber(books:aget({ pk = made[2].pk }).price))
      assert.equal("2024-02-03", books:aget({ pk = made[3].pk }).day)
      is_raised(errors.NotFetched, function()
        return made[1].pages
      end)
      is_raised(errors.NotFetched, books.abulk_update, books, made, { "pages" })
      assert.equal(5, made[3].pages)
      made[1]:arefresh_from_db({ fields = { "pages" } })
      assert.equal(11, made[1].pages)
      for _, wrong in ipairs({ F("author__age"), F("nothing"), models.Count("reviews") }) do
        made[3].pages = wrong
        is_raised(errors.FieldError, books.abulk_update, books, { made[3] }, { "pages" })
      end
      assert.equal(5, books:aget({ pk = made[3].pk }).pages)
    end)

    it("update with more parameters than one statement takes", function()
      local ann = authors:acreate({ name = "Ann" })
      local rows = {}
      for i = 1, 700 do
        rows[i] = { title = "t", author = ann, pages = i }
      end
      local made = books:abulk_create(rows)
      for i, book in ipairs(made) do
        book.pages = (F("pages") + i) + (F("pages") * i) + i % 7 + 1 + 2 + 3
      end
      assert.equal(700, books:abulk_update(made, { "pages" }))
      for _, i in ipairs({ 1, 350, 351, 700 }) do
        local wanted = i + i + i * i + i % 7 + 6
        assert.equal(wanted, books:aget({ pk = made[i].pk }).pages)
      end
    end)
  end)
end
