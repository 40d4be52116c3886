--- The databases that a suite about models runs on: SQLite, and PostgreSQL when RILLE_TEST_POSTGRES
--- is its URL.
---
---     for _, backend in ipairs(backends.all { Author, Book }) do
---       describe("related managers on " .. backend.name, function()
---         local database = backend.database
---         setup(backend.make)
---         before_each(backend.empty)
---         teardown(backend.drop)
---         …
---
--- The models get tables of their own, in a file, or in a schema that nobody else looks into. Only
--- inside the runtime, where a suite is a task; outside of it there are none.

local backends = {}

local postgres = os.getenv("RILLE_TEST_POSTGRES")
local count = 0

local function tables_of(models)
  local schema = require("rille.models.schema")
  return schema.in_order(schema.with_between(models))
end

local function backend(name, database, models, prepare, clean)
  return {
    name = name,
    database = database,
    make = function()
      prepare()
      require("rille.models.schema").acreate_missing(database, models)
    end,
    empty = function()
      local tables = tables_of(models)
      for i = #tables, 1, -1 do
        local quoted = database.dialect.quote_table(tables[i]._meta.table)
        database:aexecute("DELETE FROM " .. quoted)
      end
    end,
    drop = clean,
  }
end

local function sqlite(models)
  local path = os.tmpname()
  local database = require("rille.db").Database("spec", { url = "sqlite:" .. path })
  return backend("SQLite", database, models, function() end, function()
    database:aclose()
    for _, suffix in ipairs({ "", "-wal", "-shm" }) do
      os.remove(path .. suffix)
    end
  end)
end

local function postgresql(models)
  count = count + 1
  local name = ("spec_%d_%d_%s"):format(os.time(), count, tostring({}):match("%x+$"))
  local sign = postgres:find("?", 1, true) and "&" or "?"
  local url = postgres .. sign .. "options=-csearch_path%3D" .. name
  local database = require("rille.db").Database("spec", { url = url, max_connections = 2 })
  return backend("PostgreSQL", database, models, function()
    database:aexecute(('CREATE SCHEMA "%s"'):format(name))
  end, function()
    database:aexecute(('DROP SCHEMA "%s" CASCADE'):format(name))
    database:aclose()
  end)
end

--- Those there are, with these models.
---@param models rille.models.Model[]
---@param only "PostgreSQL"?  for what SQLite has not
---@return table[]
function backends.all(models, only)
  local list = {}
  if pcall(require, "rille.core") then
    if not only then
      list[1] = sqlite(models)
    end
    if postgres and postgres ~= "" then
      list[#list + 1] = postgresql(models)
    end
  end
  return list
end

return backends
