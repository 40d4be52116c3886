local fake_core = require("spec.support.fake_core")
local raised = require("spec.support.raised")

local db = require("rille.db")
local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null

local Author = models.define("author", {
  name = models.text(),
  age = models.integer({ null = true }),
})
local Book = models.define("book", {
  title = models.text(),
  author = models.foreign_key(Author, { null = true }),
  data = models.json({ null = true }),
}, { ordering = { "title" } })

describe("a query", function()
  local driver, authors, books

  before_each(function()
    driver = fake_core.new("sqlite")
    local database = db.Database("spec", { url = "sqlite:x" }, driver)
    authors, books = Author.objects:using(database), Book.objects:using(database)
  end)

  local function answer(...)
    local rows = { ... }
    driver.answer = function()
      local copies = {}
      for i, row in ipairs(rows) do
        copies[i] = {}
        for key, value in pairs(row) do
          copies[i][key] = value
        end
      end
      return copies, #rows
    end
  end

  local raised_by = raised.by

  it("is not changed by its builders", function()
    local before = tostring(authors)
    authors:filter({ name = "x" }):order_by("name"):reverse():limit(1)
    authors:values("name")
    authors:none()
    assert.equal(before, tostring(authors))
    assert.same({}, driver.take())
  end)

  it("fetches once and answers from what it has", function()
    answer({ id = 1, name = "a" }, { id = 2, name = "b" })
    local query = authors:filter({ name__gt = "" })
    assert.equal(query:alist(), query:alist())
    assert.equal(2, query:acount())
    assert.is_true(query:aexists())
    assert.equal(1, #driver.take())
    query:all():alist()
    assert.equal(1, #driver.take())
  end)

  it("forgets what it has when it changes rows", function()
    answer({ id = 1, name = "a" })
    authors:alist()
    authors:aupdate({ age = 1 })
    authors:alist()
    assert.equal(3, #driver.take())
  end)

  it("makes managers that remember nothing", function()
    rawset(db.databases, "default", db.Database("default", { url = "sqlite:x" }, driver))
    Author.objects:alist()
    Author.objects:alist()
    rawset(db.databases, "default", nil)
    assert.equal(2, #driver.take())
  end)

  it("asks nothing when no row can match", function()
    for _, query in ipairs({
      authors:none(),
      authors:filter({ id__in = {} }),
      authors:filter({ id__in = { null } }),
      authors:filter({ name = "x" }):filter({ age = 1e12 }),
      authors:limit(0),
    }) do
      assert.same({}, query:alist())
      assert.equal(0, query:acount())
      assert.is_false(query:aexists())
      assert.is_nil(query:afirst())
      for _ in query:aiterator() do
        error("there is a row")
      end
    end
    assert.equal(0, authors:none():aupdate({ age = 1 }))
    assert.equal(0, authors:none():adelete())
    assert.same({}, driver.take())
  end)

  it("keeps parameters and text together when a part is decided already", function()
    local sql = tostring(
      authors:filter(models.Q({ name = "a", id__in = {} }) + models.Q({ age = 3 }))
    )
    assert.truthy(sql:find('WHERE "author"."age" = $1', 1, true))
    assert.is_nil(tostring(authors:exclude({ id__in = {} })):find("WHERE", 1, true))
  end)

  it("gets the one row, without order, looking at 21", function()
    answer({ id = 1, title = "a" })
    assert.equal("a", books:aget({ pk = 1 }).title)
    local sql = driver.take()[1]
    assert.is_nil(sql:find("ORDER", 1, true))
    assert.truthy(sql:find(" LIMIT 21$"))
  end)

  it("says who does not exist, and of how many there are more than one", function()
    local err = raised_by(books.aget, books, { title = "x" })
    assert.equal("Book matching query does not exist.", err.message)
    assert.is_true(errors.is_error(err, Book.DoesNotExist))
    assert.is_true(errors.is_error(err, errors.ObjectDoesNotExist))
    assert.is_false(errors.is_error(err, Author.DoesNotExist))
    answer({ id = 1 }, { id = 2 })
    err = raised_by(books.aget, books)
    assert.equal("get() returned more than one Book -- it returned 2!", err.message)
    assert.is_true(errors.is_error(err, Book.MultipleObjectsReturned))
    assert.is_true(errors.is_error(err, errors.MultipleObjectsReturned))
    local many = {}
    for i = 1, 21 do
      many[i] = { id = i }
    end
    answer(unpack(many))
    err = raised_by(books.aget, books)
    assert.equal("get() returned more than one Book -- it returned more than 20!", err.message)
  end)

  it("orders first and last by key when it has no order", function()
    authors:afirst()
    authors:alast()
    books:alast()
    local sent = driver.take()
    assert.truthy(sent[1]:find('ORDER BY "author"."id" ASC LIMIT 1$'))
    assert.truthy(sent[2]:find('ORDER BY "author"."id" DESC LIMIT 1$'))
    assert.truthy(sent[3]:find('ORDER BY "book"."title" DESC LIMIT 1$'))
  end)

  it("finds the earliest and the latest, or says that there is none", function()
    answer({ id = 1, name = "a" })
    assert.equal("a", authors:aearliest("age", "-name").name)
    authors:alatest("age", "-name")
    local sent = driver.take()
    assert.truthy(sent[1]:find('ORDER BY "author"."age" ASC, "author"."name" DESC LIMIT 1$'))
    assert.truthy(sent[2]:find('ORDER BY "author"."age" DESC, "author"."name" ASC LIMIT 1$'))
    answer()
    local err = raised_by(authors.alatest, authors, "age")
    assert.is_true(errors.is_error(err, Author.DoesNotExist))
    raised_by(authors.alatest, authors)
  end)

  it("tells the core what only reads, and what locks or writes", function()
    answer({ n = 1, id = 1, name = "a" })
    authors:aget({ pk = 1 })
    authors:acount()
    authors:aexists()
    authors:all():alist()
    authors:aaggregate({ n = models.Count("*") })
    for _ in authors:aiterator() do
    end
    assert.equal(6, driver.reads)
    driver.pin()
    driver.pin_state().depth = 1
    authors:select_for_update():alist()
    authors:aupdate({ age = 1 })
    authors:acreate({ name = "b" })
    driver.unpin()
    assert.equal(6, driver.reads)
  end)

  it("knows whether it contains an object", function()
    answer({ id = 1, name = "a" })
    assert.is_true(authors:acontains(Author({ id = 1 })))
    assert.is_false(authors:acontains(Book({ id = 1 })))
    assert.is_false(authors:limit(3):acontains(Author({ id = 2 })))
    raised_by(authors.acontains, authors, Author({ name = "x" }))
  end)

  it("refuses to filter, reorder, change or delete a slice", function()
    local slice = authors:limit(3)
    for _, case in ipairs({
      { "filter", { name = "x" }, "Cannot filter a query once a slice has been taken." },
      { "exclude", { name = "x" }, "Cannot filter a query once a slice has been taken." },
      { "order_by", "name", "Cannot reorder a query once a slice has been taken." },
      { "reverse", nil, "Cannot reverse a query once a slice has been taken." },
      { "aupdate", { age = 1 }, "Cannot update a query once a slice has been taken." },
      { "adelete", nil, "Cannot use 'limit' or 'offset' with adelete." },
    }) do
      local err = raised_by(slice[case[1]], slice, case[2])
      assert.truthy(err:find(case[3], 1, true))
    end
  end)

  it("refuses a limit that is no count", function()
    for _, n in ipairs({ -1, 1.5, "1; DROP", 0 / 0 }) do
      raised_by(authors.limit, authors, n)
      raised_by(authors.offset, authors, n)
    end
  end)

  it("pages by key when it has no order, holding nothing in between", function()
    local pages = {
      { { id = 1 }, { id = 2 } },
      { { id = 5 }, { id = 9 } },
      { { id = 12 } },
    }
    driver.answer = function()
      return table.remove(pages, 1)
    end
    local seen = {}
    for author in authors:filter({ age = 3 }):aiterator({ chunk_size = 2 }) do
      seen[#seen + 1] = author.id
    end
    assert.same({ 1, 2, 5, 9, 12 }, seen)
    assert.same({ n = 3, 3, 2, 2 }, driver.params[2])
    local sent = driver.take()
    assert.equal(3, #sent)
    assert.truthy(sent[2]:find(
      'WHERE "author"."age" = $1 AND "author"."id" > $2 ORDER BY "author"."id" ASC LIMIT $3',
      1,
      true
    ))
    assert.equal(sent[2], sent[3])
  end)

  it("pages by what it is ordered by, down to the key", function()
    local n = 0
    driver.answer = function()
      n = n + 1
      return n == 1 and { { id = 1, title = "a" }, { id = 2, title = "b" } } or {}
    end
    for _ in books:order_by("-title"):aiterator({ chunk_size = 2 }) do
    end
    assert.same({ n = 5, "b", "b", "b", 2, 2 }, driver.params[2])
    assert.truthy(driver.take()[2]:find(
      'WHERE "book"."title" <= $1'
        .. ' AND ("book"."title" < $2 OR ("book"."title" = $3 AND "book"."id" > $4))'
        .. ' ORDER BY "book"."title" DESC, "book"."id" ASC LIMIT $5',
      1,
      true
    ))
  end)

  it("pages by position, to the last place, where a value may be NULL or is another's", function()
    local n = 0
    driver.answer = function()
      n = n + 1
      return n == 1 and { { id = 1 }, { id = 2 } } or {}
    end
    for _ in books:order_by("author__name"):aiterator({ chunk_size = 2 }) do
    end
    assert.same({ n = 2, 2, 2 }, driver.params[2])
    assert.truthy(driver.take()[2]:find('"name" ASC, "book"."id" ASC LIMIT $1 OFFSET $2', 1, true))
    local err = raised_by(books.aiterator, books, { chunk_size = 0 })
    assert.truthy(err:find("Chunk size must be strictly positive.", 1, true))
  end)

  it("gives plain rows, lists and single values, with null where holes would be", function()
    answer({ name = "a", age = 1 }, { name = "b" })
    assert.same({ { name = "a", age = 1 }, { name = "b" } }, authors:values("name", "age"):alist())
    assert.same({ { "a", 1 }, { "b", null } }, authors:values_list("name", "age"):alist())
    assert.same({ 1, null }, authors:values_list("age", { flat = true }):alist())
    raised_by(authors.values_list, authors, "age", "name", { flat = true })
  end)

  it("hangs related objects on the row, and none where there is none", function()
    answer(
      { id = 1, title = "x", author_id = 3, author__id = 3, author__name = "Ann", data = "[1]" },
      { id = 2, title = "y" }
    )
    local list = books:select_related("author"):alist()
    assert.equal("Ann", list[1].author.name)
    assert.same({ 1 }, list[1].data)
    assert.is_nil(rawget(list[1], "author__name"))
    assert.is_nil(list[2].author)
    local err = raised_by(books.select_related, books, "title")
    assert.equal(
      "Invalid field name given in select_related: 'title'. Choices are: author",
      err.message
    )
  end)

  it("updates with checked names and values", function()
    driver.answer = function()
      return {}, 4
    end
    assert.equal(4, authors:filter({ pk = 7 }):aupdate({ name = "x", age = models.F("age") + 1 }))
    assert.same({ n = 3, 1, "x", 7 }, driver.params[1])
    assert.same({
      'UPDATE "author" SET "age" = ("author"."age" + $1), "name" = $2 WHERE "author"."id" = $3',
    }, driver.take())
    books:aupdate({ author = null })
    assert.same({ n = 1 }, driver.params[1])
    local err = raised_by(authors.aupdate, authors, { nam = 1 })
    assert.is_true(errors.is_error(err, errors.FieldError))
    err = raised_by(authors.aupdate, authors, { age = "x" })
    assert.is_true(errors.is_error(err, errors.ValueError))
    assert.truthy(raised_by(authors.aupdate, authors, {}):find("was given an empty table", 1, true))
  end)

  it("gets what is there, or else makes it in a transaction of its own", function()
    driver.answer = function(sql)
      return sql:find("INSERT", 1, true) and { { id = 8 } } or {}, 1
    end
    local author, created = authors:aget_or_create({ name = "x", age__lt = 9 }, {
      age = function()
        return 5
      end,
    })
    assert.is_true(created)
    assert.same({ 8, "x", 5 }, { author.id, author.name, author.age })
    local sent = driver.take()
    assert.same({ "<pin>", "BEGIN IMMEDIATE" }, { sent[2], sent[3] })
    assert.equal("COMMIT", sent[5])
  end)

  it("takes the object that somebody else made first", function()
    local clash = errors.IntegrityError("twice")
    local selects = 0
    driver.answer = function(sql)
      if sql:find("INSERT", 1, true) then
        return nil, clash
      elseif sql:find("SELECT", 1, true) then
        selects = selects + 1
        return selects == 1 and {} or { { id = 3, name = "x" } }, 0
      end
      return {}, 0
    end
    local author, created = authors:aget_or_create({ name = "x" })
    assert.is_false(created)
    assert.equal(3, author.id)
    selects = -1
    driver.answer = function(sql)
      if sql:find("INSERT", 1, true) then
        return nil, clash
      end
      return {}, 0
    end
    assert.equal(clash, raised_by(authors.aget_or_create, authors, { name = "x" }))
  end)

  it("inserts many with one statement, those with a key by another", function()
    driver.answer = function(sql)
      return sql:find("RETURNING", 1, true) and { { id = 1 }, { id = 2 } } or {}, 0
    end
    local made = authors:abulk_create({ { name = "a" }, { name = "b" } })
    assert.same({ 1, 2 }, { made[1].id, made[2].id })
    local sent = driver.take()
    assert.equal(
      'INSERT INTO "author" ("age", "name") VALUES ($1, $2), ($3, $4) RETURNING "id"',
      sent[3]
    )
    assert.same({}, authors:abulk_create({}))
    assert.same({}, driver.take())
  end)

  it("tells of the a that was left off, at the line where it was", function()
    local wanted = "query_spec.lua:%%d+: %s has no method '%s': what waits has an a in front,"
      .. " as 'a%s'"
    local narrow = authors:filter({ name = "x" })
    for _, case in ipairs({
      { Author.objects, "Author.objects", "get" },
      { Author.objects, "Author.objects", "get_or_create" },
      { authors, "a query of Author", "bulk_create" },
      { narrow, "a query of Author", "list" },
      { Author({}), "Author", "save" },
      { Author({}), "Author", "refresh_from_db" },
    }) do
      local err = raised_by(function()
        local method = case[1][case[3]]
        return method
      end)
      assert.matches(wanted:format(case[2], case[3], case[3]), err)
    end
    assert.is_nil(narrow.lias) -- as of alias
    assert.is_nil(Author({}).delet)
  end)

  it("lets a model have what would lack its a", function()
    local Page = models.define("page", { save = models.text({ null = true }) }, {
      methods = {
        count = function()
          return "its own"
        end,
      },
    })
    assert.is_nil(Page({}).save)
    assert.equal("its own", Page.objects:count())
    assert.equal("its own", Page.objects:filter({ save = "x" }):count())
  end)
end)
