local App = require("rille.app")
local compression = require("rille.compression")
local errors = require("rille.errors")
local rille = require("rille")

local Echo = rille.WebsocketConsumer:extend("Echo")

local function refuses(text, given)
  for _, make in ipairs {
    function()
      return App { compression = given }
    end,
    function()
      return rille.websocket("/x", Echo, { compression = given })
    end,
  } do
    local ok, err = pcall(make)
    assert.is_false(ok, "it was accepted")
    assert.is_true(errors.is_error(err, errors.ConfigurationError), tostring(err))
    assert.truthy(err.message:find(text, 1, true), err.message)
  end
end

describe("compression", function()
  it("is the default when nothing else is said", function()
    assert.is_nil(App({}).compression)
    assert.is_nil(App({ compression = true }).compression)
    assert.is_nil(rille.websocket("/x", Echo).compression)
    assert.is_nil(rille.websocket("/x", Echo, {}).compression)
  end)

  it("can be had by a route of an app that has none, and the other way round", function()
    assert.is_true(App({ compression = false }).compression.off)
    assert.is_false(rille.websocket("/x", Echo, { compression = true }).compression)
    assert.is_true(rille.websocket("/x", Echo, { compression = false }).compression.off)
  end)

  it("takes every option", function()
    local told = compression.compile({
      threshold = 0,
      level = 9,
      window_bits = 9,
      client_window_bits = 10,
      context_takeover = "server",
    }, "here")
    assert.same({
      off = false,
      threshold = 1,
      level = 9,
      bits = 9,
      client_bits = 10,
      takeover = true,
      client_takeover = false,
    }, told)
    assert.is_true(compression.compile({ context_takeover = true }, "").client_takeover)
    assert.is_true(compression.compile({ context_takeover = "client" }, "").client_takeover)
    assert.is_false(compression.compile({ context_takeover = "client" }, "").takeover)
  end)

  it("says what is wrong with the others", function()
    refuses("unknown option \"treshold\"; there are client_window_bits,", { treshold = 1 })
    refuses("unknown option \"1\"", { 1 })
    refuses("level is a whole number from 1 to 9", { level = 0 })
    refuses("window_bits is a whole number from 9 to 15", { window_bits = 8 })
    refuses("client_window_bits is a whole", { client_window_bits = 9.5 })
    refuses("threshold is a whole number from 0", { threshold = -1 })
    refuses("threshold is a whole number from 0", { threshold = "1k" })
    refuses("threshold is a whole number from 0", { threshold = 0 / 0 })
    refuses("context_takeover is true, false", { context_takeover = "both" })
    refuses("expected, got a number", 5)
  end)
end)
