local errors = require("rille.errors")
local loader = require("rille.loader")
local script = require("spec.support.script")

describe("an error", function()
  it("prints its class and message", function()
    assert.equal("IntegrityError: no twice", tostring(errors.IntegrityError("no twice")))
    assert.equal("Error: nil", tostring(errors.Error()))
  end)

  it("carries the fields it was given, but its own message", function()
    local err = errors.DataError("bad", { sqlstate = "22P02", query = "SELECT", message = "other" })
    assert.equal("22P02", err.sqlstate)
    assert.equal("SELECT", err.query)
    assert.equal("bad", err.message)
  end)

  it("has Django's classes above it", function()
    local err = errors.TransactionManagementError("x")
    assert.is_true(errors.is_error(err, errors.TransactionManagementError))
    assert.is_true(errors.is_error(err, errors.ProgrammingError))
    assert.is_true(errors.is_error(err, errors.DatabaseError))
    assert.is_true(errors.is_error(err, errors.Error))
    assert.is_false(errors.is_error(err, errors.OperationalError))
    assert.is_false(errors.is_error(errors.DatabaseError("x"), errors.IntegrityError))
  end)

  it("is any of rille's when no class is named", function()
    assert.is_true(errors.is_error(errors.Closed("x")))
    assert.is_false(errors.is_error("text"))
    assert.is_false(errors.is_error(nil))
    assert.is_false(errors.is_error({ message = "looks like one" }))
  end)

  it("may get classes of the script's own below it", function()
    local Full = errors.Error:extend("Full")
    local err = Full("no room")
    assert.equal("Full: no room", tostring(err))
    assert.is_true(errors.is_error(err, Full))
    assert.is_true(errors.is_error(err))
  end)
end)

describe("a mistake in a script", function()
  after_each(script.clean)

  local function blame(word)
    return errors.misconfigured("no good", word)
  end

  it("is raised with the place that called rille", function()
    local ok, err = pcall(function()
      blame()
      return 1
    end)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.ConfigurationError))
    assert.truthy(err.message:find("errors_spec.lua:%d+: no good$"), err.message)
  end)

  --- The message of loading a script that is wrong.
  local function mistake_in(text)
    local folder = script.folder { ["app.lua"] = text }
    local ok, err = pcall(loader.load, folder, 1)
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.ConfigurationError), tostring(err))
    return err.message
  end

  it("names the line of a call that is still on the stack", function()
    local message = mistake_in([[
local rille = require "rille"
local routes = {
  rille.get("oops", print),
}
return rille.app { routes = routes }
]])
    assert.truthy(message:find("app.lua:3: bad route", 1, true), message)
  end)

  it("names the line of the setting when the call has left none", function()
    local message = mistake_in([[
local rille = require "rille"
return rille.app {
  routes = {},
  layer = "carrier-pigeon:",
}
]])
    local told = "app.lua:4: layer: this version has no layer carrier-pigeon:"
    assert.truthy(message:find(told, 1, true), message)
  end)

  it("takes no longer name for the setting", function()
    local message = mistake_in([[
local rille = require "rille"
local my_layer = "x"
return rille.app {
  layer = my_layer,
}
]])
    assert.truthy(message:find("app.lua:4: ", 1, true), message)
  end)

  it("names the line of rille.app when the setting is not to be found", function()
    local message = mistake_in([[
local rille = require "rille"

return rille.app { "oops" }
]])
    assert.truthy(message:find('app.lua:3: unknown setting "1"', 1, true), message)
  end)

  it("is told where the module is that makes it", function()
    local folder = script.folder {
      ["app.lua"] = 'return require "parts"',
      ["parts.lua"] = 'local rille = require "rille"\nreturn rille.app(5)',
    }
    local ok, err = pcall(loader.load, folder, 1)
    assert.is_false(ok)
    assert.truthy(err.message:find("parts.lua:2: rille.app needs a table", 1, true), err.message)
  end)
end)
