--- Which joins are INNER and which LEFT OUTER, by what a filter demands.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local compile = require("rille.models.compile")
local demands = require("rille.models.demands")
local dialects = require("rille.db.dialect")
local models = require("rille.models")

local Q, F = models.Q, models.F
local shelf = require("spec.models.shelf")()
local Author, Book = shelf.Author, shelf.Book

--- The joins of a query: `I shelf_author, L shelf_author`.
local function joins_of(query)
  local found = {}
  for kind, joined in compile.select(query, dialects.postgresql):gmatch("(%u)%u+ JOIN \"([%w_]+)\"")
  do
    found[#found + 1] = kind .. " " .. joined:gsub("^shelf_", "")
  end
  return table.concat(found, ", ")
end

describe("a join that may find nothing", function()
  local books = Book.objects
  local french, long = Q({ publisher__country = "fr" }), Q({ pages__gt = 100 })
  local mentored = Q({ author__mentor__name = "x" })

  for _, case in ipairs({
    { "is inner where the filter demands a row", books:filter(french), "I publisher" },
    { "is inner in every part of an and", books:filter(french * long), "I publisher" },
    { "is outer where another part of an or may hold", books:filter(french + long), "L publisher" },
    {
      "is inner where all parts of an or demand it",
      books:filter(french + Q({ publisher__name = "x" }) * long),
      "I publisher",
    },
    {
      "is inner by another filter beside the or",
      books:filter(french + long):filter({ publisher__name = "x" }),
      "I publisher",
    },
    { "is outer in an exclusive or", books:filter(french ^ long), "L publisher" },
    { "is outer when its row is excluded", books:exclude(french), "L publisher" },
    { "is inner under two nots", books:exclude(-french), "I publisher" },
    { "is outer under the not of an and", books:exclude(french * long), "L publisher" },
    {
      "is outer where NULL is looked for",
      books:filter({ publisher__country__isnull = true }),
      "L publisher",
    },
    {
      "is inner where NULL is excluded",
      books:filter({ publisher__country__isnull = false }),
      "I publisher",
    },
    {
      "is inner under the not of a look for NULL",
      books:exclude({ publisher__country__isnull = true }),
      "I publisher",
    },
    { "is inner all the way", books:filter(mentored), "I author, I author" },
    {
      "is inner behind one that is demanded, if its key is never NULL",
      shelf.Review.objects:filter(Q({ book__publisher__name = "x" })),
      "I book, I publisher",
    },
    {
      "is inner before one that may find nothing",
      Author.objects:filter({ mentor__name = "x" }):order_by("mentor__mentor__name"),
      "I author, L author",
    },
    {
      "is outer for an order alone",
      books:order_by("publisher__name"),
      "L publisher",
    },
    {
      "is inner for the objects that come along, too",
      books:select_related("publisher"):filter(french),
      "I publisher",
    },
    {
      "is inner where it is compared with a field",
      books:filter({ title = F("publisher__name") }),
      "I publisher",
    },
    {
      "is inner behind a transform",
      books:filter({ publisher__name__lower = "x" }),
      "I publisher",
    },
    {
      "is outer in a function that takes NULL",
      books:annotate({ of = models.Coalesce("publisher__name", models.Value("x")) }):filter({
        of = "x",
      }),
      "L publisher",
    },
    {
      "is outer to be counted",
      Author.objects:annotate({ n = models.Count("books") }):filter({ n = 0 }),
      "L book",
    },
    {
      "is inner to be counted when a filter before demands it",
      Author.objects:filter({ books__pages__gt = 1 }):annotate({ n = models.Count("books") }),
      "I book",
    },
    {
      "is outer to be counted when a filter behind has a join of its own",
      Author.objects:annotate({ n = models.Count("books") }):filter({ books__pages__gt = 1 }),
      "I book, L book",
    },
  }) do
    it(case[1], function()
      assert.equal(case[3], joins_of(case[2]))
    end)
  end
end)

for _, backend in ipairs(backends.all(shelf.all)) do
  describe("joins on " .. backend.name, function()
    local database = backend.database
    setup(function()
      backend.make()
      local authors, books = Author.objects:using(database), Book.objects:using(database)
      local publishers = shelf.Publisher.objects:using(database)
      local houses = {
        publishers:acreate({ name = "x", country = "fr" }),
        publishers:acreate({ name = "y" }),
      }
      local ann = authors:acreate({ name = "x", age = 40 })
      local bob = authors:acreate({ name = "y", mentor = ann })
      local cid = authors:acreate({ name = "z", age = 1, mentor = bob })
      for i, author in ipairs({ ann, ann, bob, bob, cid, cid }) do
        local title = i % 2 == 0 and "x" or "y"
        local house = i < 5 and houses[i % 3] or nil
        books:acreate({ title = title, pages = i, author = author, publisher = house })
      end
    end)
    teardown(backend.drop)

    local TESTS = {
      { publisher__country = "fr" },
      { publisher__name = "y" },
      { publisher__name__isnull = true },
      { publisher__country__isnull = false },
      { publisher__name = F("title") },
      { author__mentor__name = "x" },
      { author__mentor__mentor__age__gte = 40 },
      { author__mentor__age__isnull = true },
      { pages__gt = 3 },
      { author__books__pages__lt = 3 },
      { author__profile__motto__isnull = true },
    }

    local function condition(depth)
      local way = depth > 0 and math.random(5) or 1
      if way == 1 then
        return Q(TESTS[math.random(#TESTS)])
      elseif way == 2 then
        return -condition(depth - 1)
      end
      local a, b = condition(depth - 1), condition(depth - 1)
      return way == 3 and a + b or way == 4 and a * b or a ^ b
    end

    --- The rows that a query gives, by hand, so that nothing is remembered from another run.
    local function rows_of(query)
      local sql, params = compile.select(query:order_by("pk"):values_list("pk"), database.dialect)
      local ids = {}
      for i, row in ipairs(database:aquery(sql, unpack(params, 1, params.n))) do
        ids[i] = row.pk
      end
      return table.concat(ids, " "), sql
    end

    it("give the rows that outer joins give, whatever the condition", function()
      local own, promoted = demands.of, 0
      finally(function()
        demands.of = own
      end)
      for _ = 1, 60 do
        local query = Book.objects:filter(condition(3))
        local found, sql = rows_of(query)
        demands.of = function()
          return {}
        end
        local wanted, outer = rows_of(query)
        demands.of = own
        assert.equal(wanted, found, sql)
        promoted = promoted + (sql ~= outer and 1 or 0)
      end
      assert.is_true(promoted > 5, promoted)
    end)
  end)
end
