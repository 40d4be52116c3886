--- The tables of a PostgreSQL database as its catalogue knows them. See `rille.inspect`.

local null = require("rille.core").null

-- A name as a model says it: with its schema where the search path does not lead.
local NAME = "CASE WHEN pg_table_is_visible(%s.oid) THEN %s.relname"
  .. " ELSE %s.nspname || '.' || %s.relname END"

local function name_of(class, schema)
  return NAME:format(class, class, schema, class)
end

--- Of the catalogue of columns, in a list: `conkey` and its sisters hold numbers.
local function names_of(relation, numbers)
  return ([[ARRAY(SELECT a.attname::text FROM unnest(%s) WITH ORDINALITY AS u(num, at)
    JOIN pg_attribute a ON a.attrelid = %s AND a.attnum = u.num ORDER BY u.at)]]):format(
    numbers,
    relation
  )
end

local TABLES = "SELECT c.oid::text AS id, "
  .. name_of("c", "n")
  .. [[ AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE CASE WHEN $1::text IS NULL THEN c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND pg_table_is_visible(c.oid)
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
    ELSE c.oid = to_regclass($1) END ORDER BY 2]]

local COLUMNS = [[SELECT a.attname AS name, NOT a.attnotnull AS "null",
    format_type(b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END) AS type,
    pg_get_expr(d.adbin, d.adrelid) AS "default", a.attidentity <> '' AS identity,
    CASE WHEN b.typtype = 'e' THEN
      ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = b.oid ORDER BY enumsortorder)
    END AS choices
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum]]

local CONSTRAINTS = "SELECT k.contype AS kind, "
  .. names_of("k.conrelid", "k.conkey")
  .. " AS columns, "
  .. name_of("c", "n")
  .. ' AS "table", '
  .. names_of("k.confrelid", "k.confkey")
  .. [[ AS "to", k.confdeltype AS on_delete
  FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.confrelid
  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE k.conrelid = $1::oid AND k.contype IN ('p', 'u', 'f') ORDER BY k.conname]]

local INDEXES = "SELECT "
  .. names_of("i.indrelid", "i.indkey::int2[]")
  .. [[ AS columns, i.indisunique AS "unique", i.indoption::int2[] AS options
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = $1::oid AND NOT i.indisprimary AND i.indexprs IS NULL AND i.indpred IS NULL
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
  ORDER BY c.relname]]

local ON_DELETE = {
  a = "do_nothing",
  r = "restrict",
  c = "cascade",
  n = "set_null",
  d = "do_nothing",
}

local function add_constraint(described, row)
  if row.kind == "p" then
    described.key = row.columns
  elseif row.kind == "u" then
    described.unique[#described.unique + 1] = row.columns
  else
    described.foreign[#described.foreign + 1] = {
      columns = row.columns,
      table = row.table,
      to = row.to,
      on_delete = ON_DELETE[row.on_delete],
    }
  end
end

local function add_index(described, row)
  if row.unique then
    described.unique[#described.unique + 1] = row.columns
    return
  end
  local names = {}
  for i, column in ipairs(row.columns) do
    names[i] = (row.options[i] % 2 == 1 and "-" or "") .. column
  end
  described.indexes[#described.indexes + 1] = names
end

--- A column with a sequence behind it counts by itself.
local function counts(row)
  return row.identity or row.default ~= nil and row.default:find("^nextval%(") ~= nil
end

--- "'new'::character varying" to "'new'".
local function plain_default(text)
  if text and text ~= null then
    return (text:gsub("::[%w_ %.\"%[%]]+$", ""):gsub("::[%w_ %.\"]+%([%d, ]+%)$", ""))
  end
end

local function adescribe(database, row)
  local described = { name = row.name, columns = {}, unique = {}, indexes = {}, foreign = {} }
  for i, column in ipairs(database:aquery(COLUMNS, row.id)) do
    described.columns[i] = {
      name = column.name,
      type = column.type,
      null = column.null,
      counts = counts(column),
      default = not counts(column) and plain_default(column.default) or nil,
      choices = column.choices ~= null and column.choices or nil,
    }
  end
  for _, constraint in ipairs(database:aquery(CONSTRAINTS, row.id)) do
    add_constraint(described, constraint)
  end
  for _, index in ipairs(database:aquery(INDEXES, row.id)) do
    add_index(described, index)
  end
  return described
end

--- The table of a name, or all that the search path leads to.
---@async
---@param database rille.db.Database
---@param name string?
---@return rille.inspect.Table[]
return function(database, name)
  local list = {}
  name = name and database.dialect.columns_param(name)
  for i, row in ipairs(database:aquery(TABLES, name)) do
    list[i] = adescribe(database, row)
  end
  return list
end
