-- What the query layer costs: each row of the table is one question, asked by `db:aquery` and by
-- a model, in alternating rounds of one process.
local rille = require "rille"
local models = require "rille.models"

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

local function fill()
  if Folder.objects:aexists() then
    return
  end
  local folders = {}
  for id = 1, ROWS do
    folders[id] = { id = id, name = "folder " .. id, parent_id = id > 1 and id - 1 or nil }
  end
  Folder.objects:abulk_create(folders)
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
  return setmetatable({ query = answer, read = answer }, { __index = driver })
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

return rille.app {
  models = { Folder },
  routes = {},
  on_start = function()
    rille.atomic(fill)
    measure(rille.db)
    os.exit(0)
  end,
}
