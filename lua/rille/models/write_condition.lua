--- Conditions as SQL: the tests of `rille.models.tests`, and what combines them. Adds `condition`
--- to statements.
---
--- A comparison under an odd number of "not"s also asks for IS NOT NULL, so that
--- `exclude { name = "x" }` keeps rows without a name. One that may be about several related rows
--- becomes EXISTS there: to exclude authors of a book is to exclude who has such a book.

local Statement = require("rille.models.write_expression")
local core = require("rille.core.db")
local errors = require("rille.errors")
local null = require("rille.core").null

local OPERATORS = { exact = "=", gt = ">", gte = ">=", lt = "<", lte = "<=" }

local function not_here(statement, lookup)
  error(
    errors.NotSupportedError(
      ("the lookup '%s' needs PostgreSQL; %s does not have it"):format(
        lookup,
        statement.dialect.name
      )
    ),
    0
  )
end

--- A transform such as `unaccent` is for what is compared with, too.
local function as_left(node, right)
  local definition = node.left and node.left.kind == "call" and node.left.definition
  if definition and definition.both_sides then
    return (definition.sql.postgresql:gsub("%%1", (right:gsub("%%", "%%%%"))))
  end
  return right
end

--- A text lookup, by the dialect's template.
local function by_template(statement, node, column)
  local template = statement.dialect.lookups[node.lookup]
  if not template then
    not_here(statement, node.lookup)
  elseif node.f then
    local marks = { c = column, p = as_left(node, statement:expression(node.f)) }
    return (template.of_field:gsub("%%([cp])", marks))
  end
  local mark = statement:param(node.value, template.escape)
  local marks = { c = column, p = as_left(node, mark) }
  return (template.sql:gsub("%%([cp])", marks))
end

-- JSON ------------------------------------------------------------------------------------

local json = {}

--- What a test without transforms looks at, as a node.
local function json_column(node)
  return { kind = "column", path = node.path, scope = node.scope }
end

local function encoded(value)
  return require("rille.json").encode(value)
end

local function wire_json(value)
  return core.json(encoded(value))
end

local function as_number(value)
  return value and 1 or 0
end

--- A value to compare with what `json_extract` gives.
local function plain_json(statement, node)
  if node.json == "table" then
    return "json(" .. statement:param(node.value, encoded) .. ")"
  elseif node.json == "boolean" then
    return statement:param(node.value, as_number)
  end
  return statement:param(node.value)
end

local function compare_json(statement, node, column)
  local operator = OPERATORS[node.lookup]
  if statement.dialect.typed then
    return ("%s %s %s::jsonb"):format(column, operator, statement:param(node.value, wire_json))
  elseif node.value == null then
    return statement:json_type(node.left) .. " = 'null'"
  elseif not node.left then
    return ("json(%s) %s json(%s)"):format(
      column,
      operator,
      statement:param(node.value, encoded)
    )
  end
  return ("%s %s %s"):format(column, operator, plain_json(statement, node))
end

for lookup in pairs(OPERATORS) do
  json[lookup] = compare_json
end

for lookup, operator in pairs({ contains = "@>", contained_by = "<@" }) do
  json[lookup] = function(statement, node, column)
    if not statement.dialect.typed then
      not_here(statement, lookup)
    end
    return ("%s %s %s::jsonb"):format(column, operator, statement:param(node.value, wire_json))
  end
end

local function has_keys(statement, node, column, word)
  local parts = {}
  for i = 1, node.count or 1 do
    local key = node.count and statement.dialect.pick[i] or nil
    if statement.dialect.typed then
      parts[i] = ("%s ? %s"):format(column, statement:param(node.value, key))
    else
      local root = node.left or json_column(node)
      parts[i] = statement:json_type(root, { value = node.value, pick = key }) .. " IS NOT NULL"
    end
  end
  return "(" .. table.concat(parts, word) .. ")"
end

function json.has_key(statement, node, column)
  return has_keys(statement, node, column, "")
end

function json.has_keys(statement, node, column)
  return has_keys(statement, node, column, " AND ")
end

function json.has_any_keys(statement, node, column)
  return has_keys(statement, node, column, " OR ")
end

-- Arrays and texts to be searched ---------------------------------------------------------

local array = {}
local LISTS = { contains = "@>", contained_by = "<@", overlap = "&&", exact = "=" }
for lookup, operator in pairs(LISTS) do
  array[lookup] = function(statement, node, column)
    local kind = statement.dialect.types[node.output:storage().of.kind]
    return ("%s %s %s::%s[]"):format(column, operator, statement:param(node.value), kind)
  end
end

local tsvector = {}
function tsvector.search(statement, node, column)
  local right = node.f and statement:expression(node.f)
    or ("PLAINTO_TSQUERY(%s)"):format(statement:param(node.value))
  return column .. " @@ " .. right
end
tsvector.exact = tsvector.search

local OF_KIND = { json = json, array = array, tsvector = tsvector }

