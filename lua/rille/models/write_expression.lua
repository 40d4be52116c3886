--- Expressions as SQL: the nodes of `rille.models.resolve`. Adds `expression` to statements.
---
--- A node is written once per statement: the same node again is the same text, with the same
--- parameters, which is how GROUP BY and ORDER BY recognise what SELECT says.

local Statement = require("rille.models.statement")
local errors = require("rille.errors")
local names = require("rille.models.names")

local write = {}

--- Raise for what a backend lacks.
local function lacks(statement, what)
  error(
    errors.NotSupportedError(("%s needs PostgreSQL; %s does not have it"):format(
      what,
      statement.dialect.name
    )),
    0
  )
end

--- The type of a kind of values, for CAST.
---@param output rille.models.Field
---@param dialect rille.db.Dialect
---@return string?
function Statement.type_of(output, dialect)
  local storage = output:storage()
  if storage.kind == "array" then
    return dialect.types[storage.of:storage().kind] .. "[]"
  end
  return dialect.types[storage.kind]
end

function write.column(statement, node)
  return statement:column(node.path, node.scope)
end

function write.value(statement, node)
  if node.value == nil then
    return "NULL"
  end
  local mark = statement:param(node.value)
  local dialect = statement.dialect
  local says = dialect.typed or node.output:storage().kind == "float" -- 7 would be an integer
  local as = not node.untyped and says and Statement.type_of(node.output, dialect)
  return as and ("CAST(%s AS %s)"):format(mark, as) or mark
end

function write.arithmetic(statement, node)
  local a, b = statement:expression(node.a), statement:expression(node.b)
  if node.op == "^" then
    local exact = statement.dialect.typed and "POWER((%s)::float8, (%s)::float8)"
    return (exact or "POWER(%s, %s)"):format(a, b)
  elseif node.op == "#" and not statement.dialect.typed then -- SQLite has no exclusive or
    return ("((%s | %s) - (%s & %s))"):format(a, b, a, b)
  end
  return ("(%s %s %s)"):format(a, node.op, b)
end

--- Text for a backend: one for all, or one for each.
local function text_for(statement, given, what)
  if type(given) ~= "table" then
    return given
  end
  return given[statement.dialect.name] or lacks(statement, what)
end

--- A template with its marks filled.
local function fill(template, args, join)
  return (template:gsub("%%([%d*u])", function(mark)
    if mark == "*" then
      return table.concat(args, join)
    elseif mark == "u" then
      return args.utc
    end
    return args[tonumber(mark)]
  end))
end

function write.call(statement, node)
  local definition, args = node.definition, {}
  local template = definition.sql
  local of_date = node.args[1] and node.args[1].output:storage().kind == "date"
  if type(template) == "function" then
    template = template(statement.dialect, node)
  elseif of_date and definition.of_date then
    template = definition.of_date
  end
  template = text_for(statement, template, definition.name)
  local each = definition.each and definition.each[statement.dialect.name]
  for i, arg in ipairs(node.args) do
    args[i] = statement:expression(arg)
    if each then
      args[i] = fill(each, { args[i] })
    end
  end
  args.utc = args[1] and (of_date and args[1] or "(" .. args[1] .. " AT TIME ZONE 'UTC')")
  return fill(template, args, text_for(statement, definition.join))
end

function write.cast(statement, node)
  local as = Statement.type_of(node.output, statement.dialect)
  return ("CAST(%s AS %s)"):format(statement:expression(node.node), as)
end

--- A mark may stand more than once, and is one parameter.
function write.raw_sql(statement, node)
  local marks = {}
  local sql = node.sql:gsub("%$(%d+)", function(mark)
    marks[mark] = marks[mark] or statement:param(node.params[tonumber(mark)])
    return marks[mark]
  end)
  return "(" .. sql .. ")"
end

function write.condition(statement, node)
  local condition = node.condition
  if type(condition) == "boolean" then
    return condition and "(1 = 1)" or "(1 = 0)"
  end
  return "(" .. statement:condition(condition, false) .. ")"
end

