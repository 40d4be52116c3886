--- Models against real databases: a SQLite file, and PostgreSQL when RILLE_TEST_POSTGRES is
--- its URL. Runs inside the runtime, where the suite is a task.

local real = pcall(require, "rille.core")

if not real then
  describe("models on a real database", function()
    pending("need the runtime: run this with `rille test`")
  end)
  return
end

local db = require("rille.db")
local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null
local schema = require("rille.models.schema")

local Q, F = models.Q, models.F

local function define()
  local Author = models.define("rille_spec_author", {
    name = models.text({ max_length = 40, unique = true }),
    age = models.integer({ null = true }),
    mentor = models.foreign_key("self", { null = true, on_delete = "set_null" }),
  }, { name = "Author" })
  local Book = models.define("rille_spec_book", {
    title = models.text(),
    pages = models.integer({ default = 100 }),
    author = models.foreign_key(Author, { on_delete = "cascade", related_name = "books" }),
    created = models.timestamp({ auto_now_add = true }),
  }, { name = "Book", unique = { { "author", "title" } } })
  local Sample = models.define("rille_spec_sample", {
    key = models.uuid({ primary_key = true }),
    flag = models.boolean({ null = true }),
    amount = models.numeric({ null = true }),
    ratio = models.float({ null = true }),
    big = models.bigint({ null = true }),
    blob = models.bytes({ null = true }),
    day = models.date({ null = true }),
    at = models.timestamp({ null = true }),
    data = models.json({ null = true }),
    renamed = models.text({ null = true, db_column = "strange column" }),
  }, { name = "Sample" })
  return Author, Book, Sample
end

