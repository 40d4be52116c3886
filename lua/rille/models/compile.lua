--- From a query, which is data, to SQL text and parameters. Pure: no database is near.
---
--- Identifiers come from models, quoted; every value is a parameter. The text depends on the
--- shape of the query alone, never on its values, so that the same shape is the same
--- prepared statement: hence `LIMIT $2`, keys in order of the alphabet, and lists as one
--- parameter where the backend has arrays.
---
--- Joins follow foreign keys: one per path, INNER while every key on the way is NOT NULL,
--- LEFT OUTER from the first that may be NULL. A comparison under an odd number of "not"s
--- also asks for IS NOT NULL, so that `exclude { name = "x" }` keeps rows without a name.

local errors = require("rille.errors")

local compile = {}

---@class rille.models.Params
---@field n integer
---@field [integer] any

---@class rille.models.Statement  a statement in the making
---@field dialect rille.db.Dialect
---@field model rille.models.Model
---@field base string         the model's table, quoted
---@field params rille.models.Params
---@field aliases table<string, string>  path of names to quoted alias
---@field joins string[]
---@field slots table<integer, integer>   parameters that come from an open value: which one
---@field makes table<integer, function>  of these, what makes the parameter from the value
local Statement = {}
Statement.__index = Statement

local function new(model, dialect)
  return setmetatable({
    dialect = dialect,
    model = model,
    base = dialect.quote_table(model._meta.table),
    params = { n = 0 },
    aliases = {},
    joins = {},
    slots = {},
    makes = {},
  }, Statement)
end

--- Add a parameter; its placeholder. In a template the value is open, and has a number; what the
--- parameter is made of it by, if it is not the value itself, is `make`.
function Statement:param(value, slot, make)
  if self.literal then
    return self.dialect.literal(make and make(value) or value)
  end
  local params = self.params
  local n = params.n + 1
  params.n = n
  if make then
    value = make(value)
  end
  params[n] = value
  if slot then
    self.slots[n], self.makes[n] = slot, make
  end
  return "$" .. n
end

