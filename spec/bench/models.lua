-- What the query layer costs: each row of the table is one question, asked by `db:aquery` and by
-- a model, in alternating rounds of one process.
local rille = require "rille"
local models = require "rille.models"
local plans = require "rille.models.plans"
local Q, F, Value = models.Q, models.F, models.Value
local clock = require("rille.models.time").now

local ROUNDS = 15
local WINDOW = 0.03 -- s of CPU, at least, for the first of a round
local ROWS = 1000

-- The name keeps clear of any table that the database may already have.
local Folder = models.define("rille_bench_folder", {
  id = models.auto(),
  name = models.text(),
  parent = models.foreign_key("self", { null = true }),
})

local SELECT = 'SELECT "id", "name", "parent_id" FROM "rille_bench_folder" WHERE '

--- Label, by hand, by model. `i` runs from 1 to ROWS.
local QUESTIONS = {
  {
    "aget { pk = id }",
    function(db, i)
      return db:aquery(SELECT .. '"id" = $1', i)[1]
    end,
    function(i)
      return Folder.objects:aget { pk = i }
    end,
  },
  {
    "aget, two conditions",
    function(db, i)
      return db:aquery(SELECT .. '"id" = $1 AND "name" >= $2', i, "f")[1]
    end,
    function(i)
      return Folder.objects:aget { id = i, name__gte = "f" }
    end,
  },
  {
    "aget, three conditions",
    function(db, i)
      return db:aquery(SELECT .. '"id" >= $1 AND "id" <= $2 AND "name" >= $3', i, i, "f")[1]
    end,
    function(i)
      return Folder.objects:aget { id__gte = i, id__lte = i, name__gte = "f" }
    end,
  },
  {
    "filter, afirst",
    function(db, i)
      return db:aquery(SELECT .. '"id" >= $1 ORDER BY "id" LIMIT 1', i)[1]
    end,
    function(i)
      return Folder.objects:filter({ id__gte = i }):afirst()
    end,
  },
  {
    "filter, aexists",
    function(db, i)
      return #db:aquery('SELECT 1 FROM "rille_bench_folder" WHERE "id" = $1 LIMIT 1', i) > 0
    end,
    function(i)
      return Folder.objects:filter({ id = i }):aexists()
    end,
  },
  {
    "filter, order_by, limit(10), alist",
    function(db, i)
      return db:aquery(SELECT .. '"id" >= $1 ORDER BY "id" DESC LIMIT $2', i, 10)
    end,
    function(i)
      return Folder.objects:filter({ id__gte = i }):order_by("-id"):limit(10):alist()
    end,
  },
  {
    "alist of 100 rows",
    function(db, i)
      return db:aquery(SELECT .. '"id" > $1 AND "id" <= $2', i % 900, i % 900 + 100)
    end,
    function(i)
      return Folder.objects:filter({ id__gt = i % 900, id__lte = i % 900 + 100 }):alist()
    end,
  },
}

--- What is asked of an instant database: the time is building, and finding or compiling the SQL.
local Thing = models.define("rille_bench_thing", {
  name = models.text(),
  data = models.json(),
  at = models.timestamp(),
  size = models.integer(),
  folder = models.foreign_key(Folder, { related_name = "things" }),
})