function write.collate(statement, node)
  local collation = statement.dialect.quote(node.collation)
  return ("(%s COLLATE %s)"):format(statement:expression(node.node), collation)
end

-- SQLite knows neither booleans nor JSON but as numbers and texts.
local AS_JSON = {
  boolean = "CASE %s WHEN 1 THEN json('true') WHEN 0 THEN json('false') END",
  json = "json(%s)",
}

function write.json_built(statement, node)
  local typed, parts = statement.dialect.typed, {}
  for i, arg in ipairs(node.args) do
    if node.members then
      parts[#parts + 1] = statement:param(node.members[i]) .. (typed and "::text" or "")
    end
    local sql = statement:expression(arg)
    local as = not typed and AS_JSON[arg.output:storage().kind]
    parts[#parts + 1] = as and as:format(sql) or sql
  end
  local name = typed and "JSONB_BUILD_%s" or "JSON_%s"
  name = name:format(node.members and "OBJECT" or "ARRAY")
  return ("%s(%s)"):format(name, table.concat(parts, ", "))
end

write["case"] = function(statement, node)
  local parts = {}
  for _, when in ipairs(node.whens) do
    local condition = when.condition
    if condition ~= false then
      local sql = condition == true and "1 = 1" or statement:condition(condition, false)
      parts[#parts + 1] = ("WHEN %s THEN %s"):format(sql, statement:expression(when.result))
    end
  end
  local default = node.default and statement:expression(node.default) or "NULL"
  if #parts == 0 then
    return default
  end
  return ("CASE %s ELSE %s END"):format(table.concat(parts, " "), default)
end

function write.order_terms(statement, terms)
  local parts = {}
  for i, term in ipairs(terms) do
    parts[i] = statement:order_term(term, false)
  end
  return table.concat(parts, ", ")
end

--- An argument of an aggregate. Over rows that are gathered by a query inside, a column of those.
local function aggregate_arg(statement, node)
  if statement.gather then
    return statement.gather(node)
  end
  return statement:expression(node)
end

--- `over` is what makes a window of it.
function write.aggregate(statement, node, over)
  local dialect = statement.dialect
  local name = text_for(statement, node.sql, node.name)
  local inside = "*"
  if node.arg then
    inside = aggregate_arg(statement, node.arg)
    if node.name == "StringAgg" then
      local delimiter = statement:param(node.delimiter)
      if dialect.typed then
        inside, delimiter = "(" .. inside .. ")::text", delimiter .. "::text"
      end
      inside = node.distinct and not dialect.typed and inside or inside .. ", " .. delimiter
    end
  end
  if node.order then
    if not dialect.typed then
      lacks(statement, "the order of " .. node.name)
    end
    inside = inside .. " ORDER BY " .. write.order_terms(statement, node.order)
  end
  local sql = ("%s(%s%s)"):format(name, node.distinct and "DISTINCT " or "", inside)
  if type(node.filter) == "table" then
    local condition = statement.gather and statement.gather(node.filter)
      or statement:condition(node.filter, false)
    sql = sql .. " FILTER (WHERE " .. condition .. ")"
  elseif node.filter == false then
    sql = sql .. " FILTER (WHERE 1 = 0)"
  end
  sql = over and sql .. over or sql
  if node.cast then
    sql = ("CAST(%s AS %s)"):format(sql, node.cast)
  end
  if node.default then
    sql = ("COALESCE(%s, %s)"):format(sql, statement:expression(node.default))
  end
  return sql
end

--- One end of a frame: false or nil is none.
local function bound(n, word)
  if not n then
    return "UNBOUNDED " .. word
  elseif n == 0 then
    return "CURRENT ROW"
  end
  return ("%d %s"):format(math.abs(n), n < 0 and "PRECEDING" or "FOLLOWING")
end

function write.window(statement, node)
  local parts = {}
  if #node.partition > 0 then
    local list = {}
    for i, given in ipairs(node.partition) do
      list[i] = statement:expression(given)
    end
    parts[#parts + 1] = "PARTITION BY " .. table.concat(list, ", ")
  end
  if #node.order > 0 then
    parts[#parts + 1] = "ORDER BY " .. write.order_terms(statement, node.order)
  end
  local frame = node.frame
  if frame then
    parts[#parts + 1] = ("%s BETWEEN %s AND %s"):format(
      frame.unit,
      bound(frame[1], "PRECEDING"),
      bound(frame[2], "FOLLOWING")
    )
  end
  local over = " OVER (" .. table.concat(parts, " ") .. ")"
  if node.node.kind == "aggregate" then
    return write.aggregate(statement, node.node, over)
  end
  return statement:expression(node.node) .. over
end

function write.subquery(statement, node)
  local query = node.query
  if query.where == false then
    return "NULL"
  end
  return "(" .. statement:inside(query.model, query):whole(query) .. ")"
end

function write.exists(statement, node)
  local query = node.query
  if query.where == false then
    return node.negated and "1 = 1" or "1 = 0"
  end
  local inner = statement:inside(query.model, query):whole(query, { exists = true })
  return ("%sEXISTS (%s)"):format(node.negated and "NOT " or "", inner)
end

function write.outer(statement, node)
  local outer = statement.outer
  while outer and not outer.query do
    outer = outer.outer
  end
  if not outer then
    error(
      errors.ProgrammingError(
        ("OuterRef('%s') is for a query inside of another, in Subquery or Exists"):format(node.name)
      ),
      0
    )
  end
  return outer:expression(names.name(outer.query, node.name))
end

-- JSON and arrays -----------------------------------------------------------------------

--- The way to a value inside of JSON, as SQLite has it.
local function path_text(keys)
  local parts = { "$" }
  for _, key in ipairs(keys) do
    if key:find('"', 1, true) then
      error(errors.NotSupportedError("SQLite finds no key of JSON that has a quote in it"), 0)
    end
    parts[#parts + 1] = key:match("^%d+$") and "[" .. key .. "]" or '."' .. key .. '"'
  end
  return table.concat(parts)
end

--- The way to a value inside of JSON, as a parameter.
local function json_path(statement, keys)
  if statement.dialect.typed then
    return statement:param(statement.dialect.array_literal(keys)) .. "::text[]"
  end
  return statement:param(path_text(keys))
end

function write.json_key(statement, node)
  local whole = statement:expression(node.node)
  if statement.dialect.typed then
    return ("(%s #> %s)"):format(whole, json_path(statement, node.keys))
  end
  return ("(%s -> %s)"):format(whole, json_path(statement, node.keys))
end

--- What JSON holds somewhere, as text: a string without its quotes.
---@param node rille.models.Node
---@return string
function Statement:json_text(node)
  local keys = node.keys or {}
  local whole = self:expression(node.keys and node.node or node)
  if self.dialect.typed then
    return ("(%s #>> %s)"):format(whole, json_path(self, keys))
  end
  return ("json_extract(%s, %s)"):format(whole, json_path(self, keys))
end

--- The type of what JSON holds somewhere; NULL: nothing. SQLite.
---@param node rille.models.Node
---@param last { value: any, pick: function? }?  one more key: a value, or what `pick` finds in it
---@return string
function Statement:json_type(node, last)
  local whole, keys = self:expression(node.keys and node.node or node), node.keys or {}
  local path
  if last then
    path = self:param(last.value, function(value)
      local all = { unpack(keys) }
      all[#all + 1] = last.pick and last.pick(value) or value
      return path_text(all)
    end)
  else
    path = json_path(self, keys)
  end
  return ("json_type(%s, %s)"):format(whole, path)
end

function write.len(statement, node)
  local list = statement:expression(node.node)
  return ("CASE WHEN %s IS NULL THEN NULL ELSE COALESCE(ARRAY_LENGTH(%s, 1), 0) END"):format(
    list,
    list
  )
end

function write.element(statement, node)
  return ("(%s)[%d]"):format(statement:expression(node.node), node.index + 1)
end

--- A node as SQL.
---@param node rille.models.Node
---@return string
function Statement:expression(node)
  local known = self.memo[node]
  if not known then
    known = write[node.kind](self, node)
    self.memo[node] = known
  end
  return known
end

return Statement
