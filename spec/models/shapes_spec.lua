--- Random queries of everything that a script can write, twice: as forms, whose SQL is compiled
--- once, and by the builders alone. The texts, the parameters and the errors are the same.

local fake_core = require("spec.support.fake_core")

local compile = require("rille.models.compile")
local db = require("rille.db")
local errors = require("rille.errors")
local forms = require("rille.models.forms")
local functions = require("rille.models.functions")
local insert = require("rille.models.insert")
local maker = require("spec.models.maker")
local models = require("rille.models")
local null = require("rille.core").null
local outlines = require("rille.models.outlines")
local queries = require("rille.models.query")

local Q, F, Value = models.Q, models.F, models.Value
local Shop, Item, Mark = maker.Shop, maker.Item, maker.Mark
local SHAPES = tonumber(os.getenv("RILLE_FUZZ_ROUNDS") or 150)

--- Make a query and run it. What was sent, or why nothing was; and whether the query had a form.
local function run(driver, database, shape, value, start)
  local one = maker.new(shape, value, function(model)
    return start(model):using(database)
  end)
  driver.take()
  local query
  local ok, err = pcall(function()
    query = one:query()
    one:run(query)
  end)
  local said = not ok and not errors.is_error(err, errors.ObjectDoesNotExist) and tostring(err)
  return {
    sql = driver.log[1],
    params = driver.params[1],
    -- without what tells the two apart: where it was, and which table
    said = said and said:gsub("^[%w_/.]+:%d+: ", ""):gsub("table: 0x%x+", "table"),
  }, query
end

local function start_plain(model)
  return queries.new(model)
end

local function start_light(model)
  return model.objects
end

local function answer(sql)
  return sql:find("^SELECT COUNT") and { { n = 0 } }
    or sql:find("^SELECT.* AS \"total\"") and { {} }
    or {}, 0
end

--- What the core is given for JSON and arrays, to be compared.
local core = require("rille.core.db")
local contents = setmetatable({}, { __mode = "k" })

local function shown(params)
  local list = {}
  for key, value in pairs(params or {}) do
    list[key] = contents[value] or value
  end
  return list
end

for _, backend in ipairs({ "postgresql", "sqlite" }) do
  describe("queries of all shapes, on " .. backend, function()
    local driver, database
    local real = {}

    setup(function()
      for _, name in ipairs({ "json", "array" }) do
        real[name] = core[name]
        core[name] = function(content)
          local wrapped = real[name](content)
          contents[wrapped] = { name, content }
          return wrapped
        end
      end
    end)

    teardown(function()
      for name, fn in pairs(real) do
        core[name] = fn
      end
    end)

    before_each(function()
      driver = fake_core.new(backend)
      driver.answer = answer
      database = db.Database("spec", { url = "sqlite:x" }, driver)
    end)

    --- Run one query both ways; raises unless they are the same.
    local function check(shape, value)
      local plain = run(driver, database, shape, value, start_plain)
      local light, query = run(driver, database, shape, value, start_light)
      local label = ("shape %d, values %d, %s"):format(shape, value, tostring(plain.said))
      assert.equal(plain.said, light.said, label)
      assert.equal(plain.sql, light.sql, label)
      assert.same(shown(plain.params), shown(light.params), label)
      return light, query
    end

    it("are compiled once, and then as the compiler says", function()
      local sent, formed = 0, 0
      for shape = 1, SHAPES do
        for value = 1, 3 do
          local light, query = check(shape, value)
          sent = sent + (light.sql and 1 or 0)
          formed = formed + (light.sql and query and rawget(query, "form") and 1 or 0)
        end
      end
      assert.is_true(sent > SHAPES, ("%d were sent"):format(sent))
      assert.is_true(formed > sent * 0.5, ("%d of %d had a form"):format(formed, sent))
    end)

    it("would be noticed if a form said too little", function()
      local outline = outlines.of_kind.arithmetic
      local function told()
        local items = Item.objects:using(database)
        items:filter({ big = F("pages") + 1 }):alist()
        driver.take()
        items:filter({ big = F("pages") - 1 }):alist()
        return driver.log[1]:find("- $1", 1, true) ~= nil
      end
      assert.is_true(told())
      local op = outline[1]
      outline[1] = { "op", function(given)
        return given
      end }
      local ok, wrong = pcall(told)
      outline[1] = op
      assert.is_true(ok, tostring(wrong))
      assert.is_false(wrong)
    end)
  end)
end