-- Tests -----------------------------------------------------------------------------------

local function in_list(statement, node, column)
  if node.f then
    return column .. " IN " .. statement:expression(node.f)
  elseif statement.literal then
    local list = {}
    for i, value in ipairs(node.value) do
      list[i] = statement:param(value)
    end
    return column .. " IN (" .. table.concat(list, ", ") .. ")"
  end
  local dialect, kind = statement.dialect, node.output:storage().kind
  local list, slot = statement:value(node.value)
  if slot and dialect.list_size then
    local lists = statement.notes.lists
    lists[#lists + 1] = slot
  end
  return dialect.in_list(column, list, kind, function(make)
    return statement:param(node.value, make)
  end)
end

--- A test of `column`, which is what the node tests, as SQL.
local function comparison(statement, node, column)
  local lookup = node.lookup
  local own = OF_KIND[node.output:storage().kind]
  if own and own[lookup] and (not node.f or own == tsvector) then
    return own[lookup](statement, node, column)
  end
  local operator = OPERATORS[lookup]
  if operator then
    local right = node.f and statement:expression(node.f) or statement:param(node.value)
    right = as_left(node, right)
    return column .. " " .. operator .. " " .. right
  elseif lookup == "in" then
    return in_list(statement, node, column)
  elseif lookup == "range" then
    local low, high = statement:param(node.value[1]), statement:param(node.value[2])
    return ("%s BETWEEN %s AND %s"):format(column, low, high)
  elseif lookup == "search" then
    if not statement.dialect.typed then
      not_here(statement, lookup)
    end
    local value = statement:param(node.value)
    return ("TO_TSVECTOR(COALESCE(%s, '')) @@ PLAINTO_TSQUERY(%s)"):format(column, value)
  end
  return by_template(statement, node, column)
end

local function test(statement, node, column)
  if node.lookup == "isnull" then
    return column .. (node.value and " IS NULL" or " IS NOT NULL")
  end
  return comparison(statement, node, column)
end

--- What is tested, inside of JSON: as JSON, or as what the comparison takes.
local function tested_json(statement, node)
  local left = node.left or json_column(node)
  local lookup = node.lookup
  if not json[lookup] and lookup ~= "isnull" then
    return statement:json_text(left)
  elseif left.kind ~= "json_key" or statement.dialect.typed then
    return statement:expression(left)
  elseif lookup == "isnull" then
    return statement:json_type(left) -- JSON's null is something
  end
  return OPERATORS[lookup] and statement:json_text(left) or nil
end

local function tested(statement, node)
  if node.output.kind == "json" then
    return tested_json(statement, node)
  end
  return node.left and statement:expression(node.left) or statement:column(node.path, node.scope)
end

--- The test of one that may be about several related rows, under "not": is there such a row?
local function among_related(statement, node)
  local path = node.path
  local first = path.joins[path.many_at]
  local before = { unpack(path.joins, 1, path.many_at - 1) }
  local behind = { unpack(path.joins, path.many_at + 1) }
  local here = statement:alias(before)
  local quote = statement.dialect.quote
  local function related(condition)
    local inner = statement:inside(first.model)
    local link = ("%s.%s = %s.%s"):format(inner.base, quote(first.to), here, quote(first.from))
    local sql = condition and condition(inner)
    return ("EXISTS (SELECT 1%s WHERE %s%s)"):format(
      inner:from(),
      link,
      sql and " AND " .. sql or ""
    )
  end
  local such = related(function(inner)
    if node.f then -- which is about the row, not about the related ones
      inner.memo[node.f] = statement:expression(node.f)
    end
    return test(inner, node, inner:column({ joins = behind, field = path.field }))
  end)
  if node.lookup == "isnull" and node.value then
    return ("(%s OR NOT %s)"):format(such, related())
  end
  return such
end

local write = {}

function write.test(statement, node, negated)
  if negated and node.path and node.path.many then
    return among_related(statement, node)
  end
  local column = tested(statement, node)
  local sql = test(statement, node, column)
  if negated and node.nullable and node.lookup ~= "isnull" then
    return ("(%s AND %s IS NOT NULL)"):format(sql, column)
  end
  return sql
end

function write.expression(statement, node)
  return statement:expression(node.node)
end

local function group(word)
  return function(statement, node, negated)
    local parts = {}
    for i, child in ipairs(node) do
      parts[i] = statement:condition(child, negated)
    end
    return "(" .. table.concat(parts, word) .. ")"
  end
end

write["and"] = group(" AND ")
write["or"] = group(" OR ")

write["not"] = function(statement, node, negated)
  return "NOT (" .. statement:condition(node[1], not negated) .. ")"
end

--- A condition as SQL.
---@param node table  not decided: no boolean
---@param negated boolean  under an odd number of "not"s
---@return string
function Statement:condition(node, negated)
  return write[node.kind](self, node, negated)
end

return Statement
