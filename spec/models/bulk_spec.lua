--- abulk_update with expressions, on real databases; the rest of it is in `writing_spec`.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")

local F = models.F
local shelf = require("spec.models.shelf")()
local Author, Book = shelf.Author, shelf.Book

local function is_raised(class, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is_error(err, class), tostring(err))
end

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("abulk_update on " .. backend.name, function()
    local database = backend.database
    local authors, books = Author.objects:using(database), Book.objects:using(database)
    setup(backend.make)
    before_each(backend.empty)
    teardown(backend.drop)

    it("takes expressions, each row by its own", function()
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

    it("takes more parameters than one statement takes", function()
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
