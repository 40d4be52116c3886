--- Random queries of everything that a script can write, for specs that make each of them twice.
---
--- What a query is made of comes from one row of numbers, and its values from another, so that it
--- can be made again with other values.

local models = require("rille.models")
local null = require("rille.core").null

local Q, F, Value = models.Q, models.F, models.Value

local Shop = models.define("shapes_shop", {
  name = models.text(),
  rank = models.integer({ null = true }),
})
local Tag = models.define("shapes_tag", { word = models.text() })
local Item = models.define("shapes_item", {
  title = models.text(),
  note = models.text({ null = true }),
  pages = models.integer(),
  big = models.bigint({ null = true }),
  price = models.numeric({ null = true }),
  ratio = models.float({ null = true }),
  sold = models.boolean({ default = false }),
  day = models.date({ null = true }),
  at = models.timestamp({ null = true }),
  data = models.json({ null = true }),
  words = models.array(models.text(), { null = true }),
  shop = models.foreign_key(Shop, { null = true, related_name = "items" }),
  tags = models.many_to_many(Tag, { related_name = "items" }),
})
local Mark = models.define("shapes_mark", {
  item = models.foreign_key(Item, { related_name = "marks" }),
  stars = models.integer(),
})

-- A row of numbers.
local Chance = {}
Chance.__index = Chance

function Chance:upto(n)
  self.state = (self.state * 16807) % 2147483647
  return math.floor(self.state / 2147483647 * n) + 1
end

local function chance(seed)
  local self = setmetatable({ state = seed }, Chance)
  for _ = 1, 5 do
    self:upto(1)
  end
  return self
end

