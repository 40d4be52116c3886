--- What a migration is made of: each kind of operation changes the state (tables as data), knows
--- the operation that undoes it, and says in words what it does. Pure; the SQL is in
--- `postgresql.lua` and `sqlite.lua` beside this file.

local State = require("rille.migrations.state")
local columns = require("rille.migrations.columns")
local conditions = require("rille.migrations.conditions")
local ddl = require("rille.db.ddl")

---@class rille.migrations.Operation
---@field kind string     "add_column"
---@field place string?   "0002_note_title.lua:5"
---@field table string?   what it is about
---@field [string] any    its arguments

---@class rille.migrations.OperationKind
---@field apply fun(op: rille.migrations.Operation, state: rille.migrations.State)
---@field inverse fun(op, before: rille.migrations.State): rille.migrations.Operation?
---@field words fun(op): string   what it is about: "note.title"
---@field slug fun(op): string    for the name of a file

---@type table<string, rille.migrations.OperationKind>
local kinds = {}

local operations = { kinds = kinds }

--- Which groups of columns of a table (`unique`, `indexes`) hold this one.
local function groups_with(described, name)
  local found = {}
  for _, list in ipairs({ described.unique, described.indexes }) do
    for _, group in ipairs(list) do
      for _, member in ipairs(group.columns or group) do
        if member == name then
          found[#found + 1] = group
        end
      end
    end
  end
  return found
end

local function rename_in_groups(described, old, new)
  for _, group in ipairs(groups_with(described, old)) do
    local members, descending = group.columns or group, group.descending
    for i, member in ipairs(members) do
      members[i] = member == old and new or member
    end
    if descending then
      descending[old], descending[new] = nil, descending[old]
    end
  end
end

local function rename_in_conditions(described, old, new)
  for _, index in ipairs(described.indexes) do
    index.where = index.where and conditions.rename_in(index.where, old, new)
  end
  for _, check in ipairs(described.checks) do
    check.sql = conditions.rename_in(check.sql, old, new)
  end
end

local function check_columns(state, table_name, names)
  for _, name in ipairs(names) do
    state:column(table_name, name)
  end
end

local function last(name)
  return name:match("[^.]+$")
end

-- Tables ------------------------------------------------------------------------------

kinds.create_table = {
  apply = function(op, state)
    state:add(op.described)
    for _, list in ipairs({ op.described.unique, op.described.indexes }) do
      for _, group in ipairs(list) do
        check_columns(state, op.described.name, group.columns or group)
      end
    end
  end,
  inverse = function(op)
    return { kind = "drop_table", table = op.described.name }
  end,
  words = function(op)
    return op.described.name
  end,
  slug = function(op)
    return last(op.described.name)
  end,
}

kinds.drop_table = {
  apply = function(op, state)
    state:get(op.table)
    state.tables[op.table] = nil
  end,
  inverse = function(op, before)
    return { kind = "create_table", described = State.deep_copy(before:get(op.table)) }
  end,
  words = function(op)
    return op.table
  end,
  slug = function(op)
    return "drop_" .. last(op.table)
  end,
}

kinds.rename_table = {
  apply = function(op, state)
    local described = state:get(op.table)
    state.tables[op.table] = nil
    described.name = op.to
    state:add(described)
    state:each_reference(function(column)
      local target, key = ddl.target(column.references)
      if target == op.table then
        column.references = op.to .. "." .. key
      end
    end)
  end,
  inverse = function(op)
    return { kind = "rename_table", table = op.to, to = op.table }
  end,
  words = function(op)
    return ("%s to %s"):format(op.table, op.to)
  end,
  slug = function(op)
    return ("rename_%s_%s"):format(last(op.table), last(op.to))
  end,
}

-- Columns -----------------------------------------------------------------------------

local function about_column(op)
  return ("%s.%s"):format(op.table, op.column.name or op.column)
end

kinds.add_column = {
  apply = function(op, state)
    local described = state:get(op.table)
    if State.find_column(described, op.column.name) then
      error(("the table '%s' has a column '%s' already"):format(op.table, op.column.name), 0)
    end
    described.columns[#described.columns + 1] = State.deep_copy(op.column)
  end,
  inverse = function(op)
    return { kind = "drop_column", table = op.table, column = op.column.name }
  end,
  words = about_column,
  slug = function(op)
    return ("%s_%s"):format(last(op.table), op.column.name)
  end,
}

kinds.drop_column = {
  apply = function(op, state)
    local _, at = state:column(op.table, op.column)
    local group = groups_with(state:get(op.table), op.column)[1]
    if group then
      local told = "column '%s' is in a group of unique or indexed columns, drop that first: %s"
      error(told:format(op.column, table.concat(group.columns or group, ", ")), 0)
    end
    table.remove(state:get(op.table).columns, at)
  end,
  inverse = function(op, before)
    local column = State.deep_copy((before:column(op.table, op.column)))
    return { kind = "add_column", table = op.table, column = column, fill = op.fill }
  end,
  words = about_column,
  slug = function(op)
    return ("drop_%s_%s"):format(last(op.table), op.column)
  end,
}

kinds.alter_column = {
  apply = function(op, state)
    local _, at = state:column(op.table, op.column.name)
    state:get(op.table).columns[at] = State.deep_copy(op.column)
  end,
  inverse = function(op, before)
    local column = State.deep_copy((before:column(op.table, op.column.name)))
    return { kind = "alter_column", table = op.table, column = column, using = op.reverse_using }
  end,
  words = about_column,
  slug = function(op)
    return ("alter_%s_%s"):format(last(op.table), op.column.name)
  end,
}

kinds.rename_column = {
  apply = function(op, state)
    local described = state:get(op.table)
    local column = state:column(op.table, op.column)
    if State.find_column(described, op.to) then
      error(("the table '%s' has a column '%s' already"):format(op.table, op.to), 0)
    end
    column.name = op.to
    rename_in_groups(described, op.column, op.to)
    rename_in_conditions(described, op.column, op.to)
    state:each_reference(function(referring)
      if referring.references == op.table .. "." .. op.column then
        referring.references = op.table .. "." .. op.to
      end
    end)
  end,
  inverse = function(op)
    return { kind = "rename_column", table = op.table, column = op.to, to = op.column }
  end,
  words = function(op)
    return ("%s.%s to %s"):format(op.table, op.column, op.to)
  end,
  slug = function(op)
    return ("rename_%s_%s"):format(op.column, op.to)
  end,
}

-- Indexes and constraints -------------------------------------------------------------

local function about_columns(op)
  return ("%s (%s)"):format(op.table, table.concat(op.columns or op.index.columns, ", "))
end

local function add_slug(op)
  return last(op.table) .. "_" .. table.concat(op.columns or op.index.columns, "_")
end

local function drop_slug(op)
  return "drop_" .. add_slug(op)
end

kinds.add_unique = {
  apply = function(op, state)
    check_columns(state, op.table, op.columns)
    local list = state:get(op.table).unique
    if State.place_of(list, op.columns) then
      error("these columns are unique together already", 0)
    end
    list[#list + 1] = State.deep_copy(op.columns)
  end,
  inverse = function(op)
    return { kind = "drop_unique", table = op.table, columns = op.columns }
  end,
  words = about_columns,
  slug = add_slug,
}

kinds.drop_unique = {
  apply = function(op, state)
    local list = state:get(op.table).unique
    local at = State.place_of(list, op.columns)
    if not at then
      error("these columns are not unique together", 0)
    end
    table.remove(list, at)
  end,
  inverse = function(op)
    return { kind = "add_unique", table = op.table, columns = op.columns }
  end,
  words = about_columns,
  slug = drop_slug,
}

local function place_of_index(op, state)
  local wanted = ddl.index_name(op.table, op.index)
  for i, index in ipairs(state:get(op.table).indexes) do
    if ddl.index_name(op.table, index) == wanted then
      return i
    end
  end
end

kinds.add_index = {
  apply = function(op, state)
    check_columns(state, op.table, op.index.columns)
    if place_of_index(op, state) then
      error(("there is an index '%s' already"):format(ddl.index_name(op.table, op.index)), 0)
    end
    local list = state:get(op.table).indexes
    list[#list + 1] = State.deep_copy(op.index)
  end,
  inverse = function(op)
    return { kind = "drop_index", table = op.table, index = op.index }
  end,
  words = about_columns,
  slug = add_slug,
}

kinds.drop_index = {
  apply = function(op, state)
    local at = place_of_index(op, state)
    if not at then
      error(("there is no index '%s'"):format(ddl.index_name(op.table, op.index)), 0)
    end
    table.remove(state:get(op.table).indexes, at)
  end,
  inverse = function(op, before)
    local index = before:get(op.table).indexes[place_of_index(op, before)]
    return { kind = "add_index", table = op.table, index = State.deep_copy(index) }
  end,
  words = about_columns,
  slug = drop_slug,
}

local function find_check(state, op)
  for i, check in ipairs(state:get(op.table).checks) do
    if check.name == op.name then
      return check, i
    end
  end
end

local function about_check(op)
  return ("%s: %s"):format(op.table, op.name)
end

kinds.add_check = {
  apply = function(op, state)
    if find_check(state, op) then
      error(("the table '%s' has a check '%s' already"):format(op.table, op.name), 0)
    end
    local list = state:get(op.table).checks
    list[#list + 1] = { name = op.name, sql = State.deep_copy(op.sql) }
  end,
  inverse = function(op)
    return { kind = "drop_check", table = op.table, name = op.name }
  end,
  words = about_check,
  slug = function(op)
    return op.name
  end,
}

kinds.drop_check = {
  apply = function(op, state)
    local _, at = find_check(state, op)
    if not at then
      error(("the table '%s' has no check '%s'"):format(op.table, op.name), 0)
    end
    table.remove(state:get(op.table).checks, at)
  end,
  inverse = function(op, before)
    local check = find_check(before, op)
    return { kind = "add_check", table = op.table, name = op.name, sql = check.sql }
  end,
  words = about_check,
  slug = function(op)
    return "drop_" .. op.name
  end,
}

-- Anything ----------------------------------------------------------------------------

kinds.run = {
  apply = function(op, state)
    for _, inner in ipairs(op.state or {}) do
      operations.apply(inner, state)
    end
  end,
  inverse = function(op, before)
    if op.reverse == nil then
      return nil
    end
    local undone, at, state = {}, before:copy(), op.state or {}
    for i, inner in ipairs(state) do
      undone[#state + 1 - i] = operations.inverse(inner, at)
      operations.apply(inner, at)
    end
    return { kind = "run", work = op.reverse, reverse = op.work, state = undone }
  end,
  words = function(op)
    local work = op.work
    if type(work) == "function" then
      return "a function"
    end
    local text = type(work) == "table" and (work[1] or work.postgresql or work.sqlite) or work
    text = type(text) == "table" and text[1] or text
    text = tostring(text):gsub("%s+", " ")
    return #text > 50 and text:sub(1, 47) .. "..." or text
  end,
  slug = function()
    return "run"
  end,
}

--- "add_column note.title"
---@param op rille.migrations.Operation
---@return string
function operations.describe(op)
  return op.kind .. " " .. kinds[op.kind].words(op)
end

--- Change the state. Raises a sentence when the operation does not fit it.
---@param op rille.migrations.Operation
---@param state rille.migrations.State
function operations.apply(op, state)
  kinds[op.kind].apply(op, state)
end

--- What undoes an operation; nil: nothing does.
---@param op rille.migrations.Operation
---@param before rille.migrations.State  as it was before the operation
---@return rille.migrations.Operation?
function operations.inverse(op, before)
  local inverse = kinds[op.kind].inverse(op, before)
  if inverse then
    inverse.place = op.place
  end
  return inverse
end

operations.read_column = columns.read

return operations
