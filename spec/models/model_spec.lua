local fake_core = require("spec.support.fake_core")
local raised = require("spec.support.raised")

local class = require("rille.class")
local db = require("rille.db")
local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null

local raised_by = raised.by

describe("define", function()
  it("adds an id when there is no primary key, and puts the key first", function()
    local Folder = models.define("folder", { name = models.text() })
    assert.equal("id", Folder._meta.pk.name)
    assert.equal("id", Folder._meta.fields[1].name)
    local Keyed = models.define("keyed", {
      code = models.text({ primary_key = true }),
      a = models.text(),
    })
    assert.equal("code", Keyed._meta.fields[1].name)
    assert.is_nil(Keyed._meta.by_name.id)
  end)

  it("names the model after its table", function()
    assert.equal("BlogPost", models.define("blog_post", {}).__name)
    assert.equal("Log", models.define("audit.log", {}).__name)
    assert.equal("Post", models.define("x", {}, { name = "Post" }).__name)
  end)

  -- what goes wrong, the mistake, and the sentence
  local mistakes = {
    {
      "a table name with a quote",
      function()
        models.define('x"; DROP', {})
      end,
      "'x\"; DROP' cannot be the name of a table: letters, digits and _ only",
    },
    {
      "a field name with two underscores",
      function()
        models.define("x", { a__b = models.text() })
      end,
      "'a__b' cannot be the name of a field",
    },
    {
      "a field that every instance has",
      function()
        models.define("x", { asave = models.text() })
      end,
      "'asave' cannot be the name of a field: every instance has it already",
    },
    {
      "something that is no field",
      function()
        models.define("x", { a = "text" })
      end,
      "'a' must be a field, such as models.text(), not a string",
    },
    {
      "a field used twice",
      function()
        local field = models.text()
        models.define("x", { a = field })
        models.define("y", { b = field })
      end,
      "the field 'b' already belongs to X; make one for each model",
    },
    {
      "two primary keys",
      function()
        models.define("x", { a = models.auto(), b = models.text({ primary_key = true }) })
      end,
      "X has more than one primary key",
    },
    {
      "an id that is no key",
      function()
        models.define("x", { id = models.text() })
      end,
      "X has a field 'id' but no primary key; make it one",
    },
    {
      "a foreign key's attribute as a field",
      function()
        models.define("x", {
          a = models.foreign_key("self", { null = true }),
          a_id = models.integer(),
        })
      end,
      "the fields 'a' and 'a_id' of X share a name or a column",
    },
    {
      "an unknown option of a field",
      function()
        models.text({ length = 5 })
      end,
      "models.text has no option 'length'; there are: choices, db_column, default, index,"
        .. " max_length, null, primary_key, unique, validators",
    },
    {
      "an option of the wrong type",
      function()
        models.integer({ null = "yes" })
      end,
      "option 'null' of models.integer must be a boolean, not string",
    },
    {
      "a foreign key to nothing",
      function()
        models.foreign_key("folder")
      end,
      'a foreign key needs a model, "self", or a function that returns a model',
    },
    {
      "an unknown on_delete",
      function()
        models.foreign_key("self", { on_delete = "explode" })
      end,
      "on_delete cannot be 'explode'; there are: cascade, do_nothing, protect, restrict, set_null",
    },
    {
      "set_null on what cannot be null",
      function()
        models.foreign_key("self", { on_delete = "set_null" })
      end,
      'on_delete = "set_null" needs null = true',
    },
    {
      "an unknown option of the model",
      function()
        models.define("x", {}, { order = { "id" } })
      end,
      "define has no option 'order'; there are: bases, constraints, get_latest_by, indexes,"
        .. " managed, managers, methods, name, ordering, unique, unique_together",
    },
    {
      "an index on no field",
      function()
        models.define("x", {}, { indexes = { { "shoes" } } })
      end,
      "option 'indexes' of define names 'shoes', which is no field of X",
    },
  }
  for _, mistake in ipairs(mistakes) do
    it("refuses " .. mistake[1] .. ", at the caller", function()
      local err = raised_by(mistake[2])
      assert.truthy(err:find(mistake[3], 1, true), err)
      assert.truthy(err:find("model_spec.lua:%d+: "), err)
    end)
  end
end)

