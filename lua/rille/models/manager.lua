--- `Model.objects`, and `author.books`.
---
--- A manager has the methods of a query for all rows, and never remembers anything but the forms
--- of its model's queries.

local errors = require("rille.errors")
local forms = require("rille.models.forms")
local light = require("rille.models.light")
local queries = require("rille.models.query")

---@class rille.models.Manager : rille.models.LightQuery
local Manager = {}

local methods = {}
for name, method in pairs(light.methods) do
  if name:sub(1, 1) ~= "_" then
    methods[name] = method
  end
end

Manager.members = methods -- for whoever completes names

--- The form is made when a method is first looked for: an ordering may follow foreign keys whose
--- targets were not there when the model was defined.
function Manager:__index(key)
  local method = methods[key]
  if method and not rawget(self, "form") then
    local query = queries.new(self.model)
    self.form = forms.root(self.narrow and self.narrow(query):_ordinary() or query)
  end
  if method == nil then
    local own = self.model._meta.methods
    return own and own[key]
  end
  return method
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
  local query = field.model.objects:filter({ [field.name] = instance })
  query.database = rawget(instance, "_db")
  query.owner = { field = field, instance = instance }
  return query
end

--- The `objects` of a model, or another manager of its.
---@param model rille.models.Model
---@param narrow (fun(all: rille.models.Query): rille.models.Query)?  makes its query of all rows
---@return rille.models.Manager
local function of_model(model, narrow)
  return setmetatable({ model = model, narrow = narrow }, Manager)
end

return { of_model = of_model, of_owner = of_owner }