local function suite(label, open)
  describe("models on " .. label, function()
    local database, Author, Book, Sample, clean
    local authors, books, samples

    local function drop()
      for _, model in ipairs({ Sample, Book, Author }) do
        database:aexecute('DROP TABLE IF EXISTS "' .. model._meta.table .. '"')
      end
    end

    setup(function()
      database, clean = open()
      Author, Book, Sample = define()
      drop()
      schema.acreate_missing(database, { Book, Author, Sample })
      authors = Author.objects:using(database)
      books = Book.objects:using(database)
      samples = Sample.objects:using(database)
    end)

    teardown(function()
      drop()
      clean()
    end)

    before_each(function()
      books:all():adelete()
      authors:all():adelete()
      samples:all():adelete()
    end)

    local function names(query)
      return query:values_list("name", { flat = true }):alist()
    end

    it("makes each table once, in an order that its keys allow", function()
      assert.same({}, schema.acreate_missing(database, { Book, Author, Sample }))
      assert.same({}, schema.acheck(database, { Book, Author, Sample }))
    end)

    it("says which tables and columns are missing", function()
      local More = models.define("rille_spec_author", { shoes = models.integer() })
      local Gone = models.define("rille_spec_gone", { x = models.integer() }, { name = "Gone" })
      local said = schema.acheck(database, { More, Gone })
      assert.equal(2, #said)
      assert.truthy(said[1]:find("The table 'rille_spec_author' has no column 'shoes'", 1, true))
      assert.truthy(said[2]:find("has no table 'rille_spec_gone' for Gone.", 1, true))
    end)

    it("writes an object, finds it, changes it and deletes it", function()
      local ann = authors:acreate({ name = "Ann", age = 40 })
      assert.equal("number", type(ann.id))
      local found = authors:aget({ pk = ann.pk })
      assert.equal(ann, found)
      assert.equal("Ann", found.name)
      found.age = null
      found:asave()
      assert.is_nil(authors:aget({ name = "Ann" }).age)
      found.name = "Anna"
      found:asave({ update_fields = { "name" } })
      assert.equal("Anna", ann:arefresh_from_db().name)
      assert.is_nil(ann.age)
      assert.equal(1, found:adelete())
      assert.is_nil(found.pk)
      local ok, err = pcall(ann.asave, ann, { update_fields = { "name" } })
      assert.is_false(ok)
      assert.equal("Save with update_fields did not affect any rows.", err.message)
    end)

    it("inserts an object with a key of its own when no row is there to update", function()
      local ann = Author({ id = 4711, name = "Ann" })
      ann._db = database
      ann:asave()
      assert.equal("Ann", authors:aget({ pk = 4711 }).name)
    end)

    it("tells none from many", function()
      local ok, err = pcall(authors.aget, authors, { name = "nobody" })
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, Author.DoesNotExist))
      assert.equal("Author matching query does not exist.", err.message)
      authors:abulk_create({ { name = "a" }, { name = "b" } })
      ok, err = pcall(authors.aget, authors)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, Author.MultipleObjectsReturned))
      assert.equal("get() returned more than one Author -- it returned 2!", err.message)
    end)

    it("gives every kind of value back as it was", function()
      local key = "6F9619FF-8B86-D011-B42D-00C04FC964FF"
      samples:acreate({
        key = key,
        flag = false,
        amount = "12.5",
        ratio = 0.1,
        big = "9007199254740993",
        blob = "a\0\255b",
        day = "2024-02-29",
        at = "2024-05-01T12:30:00.25+02:00",
        data = { list = { 1, 2 }, word = "é" },
        renamed = "it's",
      })
      local row = samples:aget({ pk = key })
      assert.equal(key:lower(), row.key)
      assert.is_false(row.flag)
      assert.equal("12.5", row.amount)
      assert.equal(0.1, row.ratio)
      assert.equal("9007199254740993", row.big)
      assert.equal("a\0\255b", row.blob)
      assert.equal("2024-02-29", row.day)
      assert.equal("2024-05-01 10:30:00.25+00", row.at)
      assert.same({ list = { 1, 2 }, word = "é" }, row.data)
      assert.equal("it's", row.renamed)
      for _, lookup in ipairs({
        { flag = false },
        { amount__lt = 13 },
        { amount__gt = "2.5" },
        { ratio__in = { 0.1, 0.2 } },
        { big = "9007199254740993" },
        { big = 9007199254740993LL },
        { blob = "a\0\255b" },
        { day__range = { "2024-02-01", "2024-02-29" } },
        { at__gte = "2024-05-01T10:30:00Z" },
        { at__lt = 1714559401 },
        { key__in = { key } },
        { renamed__contains = "'" },
      }) do
        assert.equal(1, samples:filter(lookup):acount(), (next(lookup)))
      end
      row.flag, row.data = true, null
      row:asave()
      local again = samples:values("flag", "data", "at"):aget()
      assert.same({ flag = true, at = "2024-05-01 10:30:00.25+00" }, again)
    end)

    it("compares text with and without case, and takes wildcards literally", function()
      for _, name in ipairs({ "Ann", "ann", "100%", "1000", "a_b", "axb", "a*b", "[x]", "a\\b" }) do
        authors:acreate({ name = name })
      end
      local function count(lookup)
        return authors:filter(lookup):acount()
      end
      assert.equal(1, count({ name__contains = "An" }))
      assert.equal(2, count({ name__icontains = "AN" }))
      assert.equal(2, count({ name__iexact = "ANN" }))
      assert.equal(1, count({ name__startswith = "An" }))
      assert.equal(1, count({ name__endswith = "0%" }))
      assert.equal(1, count({ name__contains = "0%" }))
      assert.equal(1, count({ name__contains = "_" }))
      assert.equal(1, count({ name__icontains = "_" }))
      assert.equal(1, count({ name__contains = "*" }))
      assert.equal(1, count({ name__startswith = "[x" }))
      assert.equal(1, count({ name__contains = "\\" }))
      assert.equal(1, count({ name__istartswith = "A\\" }))
      assert.equal(0, count({ name = "x' OR '1'='1" }))
    end)

    it("keeps rows with NULL when excluding a value", function()
      authors:abulk_create({ { name = "a", age = 1 }, { name = "b", age = 2 }, { name = "c" } })
      assert.same({ "b", "c" }, names(authors:exclude({ age = 1 }):order_by("name")))
      assert.same({ "a" }, names(authors:exclude(-Q({ age = 1 }))))
      assert.same({ "c" }, names(authors:filter({ age = null })))
      assert.same({ "a", "b" }, names(authors:filter({ age__isnull = false }):order_by("name")))
      assert.same({ "a", "c" }, names(
        authors:filter(Q({ age = 1 }) + Q({ age = null })):order_by("name")
      ))
    end)

    it("answers what no integer column can hold without an error", function()
      authors:acreate({ name = "a", age = 5 })
      assert.is_false(authors:filter({ age = 1e15 }):aexists())
      assert.is_false(authors:filter({ pk = 1e300 }):aexists())
      assert.is_true(authors:filter({ age__lt = 1e15 }):aexists())
      assert.is_true(authors:filter({ age__gt = -1e15 }):aexists())
      assert.is_false(authors:filter({ age__gt = 1e15 }):aexists())
      assert.is_true(authors:filter({ age__gt = 4.5, age__lt = 5.5 }):aexists())
      assert.is_true(authors:filter({ pk__lte = 1e18 }):aexists())
    end)

    it("follows foreign keys in filters, orders, values and writes", function()
      local ann = authors:acreate({ name = "Ann" })
      local bob = authors:acreate({ name = "Bob", mentor = ann })
      books:acreate({ title = "x", author = ann, pages = 10 })
      books:acreate({ title = "y", author = bob, pages = 20 })
      assert.equal("x", books:aget({ author__name = "Ann" }).title)
      assert.equal("y", books:aget({ author__mentor__name = "Ann" }).title)
      assert.equal("y", books:aget({ author = bob }).title)
      assert.equal("x", books:aget({ author__mentor__isnull = true }).title)
      assert.same(
        { { "y", "Bob" }, { "x", "Ann" } },
        books:order_by("-author__name"):values_list("title", "author__name"):alist()
      )
      assert.equal(1, books:filter({ author__name = "Bob" }):aupdate({ pages = F("pages") + 5 }))
      assert.equal(25, books:aget({ title = "y" }).pages)
      assert.equal(1, books:filter({ author__name = "Bob" }):adelete())
      assert.equal(1, books:acount())
    end)

    it("brings related objects along, and never fetches one by itself", function()
      local ann = authors:acreate({ name = "Ann" })
      local bob = authors:acreate({ name = "Bob", mentor = ann })
      books:acreate({ title = "y", author = bob })
      local book = books:select_related("author__mentor"):aget()
      assert.equal("Bob", book.author.name)
      assert.equal("Ann", book.author.mentor.name)
      assert.is_nil(book.author.mentor.mentor)
      local plain = books:aget()
      assert.error(function()
        return plain.author
      end)
    end)

    it("slices, counts and pages", function()
      local rows = {}
      for i = 1, 25 do
        rows[i] = { name = ("n%02d"):format(i), age = i % 5 }
      end
      authors:abulk_create(rows)
      assert.equal(25, authors:acount())
      assert.equal(3, authors:limit(3):acount())
      assert.equal(5, authors:offset(20):acount())
      assert.same({ "n11", "n12" }, names(authors:order_by("name"):offset(10):limit(2)))
      assert.equal("n25", authors:order_by("name"):alast().name)
      assert.equal("n01", authors:afirst().name)
      assert.same({ 4, 3, 2, 1, 0 }, authors:order_by("-age"):distinct():values_list("age", {
        flat = true,
      }):alist())
      for _, query in ipairs({ authors, authors:order_by("age"), authors:filter({ age = 3 }) }) do
        local seen, n = {}, 0
        for author in query:aiterator({ chunk_size = 4 }) do
          assert.is_nil(seen[author.pk])
          seen[author.pk], n = true, n + 1
        end
        assert.equal(query:acount(), n)
      end
      for _, query in ipairs({
        authors:order_by("-name"),
        authors:order_by("name"):reverse(),
        authors:order_by("age", "-name"),
        authors:order_by("-id"),
        authors:order_by("name"):offset(3):limit(17),
        authors:order_by("?"):order_by("name", "-id"):only("age", "name"),
        authors:order_by("name"):defer("name"),
      }) do
        local wanted, got = {}, {}
        for i, author in ipairs(query:all():alist()) do
          wanted[i] = author.pk
        end
        for author in query:aiterator({ chunk_size = 4 }) do
          got[#got + 1] = author.pk
        end
        assert.same(wanted, got)
      end
      local n = 0
      for _ in authors:limit(10):aiterator({ chunk_size = 3 }) do
        n = n + 1
      end
      assert.equal(10, n)
    end)

    it("gets or makes, updates or makes, and gets many by key", function()
      local ann, created = authors:aget_or_create({ name = "Ann" }, { age = 40 })
      assert.is_true(created)
      local again, twice = authors:aget_or_create({ name = "Ann" }, { age = 50 })
      assert.is_false(twice)
      assert.equal(ann, again)
      assert.equal(40, again.age)
      again, created = authors:aupdate_or_create({ name = "Ann" }, { age = 50 })
      assert.is_false(created)
      assert.equal(50, authors:aget({ pk = again.pk }).age)
      local by_name = authors:ain_bulk({ "Ann", "Bob" }, { field_name = "name" })
      assert.equal(ann, by_name.Ann)
      assert.is_nil(by_name.Bob)
    end)

    it("counts, adds up and averages", function()
      local ann = authors:acreate({ name = "Ann", age = 40 })
      for i, pages in ipairs({ 10, 20, 40 }) do
        books:acreate({ title = "t" .. i, author = ann, pages = pages })
      end
      local all = {
        n = models.Count("*"),
        writers = models.Count("author", { distinct = true }),
        total = models.Sum("pages"),
        mean = models.Avg("pages"),
        least = models.Min("pages"),
        last = models.Max("title"),
        age = models.Max("author__age"),
      }
      local got = books:aaggregate(all)
      assert.is_true(math.abs(got.mean - 70 / 3) < 1e-9)
      got.mean = nil
      assert.same(
        { n = 3, writers = 1, total = 70, least = 10, last = "t3", age = 40 },
        got
      )
      assert.same(
        { total = 60 },
        books:order_by("-pages"):limit(2):aaggregate({ total = models.Sum("pages") })
      )
      assert.same({ n = 0, writers = 0 }, books:filter({ pages = 1 }):aaggregate(all))
    end)

    it("reaches the objects that point here by their related_name", function()
      local ann, bob = authors:acreate({ name = "Ann" }), authors:acreate({ name = "Bob" })
      local book = ann.books:acreate({ title = "x" })
      books:acreate({ title = "y", author = bob })
      assert.equal(ann.pk, book.author_id)
      assert.equal("x", ann.books:aget().title)
      assert.equal(1, bob.books:aadd(book))
      assert.equal(bob, book.author)
      assert.equal(2, bob.books:acount())
      assert.is_false(ann.books:aexists())
    end)

    it("rolls a failed block back and keeps what is around it", function()
      database:atomic(function()
        authors:acreate({ name = "kept" })
        local ok, err = pcall(database.atomic, database, function()
          authors:acreate({ name = "lost" })
          authors:acreate({ name = "kept" })
        end)
        assert.is_false(ok)
        assert.is_true(errors.is_error(err, errors.IntegrityError))
        authors:acreate({ name = "after" })
      end)
      assert.same({ "after", "kept" }, names(authors:order_by("name")))
    end)

    it("refuses statements after a failed one, and rolls the block back", function()
      authors:acreate({ name = "there" })
      database:atomic(function()
        authors:acreate({ name = "new" })
        pcall(authors.acreate, authors, { name = "there" })
        local ok, err = pcall(authors.acount, authors)
        assert.is_false(ok)
        assert.is_true(errors.is_error(err, errors.TransactionManagementError))
      end)
      assert.same({ "there" }, names(authors))
    end)

    it("locks rows inside a transaction only", function()
      local ok, err = pcall(function()
        return authors:select_for_update():alist()
      end)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.TransactionManagementError))
      database:atomic(function()
        assert.same({}, authors:select_for_update():alist())
      end)
    end)

    it("lets the database keep on_delete", function()
      local ann = authors:acreate({ name = "Ann" })
      local bob = authors:acreate({ name = "Bob", mentor = ann })
      books:acreate({ title = "x", author = ann })
      ann:adelete()
      assert.equal(0, books:acount())
      assert.is_nil(bob:arefresh_from_db().mentor_id)
    end)
  end)
end

suite("SQLite", function()
  local path = os.tmpname()
  os.remove(path)
  return db.Database("spec", { url = "sqlite:" .. path }), function()
    for _, suffix in ipairs({ "", "-wal", "-shm" }) do
      os.remove(path .. suffix)
    end
  end
end)

local postgres = os.getenv("RILLE_TEST_POSTGRES")
if postgres and postgres ~= "" then
  suite("PostgreSQL", function()
    return db.Database("spec", { url = postgres }), function() end
  end)
else
  describe("models on PostgreSQL", function()
    pending("need RILLE_TEST_POSTGRES, the URL of a database")
  end)
end