describe("an instance", function()
  local driver, Author, Book

  before_each(function()
    driver = fake_core.new("postgresql")
    rawset(db.databases, "default", db.Database("default", { url = "postgresql://x" }, driver))
    Author = models.define("author", {
      name = models.text({ max_length = 5 }),
      kind = models.text({ choices = { "human", "machine" }, default = "human" }),
    })
    Book = models.define("book", {
      title = models.text(),
      pages = models.integer({
        default = function()
          return 10
        end,
      }),
      author = models.foreign_key(Author, { null = true }),
      changed = models.timestamp({ auto_now = true }),
    })
  end)

  after_each(function()
    rawset(db.databases, "default", nil)
  end)

  local function fetched(row)
    driver.answer = function()
      return { row }, 1
    end
    local object = Book.objects:aget()
    driver.take()
    return object
  end

  it("is the row itself", function()
    local row = { id = 1, title = "x" }
    assert.is_true(rawequal(row, fetched(row)))
  end)

  it("takes defaults, calls those that are functions, and lets null stay away", function()
    local book = Book({ title = "x" })
    assert.equal(10, book.pages)
    assert.is_nil(Book({ title = "x", pages = null }).pages)
    assert.equal(0, Book({ title = "x", pages = 0 }).pages)
  end)

  it("refuses unknown attributes and values that do not fit", function()
    local err = raised_by(Book, { titel = "x" })
    assert.is_true(errors.is_error(err, errors.FieldError))
    assert.equal(
      "Cannot resolve keyword 'titel' into field. Choices are: author, changed, id, pages, title",
      err.message
    )
    assert.is_true(errors.is_error(raised_by(Book, { pages = "x" }), errors.ValueError))
    assert.is_true(errors.is_error(raised_by(Book, { author__name = "x" }), errors.FieldError))
  end)

  it("knows its key as pk, under its own name, and in words", function()
    local book = fetched({ id = 7, title = "x" })
    assert.equal(7, book.pk)
    assert.equal("Book object (7)", tostring(book))
    book.pk = nil
    Book({}).pk = 8
    local other = Book({})
    other.pk = 8
    assert.equal(8, other.id)
  end)

  it("equals another with the same model and key", function()
    assert.equal(Book({ id = 1 }), Book({ id = 1 }))
    assert.is_true(Book({ id = 1 }) == Book({ id = 1 }))
    assert.is_false(Book({ id = 1 }) == Book({ id = 2 }))
    assert.is_false(Book({ id = 1 }) == Author({ id = 1 }))
    assert.is_false(Book({}) == Book({}))
    assert.is_true(class.is_instance(Book({}), Book))
    assert.is_false(class.is_instance(Book({}), Author))
  end)

  it("has the methods of its model, which cannot hide a field", function()
    function Book:shout()
      return self.title:upper()
    end
    assert.equal("X", Book({ title = "x" }):shout())
    local err = raised_by(function()
      function Book.title() end
    end)
    assert.truthy(err:find("Book.title is a field already", 1, true))
    function Book:__tostring()
      return "<" .. self.title .. ">"
    end
    assert.equal("<x>", tostring(Book({ title = "x" })))
  end)

  it("raises for a related object that was not fetched, and says how to get it", function()
    local book = fetched({ id = 1, title = "x", author_id = 3 })
    local err = raised_by(function()
      return book.author
    end)
    assert.is_true(errors.is_error(err, errors.NotFetched))
    assert.equal(
      'Book.author was not fetched. Ask for it with select_related("author"), or get it with'
        .. " Author.objects:aget { pk = object.author_id }",
      err.message
    )
    assert.same({}, driver.take())
    assert.is_nil(fetched({ id = 1, title = "x" }).author)
  end)

  it("keeps a related object and its key together", function()
    local ann = Author({ id = 3, name = "Ann" })
    local book = Book({ title = "x", author = ann })
    assert.equal(3, book.author_id)
    assert.equal(ann, book.author)
    book.author_id = 4
    raised_by(function()
      return book.author
    end)
    book.author = ann
    assert.equal(3, book.author_id)
    book.author = nil
    assert.is_nil(book.author_id)
    assert.is_true(errors.is_error(raised_by(function()
      book.author = Book({ id = 1 })
    end), errors.ValueError))
  end)

  it("takes the key of a related object that was saved in between, or refuses", function()
    local ann = Author({ name = "Ann" })
    local book = Book({ title = "x", author = ann })
    local err = raised_by(book.asave, book)
    assert.equal(
      "asave() prohibited to prevent data loss due to unsaved related object 'author'.",
      err.message
    )
    ann.id = 9
    driver.answer = function()
      return { { id = 1 } }, 1
    end
    book:asave()
    assert.equal(9, book.author_id)
  end)

  it("inserts without a key and then has one", function()
    driver.answer = function()
      return { { id = 5 } }, 1
    end
    local author = Author({ name = "Ann" }):asave()
    assert.equal(5, author.id)
    assert.same({ n = 2, "human", "Ann" }, driver.params[1])
    assert.same(
      { 'INSERT INTO "author" ("kind", "name") VALUES ($1, $2) RETURNING "id"' },
      driver.take()
    )
  end)

  it("updates with a key, and inserts when no row was there", function()
    driver.answer = function(sql)
      return {}, sql:find("UPDATE", 1, true) and 0 or 1
    end
    Author({ id = 5, name = "Ann" }):asave()
    local sent = driver.take()
    assert.equal('UPDATE "author" SET "kind" = $1, "name" = $2 WHERE "author"."id" = $3', sent[1])
    assert.truthy(sent[2]:find('INSERT INTO "author" ("id", "kind", "name")', 1, true))
  end)

  it("writes only the fields asked for, and nothing for none", function()
    driver.answer = function()
      return {}, 1
    end
    local author = Author({ id = 5, name = "Ann" })
    author:asave({ update_fields = {} })
    assert.same({}, driver.take())
    author:asave({ update_fields = { "name" } })
    assert.same({ 'UPDATE "author" SET "name" = $1 WHERE "author"."id" = $2' }, driver.take())
    for _, name in ipairs({ "shoes", "id", "pk" }) do
      local err = raised_by(author.asave, author, { update_fields = { name } })
      assert.is_true(errors.is_error(err, errors.ValueError))
    end
    driver.answer = function()
      return {}, 0
    end
    local err = raised_by(author.asave, author, { update_fields = { "name" } })
    assert.equal("Save with update_fields did not affect any rows.", err.message)
    assert.is_true(errors.is_error(err, errors.DatabaseError))
  end)

  it("checks choices and length before anything is sent", function()
    local author = Author({ name = "Ann", kind = "plant" })
    assert.equal("Field 'kind' cannot be 'plant'.", raised_by(author.asave, author).message)
    author = Author({ name = "ÄÖÜäö" })
    driver.answer = function()
      return { { id = 1 } }, 1
    end
    author:asave()
    driver.take()
    author.name = "ÄÖÜäöü"
    local err = raised_by(author.asave, author)
    assert.equal("Field 'name' holds at most 5 characters.", err.message)
    assert.same({}, driver.take())
  end)

  it("notes the time of a save", function()
    driver.answer = function()
      return { { id = 1 } }, 1
    end
    local book = Book.objects:acreate({ title = "x" })
    assert.truthy(book.changed:match("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d[.%d]*%+00$"))
  end)

  it("notes the time of the first save and keeps it", function()
    local Note = models.define("note", { made = models.timestamp({ auto_now_add = true }) })
    driver.answer = function()
      return { { id = 1 } }, 1
    end
    local note = Note.objects:acreate()
    assert.truthy(note.made)
    note.made = "2001-01-01"
    note:asave()
    assert.equal("2001-01-01 00:00:00+00", note.made)
  end)

  it("raises for an attribute that was left out, and saves only what is there", function()
    driver.answer = function()
      return { { id = 1, name = "Ann" } }, 1
    end
    local author = Author.objects:only("name"):aget()
    local err = raised_by(function()
      return author.kind
    end)
    assert.is_true(errors.is_error(err, errors.NotFetched))
    assert.equal(
      "Author.kind was left out by only or defer. Get it with"
        .. ' object:arefresh_from_db { fields = { "kind" } }',
      err.message
    )
    driver.take()
    author:asave()
    assert.same({ 'UPDATE "author" SET "name" = $1 WHERE "author"."id" = $2' }, driver.take())
    author.kind = "machine"
    author:asave()
    assert.truthy(driver.take()[1]:find('"kind" = $1, "name" = $2', 1, true))
    author = Author.objects:only("name"):aget()
    author:arefresh_from_db()
    assert.is_true(errors.is_error(raised_by(function()
      return author.kind
    end), errors.NotFetched))
    author:arefresh_from_db({ fields = { "kind" } })
    assert.is_nil(author.kind)
  end)

  it("deletes its row and loses its key", function()
    driver.answer = function()
      return {}, 1
    end
    local book = Book({ id = 4 })
    assert.equal(1, book:adelete())
    assert.same({ 'DELETE FROM "book" WHERE "book"."id" = $1' }, driver.take())
    local err = raised_by(book.adelete, book)
    assert.equal(
      "Book object can't be deleted because its id attribute is set to nil.",
      err.message
    )
  end)

  it("has the objects that point to it, once their model is known", function()
    local Shelf = models.define("shelf", {})
    local Item = models.define("item", {
      shelf = models.foreign_key(Shelf, { related_name = "items" }),
    })
    local shelf = Shelf({ id = 3 })
    assert.truthy(tostring(shelf.items):find('WHERE "item"."shelf_id" = $1', 1, true))
    driver.answer = function()
      return { { id = 8 } }, 1
    end
    assert.equal(3, shelf.items:acreate().shelf_id)
    assert.equal(1, shelf.items:aadd(Item({ id = 4 })))
    local err = raised_by(function()
      return Shelf({}).items
    end)
    assert.equal("Shelf object (nil) must be saved before its items can be used.", err.message)
    err = raised_by(Item.objects.aadd, Item.objects)
    assert.truthy(err:find("aadd is for the objects of a related one", 1, true))
    err = raised_by(models.define, "other", {
      shelf = models.foreign_key(Shelf, { related_name = "items" }),
    })
    assert.equal("the related_name 'items' of Other.shelf is taken in Shelf", err.message)
  end)

  it("reads its attributes again, and forgets what became NULL", function()
    local book = fetched({ id = 1, title = "old", pages = 3 })
    book.author = Author({ id = 2 })
    driver.answer = function()
      return { { id = 1, title = "new", author_id = 6 } }, 1
    end
    book:arefresh_from_db({ fields = { "title" } })
    assert.same({ "new", 3, 2 }, { book.title, book.pages, book.author_id })
    book:arefresh_from_db()
    assert.is_nil(book.pages)
    assert.equal(6, book.author_id)
  end)
end)
