--- Relations: foreign keys and one-to-one, what the models at the other end see of them, and the
--- steps from table to table that a query takes. Pairs are in `rille.models.many_to_many`.
---
---     author  = models.foreign_key(Author, { on_delete = "cascade", related_name = "books" })
---     user    = models.one_to_one(User)
---
--- A target is a model, "self", or a function that returns a model, called when it is first needed.
---
--- Every one of them can be walked both ways. `book.author` leads forward; the target sees the
--- objects that point to it under `related_name`, in filters and on instances, or without one as
--- Django does: `author.book_set`, and `filter { book__title = … }`. "+" hides them.

local errors = require("rille.errors")
local fields = require("rille.models.fields")
local tables = require("rille.tables")

local Field = fields.Field

local relations = {}

-- What the database does by itself when a row goes that others point to. `adelete` has done what
-- `on_delete` says before; this is for what deletes behind its back.
local IN_DATABASE = {
  cascade = "CASCADE",
  protect = "NO ACTION",
  restrict = "RESTRICT",
  set_null = "SET NULL",
  do_nothing = "NO ACTION",
}

---@param value any
---@return boolean
function relations.is_model(value)
  return type(value) == "table" and rawget(value, "_meta") ~= nil
end

--- Raise unless a relation can lead there.
function relations.check_target(what, to, level)
  if to ~= "self" and type(to) ~= "function" and not relations.is_model(to) then
    error(
      ("a %s needs a model, \"self\", or a function that returns a model"):format(what),
      level + 1
    )
  end
end

--- A reference to another model: `book.author_id` holds its key, `book.author` the object if it
--- was set or fetched. `on_delete` is "restrict" (default), "protect", "cascade", "set_null" or
--- "do_nothing".
---@param to rille.models.Model|"self"|fun(): rille.models.Model  called when first needed
---@param options table?
---@return rille.models.Field
function relations.foreign_key(to, options)
  relations.check_target("foreign key", to, 2)
  local field = fields.new("foreign_key", options, 2)
  local on_delete = field.on_delete or "restrict"
  if not IN_DATABASE[on_delete] then
    local known = table.concat(tables.sorted_keys(IN_DATABASE), ", ")
    error(("on_delete cannot be '%s'; there are: %s"):format(on_delete, known), 2)
  end
  if on_delete == "set_null" and not field.null then
    error("on_delete = \"set_null\" needs null = true", 2)
  end
  field.on_delete = on_delete
  field.to = to
  return field
end

--- A foreign key that no two objects share: `profile.user`, and at the other end `user.profile`,
--- one object and no list.
---@param to rille.models.Model|"self"|fun(): rille.models.Model
---@param options table?  as of `foreign_key`
---@return rille.models.Field
function relations.one_to_one(to, options)
  relations.check_target("one-to-one field", to, 2)
  local field = relations.foreign_key(to, options)
  field.unique, field.one_to_one = true, true
  return field
end

--- What SQL says ON DELETE.
---@return string
function Field:database_action()
  return IN_DATABASE[self.on_delete]
end

--- The target of a relation; one that was given as a function is found now.
---@return rille.models.Model
function relations.find_target(relation, what)
  local to = relation.to
  if type(to) == "function" then
    to = to()
    if not relations.is_model(to) then
      error(
        errors.FieldError(
          ("the target of %s '%s' of %s is no model"):format(
            what,
            relation.name,
            relation.model.__name
          )
        ),
        0
      )
    end
    relation.to = to
    relation:announce()
  end
  return to
end

--- The model that a foreign key points to.
---@return rille.models.Model
function Field:target()
  return relations.find_target(self, "foreign key")
end

--- What the target calls the objects at this end, on its instances; nil: it cannot see them.
---@return string?
local function reverse_name(relation)
  local name = relation.related_name
  if name == "+" then
    return nil
  end
  local plain = relation.model.__name:lower()
  if name then
    return (name:gsub("%%%(class%)s", plain)) -- of an abstract model, one for each
  end
  return relation.one_to_one and plain or plain .. "_set"
end

--- … and in the keys of filters.
---@return string?
local function reverse_key(relation)
  local name = relation.related_name
  if name == "+" then
    return nil
  end
  return name and reverse_name(relation) or relation.model.__name:lower()
end

relations.reverse_name = reverse_name

local function same_place(a, b)
  return a.model._meta.table == b.model._meta.table and a.name == b.name
end

-- Relations whose target is a function that nobody has called.
local waiting = setmetatable({}, { __mode = "k" })

--- Take a place in `list`, or leave it to who has it. A name that the script chose raises then.
local function take_name(relation, meta, list, wanted)
  local taken = list[wanted]
  if
    not meta.by_name[wanted]
    and not meta.by_attr[wanted]
    and not meta.many[wanted]
    and (not taken or same_place(taken, relation))
  then
    list[wanted] = relation
  elseif relation.related_name then
    error(
      errors.FieldError(
        ("the related_name '%s' of %s.%s is taken in %s"):format(
          wanted,
          relation.model.__name,
          relation.name,
          relation.to.__name
        )
      ),
      0
    )
  end
end

--- Tell the target of a relation, once it is known: at once, unless it is given as a function. A
--- model that is defined anew takes the place of the old one.
function relations.announce(relation)
  if type(relation.to) == "function" then
    waiting[relation] = true
    return
  end
  waiting[relation] = nil
  local meta = relation.to._meta
  local name = reverse_name(relation)
  if name then
    take_name(relation, meta, meta.reverse, name)
    take_name(relation, meta, meta.reverse_keys, reverse_key(relation))
  end
  local at = #meta.pointing + 1
  for i, other in ipairs(meta.pointing) do
    at = same_place(other, relation) and i or at
  end
  meta.pointing[at] = relation
end

--- Find the targets that were given as functions, as far as they are there by now: before anybody
--- says that nothing points to a model.
---@return boolean  some were found
function relations.settle()
  if next(waiting) == nil then
    return false
  end
  local list = {}
  for relation in pairs(waiting) do
    list[#list + 1] = relation
  end
  for _, relation in ipairs(list) do
    pcall(relation.target, relation)
  end
  return true
end

Field.announce = relations.announce

-- Steps -----------------------------------------------------------------------------

---@class rille.models.Step  from one table to another
---@field name string      what it is called on the way
---@field model rille.models.Model  where it leads
---@field from string      column here
---@field to string        column there
---@field null boolean     it may find nothing
---@field many boolean     it may find several
---@field field rille.models.Field  the foreign key that it goes along
---@field back boolean     against it

--- Along a foreign key.
---@param field rille.models.Field
---@return rille.models.Step
function relations.forward(field)
  local step = field.forward_step
  if not step then
    local target = field:target()
    step = {
      name = field.name,
      model = target,
      from = field.column,
      to = target._meta.pk.column,
      null = field.null,
      many = false,
      field = field,
      back = false,
    }
    field.forward_step = step
  end
  return step
end

--- Against a foreign key, to the objects that point here.
---@param field rille.models.Field
---@return rille.models.Step
function relations.back(field)
  local step = field.back_step
  if not step then
    step = {
      -- A blank cannot be in the name of a field, so this is no forward step's name.
      name = "to " .. field.model._meta.table .. "." .. field.name,
      model = field.model,
      from = field:target()._meta.pk.column,
      to = field.column,
      null = true,
      many = not field.one_to_one,
      field = field,
      back = true,
    }
    field.back_step = step
  end
  return step
end

return relations
