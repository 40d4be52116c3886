--- `Model.objects`, and managers of a model's own.
---
--- A manager has the methods of a query for all rows, and never remembers anything but the forms
--- of its model's queries.

local forms = require("rille.models.forms")
local light = require("rille.models.light")
local prefix = require("rille.models.prefix")
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

local LEFT_OFF = prefix.left_off(methods)

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
    method = own and own[key]
    if method == nil and LEFT_OFF[key] then
      prefix.refuse(tostring(self), key, LEFT_OFF[key])
    end
  end
  return method
end

function Manager:__tostring()
  return self.model.__name .. ".objects"
end

--- The `objects` of a model, or another manager of its.
---@param model rille.models.Model
---@param narrow (fun(all: rille.models.Query): rille.models.Query)?  makes its query of all rows
---@return rille.models.Manager
local function of_model(model, narrow)
  return setmetatable({ model = model, narrow = narrow }, Manager)
end

return { of_model = of_model }
