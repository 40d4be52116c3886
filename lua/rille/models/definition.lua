--- Models: a table of the database as a Lua table, and its rows as instances.
---
---     local Folder = models.define("folder", {
---       name   = models.text { max_length = 100 },
---       parent = models.foreign_key("self", { null = true }),
---     })
---     function Folder:path() … end          -- a method of every instance
---
--- What models have in common goes into an abstract one:
---
---     local Dated = models.abstract({ created = models.timestamp { auto_now_add = true } })
---     function Dated:age() … end
---     local Note = models.define("note", { text = models.text() }, { bases = { Dated } })

local Meta = require("rille.models.meta")
local conditions = require("rille.models.conditions")
local constraints = require("rille.models.constraints")
local errors = require("rille.errors")
local fields = require("rille.models.fields")
local instances = require("rille.models.instance")
local managers = require("rille.models.manager")
local many_to_many = require("rille.models.many_to_many")
local tables = require("rille.tables")

---@class rille.models.Model
---@field __name string           "Folder"
---@field objects rille.models.Manager
---@field DoesNotExist rille.Class
---@field MultipleObjectsReturned rille.Class
---@field _meta rille.models.Meta
---@overload fun(values: table?): rille.models.Instance

---@class rille.models.Options
---@field name string?            of the model in messages; default: the table's, in CamelCase
---@field ordering string[]?      as `order_by` takes it, for queries that say nothing else
---@field unique string[][]?      groups of fields that no two rows share; also `unique_together`
---@field indexes (string[]|rille.models.Index)[]?
---@field constraints rille.models.Index[]?
---@field get_latest_by (string|string[])?  for `alatest` and `aearliest`
---@field managers table<string, fun(all: rille.models.Query): rille.models.Query>?
---@field methods table<string, function>?  of the model's managers and queries
---@field bases rille.models.Abstract[]?    what they say holds here, too
---@field managed boolean?        false: its table is somebody else's, and not made or changed

local OPTIONS = {
  name = "string",
  ordering = "table",
  unique = "table",
  unique_together = "table",
  indexes = "table",
  constraints = "table",
  get_latest_by = { "string", "table" },
  managers = "table",
  methods = "table",
  bases = "table",
  managed = "boolean",
}
-- What each model says for itself.
local OWN = { name = true, bases = true, managed = true }

--- "blog_post" to "BlogPost".
local function class_name(table_name)
  local last = table_name:match("[^.]+$")
  return (("_" .. last):gsub("_+(%w?)", string.upper))
end

local function check_table(name, level)
  if type(name) ~= "string" then
    error(("define needs the name of a table, not a %s"):format(type(name)), level + 1)
  end
  for part in (name .. "."):gmatch("(.-)%.") do
    if not part:match("^[%a_][%w_]*$") or #part > 63 then
      error(
        ("'%s' cannot be the name of a table: letters, digits and _ only"):format(name),
        level + 1
      )
    end
  end
end

local function check_options(options, level)
  for key, value in pairs(options) do
    local wanted = OPTIONS[key]
    if not wanted then
      local known = table.concat(tables.sorted_keys(OPTIONS), ", ")
      error(("define has no option '%s'; there are: %s"):format(tostring(key), known), level + 1)
    end
    local fits = type(value) == wanted
    if type(wanted) == "table" then
      fits = type(value) == wanted[1] or type(value) == wanted[2]
      wanted = table.concat(wanted, " or a ")
    end
    if not fits then
      error(("option '%s' of define must be a %s"):format(key, wanted), level + 1)
    end
  end
  if options.unique and options.unique_together then
    error("the options unique and unique_together of define are the same; give one", level + 1)
  end
end

local function is_relation(field)
  return getmetatable(field) == many_to_many.ManyToMany
end

