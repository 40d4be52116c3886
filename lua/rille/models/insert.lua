--- INSERT as SQL. Pure, as `rille.models.compile` is.
---
--- Rows are a list of parameters each; or, where the backend has arrays, columns are one parameter
--- each: then the statement is the same for any number of rows, and its parameters are few.

local Statement = require("rille.models.write_expression")

local insert = {}

--- What comes behind the rows: what to do with those that are there, and the keys to be told.
local function tail_of(model, dialect, opts)
  local pk = model._meta.pk
  local key = dialect.quote(pk.column)
  local returning = " RETURNING " .. key
  if pk.column ~= pk.attr then
    returning = returning .. " AS " .. dialect.quote(pk.attr)
  end
  if opts and opts.ignore_conflicts then
    return " ON CONFLICT DO NOTHING"
  elseif not (opts and opts.update) then
    return returning
  end
  local unique, sets = {}, {}
  for i, field in ipairs(opts.unique) do
    unique[i] = dialect.quote(field.column)
  end
  for i, field in ipairs(opts.update) do
    local column = dialect.quote(field.column)
    sets[i] = column .. " = EXCLUDED." .. column
  end
  return (" ON CONFLICT (%s) DO UPDATE SET %s%s"):format(
    table.concat(unique, ", "),
    table.concat(sets, ", "),
    returning
  )
end

local function columns_of(dialect, list)
  local columns = {}
  for i, field in ipairs(list) do
    columns[i] = dialect.quote(field.column)
  end
  return table.concat(columns, ", ")
end

--- The text of an INSERT of `n` rows.
function insert.text(model, dialect, list, n, opts)
  local head = "INSERT INTO " .. dialect.quote_table(model._meta.table)
  local tail = tail_of(model, dialect, opts)
  if #list == 0 then
    return head .. " DEFAULT VALUES" .. tail
  end
  local tuples, at = {}, 0
  for i = 1, n do
    local marks = {}
    for j = 1, #list do
      at = at + 1
      marks[j] = "$" .. at
    end
    tuples[i] = "(" .. table.concat(marks, ", ") .. ")"
  end
  return ("%s (%s) VALUES %s%s"):format(
    head,
    columns_of(dialect, list),
    table.concat(tuples, ", "),
    tail
  )
end

--- Of one row whose key is wanted: by the list of its fields, which is a model's own, and dialect.
local of_one = setmetatable({}, { __mode = "k" })

local function text_of_one(model, dialect, list)
  local texts = of_one[list] or {}
  of_one[list] = texts
  texts[dialect] = texts[dialect] or insert.text(model, dialect, list, 1)
  return texts[dialect]
end

--- INSERT of rows that all give the same fields; returns the key of each.
---@param model rille.models.Model
---@param dialect rille.db.Dialect
---@param list rille.models.Field[]  the same table for the same fields of a model
---@param rows table[]  wire values by position; absent: NULL
---@param opts table?  `ignore_conflicts`; or `update` and `unique`, lists of fields
---@return string sql
---@return rille.models.Params params
function insert.rows(model, dialect, list, rows, opts)
  local params = { n = #list * #rows }
  for i, row in ipairs(rows) do
    for j = 1, #list do
      params[(i - 1) * #list + j] = row[j]
    end
  end
  if #rows == 1 and not opts then
    return text_of_one(model, dialect, list), params
  end
  return insert.text(model, dialect, list, #rows, opts), params
end

--- Can these fields be given as arrays?
---@param dialect rille.db.Dialect
---@param list rille.models.Field[]
---@return boolean
function insert.has_arrays(dialect, list)
  if not dialect.arrays or #list == 0 then
    return false
  end
  for _, field in ipairs(list) do
    if field:storage().kind == "array" then -- unnest would take them apart, too
      return false
    end
  end
  return true
end

--- The same as `rows`, with a list of values for each field, NULL as `rille.null`.
---@param columns any[][]  as `rille.core.db`'s array takes them
---@return string sql
---@return rille.models.Params params
function insert.columns(model, dialect, list, columns, opts)
  local array = require("rille.core.db").array
  local params, casts = { n = #list }, {}
  for i, field in ipairs(list) do
    params[i] = array(columns[i])
    casts[i] = ("$%d::%s[]"):format(i, Statement.type_of(field, dialect))
  end
  local sql = ("INSERT INTO %s (%s) SELECT * FROM unnest(%s)%s"):format(
    dialect.quote_table(model._meta.table),
    columns_of(dialect, list),
    table.concat(casts, ", "),
    tail_of(model, dialect, opts)
  )
  return sql, params
end

return insert