local BUILT = {
  {
    "filter, three conditions",
    function(i)
      return Thing.objects:filter({ id__gte = i, id__lte = i, name__gte = "f" }):alist()
    end,
  },
  {
    "annotate an aggregate, filter by it",
    function(i)
      return Folder.objects:annotate({ n = models.Count "things" }):filter({ n__gt = i }):alist()
    end,
  },
  {
    "annotate Case, Coalesce, Concat",
    function(i)
      return Thing.objects
        :annotate({
          word = models.Case {
            models.When(Q { size__gt = i }, models.Concat("name", Value " is big")),
            default = models.Coalesce("name", Value "?"),
          },
        })
        :alist()
    end,
  },
  {
    "Exists and OuterRef",
    function(i)
      local things = Thing.objects:filter { folder = models.OuterRef "pk", size__gt = i }
      return Folder.objects:filter(models.Exists(things)):alist()
    end,
  },
  {
    "filter by an F with arithmetic",
    function(i)
      return Thing.objects:filter({ size__gt = F "id" * 2 + i }):alist()
    end,
  },
  {
    "filter, transform",
    function(i)
      return Thing.objects:filter({ at__month = i % 12 + 1, name__lower = "f" }):alist()
    end,
  },
  {
    "filter, range of years",
    function(i)
      return Thing.objects:filter({ at__year = 2000 + i % 50, size__range = { i, i + 9 } }):alist()
    end,
  },
  {
    "filter, JSON",
    function(i)
      return Thing.objects:filter({ data__a__b = i, data__has_key = "a" }):alist()
    end,
  },
  {
    "union of two",
    function(i)
      return Thing.objects:filter({ id = i }):union(Thing.objects:filter { size = i }):alist()
    end,
  },
  {
    "aggregate",
    function(i)
      return Thing.objects:filter({ size__gt = i }):aaggregate { all = models.Sum "size" }
    end,
  },
  {
    "aupdate, values",
    function(i)
      return Thing.objects:filter({ id = i }):aupdate { name = "x", size = i }
    end,
  },
  {
    "aupdate, F",
    function(i)
      return Thing.objects:filter({ id = i }):aupdate { size = F "size" + i }
    end,
  },
  {
    "adelete",
    function(i)
      return Thing.objects:filter({ id = i }):adelete()
    end,
  },
}

--- Ten columns, for what a row costs.
local Wide = models.define("rille_bench_wide", {
  id = models.auto(),
  a = models.integer(),
  b = models.integer(),
  c = models.float(),
  d = models.text(),
  e = models.text(),
  f = models.text({ null = true }),
  g = models.boolean(),
  h = models.timestamp(),
  i = models.bigint(),
})

local function wide(i)
  return {
    a = i,
    b = -i,
    c = i / 3,
    d = "some text " .. i,
    e = "more of it",
    f = i % 2 == 0 and "here" or nil,
    g = i % 3 == 0,
    h = "2024-05-01 12:30:00+00",
    i = i * 1000,
  }
end

local function fill()
  if Folder.objects:aexists() then
    return
  end
  local folders = {}
  for id = 1, ROWS do
    folders[id] = { id = id, name = "folder " .. id, parent_id = id > 1 and id - 1 or nil }
  end
  Folder.objects:abulk_create(folders)
  local rows = {}
  for i = 1, ROWS do
    rows[i] = wide(i)
  end
  Wide.objects:abulk_create(rows)
end

--- A driver that has the rows already: what is left is Lua.
local function instant(driver, count)
  local function answer()
    local rows = {}
    for i = 1, count do
      rows[i] = { id = i, name = "folder", parent_id = 1 }
    end
    return rows, count
  end
  local function answer_one()
    return answer()[1], 1
  end
  local instead = { query = answer, read = answer, read_by_key = answer_one }
  return setmetatable(instead, { __index = driver })
end

local function seconds(ask, count)
  local began = os.clock()
  for i = 1, count do
    ask(i % ROWS + 1)
  end
  return os.clock() - began
end

