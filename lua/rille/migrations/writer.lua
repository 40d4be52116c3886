--- Operations as the text of a migration file. Pure.

local columns = require("rille.migrations.columns")
local operations = require("rille.migrations.operations")
local text = require("rille.source")

local WIDTH = 100

local source = text.value

--- A column; too long for a line, it goes on in the next.
local function column_source(column, indent)
  local parts = { source(column.name), source(column.kind) }
  for _, option in ipairs(columns.options(column)) do
    parts[#parts + 1] = option .. " = " .. source(column[option])
  end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #indent + #line < WIDTH then
    return line
  end
  local rest = table.concat(parts, ", ", 3)
  return ("{ %s, %s,\n%s  %s }"):format(parts[1], parts[2], indent, rest)
end

local function index_source(index)
  local given = {}
  for i, column in ipairs(index.columns) do
    given[i] = (index.descending and index.descending[column] and "-" or "") .. column
  end
  for _, option in ipairs({ "name", "where", "unique", "method" }) do
    given[option] = index[option]
  end
  return source(given)
end

--- `name = { …, … }`, one below the other.
local function block(name, items, indent)
  local lines = { name .. " = {" }
  for _, item in ipairs(items) do
    lines[#lines + 1] = indent .. "  " .. item .. ","
  end
  lines[#lines + 1] = indent .. "}"
  return table.concat(lines, "\n")
end

local function map(list, fn)
  local made = {}
  for i, item in ipairs(list) do
    made[i] = fn(item)
  end
  return made
end

--- The options of `create_table`, as text; nil when there are none.
local function table_options(described, indent)
  local inner, parts = indent .. "  ", {}
  if #described.unique > 0 then
    parts[#parts + 1] = block("unique", map(described.unique, source), inner)
  end
  if #described.indexes > 0 then
    parts[#parts + 1] = block("indexes", map(described.indexes, index_source), inner)
  end
  if #described.checks > 0 then
    local checks = map(described.checks, function(check)
      return text.key(check.name) .. " = " .. source(check.sql)
    end)
    parts[#parts + 1] = block("checks", checks, inner)
  end
  if #parts == 0 then
    return nil
  end
  return "{\n" .. inner .. table.concat(parts, ",\n" .. inner) .. ",\n" .. indent .. "}"
end

---@type table<string, fun(op: rille.migrations.Operation, indent: string): string[]>
local arguments = {}

function arguments.create_table(op, indent)
  local lines = {}
  for i, column in ipairs(op.described.columns) do
    lines[i] = indent .. "  " .. column_source(column, indent .. "  ") .. ",\n"
  end
  return {
    source(op.described.name),
    "{\n" .. table.concat(lines) .. indent .. "}",
    table_options(op.described, indent),
  }
end

local function with_options(op, list, names)
  local options = {}
  for _, name in ipairs(names) do
    options[name] = op[name]
  end
  list[#list + 1] = next(options) ~= nil and source(options) or nil
  return list
end

function arguments.add_column(op, indent)
  return with_options(op, { source(op.table), column_source(op.column, indent) }, { "fill" })
end

function arguments.alter_column(op, indent)
  return with_options(
    op,
    { source(op.table), column_source(op.column, indent) },
    { "fill", "using", "reverse_using" }
  )
end

local function plain(...)
  local names = { ... }
  return function(op)
    local list = {}
    for i, name in ipairs(names) do
      list[i] = source(op[name])
    end
    return list
  end
end

local function of_index(op)
  return { source(op.table), index_source(op.index) }
end

arguments.drop_table = plain("table")
arguments.rename_table = plain("table", "to")
arguments.drop_column = plain("table", "column")
arguments.rename_column = plain("table", "column", "to")
arguments.add_unique = plain("table", "columns")
arguments.drop_unique = plain("table", "columns")
arguments.add_check = plain("table", "name", "sql")
arguments.drop_check = plain("table", "name")
arguments.add_index = of_index
arguments.drop_index = of_index

local writer = {}

--- An operation as a file says it.
---@param op rille.migrations.Operation
---@param indent string
---@return string
function writer.operation(op, indent)
  local given = arguments[op.kind](op, indent)
  return ("m.%s(%s)"):format(op.kind, table.concat(given, ", "))
end

--- A name for a file, from what is in it.
---@param list rille.migrations.Operation[]
---@param first boolean  the first of its folder
---@return string
function writer.name(list, first)
  if first then
    return "initial"
  elseif #list == 0 then
    return "by_hand"
  end
  local parts = {}
  for i, op in ipairs(list) do
    parts[i] = operations.kinds[op.kind].slug(op):gsub("[^%w_]", "_")
  end
  local name = table.concat(parts, "_")
  if #name <= 40 then
    return name
  end
  return parts[1]:sub(1, 40) .. (#parts > 1 and "_and_more" or "")
end

--- The text of a file.
---@param app string
---@param list rille.migrations.Operation[]
---@return string
function writer.file(app, list)
  local lines = {
    'local m = require("rille.migrations")',
    "",
    ("return m.migration(%s, {"):format(source(app)),
  }
  for _, op in ipairs(list) do
    lines[#lines + 1] = "  " .. writer.operation(op, "  ") .. ","
  end
  if #list == 0 then
    lines[#lines + 1] = '  -- m.run { "UPDATE …", reverse = {} },'
  end
  lines[#lines + 1] = "})"
  return table.concat(lines, "\n") .. "\n"
end

return writer
