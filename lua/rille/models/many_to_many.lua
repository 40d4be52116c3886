--- Many-to-many: pairs of objects, which are rows of a table between two models.
---
---     tags    = models.many_to_many(Tag)
---     members = models.many_to_many(Person, { through = Membership, related_name = "groups" })

local errors = require("rille.errors")
local fields = require("rille.models.fields")
local relations = require("rille.models.relations")
local tables = require("rille.tables")

---@class rille.models.ManyToMany
---@field kind "many_to_many"
---@field name string
---@field model rille.models.Model
---@field to any
---@field related_name string?
---@field symmetrical boolean  to itself: who is a friend of mine, I am a friend of
---@field through any          the model of the table between, as declared; nil: one is made
---@field through_fields string[]?  the names of its two foreign keys, ours first
---@field table string?        of the one that is made
local ManyToMany = {}
ManyToMany.__index = ManyToMany
ManyToMany.announce = relations.announce
ManyToMany.copy = fields.Field.copy

local MANY_OPTIONS = {
  through = "any",
  through_fields = "table",
  related_name = "string",
  symmetrical = "boolean",
  db_table = "string",
}

--- Many objects of another model, each of which may have many of this one. No column: the pairs are
--- rows of a table between, which is made, or given by `through`, a model with a foreign key to
--- either end.
---@param to rille.models.Model|"self"|fun(): rille.models.Model
---@param options table?  `through through_fields related_name symmetrical db_table`
---@return rille.models.ManyToMany
local function many_to_many(to, options)
  relations.check_target("many-to-many field", to, 2)
  options = options or {}
  for name, value in pairs(options) do
    local wanted = MANY_OPTIONS[name]
    if not wanted then
      local known = table.concat(tables.sorted_keys(MANY_OPTIONS), ", ")
      error(
        ("models.many_to_many has no option '%s'; there are: %s"):format(tostring(name), known),
        2
      )
    elseif wanted ~= "any" and type(value) ~= wanted then
      error(
        ("option '%s' of models.many_to_many must be a %s, not %s"):format(
          name,
          wanted,
          type(value)
        ),
        2
      )
    end
  end
  local through = options.through
  if through ~= nil and type(through) ~= "function" and not relations.is_model(through) then
    error("the option through of models.many_to_many needs a model, or a function for one", 2)
  elseif options.through_fields and (not through or #options.through_fields ~= 2) then
    error("the option through_fields names the two foreign keys of the model through", 2)
  elseif options.db_table and through then
    error("the options db_table and through exclude each other", 2)
  end
  return setmetatable({
    kind = "many_to_many",
    to = to,
    through = through,
    through_fields = options.through_fields,
    related_name = options.related_name,
    symmetrical = to == "self" and options.symmetrical ~= false,
    table = options.db_table,
  }, ManyToMany)
end

--- The model at the other end.
---@return rille.models.Model
function ManyToMany:target()
  return relations.find_target(self, "many-to-many field")
end

--- The table between when none was given: a key, and a foreign key to either end.
local function make_through(many)
  local model, target = many.model, many:target()
  local near, far = model.__name:lower(), target.__name:lower()
  if near == far then
    near, far = "from_" .. near, "to_" .. far
  end
  local definition = require("rille.models.definition")
  local table_name = many.table or model._meta.table .. "_" .. many.name
  local through = definition.define(table_name, {
    [near] = relations.foreign_key(model, { on_delete = "cascade", related_name = "+" }),
    [far] = relations.foreign_key(target, { on_delete = "cascade", related_name = "+" }),
  }, {
    name = model.__name .. "_" .. many.name,
    unique = { { near, far } },
  })
  through._meta.auto_created = many
  many.through_fields = { near, far }
  return through
end

--- The only foreign key of a model to another; `taken` does not count.
local function only_key(many, through, target, taken)
  local found
  for _, field in ipairs(through._meta.fields) do
    if field.kind == "foreign_key" and field ~= taken and field:target() == target then
      if found then
        error(
          errors.FieldError(
            ("%s has more than one foreign key to %s: say with through_fields which ones %s.%s"
              .. " goes along"):format(through.__name, target.__name, many.model.__name, many.name)
          ),
          0
        )
      end
      found = field
    end
  end
  if not found then
    error(
      errors.FieldError(
        ("%s, through which %s.%s goes, has no foreign key to %s"):format(
          through.__name,
          many.model.__name,
          many.name,
          target.__name
        )
      ),
      0
    )
  end
  return found
end

local function named_key(many, through, name, target)
  local field = through._meta.by_name[name]
  if not field or field.kind ~= "foreign_key" or field:target() ~= target then
    error(
      errors.FieldError(
        ("through_fields of %s.%s names '%s', which is no foreign key of %s to %s"):format(
          many.model.__name,
          many.name,
          tostring(name),
          through.__name,
          target.__name
        )
      ),
      0
    )
  end
  return field
end

--- The model of the table between, and its foreign keys to this end and to the other.
---@return rille.models.Model through
---@return rille.models.Field near
---@return rille.models.Field far
function ManyToMany:between()
  if not self.near then
    local target = self:target()
    local through = self.through
    if type(through) == "function" then
      through = through()
      if not relations.is_model(through) then
        error(
          errors.FieldError(
            ("the option through of %s.%s gives no model"):format(self.model.__name, self.name)
          ),
          0
        )
      end
    end
    through = through or make_through(self)
    local near, far
    if self.through_fields then
      near = named_key(self, through, self.through_fields[1], self.model)
      far = named_key(self, through, self.through_fields[2], target)
    elseif target == self.model then -- the keys in order of their names, as good as any
      local keys = {}
      for _, field in ipairs(through._meta.fields) do
        if field.kind == "foreign_key" and field:target() == target then
          keys[#keys + 1] = field
        end
      end
      if #keys ~= 2 then
        error(
          errors.FieldError(
            ("%s needs two foreign keys to %s, or through_fields to say which"):format(
              through.__name,
              target.__name
            )
          ),
          0
        )
      end
      near, far = keys[1], keys[2]
    else
      near = only_key(self, through, self.model)
      far = only_key(self, through, target)
    end
    self.through, self.near, self.far = through, near, far
  end
  return self.through, self.near, self.far
end

return { ManyToMany = ManyToMany, many_to_many = many_to_many }
