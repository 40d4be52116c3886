--- What tables a database has, whoever made them, and the text of a module with models for them.
---
--- The models say `managed = false`: nothing here creates or changes these tables. What a model
--- cannot say, a key of several columns or a type that rille has not, stands in a comment.

local class_name = require("rille.models.definition").class_name
local errors = require("rille.errors")
local instances = require("rille.models.instance")
local source = require("rille.source")
local types = require("rille.inspect.types")

local inspect = {}

---@class rille.inspect.Table
---@field name string
---@field columns rille.inspect.Column[]
---@field key string[]?        the columns of its primary key
---@field unique string[][]
---@field indexes string[][]   "-" in front of a column: descending
---@field foreign rille.inspect.Foreign[]

---@class rille.inspect.Column
---@field name string
---@field type string     as the database writes it: "character varying(20)"
---@field null boolean
---@field counts boolean  the database makes its values
---@field default string? SQL
---@field choices string[]?

---@class rille.inspect.Foreign
---@field columns string[]
---@field table string
---@field to string[]     columns there; empty: its key
---@field on_delete string

local OURS = "rille_migrations"
local WIDTH = 100

--- The tables of these names, or all. Raises when there is none of a name.
---@async
---@param database rille.db.Database
---@param names string[]
---@return rille.inspect.Table[]
function inspect.atables(database, names)
  local aread = require("rille.inspect." .. database.backend)
  local list = {}
  if #names == 0 then
    for _, described in ipairs(aread(database)) do
      list[#list + 1] = described.name ~= OURS and described or nil
    end
  end
  for _, name in ipairs(names) do
    local described = aread(database, name)[1]
    if not described then
      local told = "%s has no table '%s'"
      error(errors.ConfigurationError(told:format(tostring(database), name)), 0)
    end
    list[#list + 1] = described
  end
  return list
end

-- Names -------------------------------------------------------------------------------

--- A name that nobody has yet; taken from now on.
local function claim(taken, wanted)
  local name, n = wanted, 1
  while taken[name] do
    n = n + 1
    name = wanted .. n
  end
  taken[name] = true
  return name
end

--- What a model may call a column.
local function field_name(column, refers, taken)
  local name = refers and column:match("^(.+)_[iI][dD]$") or column
  name = name:gsub("[^%w_]", "_"):gsub("__+", "_"):gsub("^[^%a]+", ""):gsub("_$", "")
  if name == "" then
    name = "field"
  end
  if not source.is_name(name) or instances.RESERVED[name] then
    name = name .. "_field"
  end
  name = claim(taken, name)
  if refers then
    taken[name .. "_id"] = true
  end
  return name
end

local function is_model_name(name)
  for part in (name .. "."):gmatch("(.-)%.") do
    if not part:match("^[%a_][%w_]*$") then
      return false
    end
  end
  return true
end

-- One table ---------------------------------------------------------------------------

---@class rille.inspect.Draft  a table on its way to being a model
---@field described rille.inspect.Table
---@field name string                            of the model: "AuthUser"
---@field fields table<string, string>           by column: the field's name
---@field foreign table<string, rille.inspect.Foreign>  by column: what a foreign key says of it
---@field key string                             the column that is the primary key
---@field notes string[]

--- A foreign key that a model can have: of one column, to the key of a table that is here.
local function can_refer(foreign, drafts)
  local target = drafts[foreign.table]
  return target and #foreign.columns == 1 and (foreign.to[1] or target.key) == target.key
end

local function words_of(foreign)
  local to = #foreign.to > 0 and (" (%s)"):format(table.concat(foreign.to, ", ")) or ""
  return ("refers to %s%s"):format(foreign.table, to)
end

--- The column that stands for a row.
local function choose_key(described, notes)
  local key = described.key
  if key and #key == 1 then
    return key[1]
  elseif key then
    local told = "the primary key is (%s), of which a model has but one column"
    notes[#notes + 1] = told:format(table.concat(key, ", "))
    return key[1]
  end
  for _, columns in ipairs(described.unique) do
    if #columns == 1 then
      notes[#notes + 1] = "there is no primary key; this one is unique"
      return columns[1]
    end
  end
  notes[#notes + 1] = "there is no primary key; the first column stands for it"
  return described.columns[1].name
end

local function is_single(list, column)
  for _, columns in ipairs(list) do
    if #columns == 1 and columns[1]:gsub("^%-", "") == column then
      return true
    end
  end
  return false
end

local function find_foreign(draft, drafts)
  for _, foreign in ipairs(draft.described.foreign) do
    if can_refer(foreign, drafts) then
      draft.foreign[foreign.columns[1]] = draft.foreign[foreign.columns[1]] or foreign
    elseif #foreign.columns > 1 then
      local columns = table.concat(foreign.columns, ", ")
      draft.notes[#draft.notes + 1] = ("(%s) %s"):format(columns, words_of(foreign))
    end
  end
end

local function name_fields(draft)
  local taken = {}
  for _, column in ipairs(draft.described.columns) do
    local refers = draft.foreign[column.name] ~= nil
    draft.fields[column.name] = field_name(column.name, refers, taken)
  end
end

-- As options follow each other in a constructor.
local ORDER = {
  "max_length",
  "max_digits",
  "decimal_places",
  "primary_key",
  "unique",
  "index",
  "null",
  "default",
  "auto_now_add",
  "choices",
  "on_delete",
  "related_name",
  "db_column",
}

--- `{ a = 1, b = 2 }`, or one below the other when that is too long for what room there is.
local function braces(parts, room, indent)
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #line <= room then
    return line
  end
  local inner = ",\n" .. indent .. "  "
  return ("{\n%s  %s,\n%s}"):format(indent, table.concat(parts, inner), indent)
end

--- `name = models.text({ … })`
local function field_line(name, word, first, options)
  local parts = {}
  for _, option in ipairs(ORDER) do
    if options[option] ~= nil then
      parts[#parts + 1] = option .. " = " .. source.value(options[option])
    end
  end
  local line = ("  %s = models.%s(%s"):format(name, word, first or "")
  if #parts > 0 then
    line = line .. (first and ", " or "")
    line = line .. braces(parts, WIDTH - #line - 2, "  ")
  end
  return line .. "),"
end

--- How a foreign key names its target, as far as it has been defined.
local function target_source(draft, target, defined)
  if target == draft then
    return '"self"'
  elseif defined[target] then
    return "M." .. target.name
  end
  return ("function() return M.%s end"):format(target.name)
end

--- How many foreign keys of a table lead to the same one?
local function count_leading(draft, target_name)
  local n = 0
  for _, foreign in pairs(draft.foreign) do
    n = n + (foreign.table == target_name and 1 or 0)
  end
  return n
end

local function refer(draft, column, drafts, defined, options)
  local foreign = draft.foreign[column.name]
  local target, name = drafts[foreign.table], draft.fields[column.name]
  local key = draft.described.key
  local alone = is_single(draft.described.unique, column.name)
    or options.primary_key and key and #key == 1
  options.on_delete = foreign.on_delete
  if foreign.on_delete == "set_null" and not column.null then
    options.on_delete = "do_nothing"
  end
  options.unique, options.index = nil, nil
  if count_leading(draft, foreign.table) > 1 then
    options.related_name = ("%s_%s%s"):format(draft.name:lower(), name, alone and "" or "_set")
  end
  if column.name ~= name .. "_id" then
    options.db_column = column.name
  end
  local word = alone and "one_to_one" or "foreign_key"
  return field_line(name, word, target_source(draft, target, defined), options)
end

--- A field of a model, and what is to be noted behind it.
local function field_source(draft, column, drafts, defined, backend)
  local described, name = draft.described, draft.fields[column.name]
  local is_key = column.name == draft.key
  local notes = {}
  local own = {
    primary_key = is_key or nil,
    unique = not is_key and is_single(described.unique, column.name) or nil,
    null = column.null and not is_key or nil,
  }
  own.index = not is_key and not own.unique and is_single(described.indexes, column.name) or nil
  if draft.foreign[column.name] then
    return refer(draft, column, drafts, defined, own), notes
  end
  for _, foreign in ipairs(described.foreign) do
    if #foreign.columns == 1 and foreign.columns[1] == column.name then
      notes[1] = words_of(foreign)
    end
  end
  own.db_column = name ~= column.name and column.name or nil
  if is_key and column.counts then
    own.primary_key = nil
    return field_line(name, "auto", nil, own), notes
  end
  local kind, options, note, of = types.kind(column, backend)
  notes[#notes + 1] = note
  for option, value in pairs(options) do
    own[option] = value
  end
  options, note = types.default(column, kind)
  notes[#notes + 1] = note
  for option, value in pairs(options) do
    own[option] = value
  end
  if column.counts then
    notes[#notes + 1] = "the database counts it"
  end
  own.choices = column.choices
  return field_line(name, kind, of and ("models.%s()"):format(of), own), notes
end

local function groups(draft, list)
  local parts = {}
  for _, columns in ipairs(list) do
    if #columns > 1 then
      local names = {}
      for i, column in ipairs(columns) do
        local sign, plain = column:match("^(%-?)(.*)$")
        names[i] = sign .. (draft.fields[plain] or plain)
      end
      parts[#parts + 1] = names
    end
  end
  return parts
end

local function model_options(draft)
  local parts = { "managed = false" }
  if draft.name ~= class_name(draft.described.name) then
    parts[#parts + 1] = "name = " .. source.value(draft.name)
  end
  local unique = groups(draft, draft.described.unique)
  if #unique > 0 then
    parts[#parts + 1] = "unique = " .. source.value(unique)
  end
  local indexes = groups(draft, draft.described.indexes)
  for i, names in ipairs(indexes) do
    local plain = not table.concat(names, " "):find("-", 1, true)
    local list = source.value(names)
    indexes[i] = plain and list or ("models.Index({ fields = %s })"):format(list)
  end
  if #indexes > 0 then
    parts[#parts + 1] = ("indexes = { %s }"):format(table.concat(indexes, ", "))
  end
  return braces(parts, WIDTH - #"}, )", "")
end

local function model_source(draft, drafts, defined, backend)
  local lines = {}
  for _, note in ipairs(draft.notes) do
    lines[#lines + 1] = "-- " .. note
  end
  lines[#lines + 1] = ("M.%s = models.define(%s, {"):format(
    draft.name,
    source.value(draft.described.name)
  )
  for _, column in ipairs(draft.described.columns) do
    local text, notes = field_source(draft, column, drafts, defined, backend)
    local note = #notes > 0 and " -- " .. table.concat(notes, "; "):gsub("%s+", " ") or ""
    lines[#lines + 1] = text .. note
  end
  lines[#lines + 1] = ("}, %s)"):format(model_options(draft))
  return table.concat(lines, "\n")
end

-- All of them ---------------------------------------------------------------------------

--- Targets before what refers to them, as far as there is such an order.
local function in_order(list, drafts)
  local ordered, seen = {}, {}
  local function visit(draft)
    if seen[draft] then
      return
    end
    seen[draft] = true
    for _, column in ipairs(draft.described.columns) do
      local foreign = draft.foreign[column.name]
      if foreign then
        visit(drafts[foreign.table])
      end
    end
    ordered[#ordered + 1] = draft
  end
  for _, draft in ipairs(list) do
    visit(draft)
  end
  return ordered
end

--- The text of a module that returns a model for each of these tables.
---@param tables rille.inspect.Table[]
---@param backend "postgresql"|"sqlite"
---@param from string  where they are, for the first line
---@return string
function inspect.module(tables, backend, from)
  local list, drafts, names, left_out = {}, {}, {}, {}
  for _, described in ipairs(tables) do
    if is_model_name(described.name) and #described.columns > 0 then
      local draft = { described = described, fields = {}, foreign = {}, notes = {} }
      draft.name = claim(names, class_name(described.name))
      draft.key = choose_key(described, draft.notes)
      list[#list + 1], drafts[described.name] = draft, draft
    else
      left_out[#left_out + 1] = described.name
    end
  end
  for _, draft in ipairs(list) do
    find_foreign(draft, drafts)
    name_fields(draft)
  end
  local head = "-- The tables of %s, by `rille inspectdb`.\n"
    .. "-- With managed = false nothing here creates or changes them."
  if #left_out > 0 then
    head = head .. "\n-- Left out for their names: " .. table.concat(left_out, ", ")
  end
  local parts = {
    (head:gsub("%%s", from:gsub("%%", "%%%%"))),
    'local models = require("rille.models")',
    "local M = {}",
  }
  local defined = {}
  for _, draft in ipairs(in_order(list, drafts)) do
    parts[#parts + 1] = model_source(draft, drafts, defined, backend)
    defined[draft] = true
  end
  parts[#parts + 1] = "return M"
  return table.concat(parts, "\n\n") .. "\n"
end

return inspect