function Chance:of(list)
  return list[self:upto(#list)]
end

---@class spec.Maker  makes one query
---@field shape table
---@field value table
---@field start fun(model: rille.models.Model): rille.models.Query
local Maker = {}
Maker.__index = Maker

local INTEGERS = { 1, 7, -3, 40, 2 ^ 20, 2 ^ 31, 2 ^ 40, 1e300, 3.5 }
local TEXTS = { "a", "b%", "_x", "[y*]", "it's", "", "$1", 'q"q' }

--- A value of a kind; mostly one that decides nothing.
local VALUES = {
  integer = function(maker)
    return INTEGERS[maker.value:upto(maker.value:upto(4) > 1 and 5 or #INTEGERS)]
  end,
  text = function(maker)
    return maker.value:of(TEXTS)
  end,
  float = function(maker)
    return maker.value:of({ 0.5, 3, -1e10 })
  end,
  numeric = function(maker)
    return maker.value:of({ "1.50", 2, 0.25, "x" })
  end,
  boolean = function(maker)
    return maker.value:upto(2) == 1
  end,
  date = function(maker)
    return maker.value:of({ "2024-05-01", "1999-12-31", "no day" })
  end,
  timestamp = function(maker)
    return maker.value:of({ 0, 1.7e9, "2024-05-01T12:30:00Z" })
  end,
  json = function(maker)
    return maker.value:of({ 1, "x", true, { a = { 1, null } }, { 1, 2 }, null })
  end,
  shop = function(maker)
    return maker.value:of({ 3, Shop({ id = 4, name = "x" }), Shop({ id = 5, name = "y" }), Shop() })
  end,
}

local function list_of(kind, longest)
  return function(maker)
    local list = {}
    for i = 1, maker.value:upto(longest) do
      list[i] = VALUES[kind](maker)
    end
    return list
  end
end

VALUES.integers, VALUES.texts, VALUES.pair = list_of("integer", 6), list_of("text", 3), nil
VALUES.jsons = list_of("json", 3)
VALUES.year = function(maker)
  return maker.value:of({ 2001, 2024, 1, 9999, 0, "x" })
end
VALUES.pair = function(maker)
  return { VALUES.integer(maker), VALUES.integer(maker) }
end

--- Keys, and what their values are. What is a number can be compared with expressions, too.
local TESTS = {
  { "pages", "integer", "number" },
  { "pages__gt", "integer", "number" },
  { "pages__in", "integers" },
  { "pages__range", "pair" },
  { "big__lte", "integer", "number" },
  { "price__gte", "numeric" },
  { "ratio__lt", "float", "number" },
  { "sold", "boolean" },
  { "title", "text", "text" },
  { "title__contains", "text" },
  { "title__istartswith", "text" },
  { "title__iexact", "text" },
  { "title__in", "texts" },
  { "title__length__gt", "integer", "number" },
  { "title__lower", "text", "text" },
  { "note__isnull", "boolean" },
  { "day", "date" },
  { "day__year", "year", "number" },
  { "at__gt", "timestamp" },
  { "at__year__gte", "year" },
  { "at__month", "integer", "number" },
  { "at__date", "date" },
  { "data", "json" },
  { "data__a__0", "json" },
  { "data__a__gt", "json" },
  { "data__a__in", "jsons" },
  { "data__a__icontains", "text" },
  { "data__a__isnull", "boolean" },
  { "data__contains", "json" },
  { "data__has_key", "text" },
  { "data__a__has_keys", "texts" },
  { "data__has_any_keys", "texts" },
  { "words__contains", "texts" },
  { "words__overlap", "texts" },
  { "words__len", "integer", "number" },
  { "words__0", "text", "text" },
  { "shop", "shop" },
  { "shop__rank__lt", "integer", "number" },
  { "shop__name", "text", "text" },
  { "marks__stars", "integer", "number" },
  { "marks__stars__range", "pair" },
  { "tags__word__in", "texts" },
}

--- A table of one to three tests.
function Maker:tests(depth)
  local given = {}
  for _ = 1, self.shape:upto(3) do
    local key, kind, compares = unpack(self.shape:of(TESTS))
    local dice = self.shape:upto(10)
    if dice == 1 and not key:find("__", 1, true) then
      given[key] = null
    elseif dice <= 4 and compares and depth > 0 then
      given[key] = self[compares](self, depth - 1)
    else
      given[key] = VALUES[kind](self)
    end
  end
  if self.shape:upto(12) == 1 then
    local stars = self.start(Mark):order_by("stars"):values("stars")
    given.pages = stars:limit(self.value:upto(2)) -- of two rows, it raises
  end
  if self.shape:upto(12) == 1 then
    given.shop__in = self.start(Shop):filter({ rank = VALUES.integer(self) })
  end
  return given
end

function Maker:exists()
  local marks = self.start(Mark):filter({ item = models.OuterRef("pk") })
  marks = marks:filter({ stars__gt = VALUES.integer(self) })
  local found = models.Exists(marks)
  return self.shape:upto(2) == 1 and -found or found
end

local WORDS = {
  function(a, b)
    return a + b
  end,
  function(a, b)
    return a * b
  end,
  function(a)
    return -a
  end,
  function(a, b)
    return a ^ b
  end,
}

function Maker:condition(depth)
  local dice = self.shape:upto(6)
  if depth > 0 and dice <= 2 then
    return self.shape:of(WORDS)(self:condition(depth - 1), self:condition(depth - 1))
  elseif depth > 0 and dice == 3 then
    return Q({ title = "x" }) * self:exists()
  end
  return Q(self:tests(depth))
end

local NUMBERS = {
  function()
    return F("pages")
  end,
  function()
    return F("shop__rank")
  end,
  function(maker)
    return Value(VALUES.integer(maker))
  end,
  function(maker, depth)
    return maker:number(depth) + VALUES.integer(maker)
  end,
  function(maker, depth)
    local a, b = maker:number(depth), maker:number(depth)
    local op = maker.shape:upto(3)
    return op == 1 and a * b or op == 2 and a - b or a / b
  end,
  function(maker)
    return models.Length(maker:text(0))
  end,
  function(maker, depth)
    return models.Coalesce(maker:number(depth), VALUES.integer(maker))
  end,
  function(maker, depth)
    return models.Cast(maker:number(depth), models.bigint())
  end,
  function()
    return models.ExtractYear("at")
  end,
  function(maker, depth)
    return models.Case({
      models.When(maker:condition(depth), maker:number(depth)),
      models.When(maker:tests(depth), VALUES.integer(maker)),
      default = maker.shape:upto(2) == 1 and VALUES.integer(maker) or nil,
    })
  end,
  function(maker)
    local marks = maker.start(Mark):filter({ item = models.OuterRef("pk") })
    marks = marks:filter({ stars__lt = VALUES.integer(maker) }):order_by("-stars")
    return models.Subquery(marks:values("stars"):limit(maker.value:upto(3)))
  end,
}

--- An expression that is a number.
function Maker:number(depth)
  if depth <= 0 then
    return NUMBERS[self.shape:upto(3)](self)
  end
  return self.shape:of(NUMBERS)(self, depth - 1)
end

local STRINGS = {
  function()
    return F("title")
  end,
  function(maker)
    return Value(VALUES.text(maker))
  end,
  function(maker, depth)
    return models.Concat("title", maker:text(depth), Value(VALUES.text(maker)))
  end,
  function(maker, depth)
    return models.Upper(maker:text(depth))
  end,
  function(maker, depth)
    return models.Replace(maker:text(depth), Value(VALUES.text(maker)), Value("-"))
  end,
  function(maker)
    return models.Substr("title", 1, maker.value:upto(5))
  end,
  function(maker, depth)
    return models.Case({
      models.When(maker:tests(depth), VALUES.text(maker)),
      default = models.Lower("title"),
    })
  end,
}

--- An expression that is a text.
function Maker:text(depth)
  if depth <= 0 then
    return STRINGS[self.shape:upto(2)](self)
  end
  return self.shape:of(STRINGS)(self, depth - 1)
end

function Maker:aggregate()
  local opts = {
    distinct = self.shape:upto(3) == 1,
    filter = self.shape:upto(3) == 1 and self:condition(1) or nil,
  }
  local name = self.shape:of({ "Count", "Sum", "Max" })
  if name ~= "Count" and self.shape:upto(2) == 1 then
    opts.default = self.value:upto(9)
  end
  if self.shape:upto(8) == 1 then
    return models.StringAgg("title", { delimiter = VALUES.text(self) })
  end
  return models[name](self.shape:upto(2) == 1 and "marks__stars" or self:number(1), opts)
end

function Maker:window()
  return models.Window(self.shape:upto(2) == 1 and models.Rank() or models.Lag("pages", 1), {
    partition_by = self.shape:upto(2) == 1 and { "shop", self:number(1) } or nil,
    order_by = { "-pages", F("title"):desc({ nulls_last = true }) },
    frame = self.shape:upto(4) == 1 and { rows = { -1, false } } or nil,
  })
end

--- Builders: each is given the query and gives the next.
local STEPS = {
  function(maker, query)
    return query:filter(maker:tests(1))
  end,
  function(maker, query)
    return query:filter(maker:condition(2))
  end,
  function(maker, query)
    return query:exclude(maker:condition(1))
  end,
  function(maker, query)
    return query:filter(maker:exists(), { title = VALUES.text(maker) })
  end,
  function(maker, query)
    return query:annotate({ number = maker:number(2), word = maker:text(2) })
  end,
  function(maker, query)
    return query:alias({ hidden = maker:number(2) }):filter({ hidden__gt = VALUES.integer(maker) })
  end,
  function(maker, query)
    return query:annotate({ total = maker:aggregate() })
  end,
  function(maker, query)
    local counted = query:annotate({ n = models.Count("marks") })
    return counted:filter(Q({ n__gt = VALUES.integer(maker) }) + Q({ title = VALUES.text(maker) }))
  end,
  function(maker, query)
    return query:annotate({ place = maker:window() })
  end,
  function(maker, query)
    return query:order_by(maker:number(2):desc({ nulls_first = true }), "-title")
  end,
  function(maker, query)
    return query:values("title", { doubled = maker:number(1) })
  end,
  function(maker, query)
    return query:values_list(maker.shape:of({ "pages", "data__a" }), { flat = true })
  end,
  function(_, query)
    return query:distinct()
  end,
  function(maker, query)
    return query:limit(maker.value:upto(9))
  end,
  function(maker, query)
    return query:offset(maker.value:upto(9))
  end,
  function(maker, query)
    local other = maker.start(Item):filter(maker:tests(1))
    local name = maker.shape:of({ "union", "intersection", "difference" })
    if name == "union" then
      return query:union(other, { all = maker.shape:upto(2) == 1 })
    end
    return query[name](query, other)
  end,
  function(_, query)
    return query:select_related("shop")
  end,
  function(maker, query)
    return query:only("title", maker.shape:of({ "pages", "day" }))
  end,
}

local function changes_of(maker)
  return {
    pages = maker.shape:upto(2) == 1 and maker:number(2) or VALUES.integer(maker),
    title = maker.shape:upto(2) == 1 and maker:text(2) or VALUES.text(maker),
    note = maker.shape:upto(3) == 1 and null or VALUES.text(maker),
    data = VALUES.json(maker),
  }
end

--- Methods that send one statement.
local ENDS = {
  function(_, query)
    return query:alist()
  end,
  function(_, query)
    return query:afirst()
  end,
  function(_, query)
    return query:alast()
  end,
  function(_, query)
    return query:acount()
  end,
  function(_, query)
    return query:aexists()
  end,
  function(maker, query)
    return query:aget(maker:tests(1))
  end,
  function(maker, query)
    return query:aaggregate({ total = maker:aggregate(), n = models.Count("*") })
  end,
  function(maker, query)
    return query:aupdate(changes_of(maker))
  end,
  function(_, query)
    return query:adelete()
  end,
}

--- A maker of one query.
---@param shape integer  which row of numbers
---@param value integer
---@param start fun(model: rille.models.Model): rille.models.Query  all rows of a model
---@return spec.Maker
local function new(shape, value, start)
  return setmetatable({ shape = chance(shape), value = chance(value), start = start }, Maker)
end

--- A query of up to four builders.
---@return rille.models.Query
function Maker:query()
  local query = self.start(Item)
  for _ = 1, self.shape:upto(4) do
    query = self.shape:of(STEPS)(self, query)
  end
  return query
end

--- Run a query by a method that sends one statement.
---@param query rille.models.Query
function Maker:run(query)
  self.shape:of(ENDS)(self, query)
end

return { new = new, Shop = Shop, Item = Item, Mark = Mark }