--- The alias of the table at the end of `joins`, joining it first where needed.
function Statement:alias(joins)
  local alias, name, optional = self.base, "", false
  for _, field in ipairs(joins) do
    name = name .. field.name .. "__"
    optional = optional or field.null
    local known = self.aliases[name]
    if not known then
      local meta = field:target()._meta
      local quote = self.dialect.quote
      -- A blank cannot be in the name of a model's table, so no alias can hide one.
      known = quote("join " .. (#self.joins + 1))
      self.aliases[name] = known
      self.joins[#self.joins + 1] = ("%s JOIN %s AS %s ON %s.%s = %s.%s"):format(
        optional and "LEFT" or "INNER",
        self.dialect.quote_table(meta.table),
        known,
        known,
        quote(meta.pk.column),
        alias,
        quote(field.column)
      )
    end
    alias = known
  end
  return alias
end

function Statement:column(path)
  if self.literal and #path.joins == 0 then
    return self.dialect.quote(path.field.column)
  end
  return self:alias(path.joins) .. "." .. self.dialect.quote(path.field.column)
end

--- An F whose names are resolved, or a number in it.
function Statement:expression(f)
  if type(f) ~= "table" then
    return self:param(f)
  end
  if f.op == "field" then
    return self:column(f.path)
  end
  return ("(%s %s %s)"):format(self:expression(f[1]), f.op, self:expression(f[2]))
end

local OPERATORS = { exact = "=", gt = ">", gte = ">=", lt = "<", lte = "<=" }

function Statement:comparison(node, column)
  local lookup = node.lookup
  local operator = OPERATORS[lookup]
  if operator then
    local right = node.f and self:expression(node.f) or self:param(node.value, node.slot)
    return column .. " " .. operator .. " " .. right
  end
  if lookup == "in" and self.literal then
    local list = {}
    for i, value in ipairs(node.value) do
      list[i] = self:param(value)
    end
    return column .. " IN (" .. table.concat(list, ", ") .. ")"
  elseif lookup == "in" then
    local kind = node.path.field:storage().kind
    return self.dialect.in_list(column, node.value, kind, function(value, make)
      return self:param(value, make and node.slot, make)
    end)
  end
  local template = self.dialect.lookups[lookup]
  if not template then
    error(
      errors.NotSupportedError(
        ("the lookup '%s' needs PostgreSQL; %s does not have it"):format(lookup, self.dialect.name)
      ),
      0
    )
  end
  local marks = { c = column, p = self:param(node.value, node.slot, template.escape) }
  return (template.sql:gsub("%%([cp])", marks))
end

local node_sql = {}

function node_sql.test(statement, node, negated)
  local column = statement:column(node.path)
  if node.lookup == "isnull" then
    return column .. (node.value and " IS NULL" or " IS NOT NULL")
  end
  local sql = statement:comparison(node, column)
  if negated and node.path.nullable then
    return ("(%s AND %s IS NOT NULL)"):format(sql, column)
  end
  return sql
end

local function group(word)
  return function(statement, node, negated)
    local parts = {}
    for i, child in ipairs(node) do
      parts[i] = statement:node(child, negated)
    end
    return "(" .. table.concat(parts, word) .. ")"
  end
end

node_sql["and"] = group(" AND ")
node_sql["or"] = group(" OR ")

node_sql["not"] = function(statement, node, negated)
  return "NOT (" .. statement:node(node[1], not negated) .. ")"
end

function Statement:node(node, negated)
  return node_sql[node.kind](self, node, negated)
end

--- `" WHERE …"`, or "" when every row will do.
function Statement:where(query)
  local node = query.where
  if node == true then
    return ""
  end
  local parts = {}
  if node.kind == "and" then
    for i, child in ipairs(node) do
      parts[i] = self:node(child, false)
    end
  else
    parts[1] = self:node(node, false)
  end
  return " WHERE " .. table.concat(parts, " AND ")
end

function Statement:order(order, reversed)
  if #order == 0 then
    return ""
  end
  local parts = {}
  for i, term in ipairs(order) do
    if term.random then
      parts[i] = "RANDOM()"
    else
      local descending = term.descending ~= reversed
      parts[i] = self:column(term.path) .. (descending and " DESC" or " ASC")
    end
  end
  return " ORDER BY " .. table.concat(parts, ", ")
end

--- `most`, if given, bounds the rows further and is written into the text: it is the
--- library's own number.
function Statement:slice(query, most)
  local sql = ""
  local limit = query.limit_to
  if most and (not limit or limit > most) then
    sql = " LIMIT " .. most
  elseif limit then
    sql = " LIMIT " .. self:param(limit, query.limit_slot)
  end
  if query.skip > 0 then
    local limited = sql == "" and self.dialect.unlimited or sql
    sql = limited .. " OFFSET " .. self:param(query.skip, query.skip_slot)
  end
  return sql
end

function Statement:from()
  local joins = #self.joins > 0 and " " .. table.concat(self.joins, " ") or ""
  return " FROM " .. self.base .. joins
end

--- A column of a result, called `name` there.
local function named(dialect, sql, column, name)
  return name == column and sql or sql .. " AS " .. dialect.quote(name)
end

--- The columns as `alias."column"`, named as the attribute where that differs.
function Statement:columns(prefix, joins, fields, out)
  local alias = self:alias(joins)
  local quote = self.dialect.quote
  for _, field in ipairs(fields) do
    local sql = alias .. "." .. quote(field.column)
    out[#out + 1] = named(self.dialect, sql, field.column, prefix .. field.attr)
  end
end

--- All columns of the model itself: the same text always, so the model remembers it.
function Statement:own_columns()
  local meta, name = self.model._meta, self.dialect.name
  local sql = meta.selections[name]
  if not sql then
    local out = {}
    self:columns("", {}, meta.fields, out)
    sql = table.concat(out, ", ")
    meta.selections[name] = sql
  end
  return sql
end

--- What a query selects.
function Statement:selection(query)
  local out = {}
  if query.shape == "instances" then
    if query.loaded then
      self:columns("", {}, query.loaded, out)
    else
      out[1] = self:own_columns()
    end
    for _, related in ipairs(query.related) do
      local joins = related.joins
      self:columns(related.name .. "__", joins, joins[#joins]:target()._meta.fields, out)
    end
  else
    for i, selected in ipairs(query.selected) do
      local path = selected.path
      out[i] = named(self.dialect, self:column(path), path.field.column, selected.name)
    end
  end
  return table.concat(out, ", ")
end

function Statement:distinct(query)
  local distinct = query.distinct_on
  if not distinct then
    return ""
  end
  if #distinct == 0 then
    return "DISTINCT "
  end
  if not self.dialect.distinct_on then
    error(
      errors.NotSupportedError(
        ("distinct with names of fields needs PostgreSQL; %s does not have it"):format(
          self.dialect.name
        )
      ),
      0
    )
  end
  local parts = {}
  for i, path in ipairs(distinct) do
    parts[i] = self:column(path)
  end
  return ("DISTINCT ON (%s) "):format(table.concat(parts, ", "))
end

--- The whole SELECT of a query on this statement.
function Statement:select(query, what, most)
  local where = self:where(query)
  local distinct = self:distinct(query)
  what = what or self:selection(query)
  local order = self:order(query.order, query.reversed)
  local lock = ""
  if query.lock and self.dialect.for_update then
    lock = " FOR UPDATE OF " .. self.dialect.quote(query.model._meta.table:match("[^.]+$"))
    lock = lock .. query.lock
  end -- elsewhere there is one writer at a time, and it has locked more than these rows
  local slice = self:slice(query, most)
  return "SELECT " .. distinct .. what .. self:from() .. where .. order .. slice .. lock
end

--- The rows of a query, at most `most`.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param most integer?
---@return string sql
---@return rille.models.Params params
---@return rille.models.Statement statement
function compile.select(query, dialect, most)
  local statement = new(query.model, dialect)
  return statement:select(query, nil, most), statement.params, statement
end

--- Is the number of rows decided by more than the WHERE clause?
local function is_cut(query)
  return query.limit_to or query.skip > 0 or query.distinct_on
end

--- How many rows: one row with `n`.
function compile.count(query, dialect)
  local statement = new(query.model, dialect)
  if is_cut(query) then
    local inner = statement:select(query:_with({ lock = false }))
    local sql = 'SELECT COUNT(*) AS "n" FROM (' .. inner .. ') AS "counted"'
    return sql, statement.params, statement
  end
  local where = statement:where(query)
  return 'SELECT COUNT(*) AS "n"' .. statement:from() .. where, statement.params, statement
end

--- Is there a row: one row or none.
function compile.exists(query, dialect)
  local statement = new(query.model, dialect)
  if query.distinct_on and query.skip > 0 then
    return statement:select(query, nil, 1), statement.params, statement
  end
  local plain = query:_with({ distinct_on = false, order = {}, lock = false, related = {} })
  return statement:select(plain, '1 AS "n"', 1), statement.params, statement
end

-- What a backend would widen is brought back to what Lua can count with.
local CASTS = {
  SUM = { auto = "bigint", bigint = "bigint", integer = "bigint" },
  AVG = { auto = "double precision", bigint = "double precision", integer = "double precision" },
}

function Statement:aggregate(aggregate)
  if not aggregate.path then
    return "COUNT(*)"
  end
  local distinct = aggregate.distinct and "DISTINCT " or ""
  local sql = ("%s(%s%s)"):format(aggregate.sql, distinct, self:column(aggregate.path))
  local cast = (CASTS[aggregate.sql] or {})[aggregate.path.field:storage().kind]
  return cast and ("CAST(%s AS %s)"):format(sql, cast) or sql
end

--- One row with the aggregates by name.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param list { name: string, sql: string, path: rille.models.Path?, distinct: boolean }[]
function compile.aggregate(query, dialect, list)
  local statement = new(query.model, dialect)
  local parts = {}
  for i, aggregate in ipairs(list) do
    parts[i] = statement:aggregate(aggregate) .. " AS " .. dialect.quote(aggregate.name)
  end
  local where
  if query.limit_to or query.skip > 0 then
    local pk = dialect.quote(query.model._meta.pk.column)
    local inner = new(query.model, dialect)
    inner.params = statement.params
    local rows = query:_with({ lock = false, related = {} })
    local keys = inner:select(rows, inner.base .. "." .. pk)
    where = (" WHERE %s.%s IN (%s)"):format(statement.base, pk, keys)
  else
    where = statement:where(query)
  end
  return "SELECT " .. table.concat(parts, ", ") .. statement:from() .. where, statement.params
end

--- WHERE for UPDATE and DELETE, which cannot join: with joins, by key through a subquery.
--- Filters that follow foreign keys are then tested in a SELECT of their own.
local function where_of_write(statement, query)
  local where = statement:where(query)
  if #statement.joins == 0 then
    return where
  end
  local pk = statement.base .. "." .. statement.dialect.quote(query.model._meta.pk.column)
  local inner = "SELECT " .. pk .. statement:from() .. where
  return " WHERE " .. pk .. " IN (" .. inner .. ")"
end

--- A condition for the definition of a table: values stand in the text, columns by their names.
---@param model rille.models.Model
---@param dialect rille.db.Dialect
---@param node table|boolean
---@return string
function compile.condition(model, dialect, node)
  if type(node) == "boolean" then
    return node and "1 = 1" or "1 = 0"
  end
  local statement = new(model, dialect)
  statement.literal = true
  local sql = statement:node(node, false)
  if #statement.joins > 0 then
    error(errors.FieldError("a condition of a table cannot follow foreign keys"), 0)
  end
  return sql
end

--- UPDATE of the rows of a query.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param changes { field: rille.models.Field, value: any, f: table? }[]  in a fixed order
function compile.update(query, dialect, changes)
  local statement = new(query.model, dialect)
  local parts = {}
  for i, change in ipairs(changes) do
    local right = change.f and statement:expression(change.f) or statement:param(change.value)
    parts[i] = dialect.quote(change.field.column) .. " = " .. right
  end
  if #statement.joins > 0 then
    error(errors.FieldError("aupdate cannot follow foreign keys in an F"), 0)
  end
  local where = where_of_write(statement, query)
  local sql = "UPDATE " .. statement.base .. " SET " .. table.concat(parts, ", ") .. where
  return sql, statement.params
end

--- DELETE of the rows of a query.
function compile.delete(query, dialect)
  local statement = new(query.model, dialect)
  local where = where_of_write(statement, query)
  return "DELETE FROM " .. statement.base .. where, statement.params
end

--- INSERT of rows that all give the same fields; returns the key of each.
---@param model rille.models.Model
---@param dialect rille.db.Dialect
---@param fields rille.models.Field[]
---@param rows table[]  wire values by position; absent: NULL
---@param opts { ignore_conflicts: boolean? }?
function compile.insert(model, dialect, fields, rows, opts)
  local statement = new(model, dialect)
  local pk = model._meta.pk
  local head = "INSERT INTO " .. statement.base
  local tail = " RETURNING " .. named(dialect, dialect.quote(pk.column), pk.column, pk.attr)
  if opts and opts.ignore_conflicts then
    tail = " ON CONFLICT DO NOTHING"
  end
  if #fields == 0 then
    return head .. " DEFAULT VALUES" .. tail, statement.params
  end
  local columns, tuples = {}, {}
  for i, field in ipairs(fields) do
    columns[i] = dialect.quote(field.column)
  end
  for i, row in ipairs(rows) do
    local marks = {}
    for j = 1, #fields do
      marks[j] = statement:param(row[j])
    end
    tuples[i] = "(" .. table.concat(marks, ", ") .. ")"
  end
  local sql = ("%s (%s) VALUES %s%s"):format(
    head,
    table.concat(columns, ", "),
    table.concat(tuples, ", "),
    tail
  )
  return sql, statement.params
end

return compile
