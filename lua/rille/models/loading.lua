--- Loading: the builders that say which fields objects come with, and which objects besides. Adds
--- them to queries.
---
---     Book.objects:select_related("author"):only("title", "author__name")

local conditions = require("rille.models.conditions")
local errors = require("rille.errors")
local null = require("rille.core").null
local relations = require("rille.models.relations")

local Query = require("rille.models.query").Query

-- Fewer fields ----------------------------------------------------------------------------

--- A step to a related object: along a foreign key, or back along a one-to-one.
local function one_step(model, part, what)
  local meta = model._meta
  local field = meta.by_name[part]
  if field and field.kind == "foreign_key" then
    return relations.forward(field)
  end
  local pointing = meta.reverse_keys[part]
  if not pointing then
    relations.settle()
    pointing = meta.reverse_keys[part]
  end
  if pointing and pointing.one_to_one then
    return relations.back(pointing)
  end
  local wanted = { unpack(meta.relation_names) }
  for name, relation in pairs(meta.reverse_keys) do
    if relation.one_to_one then
      wanted[#wanted + 1] = name
    end
  end
  table.sort(wanted)
  error(
    errors.FieldError(
      ("Invalid field name given in %s: '%s'. Choices are: %s"):format(
        what,
        part,
        table.concat(wanted, ", ")
      )
    ),
    0
  )
end

---@class rille.models.Mask  which fields an object comes with
---@field loaded rille.models.Field[]
---@field deferred table<string, true>  the attributes it comes without

local function own_field(model, name)
  local path = conditions.path(model, name)
  if #path.joins > 0 then
    error(errors.FieldError(("'%s' is no field of %s alone."):format(name, model.__name)), 0)
  end
  return path.field
end

--- The fields that names mean, by the relation that leads to their model; "" is the query's own.
--- `along` are the keys that the relations go by.
local function named_fields(self, what, ...)
  local places = {}
  local function place(name, model)
    places[name] = places[name] or { model = model, named = {}, along = {} }
    return places[name]
  end
  for i = 1, select("#", ...) do
    local model, at, rest = self.model, "", tostring((select(i, ...)))
    local part, tail = rest:match("^(.-)__(.+)$")
    while part do
      local step = one_step(model, part, what)
      local to = at == "" and part or at .. "__" .. part
      local key_at = step.back and place(to, step.model) or place(at, model)
      key_at.along[step.field] = true
      model, at, rest = step.model, to, tail
      part, tail = rest:match("^(.-)__(.+)$")
    end
    place(at, model).named[own_field(model, rest)] = true
  end
  return places
end

--- The fields of a place that stay; of those that were left before, if it adds to an earlier call.
---@return rille.models.Mask
local function mask_of(place, wanted, before)
  local loaded, deferred = {}, {}
  for _, field in ipairs(place.model._meta.fields) do
    local stays
    if wanted then
      stays = place.named[field] or place.along[field]
    else
      stays = not place.named[field] and not (before and before.deferred[field.attr])
    end
    if stays or field.primary_key then
      loaded[#loaded + 1] = field
    else
      deferred[field.attr] = true
    end
  end
  return { loaded = loaded, deferred = deferred }
end

--- Instances with or without the given fields; always with their key.
local function load_fields(self, what, level, wanted, ...)
  self:_check_not_combined(what, level + 1)
  if self.shape ~= "instances" then
    error(("Cannot call %s after values or values_list."):format(what), level + 1)
  end
  local places, masks = named_fields(self, what, ...), {}
  if wanted then
    places[""] = places[""] or { model = self.model, named = {}, along = {} }
  else
    for name, mask in pairs(self.masks or {}) do
      masks[name] = mask
    end
  end
  for name, place in pairs(places) do
    if wanted or next(place.named) then
      masks[name] = mask_of(place, wanted, masks[name])
    end
  end
  local own = masks[""]
  local copy = self:_with({ loaded = own and own.loaded or false, masks = masks })
  copy.deferred = own and own.deferred
  return copy
end

--- Instances with these fields and their key alone. Reading another attribute raises
--- `NotFetched`; `asave` writes only what is there. Replaces an earlier `only` or `defer`.
---
--- A related object that `select_related` brings along comes with the fields that are named behind
--- its name, or with all of them when it is named alone; it has to be named somehow.
---@param ... string  `title`, `author__name`
---@return rille.models.Query
function Query:only(...)
  if select("#", ...) == 1 and (...) == null then
    error("Cannot pass null as an argument to only().", 2)
  end
  return load_fields(self, "only", 2, true, ...)
end

--- Instances without these fields; adds to an earlier `only` or `defer`. `defer(rille.null)` takes
--- both back. The key that `select_related` goes by cannot be left out.
---@param ... string  `data`, `author__bio`
---@return rille.models.Query
function Query:defer(...)
  if select("#", ...) == 1 and (...) == null then
    local copy = self:_with({ loaded = false })
    copy.deferred, copy.masks = nil, nil
    return copy
  end
  return load_fields(self, "defer", 2, false, ...)
end

-- Related objects -------------------------------------------------------------------------

--- Without names: every foreign key that is never NULL, and theirs.
local function every_key(model, prefix, depth, wanted)
  for _, name in ipairs(model._meta.relation_names) do
    local field = model._meta.relations[name]
    if not field.null then
      wanted[#wanted + 1] = prefix .. name
      if depth > 1 then
        every_key(field:target(), prefix .. name .. "__", depth - 1, wanted)
      end
    end
  end
  return wanted
end

local DEEPEST = 5 -- as Django's

--- Bring along the objects that these foreign keys, or one-to-ones seen from the other side, lead
--- to, in the same statement. Adds to an earlier call; without names, every key that is never NULL,
--- five deep; `select_related(rille.null)` brings nothing.
---@param ... string  `author`, `author__parent`
---@return rille.models.Query
function Query:select_related(...)
  if self.shape ~= "instances" then
    error("Cannot call select_related after values or values_list.", 2)
  end
  self:_check_not_combined("select_related", 2)
  local wanted, implied = { ... }, select("#", ...) == 0
  if wanted[1] == null then
    return self:_with({ related = {} })
  elseif implied then
    wanted = every_key(self.model, "", DEEPEST, {})
  end
  local related, known = { unpack(self.related) }, {}
  for _, entry in ipairs(related) do
    known[entry.name] = true
  end
  for _, given in ipairs(wanted) do
    local parent, joins, model = nil, {}, self.model
    for part in (tostring(given) .. "__"):gmatch("(.-)__") do
      local step = one_step(model, part, "select_related")
      joins = { unpack(joins) }
      joins[#joins + 1] = step
      local name = parent and parent .. "__" .. part or part
      if not known[name] then
        known[name] = true
        related[#related + 1] = {
          name = name,
          key = part,
          parent = parent,
          joins = joins,
          model = step.model,
          implied = implied,
        }
      end
      parent, model = name, step.model
    end
  end
  return self:_with({ related = related })
end

return Query