local function check_field(name, field, level)
  if type(name) ~= "string" then
    error("fields of define are name = field pairs", level + 1)
  end
  if getmetatable(field) ~= fields.Field and not is_relation(field) then
    error(
      ("'%s' must be a field, such as models.text(), not a %s"):format(name, type(field)),
      level + 1
    )
  end
  if field.model then
    error(
      ("the field '%s' already belongs to %s; make one for each model"):format(
        name,
        field.model.__name
      ),
      level + 1
    )
  end
  if not name:match("^%a[%w_]*$") or name:find("__", 1, true) or name:sub(-1) == "_" then
    error(
      ("'%s' cannot be the name of a field: letters, digits and single _ inside"):format(name),
      level + 1
    )
  end
  if instances.RESERVED[name] then
    error(
      ("'%s' cannot be the name of a field: every instance has it already"):format(name),
      level + 1
    )
  end
  local column = field.column
  if column and (column == "" or #column > 63 or column:find("%z")) then
    error(("the db_column of '%s' cannot be the name of a column"):format(name), level + 1)
  end
end

local function by_key_then_name(a, b)
  if a.primary_key ~= b.primary_key then
    return a.primary_key
  end
  return a.name < b.name
end

local function by_name(a, b)
  return a.name < b.name
end

--- Give the fields their names; tell the columns from what has none.
local function name_fields(meta, declared, level)
  local keys = {}
  for name, field in pairs(declared) do
    check_field(name, field, level + 1)
    field.name, field.model = name, meta.model
    if field.to == "self" then
      field.to = meta.model
    end
    if is_relation(field) then
      meta.many[name] = field
      meta.many_list[#meta.many_list + 1] = field
    else
      field.attr = field.kind == "foreign_key" and name .. "_id" or name
      field.column = field.column or field.attr
      meta.fields[#meta.fields + 1] = field
      keys[#keys + 1] = field.primary_key and field or nil
    end
  end
  if #keys > 1 then
    error(
      ("%s has more than one primary key: %s and %s"):format(
        meta.model.__name,
        keys[1].name,
        keys[2].name
      ),
      level + 1
    )
  end
  table.sort(meta.fields, by_key_then_name)
  table.sort(meta.many_list, by_name)
  return keys[1]
end

--- Give the fields their places; find what collides.
local function arrange(meta, declared, level)
  meta.pk = name_fields(meta, declared, level + 1)
  local columns = {}
  for _, field in ipairs(meta.fields) do
    local taken = meta.by_attr[field.attr]
      or meta.by_attr[field.name]
      or meta.by_name[field.attr]
      or meta.many[field.attr]
      or columns[field.column:lower()]
    if taken then
      error(
        ("the fields '%s' and '%s' of %s share a name or a column"):format(
          taken.name,
          field.name,
          meta.model.__name
        ),
        level + 1
      )
    end
    meta.by_name[field.name], meta.by_attr[field.attr] = field, field
    columns[field.column:lower()] = field
    if field ~= meta.pk then
      meta.keyless_fields[#meta.keyless_fields + 1] = field
    end
    if field.kind == "foreign_key" then
      meta.relations[field.name] = field
      meta.relation_names[#meta.relation_names + 1] = field.name
    end
  end
  meta.pk_path = { joins = {}, field = meta.pk, nullable = false }
end

local function check_groups(meta, what, groups, level)
  for _, group in ipairs(groups) do
    if type(group) ~= "table" then
      error(("option '%s' of define is a list of lists of fields"):format(what), level + 1)
    end
    for _, name in ipairs(group) do
      local plain = tostring(name):gsub("^%-", "")
      if not conditions.find(meta.model, plain) then
        error(
          ("option '%s' of define names '%s', which is no field of %s"):format(
            what,
            plain,
            meta.model.__name
          ),
          level + 1
        )
      end
    end
  end
end

--- Indexes and constraints as objects, and their fields looked up.
local function take_constraints(meta, options, level)
  meta.unique_together = options.unique or options.unique_together or {}
  check_groups(meta, "unique", meta.unique_together, level + 1)
  meta.indexes, meta.constraints = {}, {}
  for i, index in ipairs(options.indexes or {}) do
    if not constraints.is_constraint(index) then
      check_groups(meta, "indexes", { index }, level + 1)
      index = constraints.Index({ fields = index })
    elseif index.kind ~= "index" then
      error("option 'indexes' of define is for models.Index and lists of fields", level + 1)
    end
    meta.indexes[i] = index
    check_groups(meta, "indexes", { index.fields }, level + 1)
  end
  for i, constraint in ipairs(options.constraints or {}) do
    if not constraints.is_constraint(constraint) or constraint.kind == "index" then
      error(
        "option 'constraints' of define is a list of models.UniqueConstraint and CheckConstraint",
        level + 1
      )
    end
    meta.constraints[i] = constraint
    check_groups(meta, "constraints", { constraint.fields }, level + 1)
  end
end

-- Abstract models -------------------------------------------------------------------

--- Fields, options and methods that several models share. It has no table, and no instances.
---@class rille.models.Abstract
---@field _declared table<string, rille.models.Field>
---@field _options rille.models.Options
local Abstract = {}

function Abstract.__index(abstract, key)
  for _, base in ipairs(rawget(abstract, "_options").bases or {}) do
    local found = base[key]
    if found ~= nil then
      return found
    end
  end
end

function Abstract:__tostring()
  return "an abstract model"
end

--- Make what several models share; they name it among their `bases`. Functions put into it become
--- methods of their instances. `%(class)s` in a `related_name` is the name of each model.
---@param declared table<string, rille.models.Field>
---@param options rille.models.Options?
---@return rille.models.Abstract
local function abstract(declared, options)
  if type(declared) ~= "table" then
    error("abstract needs a table of fields", 2)
  end
  check_options(options or {}, 2)
  return setmetatable({ _declared = declared, _options = options or {} }, Abstract)
end

--- Add what the bases declare, each field anew, and what their options say, as far as nobody before
--- has said it.
local function inherit(declared, options, bases, level)
  for _, base in ipairs(bases or {}) do
    if getmetatable(base) ~= Abstract then
      error("option 'bases' of define is a list of abstract models", level + 1)
    end
    for name, field in pairs(base._declared) do
      if declared[name] == nil then
        declared[name] = type(field) == "table" and field.copy and field:copy() or field
      end
    end
    for key, value in pairs(base._options) do
      if not OWN[key] and options[key] == nil then
        options[key] = value
      end
    end
    inherit(declared, options, base._options.bases, level + 1)
  end
end

-- Definition ------------------------------------------------------------------------

local function copy_of(given)
  local copy = {}
  for key, value in pairs(given) do
    copy[key] = value
  end
  return copy
end

local function new_meta(model, table_name, options)
  return setmetatable({
    model = model,
    table = table_name,
    managed = options.managed ~= false,
    fields = {},
    keyless_fields = {},
    by_name = {},
    by_attr = {},
    relations = {},
    many = {},
    many_list = {},
    reverse = {},
    reverse_keys = {},
    pointing = {},
    relation_names = {},
    readers_of = {},
    selections = {},
    resolved = {},
    resolved_count = 0,
    receivers = {},
    methods = options.methods,
  }, Meta)
end

local function check_ordering(meta, what, terms, level)
  for _, term in ipairs(terms or {}) do
    if term ~= "?" then
      local name = tostring(term):gsub("^%-", ""):gsub("__.*$", "")
      check_groups(meta, what, { { name } }, level + 1)
    end
  end
end

--- What is looked up in a model and is none of its own: in its bases, then what every instance has.
local function inherited_from(bases)
  if not bases or #bases == 0 then
    return instances.methods
  end
  return function(_, key)
    for _, base in ipairs(bases) do
      local found = base[key]
      if found ~= nil then
        return found
      end
    end
    return instances.methods[key]
  end
end

local function check_managers(meta, given, level)
  for name, narrow in pairs(given or {}) do
    if type(name) ~= "string" or type(narrow) ~= "function" then
      error(
        "option 'managers' of define is name = function pairs: each makes a query of the one for"
          .. " all rows",
        level + 1
      )
    end
    local taken = instances.RESERVED[name] or conditions.find(meta.model, name)
    if taken and name ~= "objects" then
      error(("'%s' cannot be the name of a manager: it is taken"):format(name), level + 1)
    end
  end
end

--- Make a model. Of a field whose choices have labels, instances have `get_NAME_display()`, the
--- label. Without a primary key among the fields, an automatic one named `id` is added.
--- Mistakes raise at the caller, with a sentence.
---@param table_name string  may have a schema: "public.folder"
---@param declared table<string, rille.models.Field|rille.models.ManyToMany>
---@param options rille.models.Options?
---@return rille.models.Model
local function define(table_name, declared, options)
  options = options or {}
  check_table(table_name, 2)
  if type(declared) ~= "table" then
    error("define needs a table of fields", 2)
  end
  check_options(options, 2)
  local all = copy_of(declared)
  options = copy_of(options)
  inherit(all, options, options.bases, 2)

  local name = options.name or class_name(table_name)
  local model = { __name = name }
  local meta = new_meta(model, table_name, options)
  local has_key = false
  for _, field in pairs(all) do
    has_key = has_key or getmetatable(field) == fields.Field and field.primary_key
  end
  if not has_key then
    if all.id then
      error(("%s has a field 'id' but no primary key; make it one"):format(name), 2)
    end
    all.id = fields.auto()
  end
  arrange(meta, all, 2)

  model._meta = meta
  for _, field in ipairs(meta.fields) do
    if field.kind == "foreign_key" then
      field:announce()
    end
  end
  for _, field in ipairs(meta.many_list) do
    field:announce()
  end
  model.DoesNotExist = errors.ObjectDoesNotExist:extend(name .. ".DoesNotExist")
  model.MultipleObjectsReturned =
    errors.MultipleObjectsReturned:extend(name .. ".MultipleObjectsReturned")
  meta.instance = instances.metatable(model, meta)
  setmetatable(model, {
    __index = inherited_from(options.bases),
    __call = instances.construct,
    __tostring = function()
      return "model " .. name
    end,
    __newindex = function(_, key, value)
      if meta.by_attr[key] or meta.by_name[key] then
        error(("%s.%s is a field already"):format(name, tostring(key)), 2)
      end
      rawset(model, key, value)
    end,
  })
  for _, field in ipairs(meta.fields) do
    if field.choices and type(field.choices[1]) == "table" then
      rawset(model, "get_" .. field.name .. "_display", function(self)
        return field:label_of(self[field.attr])
      end)
    end
  end
  meta.base = managers.of_model(model)
  check_managers(meta, options.managers, 2)
  rawset(model, "objects", meta.base)
  for manager, narrow in pairs(options.managers or {}) do
    rawset(model, manager, managers.of_model(model, narrow))
  end
  take_constraints(meta, options, 2)
  check_ordering(meta, "ordering", options.ordering, 2)
  local latest = options.get_latest_by
  meta.get_latest_by = type(latest) == "string" and { latest } or latest
  check_ordering(meta, "get_latest_by", meta.get_latest_by, 2)
  meta.ordering = options.ordering
  return model
end

return { define = define, abstract = abstract, class_name = class_name }
