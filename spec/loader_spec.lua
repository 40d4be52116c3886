local Consumer = require("rille.consumer")
local errors = require("rille.errors")
local loader = require("rille.loader")
local script = require("spec.support.script")

local APP = 'return require("rille").app {}'

local function load(files, number)
  return loader.load(script.folder(files), number or 1)
end

--- A script whose modules hand what they like to us: `out` is a table they can write to.
local function outlet()
  local out = {}
  package.loaded["spec.out"] = out
  return out
end

local function failure(files)
  local ok, err = pcall(load, files)
  assert.is_false(ok, "it loaded")
  return tostring(err), err
end

describe("loading a script", function()
  after_each(function()
    package.loaded["spec.out"] = nil
    script.clean()
  end)

  it("takes a folder with app.lua, with or without a slash, or the file itself", function()
    local folder = script.folder { ["app.lua"] = APP, ["other.lua"] = APP }
    for _, path in ipairs { folder, folder .. "/", folder .. "//", folder .. "/other.lua" } do
      local generation = loader.load(path, 3)
      assert.equal(3, generation.number)
      assert.equal(folder, generation.folder)
      assert.truthy(generation.app.router)
    end
  end)

  it("lists every file it depends on, there or not, for the watcher", function()
    local folder = script.folder {
      ["app.lua"] = 'require "a" ' .. APP,
      ["a.lua"] = [[
        require "b.c"
        local here = debug.getinfo(1, "S").source:match("^@(.*)/")
        io.open(here .. "/page.html"):close()
        io.open(here .. "/log.txt", "a"):close()
        io.open(here .. "/log.txt"):close()
        io.open("/proc/self/stat"):close()
      ]],
      ["b/c/init.lua"] = "",
      ["page.html"] = "",
      ["unused.lua"] = "",
    }
    local files = {}
    for _, path in ipairs(loader.load(folder, 1).files) do
      files[#files + 1] = path:sub(#folder + 2)
    end
    table.sort(files)
    local expected = { "a.lua", "app.lua", "b/c.lua", "b/c/init.lua", "page.html" }
    -- APP's own `require "rille"` is looked for in the folder first.
    table.insert(expected, "rille.lua")
    table.insert(expected, "rille/init.lua")
    assert.same(expected, files)
  end)

  it("finds modules in its folder, in folders below, and as init.lua", function()
    local out = outlet()
    load {
      ["app.lua"] = 'local out = require "spec.out" '
        .. 'out.list = { require "a", require "b.c", require "d" } '
        .. APP,
      ["a.lua"] = 'return "a"',
      ["b/c.lua"] = 'return "b.c"',
      ["d/init.lua"] = 'return "d"',
    }
    assert.same({ "a", "b.c", "d" }, out.list)
  end)

  it("prefers a module of the script to one of Lua's path, and finds those as well", function()
    local out = outlet()
    load {
      ["app.lua"] = 'local out = require "spec.out" '
        .. 'out.a, out.b = require "cjson", require "ffi" '
        .. APP,
      ["cjson.lua"] = 'return "mine"',
    }
    assert.equal("mine", out.a)
    assert.equal(require("ffi"), out.b)
    assert.is_table(require("cjson"))
  end)

  it("runs a module once, and passes its name", function()
    local out = outlet()
    out.count = 0
    load {
      ["app.lua"] = 'require "a.b" require "a.b" ' .. APP,
      ["a/b.lua"] = 'local out = require "spec.out" out.count, out.name = out.count + 1, ...',
    }
    assert.equal(1, out.count)
    assert.equal("a.b", out.name)
  end)

  it("gives a circle of modules what there is", function()
    local out = outlet()
    load {
      ["app.lua"] = 'require "a" ' .. APP,
      ["a.lua"] = 'return { b = require "b" }',
      ["b.lua"] = 'require("spec.out").seen = require "a"',
    }
    assert.is_true(out.seen)
  end)

  it("keeps generations apart, and out of package.loaded", function()
    local out = outlet()
    out.list = {}
    local folder = script.folder {
      ["app.lua"] = 'table.insert(require("spec.out").list, require "state_of_spec") ' .. APP,
      ["state_of_spec.lua"] = "return {}",
    }
    loader.load(folder, 1)
    loader.load(folder, 2)
    assert.equal(2, #out.list)
    assert.are_not.equal(out.list[1], out.list[2])
    assert.is_nil(package.loaded.state_of_spec)
  end)

  it("compiles what has changed, and tells places alike in what has not", function()
    local folder = script.folder {
      ["app.lua"] = 'require "spec.out".fail = require("a").fail ' .. APP,
      ["a.lua"] = 'return { fail = function()\n  error("once")\nend }',
    }
    local out = outlet()
    for number = 1, 3 do
      loader.load(folder, number)
      local _, err = pcall(out.fail)
      assert.truthy(err:find("a.lua:2: once", 1, true), err)
    end
    script.write(folder, "a.lua", 'return { fail = function()\n\n  error("twice")\nend }')
    loader.load(folder, 4)
    local _, err = pcall(out.fail)
    assert.truthy(err:find("a.lua:3: twice", 1, true), err)
  end)

  it("lets code of an old generation find its own modules later", function()
    local out = outlet()
    local folder = script.folder {
      ["app.lua"] = 'local out = require "spec.out" '
        .. 'out[#out + 1] = function() return require "late" end '
        .. APP,
      ["late.lua"] = "return { version = 1 }",
    }
    loader.load(folder, 1)
    assert.equal(1, out[1]().version)
    script.write(folder, "late.lua", "return { version = 2 }")
    loader.load(folder, 2)
    assert.equal(2, out[2]().version)
    assert.equal(1, out[1]().version)
  end)

  it("finds a class again in the next generation by module and name", function()
    local out = outlet()
    local folder = script.folder {
      ["app.lua"] = 'require "a" require "b" ' .. APP,
      ["a.lua"] = 'require("spec.out").a = require("rille").Consumer:extend "Chat"',
      ["b.lua"] = 'require("spec.out").b = require("rille").Consumer:extend "Chat"',
    }
    loader.load(folder, 1)
    local old_a, old_b = out.a, out.b
    local second = loader.load(folder, 2)
    assert.equal(out.a, loader.successor(second, old_a))
    assert.equal(out.b, loader.successor(second, old_b))
    assert.are_not.equal(old_a, out.a)
    script.write(folder, "b.lua", "")
    assert.is_nil(loader.successor(loader.load(folder, 3), old_b))
  end)

  it("knows classes made outside a script by no generation", function()
    local generation = load { ["app.lua"] = APP }
    assert.is_nil(loader.successor(generation, Consumer:extend("Stray")))
  end)

  it("resolves paths of the script by its folder, while it loads", function()
    local out = outlet()
    local generation = load {
      ["app.lua"] = 'local l = require "rille.loader" local out = require "spec.out" '
        .. 'out.a, out.b = l.resolve "page", l.resolve "/abs" '
        .. APP,
    }
    assert.equal(generation.folder .. "/page", out.a)
    assert.equal("/abs", out.b)
    assert.equal("page", loader.resolve("page"))
  end)
end)

describe("a script", function()
  after_each(function()
    package.loaded["spec.out"] = nil
    script.clean()
  end)

  it("reads Lua's globals, and makes none of its own", function()
    local out = outlet()
    local message = failure {
      ["app.lua"] = "local x = tostring(1)\ncounter = x\n" .. APP,
    }
    local wanted = 'app.lua:2: global "counter": declare it with local'
    assert.truthy(message:find(wanted, 1, true), message)
    message = failure { ["app.lua"] = "_G.counter = 1\n" .. APP }
    assert.truthy(message:find("app.lua:1: global", 1, true), message)
    assert.is_nil(rawget(_G, "counter"))

    load {
      ["app.lua"] = 'require("spec.out").fn = function() late = 1 end ' .. APP,
    }
    assert.is_false((pcall(out.fn)))
    assert.is_nil(rawget(_G, "late"))
  end)

  it("that is not there is named", function()
    local ok, err = pcall(loader.load, "/nowhere/at/all", 1)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.ConfigurationError))
    assert.truthy(err.message:find("/nowhere/at/all/app.lua", 1, true), err.message)
  end)

  it("that does not compile is told with file and line", function()
    local message, err = failure {
      ["app.lua"] = 'require "a" ' .. APP,
      ["a.lua"] = "\n\nlocal = 1",
    }
    assert.is_true(errors.is_error(err, errors.ConfigurationError))
    assert.truthy(message:find("a.lua:3:", 1, true), message)
  end)

  it("that raises is told with file, line and one traceback", function()
    local message = failure {
      ["app.lua"] = 'local a = require "a"\n' .. APP,
      ["a.lua"] = 'local function culprit()\n  error("boom")\nend\nculprit()',
    }
    assert.truthy(message:find("a.lua:2: boom\nstack traceback:", 1, true), message)
    assert.truthy(message:find("in function 'culprit'", 1, true), message)
    local _, tracebacks = message:gsub("stack traceback:", "")
    assert.equal(1, tracebacks)
  end)

  it("that requires what is nowhere is told so", function()
    local message = failure { ["app.lua"] = 'require "no.such.module" ' .. APP }
    assert.truthy(message:find("module 'no.such.module' not found", 1, true), message)
    assert.truthy(message:find("/no/such/module.lua'", 1, true), message)
  end)

  it("has to return an application", function()
    for text, got in pairs {
      [""] = "nothing",
      ["return 5"] = "a number",
      ["return {}"] = "a table",
    } do
      local message = failure { ["app.lua"] = text }
      local wanted = "does not return rille.app { … }, but " .. got
      assert.truthy(message:find(wanted, 1, true), message)
    end
  end)

  it("may not wait while it loads", function()
    local message = failure { ["app.lua"] = 'require("rille").asleep(0) ' .. APP }
    assert.truthy(message:find("cannot wait", 1, true), message)
  end)

  it("that failed leaves nothing of itself behind", function()
    failure { ["app.lua"] = 'require "a" error "x"', ["a.lua"] = "" }
    assert.equal("page", loader.resolve("page"))
    assert.is_nil(loader.locate("x"))
    load { ["app.lua"] = APP }
  end)

  it("whose module failed may try it again", function()
    local out = outlet()
    load {
      ["app.lua"] = 'local out = require "spec.out" out.first = pcall(require, "a") '
        .. 'out.fixed = true out.second = require "a" '
        .. APP,
      ["a.lua"] = 'if not require("spec.out").fixed then error "x" end return "a"',
    }
    assert.is_false(out.first)
    assert.equal("a", out.second)
  end)
end)
