--- Writing: the `a` methods of a query that change rows.
---
--- Names and values are checked before anything is sent. Whatever a query has fetched is
--- forgotten when it changes rows.

local compile = require("rille.models.compile")
local conditions = require("rille.models.conditions")
local deletion = require("rille.models.deletion")
local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local open = require("rille.models.open")
local resolve = require("rille.models.resolve")
local queries = require("rille.models.query")

local Query = queries.Query

--- What `aupdate` was given, resolved: the query, and what to set.
---@param changes table<string, any>
---@return rille.models.Query
---@return { field: rille.models.Field, value: any, node: rille.models.Node? }[]
function Query:_changes(changes)
  if type(changes) ~= "table" or next(changes) == nil then
    error(queries.EMPTY:format("aupdate"), 3)
  end
  if self:_is_sliced() then
    error("Cannot update a query once a slice has been taken.", 3)
  end
  self:_check_not_combined("aupdate", 3)
  local model, names = self.model, {}
  for name in pairs(changes) do
    names[#names + 1] = name
  end
  table.sort(names)
  local list = {}
  for i, name in ipairs(names) do
    local path = conditions.path(model, name)
    local field, value = path.field, changes[name]
    if #path.joins > 0 then
      error(
        errors.FieldError(("aupdate cannot follow the foreign keys of '%s'."):format(name)),
        0
      )
    end
    if expressions.is_expression(value) then
      list[i] = { field = field, node = resolve.new_value(self, value, "aupdate", name) }
    else
      list[i] = { field = field, value = open.map(value, function(given)
        return (field:write(given))
      end) }
    end
  end
  return self, list
end

local function same(value)
  return value
end

--- What `_aset` was given, resolved: the query, and what to set.
---@param given { field: rille.models.Field, value: any }[]  as the core is given it, or expressions
---@return rille.models.Query
---@return { field: rille.models.Field, value: any, node: rille.models.Node? }[]
function Query:_sets(given)
  local list = {}
  for i, one in ipairs(given) do
    local field, value = one.field, one.value
    list[i] = { field = field }
    if expressions.is_expression(value) then
      list[i].node = resolve.new_value(self, value, "asave", field.name)
    elseif value ~= nil then
      list[i].value = open.map(value, same)
    end
  end
  return self, list
end

--- Send an UPDATE; how many rows it changed.
---@async
local function aset(query, list)
  query.cached = nil
  if query.where == false then
    return 0
  end
  local database = query:_database()
  local sql, params = compile.update(query, database.dialect, list)
  local _, matched = database:_arun(sql, params)
  return matched
end

--- The rows changed, all at once, in the database: no instance is touched, and no
--- `auto_now`. Values may be `F` expressions.
---@async
---@param changes table<string, any>  rille.null for NULL
---@return integer matched
function Query:aupdate(changes)
  local _, list = self:_changes(changes)
  return aset(self, list)
end

--- The same for values that are ready: of a row that is saved.
---@async
function Query:_aset(given)
  local _, list = self:_sets(given)
  return aset(self, list)
end

--- Raise if `adelete` is not for this query.
function Query:_check_deletable()
  self:_check_not_combined("adelete", 3)
  if self:_is_sliced() then
    error("Cannot use 'limit' or 'offset' with adelete.", 3)
  end
  if self.distinct_on then
    error("Cannot call adelete after distinct.", 3)
  end
  if self.shape ~= "instances" then
    error("Cannot call adelete after values or values_list.", 3)
  end
end

--- Delete the rows, and what each foreign key's `on_delete` says goes with them. Raises
--- `ProtectedError` or `RestrictedError`, with the `objects` that keep them, before anything is
--- changed.
---@async
---@return integer total
---@return table<string, integer> counts  by name of model
function Query:adelete()
  self:_check_deletable()
  self.cached = nil
  if self.where == false then
    return 0, {}
  end
  return deletion.of_query(self)
end

--- Send a DELETE of the rows, whatever refers to them; how many there were.
---@async
---@return integer
function Query:_adelete_rows()
  if self.where == false then
    return 0
  end
  local database = self:_database()
  local sql, params = compile.delete(self, database.dialect)
  local _, n = database:_arun(sql, params)
  return n
end

--- Make an object and insert it.
---@async
---@param values table<string, any>?
---@return rille.models.Instance
function Query:acreate(values)
  local instance = self.model(values or {})
  if self.owner and self.owner.field then
    instance[self.owner.field.name] = self.owner.instance
  end
  instance._db = self.database
  return instance:asave({ force_insert = true })
end

--- The values of a new object: what was looked for, as far as it names fields, and the defaults.
local function values_of_new(lookup, defaults)
  local values = {}
  for key, value in pairs(lookup) do
    if not key:find("__", 1, true) then
      values[key] = value
    end
  end
  for key, value in pairs(defaults or {}) do
    if type(value) == "function" then
      value = value()
    end
    values[key] = value
  end
  return values
end

--- The object, made if there is none. When somebody else makes it first, theirs.
---@async
---@param lookup table<string, any>
---@param defaults table<string, any>?  for a new object only; functions are called
---@param opts { through_defaults: table? }?  what `acreate` of an owner's objects takes
---@return rille.models.Instance object
---@return boolean created
function Query:aget_or_create(lookup, defaults, opts)
  local query = self:filter(lookup)
  local found = query:_aone()
  if found then
    return found, false
  end
  local ok, result = pcall(function()
    return self:_database():atomic(function()
      return self:acreate(values_of_new(lookup, defaults), opts)
    end)
  end)
  if ok then
    return result, true
  end
  if errors.is_error(result, errors.IntegrityError) then
    found = query:_aone()
    if found then
      return found, false
    end
  end
  error(result, 0)
end

--- The object with these values, made if there is none.
---@async
---@param lookup table<string, any>
---@param defaults table<string, any>  to set; functions are called
---@param create_defaults table<string, any>?  instead of `defaults` for a new object
---@param opts { through_defaults: table? }?  as of `aget_or_create`
---@return rille.models.Instance object
---@return boolean created
function Query:aupdate_or_create(lookup, defaults, create_defaults, opts)
  return self:_database():atomic(function()
    local query = self:select_for_update()
    local object, created = query:aget_or_create(lookup, create_defaults or defaults, opts)
    if created then
      return object, true
    end
    local names = {}
    for name, value in pairs(values_of_new({}, defaults)) do
      object[name] = value
      names[#names + 1] = name
    end
    for _, field in ipairs(self.model._meta.fields) do
      if field.auto_now then
        names[#names + 1] = field.name
      end
    end
    return object:asave({ update_fields = names }), false
  end)
end

return Query
