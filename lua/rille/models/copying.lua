--- Many rows by COPY: how `abulk_create` sends a large number of objects to PostgreSQL.
---
--- The keys are taken from the key's sequence before, so that the objects have them; rows are made
--- ready while the server takes those before. It is not for conflicts, which COPY cannot handle,
--- for row-level security, which it refuses, nor for keys that no sequence makes.

local null = require("rille.core").null

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

--- A number, or its text where `table.concat` would round it.
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

local KEYS = 'SELECT row_security_active($1::text) AS "secured",'
  .. " CASE WHEN $4::boolean THEN ARRAY("
  -- OFFSET keeps the planner from asking for the sequence's name again for each row.
  .. " SELECT nextval(own.sequence) FROM (SELECT"
  .. " pg_get_serial_sequence($1::text, $2::text)::regclass AS sequence OFFSET 0) AS own,"
  .. " generate_series(1, $3::integer)"
  .. ') END AS "keys"'

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

--- Keys from the sequence, one for each object. nil: there is none, or COPY is refused.
---@async
local function akeys(database, meta, count, with_key)
  local name = database.dialect.quote_table(meta.table)
  local params = { n = 4, name, meta.pk.column, count, not with_key }
  local row = database:_arun(KEYS, params)[1]
  if row.secured or not with_key and (not row.keys or row.keys[1] == null) then
    return nil
  end
  return row.keys or {}
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
  local pk, at = meta.pk, 0
  local function next_piece()
    if at >= #instances then
      return nil
    end
    local lines = {}
    for i = at + 1, math.min(at + ROWS, #instances) do
      local instance, cells = instances[i], {}
      for j, field in ipairs(fields) do
        if field == pk and not with_key then
          cells[j] = text_of(keys[i])
        elseif wire_value(instance, field, true) == nil then
          cells[j] = "\\N"
        else
          cells[j] = writes[j](rawget(instance, field.attr))
        end
      end
      lines[#lines + 1] = table.concat(cells, "\t")
    end
    at = at + ROWS
    lines[#lines + 1] = ""
    return table.concat(lines, "\n")
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
