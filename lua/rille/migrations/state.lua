--- The tables of a database as a history of operations leaves them, as data: no database is asked.

local class = require("rille.class")

---@class rille.migrations.State : rille.Class
---@field tables table<string, rille.db.Table>
local State = class("rille.migrations.State")

function State:init()
  self.tables = {}
end

local function deep_copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = {}
  for key, inner in pairs(value) do
    copy[key] = deep_copy(inner)
  end
  return copy
end

--- Another one that may be changed.
---@return rille.migrations.State
function State:copy()
  local copy = State()
  copy.tables = deep_copy(self.tables)
  return copy
end

--- The names of its tables, in the order of the alphabet.
---@return string[]
function State:names()
  local names = {}
  for name in pairs(self.tables) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- A table. Raises when there is none of this name, and says which there are.
---@param name string
---@return rille.db.Table
function State:get(name)
  local found = self.tables[name]
  if not found then
    local known = table.concat(self:names(), ", ")
    error(
      ("there is no table '%s' at this point; there are: %s"):format(
        name,
        known ~= "" and known or "none"
      ),
      0
    )
  end
  return found
end

--- Add a table. Raises when there is one already.
---@param described rille.db.Table
function State:add(described)
  if self.tables[described.name] then
    error(("the table '%s' is there already"):format(described.name), 0)
  end
  self.tables[described.name] = deep_copy(described)
end

--- A column and its place. Raises when the table has none of this name.
---@param table_name string
---@param name string
---@return rille.db.Column
---@return integer
function State:column(table_name, name)
  local names = {}
  for i, column in ipairs(self:get(table_name).columns) do
    if column.name == name then
      return column, i
    end
    names[i] = column.name
  end
  error(
    ("the table '%s' has no column '%s' at this point; it has: %s"):format(
      table_name,
      name,
      table.concat(names, ", ")
    ),
    0
  )
end

--- Does the table have this column?
---@param described rille.db.Table
---@param name string
---@return rille.db.Column?
function State.find_column(described, name)
  for _, column in ipairs(described.columns) do
    if column.name == name then
      return column
    end
  end
end

--- Call `fn` with every column of every table that is a foreign key.
---@param fn fun(column: rille.db.Column, described: rille.db.Table)
function State:each_reference(fn)
  for _, name in ipairs(self:names()) do
    for _, column in ipairs(self.tables[name].columns) do
      if column.references then
        fn(column, self.tables[name])
      end
    end
  end
end

--- Where in a list of lists, or of things with `columns`, these columns are; nil: nowhere.
---@param list (string[]|rille.db.Index)[]
---@param columns string[]
---@return integer?
function State.place_of(list, columns)
  local wanted = table.concat(columns, "\0")
  for i, group in ipairs(list) do
    if table.concat(group.columns or group, "\0") == wanted then
      return i
    end
  end
end

State.deep_copy = deep_copy

return State
