--- Paths: from a name in a query, `author__books__title`, to the tables and the column it means.
---
--- A name goes from model to model, along foreign keys and against them, along pairs, until it
--- names a field; what is left over is for who asked: a transform, a lookup. It is never part of
--- the SQL.

local errors = require("rille.errors")
local relations = require("rille.models.relations")

local paths = {}

---@class rille.models.Path  a name resolved
---@field joins rille.models.Step[]   the tables to go through
---@field field rille.models.Field
---@field nullable boolean            may be NULL, by itself or because a join found nothing
---@field many string?                it may lead to several rows: the name to where it first does
---@field many_at integer?            … and which step that is
---@field of rille.models.Model?      the name is a relation: the objects that it leads to

local function names_of(model)
  local meta, names = model._meta, {}
  for _, field in ipairs(meta.fields) do
    names[#names + 1] = field.name
  end
  for _, list in ipairs({ meta.many, meta.reverse_keys }) do
    for name in pairs(list) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- The error for a name that leads nowhere.
---@param model rille.models.Model
---@param key any
---@param more string[]?  what could have been meant besides the model's own names
---@return rille.Error
function paths.unknown(model, key, more)
  relations.settle()
  local names = names_of(model)
  for _, name in ipairs(more or {}) do
    names[#names + 1] = name
  end
  return errors.FieldError(
    ("Cannot resolve keyword '%s' into field. Choices are: %s"):format(
      tostring(key),
      table.concat(names, ", ")
    )
  )
end

--- A field by its name, its attribute, or `pk`.
---@param model rille.models.Model
---@param name string
---@return rille.models.Field?
function paths.find(model, name)
  local meta = model._meta
  if name == "pk" then
    return meta.pk
  end
  return meta.by_name[name] or meta.by_attr[name]
end

--- A relation that is no column here: pairs, or what points here. Is it ours?
local function relation_of(model, name)
  local meta = model._meta
  local own = meta.many[name]
  if own then
    return own, true
  elseif not meta.reverse_keys[name] then
    relations.settle()
  end
  return meta.reverse_keys[name], false
end

--- The first step along such a relation, and the column there that holds the key of the object it
--- leads to; of pairs also the step from the table between to that object.
local function steps_along(relation, own)
  if relation.kind ~= "many_to_many" then
    return relations.back(relation), relation.model._meta.pk, relation.model
  end
  local _, near, far = relation:between()
  if not own then
    near, far = far, near
  end
  return relations.back(near), far, far:target(), relations.forward(far)
end

---@class rille.models.Walk
---@field joins rille.models.Step[]
---@field nullable boolean

--- One step more. What was given out before stays as it is.
local function take(at, step)
  at.joins = { unpack(at.joins) }
  at.joins[#at.joins + 1] = step
  at.nullable = at.nullable or step.null
  at.prefix = at.prefix .. step.name .. "__"
  if step.many and not at.many then
    at.many, at.many_at = at.prefix, #at.joins
  end
end

local function path_of(at, field, model)
  return {
    joins = at.joins,
    field = field,
    nullable = at.nullable or field.null,
    many = at.many,
    many_at = at.many_at,
    of = model,
  }
end

--- Follow `parts` as far as they name fields and relations. A key of the far table that is the
--- near table's column already needs no join.
---@param model rille.models.Model
---@param parts string[]
---@return rille.models.Path? path
---@return integer used  how many parts that were
function paths.walk(model, parts)
  local at = { joins = {}, nullable = false, prefix = "" }
  local path, used = nil, 0
  local pending -- the step that the next part needs, unless it asks for the key alone
  for i, part in ipairs(parts) do
    local field = paths.find(model, part)
    local relation, own
    if not field then
      relation, own = relation_of(model, part)
    end
    if not field and not relation then
      break
    end
    if pending and field and field.primary_key and field.kind ~= "foreign_key" then
      used = i -- author__id is author_id
      break
    elseif pending then
      take(at, pending)
    end
    used = i
    if relation then
      local step, key, target, onward = steps_along(relation, own)
      take(at, step)
      path = path_of(at, key, target)
      model, pending = target, onward
    else
      path = path_of(at, field, field.kind == "foreign_key" and field:target() or nil)
      local by_attr = part == field.attr and field.attr ~= field.name
      if field.kind ~= "foreign_key" or by_attr then
        break
      end
      model, pending = field:target(), relations.forward(field)
    end
  end
  return path, used
end

--- `a__b__c` to its parts.
---@param key string
---@return string[]
function paths.split(key)
  local parts = {}
  for part in (key .. "__"):gmatch("(.-)__") do
    parts[#parts + 1] = part
  end
  return parts
end

--- A name that must be a field's, with nothing left over; nil if it is none.
---@param model rille.models.Model
---@param key any
---@return rille.models.Path?
function paths.get(model, key)
  if type(key) ~= "string" then
    return nil
  end
  local parts = paths.split(key)
  local path, used = paths.walk(model, parts)
  return path and used == #parts and path or nil
end

return paths
