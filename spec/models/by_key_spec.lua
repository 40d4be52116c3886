--- Reads of a row by its key, which those of other tasks may be sent with.

local fake_core = require("spec.support.fake_core")

local compile = require("rille.models.compile")
local db = require("rille.db")
local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local models = require("rille.models")
local queries = require("rille.models.query")

local Query = queries.Query

local Author = models.define("author", {
  name = models.text(),
  age = models.integer({ null = true }),
  mentor = models.foreign_key("self", { null = true }),
})
local Book = models.define("book", {
  pages = models.integer(),
  author = models.foreign_key(Author, { null = true, related_name = "books" }),
})

describe("a row by its key", function()
  local driver, database

  before_each(function()
    driver = fake_core.new("postgresql")
    database = db.Database("spec", { url = "postgresql:x" }, driver)
  end)

  --- What `aget` told the driver about others like it; nil: nothing.
  local function many(objects, ...)
    driver.many = {}
    local bound = objects:using(database)
    local ok, err = pcall(bound.aget, bound, ...)
    assert.is_true(ok or errors.is_error(err, errors.ObjectDoesNotExist), tostring(err))
    return driver.many[1]
  end

  it("says how to read those of many keys", function()
    assert.same({
      sql = 'SELECT "author"."id", "author"."age", "author"."mentor_id", "author"."name"'
        .. ' FROM "author" WHERE "author"."id" = ANY($1)',
      column = 1,
    }, many(Author.objects, { pk = 7 }))
    assert.equal(7, driver.params[1][1])
    assert.equal(driver.log[1], (compile.select(
      Query.filter(queries.new(Author), { pk = 7 }), dialects.postgresql, 21
    )))
    assert.truthy(many(Author.objects, { id = 7 }))
    assert.truthy(many(Author.objects, { id__exact = 7 }))
    assert.truthy(many(Author.objects:filter({ pk = 8 })))
    assert.truthy(many(Author.objects:order_by("name"), { pk = 7 })) -- of one there is no order
    assert.truthy(many(Author.objects, models.Q({ pk = 7 })))
  end)

  it("is asked for in the same way again, if the key is all and a number it may be", function()
    local objects = Author.objects:using(database)
    local function ask(given)
      driver.log, driver.params, driver.many = {}, {}, {}
      local ok, err = pcall(objects.aget, objects, given)
      assert.is_false(ok)
      return driver.log[1], driver.params[1] and driver.params[1][1], tostring(err)
    end
    local asked
    for _ = 1, 2 do -- the second time they are known
      local sql, key, err = ask { pk = 7 }
      asked = sql
      assert.equal(7, key)
      assert.matches("Author matching query does not exist", err, 1, true)
      assert.equal(1, #driver.many)
    end
    for given, sent in pairs { [2 ^ 53] = 2 ^ 53, [-7] = -7, [0] = 0, ["7"] = 7 } do
      local sql, key = ask { pk = given }
      assert.same({ asked, sent }, { sql, key })
    end
    assert.is_nil((ask { pk = 2 ^ 64 })) -- nothing has such a key
    assert.matches("integer", select(3, ask { pk = 7.5 }))
    assert.matches('"age" = %$', (ask { pk = 7, age = 8 }))
    assert.matches('"age" IS NULL', (ask { pk = 7, age__isnull = true }))
    assert.equal(asked, (ask(models.Q { pk = 7 })))
    assert.equal(asked, (ask(setmetatable({ pk = 7 }, {}))))
  end)

  it("is an instance, and raises when there are several, however it was asked before", function()
    driver.answer = function()
      return { { id = 7, name = "Ann" } }, 1
    end
    local objects = Author.objects:using(database)
    for _ = 1, 2 do
      local one = objects:aget { pk = 7 }
      assert.equal("Ann", one.name)
      assert.equal(Author, getmetatable(one).model)
      assert.equal(database, rawget(one, "_db"))
    end
    driver.answer = function()
      return { { id = 7 }, { id = 7 } }, 2
    end
    for _ = 1, 2 do
      local ok, err = pcall(objects.aget, objects, { pk = 7 })
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, Author.MultipleObjectsReturned))
    end
  end)

  it("counts the columns that are selected", function()
    local Tag = models.define("tag", {
      label = models.text(),
      code = models.integer({ unique = true }),
      mark = models.uuid({ unique = true }),
    })
    assert.equal(2, many(Tag.objects, { code = 7 }).column)
    assert.equal(4, many(Tag.objects, { mark = "6BA7B8109DAD11D180B400C04FD430C8" }).column)
    local only = many(Tag.objects:only("code"), { code = 7 })
    assert.same({ 'SELECT "tag"."id", "tag"."code" FROM "tag" WHERE "tag"."code" = ANY($1)', 2 }, {
      only.sql,
      only.column,
    })
    assert.equal(1, many(Tag.objects:only("code"), { pk = 7 }).column)
    assert.is_nil(many(Tag.objects:defer("code"), { code = 7 })) -- whose it is, nobody could tell
    assert.is_nil(many(Tag.objects, { label = "x" }))
    local Twin = models.define("twin", {
      tag = models.one_to_one(Tag, { primary_key = true }),
    })
    assert.equal(1, many(Twin.objects, { tag = 7 }).column)
    assert.equal(1, many(Twin.objects:select_related("tag"), { pk = 7 }).column)
  end)

  it("brings related objects along", function()
    local found = many(Book.objects:select_related("author"), { pk = 7 })
    assert.truthy(found.sql:find(' LEFT JOIN "author" AS ', 1, true))
    assert.truthy(found.sql:find(' WHERE "book"."id" = ANY($1)', 1, true))
  end)

  it("is nothing else", function()
    local books = Book.objects
    for label, given in pairs({
      ["another field"] = { books, { pages = 7 } },
      ["another lookup"] = { books, { pk__gt = 7 } },
      ["two conditions"] = { books, { pk = 7, pages = 8 } },
      ["a condition before"] = { books:filter({ pages = 7 }), { pk = 7 } },
      ["the same twice"] = { books:filter({ pk = 7 }), { pk = 7 } },
      ["its contrary"] = { books:exclude({ pk = 7 }) },
      ["a key of another table"] = { books, { author__id = 7 } },
      ["another's key"] = { Author.objects, { books__pk = 7 } },
      ["a list"] = { books, { pk__in = { 7 } } },
      ["distinct"] = { books:distinct(), { pk = 7 } },
      ["values"] = { books:values("id"), { pk = 7 } },
      ["a slice"] = { books:filter({ pk = 7 }):limit(3) },
      ["an offset"] = { books:filter({ pk = 7 }):offset(3) },
      ["an annotation"] = { books:annotate({ n = models.Count("author") }), { pk = 7 } },
      ["an expression"] = { books, { pk = models.F("pages") } },
    }) do
      driver.log = {}
      assert.is_nil(many(unpack(given)), label)
    end
    driver.pin()
    driver.pin_state().depth = 1
    assert.is_nil(many(books:select_for_update(), { pk = 7 }))
    driver.unpin()
  end)

  it("is a statement of its own on SQLite", function()
    driver = fake_core.new("sqlite")
    database = db.Database("spec", { url = "sqlite:x" }, driver)
    assert.is_nil(many(Author.objects, { pk = 7 }))
  end)
end)
