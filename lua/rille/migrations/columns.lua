--- Columns as a migration file writes them: `{ "slug", "text", max_length = 20, unique = true }`.

local fields = require("rille.models.fields")
local kinds = require("rille.models.kinds")
local tables = require("rille.tables")

local columns = {}

local OPTIONS = {
  of = "string", -- arrays: the kind of their elements
  null = "boolean",
  primary_key = "boolean",
  unique = "boolean",
  index = "boolean",
  references = "string",
  on_delete = "string",
}

local ON_DELETE = {
  cascade = true,
  restrict = true,
  ["set null"] = true,
  ["set default"] = true,
  ["no action"] = true,
}

local type_options = {}
for _, name in ipairs(fields.type_options) do
  type_options[name] = true
end

--- Is this the name of a table, a schema's perhaps?
---@param name any
---@return boolean
function columns.is_table(name)
  return type(name) == "string" and name ~= "" and not name:find("%z") and not name:find("^%.")
end

local function check_kind(name, kind)
  if not kinds[kind] then
    local all = table.concat(tables.sorted_keys(kinds), ", ")
    local told = "column '%s': there is no kind '%s'; there are: %s"
    error(told:format(name, tostring(kind), all), 0)
  end
end

local function check(given)
  if type(given) ~= "table" or type(given[1]) ~= "string" or type(given[2]) ~= "string" then
    error('a column is { "name", "kind", option = … }', 0)
  end
  local name, kind = given[1], given[2]
  if name == "" or #name > 63 or name:find("%z") then
    error(("'%s' cannot be the name of a column"):format(name), 0)
  end
  check_kind(name, kind)
  if kind == "array" or given.of ~= nil then
    check_kind(name, given.of)
  end
  for option, value in pairs(given) do
    if option ~= 1 and option ~= 2 then
      if not OPTIONS[option] and not type_options[option] then
        local all = table.concat(tables.sorted_keys(OPTIONS, type_options), ", ")
        local told = "column '%s' has no option '%s'; there are: %s"
        error(told:format(name, tostring(option), all), 0)
      end
      local wanted = OPTIONS[option]
      if wanted and type(value) ~= wanted then
        local told = "column '%s': %s must be a %s, not a %s"
        error(told:format(name, option, wanted, type(value)), 0)
      end
    end
  end
  if given.references and not given.references:match("^[^.].*%.[^.]+$") then
    local told = "column '%s': references is \"table.column\", not \"%s\""
    error(told:format(name, given.references), 0)
  end
  if given.on_delete and not ON_DELETE[given.on_delete] then
    local all = table.concat(tables.sorted_keys(ON_DELETE), ", ")
    local told = "column '%s': on_delete cannot be '%s'; there are: %s"
    error(told:format(name, given.on_delete, all), 0)
  end
end

--- The column that a migration file means. Raises what is wrong with it.
---@param given table
---@return rille.db.Column
function columns.read(given)
  check(given)
  local column = {}
  for option, value in pairs(given) do
    column[option] = value
  end
  column.name, column.kind, column[1], column[2] = given[1], given[2], nil, nil
  for option in pairs(OPTIONS) do
    column[option] = column[option] or nil -- false is as good as absent
  end
  if column.kind == "auto" then
    column.primary_key = true
  end
  return column
end

-- As they follow each other in a file.
local ORDER = { "of", "null", "primary_key", "unique", "index", "references", "on_delete" }

--- The options of a column that a file has to say, in order.
---@param column rille.db.Column
---@return string[]
function columns.options(column)
  local names = {}
  for _, name in ipairs(fields.type_options) do
    names[#names + 1] = column[name] ~= nil and name or nil
  end
  for _, name in ipairs(ORDER) do
    local implied = name == "primary_key" and column.kind == "auto"
    names[#names + 1] = column[name] and not implied and name or nil
  end
  return names
end

--- What existing rows get, as SQL. `{ sql = "…" }` is taken as it is; anything else must fit the
--- column.
---@param value any
---@param column rille.db.Column
---@param dialect rille.db.Dialect
---@return string
function columns.literal(value, column, dialect)
  if type(value) == "table" and type(value.sql) == "string" then
    return "(" .. value.sql .. ")"
  end
  if column.kind == "array" then
    error(("column '%s': an array is given as { sql = \"'{}'\" }"):format(column.name), 0)
  end
  local field = fields[column.kind]()
  field.name = column.name
  value = field:clean(value)
  if column.kind == "json" then
    value = require("rille.json").encode(value)
  elseif column.kind == "bytes" then
    return dialect.bytes_literal(value)
  end
  return dialect.literal(value)
end

return columns
