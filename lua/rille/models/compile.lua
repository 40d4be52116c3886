--- From a query, which is data, to SQL text and parameters. Pure: no database is near.
---
--- What a query is made of is written by `rille.models.write_expression` and `write_condition`, on
--- a `rille.models.statement`; here these parts become whole statements.

local Statement = require("rille.models.write_condition")
local errors = require("rille.errors")
local open = require("rille.models.open")
local qualify = require("rille.models.qualify")

local compile = {}

local function not_supported(what, dialect)
  error(errors.NotSupportedError(what:format(dialect.name)), 0)
end

local function clause(statement, word, nodes)
  local parts = {}
  for _, node in ipairs(nodes) do
    for _, child in ipairs(node.kind == "and" and node or { node }) do
      parts[#parts + 1] = statement:condition(child, false)
    end
  end
  return #parts > 0 and word .. table.concat(parts, " AND ") or ""
end

--- `" WHERE …"`, or "" when every row will do; the same of HAVING; and what is left to ask of
--- windows.
function Statement:where(query)
  if query.where == true then
    return "", "", {}
  end
  local rows, groups, windows = qualify.split(query.where, query.group ~= nil)
  return clause(self, " WHERE ", rows), clause(self, " HAVING ", groups), windows
end

--- One term of ORDER BY.
---@param term { node: rille.models.Node?, descending: boolean, nulls: string?, random: boolean? }
---@param reversed boolean
function Statement:order_term(term, reversed)
  if term.random then
    return "RANDOM()"
  end
  local descending = term.descending ~= reversed
  local sql = self:expression(term.node) .. (descending and " DESC" or " ASC")
  if not term.nulls then
    return sql
  end
  local first = (term.nulls == "FIRST") ~= reversed
  return sql .. " NULLS " .. (first and "FIRST" or "LAST")
end

function Statement:order(query)
  local parts = {}
  for i, term in ipairs(query.order) do
    parts[i] = self:order_term(term, query.reversed)
  end
  return #parts > 0 and " ORDER BY " .. table.concat(parts, ", ") or ""
end

--- `most`, if given, bounds the rows further and is written into the text: it is the
--- library's own number.
function Statement:slice(query, most)
  local sql = ""
  local limit, skip = query.limit_to, query.skip
  if query.limit_slot then
    limit = open.at(query.limit_slot)
    -- The smaller of two: it is 1, or nobody knows.
    self.notes.unplanned = self.notes.unplanned or most ~= nil and most > 1
  end
  local limit_to = self:value(limit)
  if most and (not limit or limit_to >= most) then
    sql = " LIMIT " .. most
  elseif limit then
    sql = " LIMIT " .. self:param(limit)
  end
  if skip > 0 then
    local limited = sql == "" and self.dialect.unlimited or sql
    local from = query.skip_slot and open.at(query.skip_slot) or skip
    sql = limited .. " OFFSET " .. self:param(from)
  end
  return sql
end

-- What is selected ------------------------------------------------------------------------

--- A column of a result, called `name` there.
local function named(dialect, sql, column, name)
  return name == column and sql or sql .. " AS " .. dialect.quote(name)
end

compile.named = named

--- The columns as `alias."column"`, named as the attribute where that differs.
function Statement:columns(prefix, joins, list, out)
  local alias = self:alias(joins)
  local quote = self.dialect.quote
  for _, field in ipairs(list) do
    local sql = alias .. "." .. quote(field.column)
    out[#out + 1] = named(self.dialect, sql, field.column, prefix .. field.attr)
  end
end

--- All columns of the model itself: the same text always, so the model remembers it.
function Statement:own_columns()
  local meta, name = self.model._meta, self.dialect.name
  if self.outer then
    local out = {}
    self:columns("", {}, meta.fields, out)
    return table.concat(out, ", ")
  end
  local sql = meta.selections[name]
  if not sql then
    local out = {}
    self:columns("", {}, meta.fields, out)
    sql = table.concat(out, ", ")
    meta.selections[name] = sql
  end
  return sql
end

--- The fields that a related object comes with. It cannot come along a key that is left out.
local function related_fields(query, related)
  local masks, step = query.masks, related.joins[#related.joins]
  local from = masks and masks[related.parent or ""]
  local field = step.field
  if from and not related.implied and not step.back and from.deferred[field.attr] then
    error(
      errors.FieldError(
        ("Field %s.%s cannot be both deferred and traversed using select_related"
          .. " at the same time."):format(field.model.__name, field.name)
      ),
      0
    )
  end
  local mask = masks and masks[related.name]
  return mask and mask.loaded or related.model._meta.fields
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
      self:columns(related.name .. "__", related.joins, related_fields(query, related), out)
    end
    for _, annotation in ipairs(query.annotations or {}) do
      if annotation.selected then
        local sql = self:expression(annotation.node)
        out[#out + 1] = sql .. " AS " .. self.dialect.quote(annotation.name)
      end
    end
  else
    for i, selected in ipairs(query.selected) do
      local node = selected.node
      local column = node.kind == "column" and node.path.field.column
      out[i] = named(self.dialect, self:expression(node), column, selected.name)
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
    not_supported("distinct with names of fields needs PostgreSQL; %s has none", self.dialect)
  end
  local parts = {}
  for i, node in ipairs(distinct) do
    parts[i] = self:expression(node)
  end
  return ("DISTINCT ON (%s) "):format(table.concat(parts, ", "))
end

--- `" GROUP BY …"`: what the rows of a group have in common.
function Statement:group(query)
  local parts, seen = {}, {}
  local function add(sql)
    if not seen[sql] then
      seen[sql] = true
      parts[#parts + 1] = sql
    end
  end
  if query.group == "pk" then
    add(self:column(query.model._meta.pk_path))
    for _, related in ipairs(query.related) do
      local pk = related.model._meta.pk
      add(self:column({ joins = related.joins, field = pk }))
    end
  else
    for _, node in ipairs(query.group) do
      add(self:expression(node))
    end
  end
  local function add_node(node)
    local is_same = node.kind == "value" or node.kind == "exists"
    if not (node.aggregate or node.windowed or is_same) then
      add(self:expression(node))
    end
  end
  for _, annotation in ipairs(query.annotations or {}) do
    local node = annotation.node
    if annotation.selected and query.shape == "instances" then
      add_node(node)
    end
  end
  for _, selected in ipairs(query.selected or {}) do
    add_node(selected.node)
  end
  for _, term in ipairs(query.order) do
    if term.node then
      add_node(term.node)
    end
  end
  return #parts > 0 and " GROUP BY " .. table.concat(parts, ", ") or ""
end

-- Whole statements ------------------------------------------------------------------------

function Statement:lock(query)
  local lock = query.lock
  if not lock or not self.dialect.for_update then
    return "" -- elsewhere there is one writer at a time, and it has locked more than these rows
  end
  local tables = {}
  for i, steps in ipairs(lock.of or { {} }) do
    local alias = #steps == 0 and self.dialect.quote(query.model._meta.table:match("[^.]+$"))
      or self:alias(steps)
    tables[i] = alias
  end
  local strength = lock.no_key and " FOR NO KEY UPDATE" or " FOR UPDATE"
  return strength .. " OF " .. table.concat(tables, ", ") .. lock.tail
end

--- The SELECT of a query on this statement. `what` is selected instead of what the query selects,
--- by `names`.
function Statement:select(query, what, most, names)
  local where, having, windows = self:where(query)
  if #windows > 0 then
    local parts = { what = what, most = most, names = names }
    return self:qualified(query, where, having, windows, parts)
  end
  local by_more = query.distinct_on
    and #query.distinct_on == 0
    and #query.order > 0
    and not what
    and self:distinct_by_more(query, where, having, most)
  if by_more then
    return by_more
  end
  local distinct = self:distinct(query)
  what = what or self:selection(query)
  local group = query.group and self:group(query) or ""
  local order = self:order(query)
  local lock = self:lock(query)
  local slice = self:slice(query, most)
  return "SELECT "
    .. distinct
    .. what
    .. self:from()
    .. where
    .. group
    .. having
    .. order
    .. slice
    .. lock
end

--- Several queries as one: `union` and its sisters. Their columns go by position.
function Statement:combination(query, most)
  local parts = {}
  for i, part in ipairs(query.combined.queries) do
    local sql = self:inside(part.model, part):whole(part)
    parts[i] = "SELECT * FROM (" .. sql .. ") AS " .. self.dialect.quote("part " .. i)
  end
  local word = (" %s "):format(query.combined.op .. (query.combined.all and " ALL" or ""))
  local order = {}
  for i, term in ipairs(query.order) do
    local descending = term.descending ~= query.reversed
    order[i] = term.position .. (descending and " DESC" or " ASC")
  end
  local sql = table.concat(parts, word)
  sql = #order > 0 and sql .. " ORDER BY " .. table.concat(order, ", ") or sql
  return sql .. self:slice(query, most)
end

--- Is the number of rows decided by more than the WHERE clause?
local function is_cut(query)
  return query.limit_to
    or query.skip > 0
    or query.distinct_on
    or query.group
    or query.combined
    or qualify.is_windowed(query.where)
end

--- Without an order, unless that decides which rows there are.
local function unordered(query)
  local decides = query.limit_to
    or query.skip > 0
    or query.combined
    or query.distinct_on and #query.distinct_on > 0
  return decides and query or query:_with({ order = {} })
end

--- Is there a row: a SELECT of one or none.
local function exists_sql(statement, query)
  if query.combined or query.distinct_on and query.skip > 0 then
    return statement:whole(query:_with({ lock = false }), { most = 1 })
  end
  local plain = query:_with({ distinct_on = false, order = {}, lock = false, related = {} })
  return statement:select(plain, '1 AS "n"', 1)
end

--- The query, whatever it is.
---@param query rille.models.Query
---@param opts { most: integer?, exists: boolean? }?
---@return string
function Statement:whole(query, opts)
  if opts and opts.exists then
    return exists_sql(self, query)
  elseif query.combined then
    return self:combination(query, opts and opts.most)
  end
  return self:select(query, nil, opts and opts.most)
end

--- The rows of a query, at most `most`.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param most integer?
---@return string sql
---@return rille.models.Params params
---@return rille.models.Statement statement
function compile.select(query, dialect, most)
  local statement = Statement.new(query.model, dialect, query)
  return statement:whole(query, { most = most }), statement.params, statement
end

--- The rows of a query whose one condition is a value of a column, for all values in an array, its
--- parameter. The server takes it for an array of the column's own type, as it does for one value.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@return string sql
function compile.by_keys(query, dialect)
  local statement = Statement.new(query.model, dialect, query)
  local what = statement:selection(query)
  local column = statement:column(query.where.path)
  return "SELECT " .. what .. statement:from() .. " WHERE " .. column .. " = ANY($1)"
end

--- How many rows: one row with `n`.
function compile.count(query, dialect)
  local statement = Statement.new(query.model, dialect, query)
  if is_cut(query) then
    local plain = unordered(query):_with({ lock = false })
    local inner
    local plain_rows = query.group or qualify.is_windowed(query.where)
    if plain_rows and not query.distinct_on and not query.combined then
      inner = statement:select(plain, '1 AS "n"')
    else
      inner = statement:whole(plain)
    end
    local sql = 'SELECT COUNT(*) AS "n" FROM (' .. inner .. ') AS "counted"'
    return sql, statement.params, statement
  end
  local where = statement:where(query)
  return 'SELECT COUNT(*) AS "n"' .. statement:from() .. where, statement.params, statement
end

--- Is there a row: one row or none.
function compile.exists(query, dialect)
  local statement = Statement.new(query.model, dialect, query)
  return exists_sql(statement, query), statement.params, statement
end

local CONDITIONS = { test = true, ["and"] = true, ["or"] = true, ["not"] = true, expression = true }

local function aggregate_list(statement, list)
  local parts = {}
  for i, aggregate in ipairs(list) do
    parts[i] = statement:expression(aggregate.node)
      .. " AS "
      .. statement.dialect.quote(aggregate.name)
  end
  return "SELECT " .. table.concat(parts, ", ")
end

--- One row with the aggregates by name. Over a query whose rows are more, or fewer, than those of
--- its WHERE clause, that query is one inside, with a column for each argument.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param list { name: string, node: rille.models.Node }[]
function compile.aggregate(query, dialect, list)
  local statement = Statement.new(query.model, dialect, query)
  if not is_cut(query) then
    local what = aggregate_list(statement, list)
    local where = statement:where(query)
    return what .. statement:from() .. where, statement.params, statement
  end
  local inner = statement:beside(query)
  local columns, names = {}, {}
  if query.distinct_on then
    columns[1], names = inner:selection(query), qualify.names_of(query)
  end
  local function take(sql, name)
    columns[#columns + 1], names[#names + 1] = sql .. " AS " .. dialect.quote(name), name
    return '"rows".' .. dialect.quote(name)
  end
  statement.gather = function(node)
    local sql = CONDITIONS[node.kind] and inner:condition(node, false) or inner:expression(node)
    return take(sql, "a " .. (#columns + 1))
  end
  local what = aggregate_list(statement, list)
  if #columns == 0 then
    take("1", "n")
  end
  local plain = unordered(query):_with({ lock = false })
  local rows = inner:select(plain, table.concat(columns, ", "), nil, names)
  return what .. " FROM (" .. rows .. ') AS "rows"', statement.params, statement
end

--- WHERE for UPDATE and DELETE, which cannot join: with joins, by key through a subquery.
--- Filters that follow relations are then tested in a SELECT of their own.
local function where_of_write(statement, query)
  local where, having, windows = statement:where(query)
  if #statement.joins == 0 and having == "" and #windows == 0 then
    return where
  end
  local key = query.model._meta.pk.column
  local pk = statement.base .. "." .. statement.dialect.quote(key)
  local inner
  if #windows > 0 then
    local plain = query:_with({ order = {}, lock = false })
    local parts = { what = pk, names = { key } }
    inner = statement:qualified(plain, where, having, windows, parts)
  else
    local group = having ~= "" and " GROUP BY " .. pk or ""
    inner = "SELECT " .. pk .. statement:from() .. where .. group .. having
  end
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
  local statement = Statement.new(model, dialect)
  statement.literal = true
  local sql = statement:condition(node, false)
  if #statement.joins > 0 then
    error(errors.FieldError("a condition of a table cannot follow foreign keys"), 0)
  end
  return sql
end

--- UPDATE of the rows of a query.
---@param query rille.models.Query
---@param dialect rille.db.Dialect
---@param changes { field: rille.models.Field, value: any, node: rille.models.Node? }[]  in a fixed
---  order
function compile.update(query, dialect, changes)
  local statement = Statement.new(query.model, dialect, query)
  local parts = {}
  for i, change in ipairs(changes) do
    local right = change.node and statement:expression(change.node)
      or statement:param(change.value)
    parts[i] = dialect.quote(change.field.column) .. " = " .. right
  end
  if #statement.joins > 0 then
    error(errors.FieldError("aupdate cannot follow relations in an F; a Subquery can"), 0)
  end
  local where = where_of_write(statement, query)
  local sql = "UPDATE " .. statement.base .. " SET " .. table.concat(parts, ", ") .. where
  return sql, statement.params, statement
end

--- DELETE of the rows of a query.
function compile.delete(query, dialect)
  local statement = Statement.new(query.model, dialect, query)
  local where = where_of_write(statement, query)
  return "DELETE FROM " .. statement.base .. where, statement.params, statement
end

return compile
