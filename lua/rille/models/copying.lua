--- Many rows by COPY: how `abulk_create` sends a large number of objects to PostgreSQL.
---
--- The keys are taken from the key's sequence before, so that the objects have them; rows are made
--- ready while the server takes those before. It is not for conflicts, which COPY cannot handle,
--- for row-level security, which it refuses, nor for keys that no sequence makes.

local buffer = require("string.buffer")

local copying = {}

--- Fewer rows are not worth the statement that asks for keys.
copying.LEAST = 500

local ROWS = 200 -- in a piece

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- Looking for plain text is compiled, a pattern is not; most texts have none of these.
local function text_of_string(value)
  if
    value:find("\\", 1, true)
    or value:find("\n", 1, true)
    or value:find("\t", 1, true)
    or value:find("\r", 1, true)
  then
    return (value:gsub("[\\\n\r\t]", ESCAPES))
  end
  return value
end

--- A number, or its text where a buffer would round it.
local function text_of_number(value)
  if value % 1 == 0 and value < 1e14 and value > -1e14 then
    return value
  end
  return ("%.17g"):format(value) -- also inf and nan, which PostgreSQL reads
end

local function text_of(value)
  local kind = type(value)
  if kind == "string" then
    return text_of_string(value)
  elseif kind == "number" then
    return text_of_number(value)
  end
  return tostring(value)
end

local OF_KIND = {
  json = function(value)
    return text_of_string(require("rille.json").encode(value))
  end,
  bytes = function(value)
    return "\\\\x" .. value:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
  end,
}

-- OFFSET keeps the planner from asking for the sequence's name again for each row. Keys that follow
-- one another are told by their ends.
local KEYS = [[
WITH own AS (
  SELECT pg_get_serial_sequence($1::text, $2::text)::regclass AS sequence OFFSET 0
), made AS MATERIALIZED (
  SELECT nextval(sequence) AS key FROM own, generate_series(1, $3::integer)
)
SELECT row_security_active($1::text) AS "secured", MIN(key) AS "first",
  CASE WHEN MAX(key) - MIN(key) + 1 <> COUNT(*) THEN ARRAY_AGG(key) END AS "keys"
FROM made]]

--- May these objects go this way?
---@param database rille.db.Database
---@param fields rille.models.Field[]
---@param count integer
---@param opts table  of `abulk_create`
---@return boolean
function copying.fits(database, fields, count, opts)
  if not database.dialect.copy or count < copying.LEAST then
    return false
  elseif opts.ignore_conflicts or opts.update then
    return false
  end
  for _, field in ipairs(fields) do
    if field:storage().kind == "array" then
      return false
    end
  end
  return true
end

--- Keys from the sequence, one for each object, and none for objects that have theirs. nil: there
--- is none, or COPY is refused.
---@async
local function akeys(database, meta, count, with_key)
  local name = database.dialect.quote_table(meta.table)
  local wanted = with_key and 0 or count
  local row = database:_arun(KEYS, { n = 3, name, meta.pk.column, wanted })[1]
  if row.secured or not with_key and not row.first then
    return nil
  end
  local keys = row.keys or {}
  if not row.keys and wanted > 0 then
    for i = 1, wanted do
      keys[i] = row.first + i - 1
    end
  end
  return keys
end

--- Send the objects. Returns false when they have to go another way.
---@async
---@param database rille.db.Database
---@param model rille.models.Model
---@param instances rille.models.Instance[]
---@param with_key boolean  they have keys already
---@param wire_value function  of `rille.models.saving`
---@return boolean
function copying.acreate(database, model, instances, with_key, wire_value)
  local meta, dialect = model._meta, database.dialect
  local keys = akeys(database, meta, #instances, with_key)
  if not keys then
    return false
  end
  local fields, columns, writes = meta.fields, {}, {}
  for i, field in ipairs(fields) do
    columns[i] = dialect.quote(field.column)
    writes[i] = OF_KIND[field:storage().kind] or text_of
  end
  local pk, at, last = meta.pk, 0, #fields
  local text = buffer.new()
  local function next_piece()
    if at >= #instances then
      return nil
    end
    for i = at + 1, math.min(at + ROWS, #instances) do
      local instance = instances[i]
      for j = 1, last do
        local field, cell = fields[j], "\\N"
        if field == pk and not with_key then
          cell = text_of(keys[i])
        elseif wire_value(instance, field, true) ~= nil then
          cell = writes[j](rawget(instance, field.attr))
        end
        text:put(cell, j < last and "\t" or "\n")
      end
    end
    at = at + ROWS
    return text:get()
  end
  local sql = ("COPY %s (%s) FROM STDIN"):format(
    dialect.quote_table(meta.table),
    table.concat(columns, ", ")
  )
  database:acopy_from(sql, next_piece)
  for i, instance in ipairs(instances) do
    if not with_key then
      rawset(instance, pk.attr, keys[i])
    end
    rawset(instance, "_adding", nil)
  end
  return true
end

return copying
