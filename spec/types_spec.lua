--- Declarations for editors: they are Lua, they name nothing that is not declared, and what they
--- promise the models keep.

local fake_core = require("spec.support.fake_core")

local db = require("rille.db")
local errors = require("rille.errors")
local models = require("rille.models")
local types = require("rille.types")

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

--- rille's own files, as the binary has them.
local function library()
  local files = {}
  local listing = assert(io.popen("find lua/rille -name '*.lua'"))
  for path in listing:lines() do
    files[path:gsub("^lua/", "")] = read(path)
  end
  listing:close()
  return files
end

local Tag = models.define("tag", { name = models.text() })
local Person = models.define("person", {
  name = models.text({ max_length = 40 }),
  mood = models.text({ choices = { { "ok", "Fine" }, { "sad", "Not so" } }, null = true }),
})
function Person:greeting()
  return "hello " .. self.name
end

local Note = models.define("note", {
  author = models.foreign_key(Person, { null = true, related_name = "notes" }),
  pages = models.bigint(),
  price = models.numeric({ null = true }),
  at = models.timestamp(),
  words = models.array(models.text()),
  data = models.json({ null = true }),
  tags = models.many_to_many(Tag),
}, {
  managers = {
    cheap = function(all)
      return all:filter({ price__lt = 10 })
    end,
  },
  methods = {
    long = function(query)
      return query:filter({ pages__gt = 500 })
    end,
  },
})
local Card = models.define("card", { person = models.one_to_one(Person) })
local ALL = { Tag, Person, Note, Card }

