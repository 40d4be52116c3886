--- The tables of an SQLite database as it describes them. See `rille.inspect`.

local null = require("rille.core").null

local TABLES = [[SELECT name, sql FROM sqlite_schema
  WHERE CASE WHEN $1 IS NULL THEN type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
    ELSE type IN ('table', 'view') AND name = $1 END ORDER BY name]]

local COLUMNS = [[SELECT name, type, "notnull" AS filled, dflt_value AS "default", pk
  FROM pragma_table_xinfo($1) WHERE hidden IN (0, 2, 3) ORDER BY cid]]

local FOREIGN = [[SELECT id, "from", "table", "to", on_delete
  FROM pragma_foreign_key_list($1) ORDER BY id, seq]]

local INDEXES = [[SELECT i.name, i."unique", x.name AS "column", x."desc"
  FROM pragma_index_list($1) i, pragma_index_xinfo(i.name) x
  WHERE i.origin <> 'pk' AND NOT i.partial AND x.key ORDER BY i.name, x.seqno]]

--- What a CHECK of a column tells, which SQLite itself does not know: `text CHECK (length("slug")
--- <= 20)` is ours, `CHECK ((JSON_VALID("data") OR …))` is Django's.
local function read_checks(column, sql)
  local quoted = '"' .. column.name:gsub('"', '""'):gsub("%p", "%%%0") .. '"'
  local length = sql:match("length%(" .. quoted .. "%) <= (%d+)")
  if length then
    column.type = ("varchar(%d)"):format(length)
  elseif sql:find("JSON_VALID%(" .. quoted .. "%)") then
    column.type = "json"
  end
end

local function read_columns(described, rows, sql)
  local key = {}
  for i, row in ipairs(rows) do
    described.columns[i] = {
      name = row.name,
      type = row.type:lower(),
      null = row.filled == 0 and row.pk == 0,
      default = row.default ~= null and row.default or nil,
    }
    read_checks(described.columns[i], sql)
    if row.pk > 0 then
      key[row.pk] = row.name
    end
  end
  if #key > 0 then
    described.key = key
  end
  for _, column in ipairs(described.columns) do
    column.counts = #key == 1 and column.name == key[1] and column.type == "integer"
  end
end

local function read_foreign(described, rows)
  local by_id = {}
  for _, row in ipairs(rows) do
    local foreign = by_id[row.id]
    if not foreign then
      foreign = { columns = {}, to = {}, table = row.table }
      foreign.on_delete = row.on_delete:lower():gsub(" ", "_")
      if foreign.on_delete == "no_action" or foreign.on_delete == "set_default" then
        foreign.on_delete = "do_nothing"
      end
      by_id[row.id] = foreign
      described.foreign[#described.foreign + 1] = foreign
    end
    foreign.columns[#foreign.columns + 1] = row.from
    foreign.to[#foreign.columns] = row.to ~= null and row.to or nil
  end
end

local function read_indexes(described, rows)
  local list, by_name = {}, {}
  for _, row in ipairs(rows) do
    local index = by_name[row.name]
    if not index then
      index = { unique = row.unique == 1, names = {}, columns = {} }
      by_name[row.name] = index
      list[#list + 1] = index
    end
    index.expression = index.expression or row.column == nil or row.column == null
    index.columns[#index.columns + 1] = row.column
    index.names[#index.columns] = (row.desc == 1 and "-" or "") .. tostring(row.column)
  end
  for _, index in ipairs(list) do
    if not index.expression then
      local into = index.unique and described.unique or described.indexes
      into[#into + 1] = index.unique and index.columns or index.names
    end
  end
end

--- The table of a name, or all.
---@async
---@param database rille.db.Database
---@param name string?
---@return rille.inspect.Table[]
return function(database, name)
  local list = {}
  for i, row in ipairs(database:aquery(TABLES, name)) do
    local described = { name = row.name, columns = {}, unique = {}, indexes = {}, foreign = {} }
    read_columns(described, database:aquery(COLUMNS, row.name), row.sql)
    read_foreign(described, database:aquery(FOREIGN, row.name))
    read_indexes(described, database:aquery(INDEXES, row.name))
    list[i] = described
  end
  return list
end
