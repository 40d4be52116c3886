--- The editor's declarations in lua/rille/_meta against what the core really gives, and against
--- what its sources say about waiting.

local core = require("rille.core")

local PARTS = {
  "base64",
  "channel",
  "consumer", "db", "fernet", "fs", "http", "json", "layer", "metrics", "mqtt", "msgpack",
  "presence", "redis", "task", "testing", "worker",
}

local function declared(name)
  return assert(loadfile("lua/rille/_meta/" .. name .. ".lua"))()
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

--- The source of a binding, and of those files that have a part of it: bind_db.c, bind_db_copy.c.
local function read_binding(name)
  local sources = {}
  local files = "find src/bind -name 'bind_%s.c' -o -name 'bind_%s_*.c'"
  local listing = assert(io.popen(files:format(name, name)))
  for path in listing:lines() do
    sources[#sources + 1] = read(path)
  end
  listing:close()
  return table.concat(sources, "\n")
end

local function functions_of(part)
  local names = {}
  for name, value in pairs(part) do
    if type(value) == "function" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- The functions that a declaration marks as async.
local function async_in(text, part)
  local names, marked = {}, false
  for line in text:gmatch("[^\n]+") do
    local name = line:match("^function " .. part .. "%.([%w_]+)%(")
    if line:find("^%-%-%-@async") then
      marked = true
    elseif name then
      names[#names + 1] = marked and name or nil
      marked = false
    end
  end
  table.sort(names)
  return names
end

--- The functions that a binding's tables mark as yielding.
local function yielding_in(text)
  local names = {}
  for line in text:gmatch("[^\n]+") do
    local last = line:find("/* yields */", 1, true) and line:match('.*{"([%w_]+)"')
    names[#names + 1] = last or nil
  end
  if text:find("1); /* yields */", 1, true) then
    names[#names + 1] = text:match('/%* yields %*/\n%s*lua_setfield%(L, %-2, "([%w_]+)"')
  end
  table.sort(names)
  return names
end

describe("the declarations for editors", function()
  it("have every function of the core, and no other", function()
    assert.same(functions_of(core), functions_of(declared("core")))
  end)

  for _, name in ipairs(PARTS) do
    it(("have every function of core.%s, and no other"):format(name), function()
      assert.same(functions_of(core[name]), functions_of(declared(name)))
    end)

    it(("say which functions of core.%s wait"):format(name), function()
      assert.same(
        yielding_in(read_binding(name)),
        async_in(read(("lua/rille/_meta/%s.lua"):format(name)), name)
      )
    end)
  end

  it("have every part of the core", function()
    local found = {}
    for name, value in pairs(core) do
      found[#found + 1] = type(value) == "table" and name or nil
    end
    table.sort(found)
    assert.same(PARTS, found)
  end)

  it("would be found wanting", function()
    local declarations = "function x.a() end\n---@async\n---@param y any\nfunction x.b(y) end"
    assert.same({ "b" }, async_in(declarations, "x"))
    local binding = '{"a", a}, {"b", b}, /* yields */\n{"c", c},\n{"d", d}, /* yields */'
    assert.same({ "b", "d" }, yielding_in(binding))
  end)

  it("are not part of the program", function()
    assert.is_false((pcall(require, "rille._meta.core")))
  end)
end)

describe("the declarations of rille itself", function()
  it("name every class of errors, and nothing that is not there", function()
    local rille, errors = require("rille"), require("rille.errors")
    local text = read("lua/rille/init.lua")
    for name, value in pairs(errors) do
      if type(value) == "table" then
        assert.equal(value, rille[name])
        assert.truthy(text:find("---@field " .. name .. " ", 1, true), name)
      end
    end
    assert.is_nil(rille.misconfigured) -- for rille's own use
    for name in text:gmatch("\n%-%-%-@field ([%w_]+)") do
      assert.is_true(name == "db" or rille[name] ~= nil, name)
    end
  end)
end)
