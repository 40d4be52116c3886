--- `Model.objects`, and `author.books`.
---
--- A manager has the methods of a query, each on a fresh query for all rows, so it never
--- remembers anything.

local errors = require("rille.errors")
local queries = require("rille.models.query")
require("rille.models.reading")
require("rille.models.iteration")
require("rille.models.writing")

local Query = queries.Query

---@class rille.models.Manager : rille.models.Query
local Manager = {}
Manager.__index = Manager

for name, method in pairs(Query) do
  if type(method) == "function" and name:sub(1, 1) ~= "_" then
    Manager[name] = function(self, ...)
      return method(queries.new(self.model), ...)
    end
  end
end

function Manager:__tostring()
  return self.model.__name .. ".objects"
end

--- The objects that point to an instance through a foreign key: `author.books`.
---@param field rille.models.Field
---@param instance rille.models.Instance
---@return rille.models.Query
local function of_owner(field, instance)
  if instance.pk == nil then
    error(
      errors.ValueError(
        ("%s must be saved before its %s can be used."):format(
          tostring(instance),
          field.related_name
        )
      ),
      0
    )
  end
  return queries.new(field.model):filter({ [field.name] = instance }):_with({
    database = rawget(instance, "_db"),
    owner = { field = field, instance = instance },
  })
end

--- The `objects` of a model.
---@param model rille.models.Model
---@return rille.models.Manager
local function of_model(model)
  return setmetatable({ model = model }, Manager)
end

return { of_model = of_model, of_owner = of_owner }
