--- What looks alike: trigrams and accents, by extensions of PostgreSQL. An extension is there for a
--- whole database, so there is one for this spec alone.

require("spec.support.fake_core")

local compile = require("rille.models.compile")
local dialects = require("rille.db.dialect")
local models = require("rille.models")
local raised = require("spec.support.raised")

local Note = models.define("alike_note", { text = models.text() }, { name = "Note" })
local ALIKE = {
  ["a trigram lookup"] = Note.objects:filter({ text__trigram_similar = "x" }),
  ["a similarity"] = Note.objects:annotate({ s = models.TrigramSimilarity("text", "x") }),
  ["a distance"] = Note.objects:annotate({ d = models.TrigramDistance("text", "x") }),
  ["an accent"] = Note.objects:filter({ text__unaccent = "x" }),
}

local message_of = raised.message

describe("on SQLite", function()
  for what, query in pairs(ALIKE) do
    it(what .. " is refused by name", function()
      local message = message_of(compile.select, query, dialects.sqlite)
      assert.truthy(message:find("needs PostgreSQL; sqlite does not have it", 1, true), message)
    end)
  end
end)

local loaded, layer_database = pcall(require, "spec.support.layer_database")
if loaded and layer_database.found then
  describe("on PostgreSQL", function()
    local database, notes

    setup(function()
      database = layer_database.create("spec_alike").inside
      notes = Note.objects:using(database)
      require("rille.models.schema").acreate_missing(database, { Note })
      notes:abulk_create({ { text = "A brown fox" }, { text = "It jumps over dogs" } })
    end)
    teardown(layer_database.clean)

    local function texts(query)
      return query:values_list("text", { flat = true }):alist()
    end

    for what, query in pairs(ALIKE) do
      it(what .. " names the extension that is missing", function()
        query = query:using(database)
        local extension = what == "an accent" and "unaccent" or "pg_trgm"
        local message = message_of(query.alist, query)
        assert.truthy(message:find("CREATE EXTENSION " .. extension, 1, true), message)
      end)
    end

    it("trigrams find and order what looks alike", function()
      database:aexecute("CREATE EXTENSION pg_trgm")
      for key, value in pairs({
        text__trigram_similar = "brown box",
        text__trigram_word_similar = "brown",
        text__trigram_strict_word_similar = "brown",
      }) do
        assert.same({ "A brown fox" }, texts(notes:filter({ [key] = value })), key)
        assert.same({ "It jumps over dogs" }, texts(notes:exclude({ [key] = value })), key)
      end
      for name_of, expression in pairs({
        ["-TrigramSimilarity"] = models.TrigramSimilarity("text", "brown box"),
        TrigramDistance = models.TrigramDistance("text", "brown box"),
        ["-TrigramWordSimilarity"] = models.TrigramWordSimilarity("brwn", "text"),
        TrigramWordDistance = models.TrigramWordDistance("brwn", "text"),
        ["-TrigramStrictWordSimilarity"] = models.TrigramStrictWordSimilarity("brwn", "text"),
        TrigramStrictWordDistance = models.TrigramStrictWordDistance("brwn", "text"),
      }) do
        local order = name_of:sub(1, 1) == "-" and "-x" or "x"
        local found = notes:annotate({ x = expression }):order_by(order):alist()
        assert.equal("A brown fox", found[1].text, name_of)
        assert.is_true(found[1].x > 0 and found[1].x < 1 and found[1].x ~= found[2].x, name_of)
      end
    end)

    it("accents are left out on both sides", function()
      database:aexecute("CREATE EXTENSION unaccent")
      for key, value in pairs({
        text__unaccent = "À brown fòx",
        text__unaccent__icontains = "BRÖWN",
        text__unaccent__startswith = "Á",
      }) do
        assert.same({ "A brown fox" }, texts(notes:filter({ [key] = value })), key)
      end
    end)
  end)
end