local function quantile(sorted, part)
  return sorted[math.floor((#sorted - 1) * part + 1.5)]
end

--- "1.08 [1.05-1.12]", and microseconds for each side.
local function compare(base, other)
  local count = 16
  while seconds(base, count) < WINDOW do
    count = count * 2
  end
  seconds(other, count)
  local ratios, a, b = {}, {}, {}
  for round = 1, ROUNDS do
    rille.asleep(0) -- or it would be taken for a loop without end
    local first, second = base, other
    if round % 2 == 0 then
      first, second = other, base
    end
    local x, y = seconds(first, count), seconds(second, count)
    if round % 2 == 0 then
      x, y = y, x
    end
    ratios[round], a[round], b[round] = y / x, x / count * 1e6, y / count * 1e6
  end
  for _, list in ipairs { ratios, a, b } do
    table.sort(list)
  end
  return ("%.2f [%.2f-%.2f]"):format(
    quantile(ratios, 0.5),
    quantile(ratios, 0.25),
    quantile(ratios, 0.75)
  ), ("%5.1f %5.1f"):format(quantile(a, 0.5), quantile(b, 0.5))
end

local function measure(db)
  local real = db.driver
  print(("%-36s %-20s %-15s %s"):format("models / SQL by hand", "CPU", "us each", "Lua alone, us"))
  for _, question in ipairs(QUESTIONS) do
    local label, by_hand, by_model = unpack(question)
    local function base(i)
      return by_hand(db, i)
    end
    local ratio, each = compare(base, by_model)
    local rows = by_hand(db, 1)
    db.driver = instant(real, label:find("alist", 1, true) and #rows or 1)
    local _, alone = compare(base, by_model)
    db.driver = real
    print(("%-36s %-20s %-15s %s"):format(label, ratio, each, alone))
    io.stdout:flush()
  end
end

--- Microseconds of building a query of three conditions and finding what was compiled of it.
local function measure_building(db)
  local function build(i)
    local query = Folder.objects:filter { id__gte = i, id__lte = i, name__gte = "f" }
    local plan = plans.of(query.form, db.dialect, "list", query)
    return plan.sql, plans.params(plan, query)
  end
  local count, best = 20000, math.huge
  for _ = 1, ROUNDS do
    rille.asleep(0)
    best = math.min(best, seconds(build, count) / count)
  end
  print(("building three conditions: %.2f us"):format(best * 1e6))
end

--- Microseconds of Lua for one query that a database answers at once.
local function measure_shapes(db)
  local function answer()
    return {}, 0
  end
  local real = db.driver
  db.driver = setmetatable({ query = answer, read = function()
    return { {} }, 1
  end }, { __index = real })
  for _, one in ipairs(BUILT) do
    local label, ask = unpack(one)
    local count, best = 5000, math.huge
    for _ = 1, ROUNDS do
      rille.asleep(0)
      best = math.min(best, seconds(ask, count) / count)
    end
    print(("%-36s %.2f us"):format(label, best * 1e6))
  end
  db.driver = real
end

--- All of the wide rows: bare, and as instances.
local function measure_rows(db)
  local ratio, each = compare(function()
    return db:aquery 'SELECT id, a, b, c, d, e, f, g, h, i FROM "rille_bench_wide"'
  end, function()
    return Wide.objects:alist()
  end)
  print(("%d instances of 10 columns / bare rows: %s, us %s"):format(ROWS, ratio, each))
end

--- What COPY takes: its text is made beforehand, since that is not what is compared.
local function measure_bulk(db)
  if not db.dialect.copy then
    return
  end
  local count = 10000
  local objects, lines = {}, {}
  for i = 1, count do
    local row = wide(i)
    objects[i] = Wide(row)
    lines[i] = table.concat({
      row.a,
      row.b,
      row.c,
      row.d,
      row.e,
      row.f or "\\N",
      tostring(row.g),
      row.h,
      row.i,
    }, "\t")
  end
  local text = table.concat(lines, "\n") .. "\n"
  local copies, bulks = {}, {}
  for round = 1, 7 do
    for _, object in ipairs(objects) do
      object.pk = nil
    end
    local began = clock()
    db:acopy_from('COPY "rille_bench_wide" (a, b, c, d, e, f, g, h, i) FROM STDIN', text)
    copies[round] = clock() - began
    began = clock()
    Wide.objects:abulk_create(objects)
    bulks[round] = clock() - began
    Wide.objects:filter({ id__gt = ROWS }):adelete()
  end
  table.sort(copies)
  table.sort(bulks)
  local copy, bulk = quantile(copies, 0.5), quantile(bulks, 0.5)
  print(("%d rows: COPY %.0f ms, abulk_create %.0f ms, %.2f of COPY's rate"):format(
    count,
    copy * 1e3,
    bulk * 1e3,
    copy / bulk
  ))
end

return rille.app {
  models = { Folder, Thing, Wide },
  routes = {},
  on_start = function()
    rille.atomic(fill)
    measure_building(rille.db)
    measure_shapes(rille.db)
    measure_rows(rille.db)
    measure_bulk(rille.db)
    measure(rille.db)
    os.exit(0)
  end,
}