describe("a query that is built a second time", function()
  local driver, items

  before_each(function()
    driver = fake_core.new("postgresql")
    driver.answer = answer
    items = Item.objects:using(db.Database("spec", { url = "sqlite:x" }, driver))
  end)

  --- How often something is compiled while `ask` runs for two rows of values.
  local function compiled(ask)
    local count, real = 0, {}
    for _, name in ipairs({ "select", "count", "exists", "aggregate", "update", "delete" }) do
      real[name] = compile[name]
      compile[name] = function(...)
        count = count + 1
        return real[name](...)
      end
    end
    local text, most = insert.text, forms.MOST
    forms.MOST = math.huge -- the random queries have made many: no tree begins anew meanwhile
    insert.text = function(...)
      count = count + 1
      return text(...)
    end
    local ok, err = pcall(function()
      ask(1, "a")
      count = 0
      ask(2, "b")
      ask(3, "c")
    end)
    for name, fn in pairs(real) do
      compile[name] = fn
    end
    insert.text, forms.MOST = text, most
    assert.is_true(ok, tostring(err))
    return count
  end

  local ASKS = {
    ["annotate, by an aggregate"] = function(n)
      return items:annotate({ n = models.Count("marks") }):filter({ n__gt = n }):alist()
    end,
    ["an aggregate with a filter and a default"] = function(n, text)
      local filter = Q({ title = text })
      local sum = models.Sum("marks__stars", { filter = filter, default = n })
      return items:annotate({ sum = sum }):alist()
    end,
    ["F with arithmetic"] = function(n)
      return items:filter({ pages__gt = F("big") * 2 + n }):alist()
    end,
    ["Case and Concat"] = function(n, text)
      local when = models.When({ pages = n }, models.Concat("title", Value(text)))
      return items:annotate({ word = models.Case({ when, default = text }) }):alist()
    end,
    ["Exists and OuterRef"] = function(n)
      local marks = Mark.objects:filter({ item = models.OuterRef("pk"), stars = n })
      return items:filter(models.Exists(marks)):alist()
    end,
    ["Subquery, cut"] = function(n)
      local marks = Mark.objects:filter({ item = models.OuterRef("pk") }):values("stars"):limit(n)
      return items:annotate({ best = models.Subquery(marks) }):alist()
    end,
    ["in, a query"] = function(_, text)
      return items:filter({ shop__in = Shop.objects:filter({ name = text }) }):alist()
    end,
    ["in, a list of any length"] = function(n)
      return items:filter({ pages__in = { 1, n, n > 1 and 9 or nil } }):alist()
    end,
    ["transforms"] = function(n, text)
      return items:filter({ at__month = n, title__lower = text, words__len = n }):alist()
    end,
    ["a year"] = function(n)
      return items:filter({ at__year = 2000 + n }):alist()
    end,
    ["range"] = function(n)
      return items:filter({ pages__range = { n, n + 5 } }):alist()
    end,
    ["JSON"] = function(n, text)
      return items:filter({ data__a__0 = n, data__has_keys = { "x", text } }):alist()
    end,
    ["arrays"] = function(_, text)
      return items:filter({ words__contains = { text } }):alist()
    end,
    ["Q, xor"] = function(n, text)
      return items:filter(Q({ pages = n }) ^ Q({ title = text })):alist()
    end,
    ["several arguments"] = function(n, text)
      return items:filter(Q({ pages = n }), { title = text }):acount()
    end,
    ["order_by an expression"] = function(n)
      return items:order_by((F("pages") + n):desc({ nulls_last = true })):afirst()
    end,
    ["values with an expression"] = function(n)
      return items:values("title", { more = F("pages") + n }):alist()
    end,
    ["a Q as a value, and SQL of one's own"] = function(n, text)
      local long = models.RawSQL("length(title) > $1", { n }, models.boolean())
      return items:annotate({ is = Q({ title = text }) + Q({ pages = n }), long = long }):alist()
    end,
    ["a window"] = function(n)
      local lag = models.Window(models.Lag("pages", n, n), { order_by = "pages" })
      return items:annotate({ before = lag }):alist()
    end,
    ["dates"] = function(n)
      return items:filter({ pages = n }):dates("day", "month"):alist()
    end,
    ["union"] = function(n, text)
      return items:filter({ pages = n }):union(items:filter({ title = text })):alist()
    end,
    ["aaggregate"] = function(n)
      return items:filter({ pages = n }):aaggregate({ all = models.Sum(F("pages") * n) })
    end,
    ["aupdate, values"] = function(n, text)
      return items:filter({ pk = n }):aupdate({ title = text, note = null })
    end,
    ["aupdate, F"] = function(n)
      return items:filter({ pk = n }):aupdate({ pages = F("pages") + n })
    end,
    ["what belongs to an object"] = function(n)
      local shop = Shop({ id = n })
      shop._db = items.database
      return shop.items:alist()
    end,
    ["what is paired with an object"] = function(n, text)
      local item = Item({ id = n })
      item._db = items.database
      return item.tags:filter({ word = text }):alist()
    end,
    ["prefetch_related"] = function(n)
      driver.answer = function(sql)
        return sql:find('FROM "shapes_item"', 1, true) and { { id = n } } or {}, 1
      end
      return items:prefetch_related("marks", "tags"):alist()
    end,
    ["select_for_update"] = function(n)
      driver.pin()
      driver.pin_state().depth = 1
      items:select_for_update({ no_key = true }):filter({ pk = n }):alist()
      driver.unpin()
    end,
    ["aget_or_create"] = function(n)
      driver.answer = function()
        return { { id = n } }, 1
      end
      return items:aget_or_create({ pages = n }, { title = "x" })
    end,
    ["alatest"] = function(n)
      driver.answer = function()
        return { { id = n } }, 1
      end
      return items:filter({ pages = n }):alatest("day")
    end,
    ["ain_bulk"] = function(n)
      return items:ain_bulk({ n, n + 1 })
    end,
    ["a slice, afirst"] = function(n)
      return items:filter({ pages = n }):limit(n):afirst()
    end,
    ["aexists, behind an offset"] = function(n)
      return items:filter({ pages = n }):offset(n):aexists()
    end,
    ["asave, an UPDATE"] = function(n, text)
      local shop = Shop({ id = n, name = text, rank = n })
      shop._db, shop._adding = items.database, nil
      driver.answer = function()
        return {}, 1
      end
      shop:asave()
      shop.rank = F("rank") + n
      shop:asave({ update_fields = { "rank" } })
    end,
    ["acreate"] = function(n, text)
      local database = items.database
      driver.answer = function()
        return { { id = n } }, 1
      end
      Shop.objects:using(database):acreate({ name = text, rank = n })
      Shop.objects:using(database):acreate({ id = n, name = text, rank = n })
    end,
    ["adelete of an object"] = function(n)
      local mark = Mark({ id = n, stars = n })
      mark._db = items.database
      return mark:adelete()
    end,
    ["aremove of what is paired"] = function(n)
      local item = Item({ id = n })
      item._db = items.database
      return item.tags:aclear()
    end,
    ["adelete"] = function(n)
      return Mark.objects:using(items.database):filter({ stars = n }):adelete()
    end,
  }
  for what, ask in pairs(ASKS) do
    it("is not compiled: " .. what, function()
      assert.equal(0, compiled(ask))
    end)
  end

  it("is not compiled, whatever function it calls", function()
    local fields = { "title", "pages", "pages" }
    for name, definition in pairs(functions.by_name) do
      if not definition.window then
        local field = name:find("^Extract") or name:find("^Trunc")
        local args = {}
        for i = 1, definition.least do
          args[i] = field and "at" or fields[i]
        end
        local call = functions[name](unpack(args))
        assert.truthy(rawget(items:annotate({ x = call }), "form"), name)
      end
    end
  end)

  it("has no form with a value that decides, or with a query that was run", function()
    local run_before = Mark.objects:filter({ stars = 1 }):all():_ordinary()
    for _, query in ipairs({
      items:filter({ pages = 1e300 }),
      items:filter({ pages__in = {} }),
      items:filter({ pages__in = { 1, null } }),
      items:filter(models.Exists(run_before)),
      items:none(),
    }) do
      assert.is_nil(rawget(query, "form"))
    end
    assert.truthy(rawget(items:filter({ pages__in = { 1 } }), "form"))
  end)

  it("is told from one whose list of keys is longer, or whose value is of another kind", function()
    local function form_of(given)
      return rawget(items:filter(given), "form")
    end
    assert.equal(form_of({ data__has_keys = { "a" } }), form_of({ data__has_keys = { "b" } }))
    local two = { "a", "b" }
    assert.not_equal(form_of({ data__has_keys = { "a" } }), form_of({ data__has_keys = two }))
    assert.not_equal(form_of({ note__isnull = true }), form_of({ note__isnull = false }))
    assert.not_equal(form_of({ data__a = 1 }), form_of({ data__a = true }))
    assert.equal(form_of({ at__year = 1999 }), form_of({ at__year = 2024 }))
    assert.not_equal(form_of({ at__year = 1999 }), form_of({ at__year = 99999 }))
  end)
end)
