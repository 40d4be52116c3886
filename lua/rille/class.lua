--- Single inheritance, in one screen.
---
---     local Animal = class("Animal")
---     function Animal:init(name) self.name = name end
---     local Dog = Animal:extend "Dog"
---     local rex = Dog("rex")
---
--- A class is the metatable of its instances and, by `__index`, where they find their
--- methods; its own metatable leads to its parent. Metamethods other than `__index` are
--- copied down when a class is made, since Lua looks them up raw.

---@class rille.Class
---@field __name string
---@field super rille.Class?
---@overload fun(...): table
local Object = { __name = "Object" }
Object.__index = Object

local INHERITED = {
  "__tostring",
  "__eq",
  "__lt",
  "__le",
  "__add",
  "__sub",
  "__mul",
  "__unm",
  "__concat",
  "__call",
}

local class_meta = {}

--- `Class(...)` makes an instance and calls `init` on it.
function class_meta.__call(cls, ...)
  local self = setmetatable({}, cls)
  local init = cls.init
  if init then
    init(self, ...)
  end
  return self
end

function class_meta.__tostring(cls)
  return "class " .. cls.__name
end

setmetatable(Object, class_meta)

--- A class that inherits from this one.
---@param name string  how it is called in messages
---@return rille.Class
function Object:extend(name)
  if type(name) ~= "string" or name == "" then
    error("extend needs the name of the new class", 2)
  end
  local cls = { __name = name, super = self }
  cls.__index = cls
  for _, event in ipairs(INHERITED) do
    cls[event] = rawget(self, event)
  end
  return setmetatable(cls, {
    __index = self,
    __call = class_meta.__call,
    __tostring = class_meta.__tostring,
  })
end

--- Is `value` an instance of `cls` or of a class below it?
---@param value any
---@param cls rille.Class
---@return boolean
local function is_instance(value, cls)
  local at = type(value) == "table" and getmetatable(value)
  while type(at) == "table" do -- a foreign metatable may hold anything
    if at == cls then
      return true
    end
    at = rawget(at, "super")
  end
  return false
end

return setmetatable({ Object = Object, is_instance = is_instance }, {
  __call = function(_, name, parent)
    return (parent or Object):extend(name)
  end,
})
