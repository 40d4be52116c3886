--- Declarations of an application's models for lua-language-server, as text. Pure.
---
--- For a model `Room` they are:
---
---     models.Room         an instance: its fields, and what leads to other models
---     models.RoomValues   what one is made of
---     models.RoomLookups  the keys that `filter` takes
---     models.RoomQuery    the methods of queries, with these types; `Room.objects`
---     models.RoomModel    the model itself, which `models.define("room", …)` returns
---
--- Methods of queries, with what they take and return, are read off rille's own sources, where
--- their declarations stand; types of columns come from the kinds of fields.

local schema = require("rille.models.schema")
local relations = require("rille.models.relations")
local source = require("rille.source")
local tables = require("rille.tables")

local types = {}

---@class rille.types.Method
---@field name string
---@field parameters string  "lookup, defaults"
---@field comments string[]  the lines above it

--- The public methods of `Query` in a file of rille's.
---@param text string
---@param into rille.types.Method[]
function types.methods(text, into)
  local comments = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local name, parameters = line:match("^function Query:(%l[%w_]*)%((.-)%)")
    if line:find("^%-%-%-") then
      comments[#comments + 1] = line
    else
      if name then
        into[#into + 1] = { name = name, parameters = parameters, comments = comments }
      end
      comments = {}
    end
  end
  return into
end

--- Those of all files, by name.
---@param library table<string, string>
---@return rille.types.Method[]
function types.query_methods(library)
  local list = {}
  for path, text in pairs(library) do
    if path:find("^rille/models/") then
      types.methods(text, list)
    end
  end
  table.sort(list, function(a, b)
    return a.name < b.name
  end)
  return list
end

-- Names -------------------------------------------------------------------------------

local function class_of(model)
  return "models." .. model.__name:gsub("[^%w_]", "_")
end

local function list_of(kind)
  return kind:find("|", 1, true) and "(" .. kind .. ")[]" or kind .. "[]"
end

--- The types of a column's values: as Lua keeps them, and as they may be given.
local function types_of(field)
  local storage, kind = field:storage(), field:behaviour()
  local reads, takes = kind.reads or "any", kind.takes or kind.reads or "any"
  if storage.of then
    reads = list_of((types_of(storage.of)))
    takes = reads
  end
  local choices = {}
  for _, choice in ipairs(field.choices or {}) do
    local value = type(choice) == "table" and choice[1] or choice
    choices[#choices + 1] = type(value) == "string" and ("%q"):format(value) or nil
  end
  if reads == "string" and #choices > 0 then
    reads = table.concat(choices, "|")
    takes = reads
  end
  return reads, takes
end

local function optional(kind)
  return kind:find("|", 1, true) and "(" .. kind .. ")?" or kind .. "?"
end

local EXPRESSION = "rille.models.Expression|"
local LISTS = { ["in"] = true, range = true }
local KEYS = { has_keys = true, has_any_keys = true }
local COMPARES = { gt = true, gte = true, lt = true, lte = true }
local TEXTS = { regex = true, search = true, startswith = true, endswith = true, has_key = true }

--- rille.null is a lightuserdata.
local function or_null(field, takes)
  return field.null and "lightuserdata|" .. takes or takes
end

--- What a lookup takes. (`iexact` and its like do not tell upper from lower case: text.)
local function type_of_lookup(lookup, takes, field)
  local is_part = lookup == "contains" and field:storage().kind == "text"
  if lookup == "isnull" then
    return "boolean"
  elseif LISTS[lookup] then
    return (lookup == "in" and "rille.models.Query|" or "") .. list_of(takes)
  elseif KEYS[lookup] then
    return "string[]"
  elseif COMPARES[lookup] then
    return EXPRESSION .. takes
  elseif TEXTS[lookup] or is_part or lookup:find("^trigram") or lookup:find("^i%l") then
    return "string"
  end
  return takes
end

-- Declarations ------------------------------------------------------------------------

local function field_line(lines, name, kind, may_be_absent)
  local shown = source.is_name(name) and name or ("[%q]"):format(name)
  lines[#lines + 1] = ("---@field %s%s %s"):format(shown, may_be_absent and "?" or "", kind)
end

--- Where the other end of a relation is seen from: its model, and whether there are many.
local function other_end(relation, model)
  if relation.kind == "many_to_many" then
    local there = relation.model == model and relation:target() or relation.model
    return there, true
  end
  return relation.model, not relation.one_to_one
end

--- What a script has defined on a model: methods of its instances, by name.
local function own_methods(model)
  local found = {}
  for name, value in pairs(model) do
    if type(value) == "function" and type(name) == "string" and name:find("^%a") then
      found[name] = value
    end
  end
  return found
end

local function declare_instance(lines, model)
  local meta = model._meta
  lines[#lines + 1] = ("---@class %s : rille.models.Instance"):format(class_of(model))
  field_line(lines, "pk", (types_of(meta.pk)))
  for _, field in ipairs(meta.fields) do
    local reads = types_of(field)
    field_line(lines, field.attr, field.null and optional(reads) or reads)
    if field.kind == "foreign_key" then
      local there = class_of(field:target())
      field_line(lines, field.name, field.null and optional(there) or there)
    end
  end
  for _, many in ipairs(meta.many_list) do
    field_line(lines, many.name, class_of(many:target()) .. "Query")
  end
  for _, name in ipairs(tables.sorted_keys(meta.reverse)) do
    local there, several = other_end(meta.reverse[name], model)
    field_line(lines, name, class_of(there) .. (several and "Query" or "?"))
  end
  for _, name in ipairs(tables.sorted_keys(own_methods(model))) do
    field_line(lines, name, ("fun(self: %s, ...: any): any"):format(class_of(model)))
  end
end

local function declare_values(lines, model)
  lines[#lines + 1] = ("---@class %sValues"):format(class_of(model))
  for _, field in ipairs(model._meta.fields) do
    local _, takes = types_of(field)
    if field.kind == "foreign_key" then
      field_line(lines, field.attr, takes, true)
      takes = class_of(field:target()) .. "|" .. takes
    end
    field_line(lines, field.name, EXPRESSION .. or_null(field, takes), true)
  end
end

--- A field's own keys, and, a step further, the names of its target's.
local function declare_lookups(lines, model)
  lines[#lines + 1] = ("---@class %sLookups"):format(class_of(model))
  local _, key_takes = types_of(model._meta.pk)
  field_line(lines, "pk", key_takes, true)
  for _, field in ipairs(model._meta.fields) do
    local _, takes = types_of(field)
    local given = takes
    if field.kind == "foreign_key" then
      field_line(lines, field.attr, takes, true)
      given = class_of(field:target()) .. "|" .. takes
    end
    for _, lookup in ipairs(field:behaviour().lookups) do
      if lookup == "exact" then
        field_line(lines, field.name, EXPRESSION .. or_null(field, given), true)
      else
        local kind = type_of_lookup(lookup, lookup == "in" and given or takes, field)
        field_line(lines, field.name .. "__" .. lookup, kind, true)
      end
    end
    if field.kind == "foreign_key" then
      for _, far in ipairs(field:target()._meta.fields) do
        local _, far_takes = types_of(far)
        if far:behaviour().lookups[1] == "exact" then
          field_line(lines, field.name .. "__" .. far.name, far_takes, true)
        end
      end
    end
  end
end

-- Parameters that hold values of a new or changed object; other tables are lookups.
local VALUES = { values = true, defaults = true, changes = true, create_defaults = true }

--- A line of a method's declaration, with a model's own types.
local function with_types(line, class)
  local parameter = line:match("^%-%-%-@param ([%w_.]+)")
  if parameter then
    local what = class .. (VALUES[parameter] and "Values" or "Lookups")
    line = line:gsub("table<string, any>", what)
  end
  line = line:gsub("%f[%w.]rille%.models%.Query%f[^%w.]", class .. "Query")
  line = line:gsub("%f[%w.]rille%.models%.Instance%f[^%w.]", class)
  if line:find("^%-%-%-@return any%[%]$") then
    line = "---@return " .. class .. "[]"
  end
  return line
end

local function declare_query(lines, model, methods)
  local class = class_of(model)
  lines[#lines + 1] = ("---@class %sQuery : rille.models.Query"):format(class)
  for _, name in ipairs(tables.sorted_keys(model._meta.methods or {})) do
    field_line(lines, name, ("fun(self: %sQuery, ...: any): any"):format(class))
  end
  lines[#lines + 1] = "local Query = {}"
  for _, method in ipairs(methods) do
    lines[#lines + 1] = ""
    for _, comment in ipairs(method.comments) do
      lines[#lines + 1] = with_types(comment, class)
    end
    lines[#lines + 1] = ("function Query:%s(%s) end"):format(method.name, method.parameters)
  end
end

--- `objects`, and managers of its own.
local function own_managers(model)
  local kind, found = getmetatable(model.objects), {}
  for name, value in pairs(model) do
    if getmetatable(value) == kind then
      found[name] = true
    end
  end
  return tables.sorted_keys(found)
end

local function declare_model(lines, model)
  local class = class_of(model)
  lines[#lines + 1] = ("---@class %sModel : rille.models.Model"):format(class)
  for _, name in ipairs(own_managers(model)) do
    field_line(lines, name, class .. "Query")
  end
  lines[#lines + 1] = ("---@overload fun(values: %sValues?): %s"):format(class, class)
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("---@param table_name %q"):format(model._meta.table)
  lines[#lines + 1] = "---@param declared table<string, rille.models.Field|rille.models.ManyToMany>"
  lines[#lines + 1] = "---@param options rille.models.Options?"
  lines[#lines + 1] = ("---@return %sModel"):format(class)
  lines[#lines + 1] = "function Models.define(table_name, declared, options) end"
end

--- The text of the declarations of these models.
---@param models rille.models.Model[]
---@param library table<string, string>  rille's own files, as `rille.core.library`
---@return string
function types.text(models, library)
  local methods = types.query_methods(library)
  relations.settle() -- so that both ends of every relation are known
  local lines = {
    "---@meta",
    "",
    "--- The models of an application, by `rille types`: written anew, never changed by hand.",
    "",
    "---@class rille.models.Module",
    "local Models = {}",
  }
  for _, model in ipairs(schema.with_between(models)) do
    local parts = { declare_instance, declare_values, declare_lookups }
    for _, declare in ipairs(parts) do
      lines[#lines + 1] = ""
      declare(lines, model)
    end
    lines[#lines + 1] = ""
    lines[#lines + 1] = "do"
    declare_query(lines, model, methods)
    lines[#lines + 1] = "end"
    lines[#lines + 1] = ""
    declare_model(lines, model)
  end
  return table.concat(lines, "\n") .. "\n"
end

return types
