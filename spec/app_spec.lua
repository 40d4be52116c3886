local App = require("rille.app")
local errors = require("rille.errors")
local rille = require("rille")

local function refuses(text, settings)
  local ok, err = pcall(App, settings)
  assert.is_false(ok, "it was accepted")
  assert.is_true(errors.is_error(err, errors.ConfigurationError), tostring(err))
  assert.truthy(err.message:find(text, 1, true), err.message)
end

local function nothing() end

describe("an application", function()
  it("needs no setting", function()
    local app = rille.app {}
    assert.same({}, app.router.routes)
    assert.same({}, app.middleware)
    assert.same({}, app.models)
    assert.is_nil(app.allowed_origins)
  end)

  it("takes every setting there is", function()
    local app = App {
      allowed_origins = { "example.test" },
      control = "off",
      databases = "sqlite:x.db",
      layer = "memory:",
      limits = { max_body = 10, ping_interval = 0.5 },
      listen = { "127.0.0.1:0" },
      middleware = { nothing },
      models = {},
      on_start = nothing,
      on_stop = nothing,
      routes = { rille.get("/", nothing) },
      workers = 4,
    }
    assert.equal(1, #app.router.routes)
    assert.same({ "example.test" }, app.allowed_origins.list)
    assert.same({ nothing }, app.middleware)
    App { databases = { default = "sqlite:x.db" }, listen = "127.0.0.1:0" }
  end)

  it("names a setting that does not exist, and those that do", function()
    local told = 'unknown setting "route"; there are admin, allowed_origins, compression,'
    refuses(told, { route = {} })
    refuses('unknown setting "1"', { "oops" })
    refuses("unknown setting", { [print] = 1 })
  end)

  it("has its settings in README, and those alone", function()
    local _, err = pcall(App, { route = {} })
    local names = {}
    for name in err.message:match("there are ([%w_, ]+)"):gmatch("[%w_]+") do
      names[#names + 1] = name
    end
    local file = assert(io.open("README.md"))
    local section = file:read("*a"):match("\n## Settings\n(.-)\n## ")
    file:close()
    local told = {}
    for name in section:gmatch("\n| `([%w_]+)` |") do
      told[#told + 1] = name
    end
    assert.same(names, told)
  end)

  it("names a limit that does not exist, and those that do", function()
    refuses('unknown limit "max_bodies"; there are abandon_grace,', { limits = { max_bodies = 1 } })
    refuses('unknown limit "1"', { limits = { 5 } })
  end)

  it("needs settings", function()
    refuses("needs a table of settings, got nil", nil)
    refuses("needs a table of settings, got string", "routes")
  end)

  for name, case in pairs {
    allowed_origins = { "example.test", "a table expected, got a string" },
    databases = { 5, "a table or string expected, got a number" },
    layer = { {}, "a string expected, got a table" },
    limits = { 5, "a table expected, got a number" },
    listen = { 8000, "a table or string expected, got a number" },
    middleware = { nothing, "a table expected, got a function" },
    models = { "Folder", "a table expected, got a string" },
    on_start = { {}, "a function expected, got a table" },
    on_stop = { true, "a function expected, got a boolean" },
    routes = { nothing, "a table expected, got a function" },
    workers = { "4", "a number expected, got a string" },
  } do
    it(("checks what kind of thing %s is"):format(name), function()
      refuses(("setting %s: %s"):format(name, case[2]), { [name] = case[1] })
    end)
  end

  it("takes no limit that is no limit", function()
    for _, value in ipairs { 0, -1, 0 / 0, math.huge, "10", true } do
      refuses("limit max_message: a number above 0", { limits = { max_message = value } })
    end
  end)

  it("takes no part of a thing where things are counted", function()
    for _, name in ipairs { "mailbox", "max_connections", "max_body", "max_head", "max_unsent" } do
      refuses(("limit %s: a whole number"):format(name), { limits = { [name] = 0.5 } })
      App { limits = { [name] = 1 } }
    end
    App { limits = { request_timeout = 0.5, keepalive_timeout = 0.5, close_timeout = 0.5 } }
  end)

  it("takes no count that the core cannot hold", function()
    refuses("limit mailbox: ", { limits = { mailbox = 2 ^ 32 } })
    refuses("limit max_connections: ", { limits = { max_connections = 2 ^ 32 } })
    App { limits = { max_body = 2 ^ 40 } }
  end)

  it("takes a number of workers that threads can be made of", function()
    for _, value in ipairs { 0, -1, 1.5, 0 / 0, math.huge, 257 } do
      refuses("workers: a whole number from 1 to 256", { workers = value })
    end
  end)

  it("takes only middleware that can be called, all of it, in a list", function()
    refuses("middleware 2 is not a function", { middleware = { nothing, {} } })
    refuses("middleware 1 is not a function", { middleware = { nil, nothing } })
    refuses("middleware log is not in the list", { middleware = { log = nothing } })
  end)

  it("says which layers there are", function()
    refuses("layer: this version has no layer telepathy:; there are ", { layer = "telepathy:" })
    refuses("publish_token: 16 or more printable bytes", { publish_token = "short" })
    refuses("publish_token: 16 or more printable bytes", { publish_token = { ("a b "):rep(9) } })
    refuses("publish_token: a token expected", { publish_token = {} })
    refuses("layer: a URL expected; there are ", { layer = "nothing" })
  end)

  it("checks when code is to be taken back by itself", function()
    refuses('rollback: no setting "error"; there are', { rollback = { error = 1 } })
    refuses("rollback: errors: a number from 0.001 to 1 exp", { rollback = { errors = 5 } })
    refuses("rollback: within: a number", { rollback = { within = "60" } })
    refuses("rollback: at_least: a number", { rollback = { at_least = 0 / 0 } })
    local made = App { rollback = { errors = 0.5 } }.probation
    assert.same({ errors = 0.5, within = 60, at_least = 20 }, made)
    assert.is_nil(App({}).probation)
  end)

  it("checks its origins and routes at once", function()
    refuses("is not an origin", { allowed_origins = { "a b" } })
    refuses("got a string", { routes = { "/x" } })
  end)
end)
