local class = require("rille.class")

describe("a class", function()
  local Animal = class("Animal")

  function Animal:init(name)
    self.name = name
  end

  function Animal:speak()
    return self.name .. " makes a noise"
  end

  function Animal.__tostring(self)
    return "<" .. self.name .. ">"
  end

  function Animal.__eq(a, b)
    return a.name == b.name
  end

  local Dog = Animal:extend("Dog")

  it("makes instances, and has them initialised", function()
    assert.equal("Rex makes a noise", Animal("Rex"):speak())
  end)

  it("hands every argument on to init", function()
    local Pair = class("Pair")
    function Pair:init(...)
      self.n, self.list = select("#", ...), { ... }
    end
    local pair = Pair(1, nil, 3, nil)
    assert.equal(4, pair.n)
    assert.equal(3, pair.list[3])
  end)

  it("needs no init", function()
    assert.same({}, class("Empty")())
  end)

  it("inherits methods, init and metamethods", function()
    local rex = Dog("Rex")
    assert.equal("Rex makes a noise", rex:speak())
    assert.equal("<Rex>", tostring(rex))
    assert.is_true(rex == Dog("Rex"))
    assert.is_false(rex == Dog("Max"))
  end)

  it("inherits what its parent learns later", function()
    local Parent = class("Parent")
    local Child = Parent:extend("Child")
    function Parent.late()
      return "late"
    end
    assert.equal("late", Child().late())
  end)

  it("overrides without touching its parent, and reaches it by super", function()
    local Cat = Animal:extend("Cat")
    function Cat:speak()
      return Cat.super.speak(self) .. ": meow"
    end
    assert.equal("Tom makes a noise: meow", Cat("Tom"):speak())
    assert.equal("Tom makes a noise", Animal("Tom"):speak())
    assert.equal("Tom makes a noise", Dog("Tom"):speak())
  end)

  it("can be made below another in one call", function()
    local Cow = class("Cow", Animal)
    assert.equal(Animal, Cow.super)
    assert.equal("Cow", Cow.__name)
  end)

  it("prints its name", function()
    assert.equal("class Dog", tostring(Dog))
    assert.equal("class Animal", tostring(Animal))
  end)

  it("keeps instances apart", function()
    local a, b = Animal("a"), Animal("b")
    a.extra = 1
    assert.is_nil(b.extra)
    assert.is_nil(Animal.extra)
  end)

  it("needs a name, and says so at the caller", function()
    for _, name in ipairs { "", 5, {} } do
      local ok, err = pcall(function()
        return (Animal:extend(name))
      end)
      assert.is_false(ok)
      assert.truthy(err:find("class_spec.lua:%d+: extend needs the name"), err)
    end
  end)
end)

describe("is_instance", function()
  local A = class("A")
  local B = A:extend("B")

  it("knows the class itself and those above it", function()
    assert.is_true(class.is_instance(B(), B))
    assert.is_true(class.is_instance(B(), A))
    assert.is_true(class.is_instance(B(), class.Object))
    assert.is_false(class.is_instance(A(), B))
  end)

  it("takes no class for an instance of its parent", function()
    assert.is_false(class.is_instance(B, A))
  end)

  it("accepts anything", function()
    local locked = setmetatable({}, { __metatable = "locked" })
    local barred = setmetatable({}, { __metatable = false })
    local chained = setmetatable({}, { super = "text" })
    local plain = setmetatable({}, {})
    for _, value in pairs { 1, "a", true, print, {}, plain, locked, barred, chained } do
      assert.is_false(class.is_instance(value, A))
    end
    assert.is_false(class.is_instance(nil, A))
  end)
end)
