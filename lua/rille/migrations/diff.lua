--- From what the migrations add up to, to what the models say: the operations between. Pure.
---
--- What was renamed cannot be seen, only asked: `choices.renamed(what, from, to, alike)` answers,
--- for what has gone and what has come; `alike`: they differ in the name alone. What existing rows
--- get in a column that cannot be NULL is asked of `choices.fill(table, column)`.

local State = require("rille.migrations.state")
local ddl = require("rille.db.ddl")
local operations = require("rille.migrations.operations")
local tables = require("rille.tables")

---@class rille.migrations.Choices
---@field renamed fun(what: "table"|"column", from: string, to: string, alike: boolean): boolean
---@field fill fun(table_name: string, column: rille.db.Column): any

---@class rille.migrations.Diff
---@field state rille.migrations.State   as the operations so far leave it
---@field wanted rille.migrations.State
---@field choices rille.migrations.Choices
---@field list rille.migrations.Operation[]
local Diff = {}
Diff.__index = Diff

--- Add an operation, and have it done.
function Diff:say(kind, fields)
  fields.kind = kind
  operations.apply(fields, self.state)
  self.list[#self.list + 1] = fields
end

--- A column without what depends on names that may be about to change.
local function essence(column)
  local copy = State.deep_copy(column)
  copy.name = nil
  return copy
end

--- Do two tables have the same columns, apart from references to themselves?
local function alike(a, b)
  if #a.columns ~= #b.columns then
    return false
  end
  local known = {}
  for _, column in ipairs(a.columns) do
    known[column.name] = column
  end
  for _, column in ipairs(b.columns) do
    local other = known[column.name] and State.deep_copy(known[column.name])
    if other and other.references then
      local target, key = ddl.target(other.references)
      if target == a.name then
        other.references = b.name .. "." .. key
      end
    end
    if not tables.same(other, column) then
      return false
    end
  end
  return true
end

--- Names that are in one table of names and not in the other.
local function missing_in(names, set)
  local list = {}
  for _, name in ipairs(names) do
    if not set[name] then
      list[#list + 1] = name
    end
  end
  return list
end

function Diff:rename_tables()
  local come = missing_in(self.wanted:names(), self.state.tables)
  for _, old in ipairs(missing_in(self.state:names(), self.wanted.tables)) do
    for i, new in ipairs(come) do
      local same = alike(self.state:get(old), self.wanted:get(new))
      if self.choices.renamed("table", old, new, same) then
        self:say("rename_table", { table = old, to = new })
        table.remove(come, i)
        break
      end
    end
  end
end

local function names_of(described)
  local names, set = {}, {}
  for i, column in ipairs(described.columns) do
    names[i], set[column.name] = column.name, column
  end
  return names, set
end

function Diff:rename_columns(name)
  local old_names, old = names_of(self.state:get(name))
  local new_names, new = names_of(self.wanted:get(name))
  local come = missing_in(new_names, old)
  for _, from in ipairs(missing_in(old_names, new)) do
    for i, to in ipairs(come) do
      local same = tables.same(essence(old[from]), essence(new[to]))
      if self.choices.renamed("column", name .. "." .. from, name .. "." .. to, same) then
        self:say("rename_column", { table = name, column = from, to = to })
        table.remove(come, i)
        break
      end
    end
  end
end

--- The tables that are in both, in order.
function Diff:kept()
  local list = {}
  for _, name in ipairs(self.wanted:names()) do
    if self.state.tables[name] then
      list[#list + 1] = name
    end
  end
  return list
end

--- Things of `list` that `others` do not have.
local function beyond(list, others)
  local found = {}
  for _, thing in ipairs(list) do
    local there = false
    for _, other in ipairs(others) do
      there = there or tables.same(thing, other)
    end
    if not there then
      found[#found + 1] = thing
    end
  end
  return found
end

--- Groups, indexes and checks of these tables: those that have gone, or those that have come.
function Diff:groups(names, verb)
  for _, name in ipairs(names) do
    local from, to = self.state:get(name), self.wanted:get(name)
    if verb == "add" then
      from, to = to, from
    end
    for _, columns in ipairs(beyond(from.unique, to.unique)) do
      self:say(verb .. "_unique", { table = name, columns = State.deep_copy(columns) })
    end
    for _, index in ipairs(beyond(from.indexes, to.indexes)) do
      self:say(verb .. "_index", { table = name, index = State.deep_copy(index) })
    end
    for _, check in ipairs(beyond(from.checks, to.checks)) do
      self:say(verb .. "_check", { table = name, name = check.name, sql = check.sql })
    end
  end
end

function Diff:create_tables()
  local names = missing_in(self.wanted:names(), self.state.tables)
  local ordered, circular = ddl.in_order(self.wanted.tables, names)
  local later = {}
  for _, name in ipairs(ordered) do
    local described = State.deep_copy(self.wanted:get(name))
    for i, column in ipairs(described.columns) do
      if circular[name][column.name] then
        described.columns[i] = ddl.without_reference(column)
        later[#later + 1] = { table = name, column = column }
      end
    end
    self:say("create_table", { table = name, described = described })
  end
  for _, fields in ipairs(later) do
    self:say("alter_column", fields)
  end
end

function Diff:add_columns(name)
  for _, column in ipairs(self.wanted:get(name).columns) do
    if not State.find_column(self.state:get(name), column.name) then
      local needs = not column.null and column.kind ~= "auto"
      self:say("add_column", {
        table = name,
        column = State.deep_copy(column),
        fill = needs and self.choices.fill(name, column) or nil,
      })
    end
  end
end

function Diff:alter_columns(name)
  for _, column in ipairs(self.wanted:get(name).columns) do
    local old = State.find_column(self.state:get(name), column.name)
    if not tables.same(old, column) then
      local needs = old.null and not column.null
      self:say("alter_column", {
        table = name,
        column = State.deep_copy(column),
        fill = needs and self.choices.fill(name, column) or nil,
      })
    end
  end
end

function Diff:drop_columns(name)
  local old_names = names_of(self.state:get(name))
  local _, new = names_of(self.wanted:get(name))
  for _, column in ipairs(missing_in(old_names, new)) do
    self:say("drop_column", { table = name, column = column })
  end
end

function Diff:drop_tables()
  local names = missing_in(self.state:names(), self.wanted.tables)
  local ordered, circular = ddl.in_order(self.state.tables, names)
  for _, name in ipairs(ordered) do
    for _, column in ipairs(self.state:get(name).columns) do
      if circular[name][column.name] then
        self:say("alter_column", { table = name, column = ddl.without_reference(column) })
      end
    end
  end
  for i = #ordered, 1, -1 do
    self:say("drop_table", { table = ordered[i] })
  end
end

--- The operations that lead from one state to the other.
---@param from rille.migrations.State
---@param to rille.migrations.State
---@param choices rille.migrations.Choices
---@return rille.migrations.Operation[]
local function diff(from, to, choices)
  local self = { state = from:copy(), wanted = to, choices = choices, list = {} }
  setmetatable(self, Diff)
  self:rename_tables()
  local kept = self:kept()
  for _, name in ipairs(kept) do
    self:rename_columns(name)
  end
  self:groups(kept, "drop")
  self:create_tables()
  for _, name in ipairs(kept) do
    self:add_columns(name)
  end
  for _, name in ipairs(kept) do
    self:alter_columns(name)
  end
  self:groups(kept, "add")
  for _, name in ipairs(kept) do
    self:drop_columns(name)
  end
  self:drop_tables()
  return self.list
end

return diff