describe("declarations of models", function()
  local files = library()
  local text = types.text(ALL, files)

  --- The lines of one class.
  local function class(name)
    local first, last = text:find("---@class " .. name .. " .-\n\n")
    if not first then
      first, last = text:find("---@class " .. name .. "\n.-\n\n")
    end
    return assert(first, name) and text:sub(first, last)
  end

  it("are Lua, however many models there are", function()
    local many = {}
    for i = 1, 300 do
      many[i] = models.define("t" .. i, { name = models.text() })
    end
    assert(loadstring(text))
    assert(loadstring(types.text(many, {})))
  end)

  it("say what an instance has", function()
    local note = class("models.Note")
    for _, line in ipairs({
      "pk integer",
      "author_id integer?",
      "author models.Person?",
      "pages integer",
      "price string?",
      "at string",
      "words string[]",
      "data any?",
      "tags models.TagQuery",
    }) do
      assert.truthy(note:find("---@field " .. line .. "\n", 1, true), line .. " in " .. note)
    end
    local person = class("models.Person")
    assert.truthy(person:find('---@field mood ("ok"|"sad")?', 1, true))
    assert.truthy(person:find("---@field notes models.NoteQuery", 1, true))
    assert.truthy(person:find("---@field card models.Card?", 1, true))
    assert.truthy(class("models.Tag"):find("---@field note_set models.NoteQuery", 1, true))
  end)

  it("say of every kind of field what it holds and what it takes", function()
    local Every = models.define("every", {
      key = models.uuid({ primary_key = true }),
      integer = models.integer({ null = true }),
      bigint = models.bigint(),
      float = models.float(),
      numeric = models.numeric(),
      mood = models.text({ choices = { "ok", "sad" } }),
      boolean = models.boolean(),
      bytes = models.bytes(),
      date = models.date(),
      timestamp = models.timestamp(),
      json = models.json(),
      moods = models.array(models.text({ choices = { "ok", "sad" } })),
      vector = models.tsvector(),
      tag = models.foreign_key(Tag),
      one = models.one_to_one(Tag, { null = true, related_name = "alone" }),
    })
    local said = types.text({ Every }, {})
    local E = "rille.models.Expression|"
    for _, line in ipairs({
      "pk string",
      "integer integer?",
      "mood \"ok\"|\"sad\"",
      "moods (\"ok\"|\"sad\")[]",
      "bytes string",
      "json any",
      "vector string",
      "tag_id integer",
      "tag models.Tag",
      "one models.Tag?",
      "key? " .. E .. "string",
      "integer? " .. E .. "lightuserdata|integer",
      "integer__gt? " .. E .. "integer",
      "bigint__in? rille.models.Query|integer[]",
      "float? " .. E .. "number",
      "numeric__range? (string|number)[]",
      "mood__contains? string",
      "mood__trigram_similar? string",
      "mood__iexact? string",
      "mood__in? rille.models.Query|(\"ok\"|\"sad\")[]",
      "boolean__isnull? boolean",
      "timestamp__gte? " .. E .. "string|number",
      "date__lt? " .. E .. "string",
      "json__contains? any",
      "json__has_keys? string[]",
      "moods__overlap? (\"ok\"|\"sad\")[]",
      "vector__search? string",
      "tag? " .. E .. "models.Tag|integer",
      "tag__in? rille.models.Query|(models.Tag|integer)[]",
      "tag__name? string",
      "one? " .. E .. "lightuserdata|models.Tag|integer",
    }) do
      assert.truthy(said:find("---@field " .. line .. "\n", 1, true), line .. " in " .. said)
    end
  end)

  it("say what a script has defined itself", function()
    local greeting = "---@field greeting fun(self: models.Person, ...: any): any\n"
    assert.truthy(class("models.Person"):find(greeting, 1, true))
    assert.truthy(class("models.NoteModel"):find("---@field cheap models.NoteQuery\n", 1, true))
    local long = "---@field long fun(self: models.NoteQuery, ...: any): any\n"
    assert.truthy(class("models.NoteQuery"):find(long, 1, true))
  end)

  it("give a model for the name of its table", function()
    local define = '%-%-%-@param table_name "note"\n.-\n%-%-%-@return models.NoteModel\nfunction'
    assert.truthy(text:find(define))
    assert.truthy(files["rille/models/init.lua"]:find("---@class rille.models.Module\n", 1, true))
  end)

  it("say what methods of queries take and return", function()
    local query = text:match("(%-%-%-@class models.NoteQuery .-\nend\n\n)")
    for _, wanted in ipairs({
      "---@param ... models.NoteLookups|rille.models.Q\n---@return models.NoteQuery\n"
        .. "function Query:filter(...) end",
      "---@async\n---@param values models.NoteValues?\n---@return models.Note\n"
        .. "function Query:acreate(values) end",
    }) do
      assert.truthy(query:find(wanted, 1, true), wanted)
    end
    local declared = {}
    for name in query:gmatch("\nfunction Query:([%w_]+)%(") do
      declared[name] = true
    end
    for name, method in pairs(require("rille.models.query").Query) do
      if type(method) == "function" and name:find("^%l") then
        assert.is_true(declared[name], name .. " is not declared")
      end
    end
  end)

  it("name only classes that are declared", function()
    local known = {}
    local function note(from)
      for name in from:gmatch("%-%-%-@%l+ ([%w_.]+)") do
        known[name] = true
      end
    end
    note(text)
    for _, file in pairs(files) do
      note(file)
    end
    for line in text:gmatch("%-%-%-@[^\n]*") do
      for name in line:gmatch("%f[%w]r?i?l?l?e?%.?models%.[%u][%w_]*") do
        assert.is_true(known[name], name .. " in " .. line)
      end
    end
  end)

  it("promise no lookup that the model does not know", function()
    local database = db.Database("spec", { url = "postgresql:" }, fake_core.new())
    local samples = { person = 1 }
    local function sample(kind)
      kind = kind:gsub("^.*|", "")
      if kind:find("%[%]%)?$") then
        local one = sample((kind:gsub("%[%]%)?$", "")))
        return { one, one }
      end
      local known = { integer = 1, number = 1.5, string = "2024-05-01", boolean = true, any = "x" }
      return known[kind] == nil and samples.person or known[kind]
    end
    local tried = 0
    for _, model in ipairs(ALL) do
      local lookups = class("models." .. model.__name .. "Lookups")
      for key, kind in lookups:gmatch("%-%-%-@field ([%w_]+)%? ([^\n]+)") do
        local ok, err = pcall(function()
          return model.objects:using(database):filter({ [key] = sample(kind) })
        end)
        assert.is_false(not ok and errors.is_error(err, errors.FieldError), tostring(err))
        tried = tried + 1
      end
    end
    assert.is_true(tried > 50)
  end)
end)
