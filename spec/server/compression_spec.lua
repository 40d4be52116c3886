-- permessage-deflate against clients that nobody here wrote.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local function hex(bytes)
  return (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

describe("compression", function()
  local running

  setup(function()
    running = server.start { "run", "spec/support/apps/compression.lua", "--workers", "1" }
  end)

  teardown(function()
    assert.equal(0, running:stop())
    server.clean()
  end)

  local function get(path)
    return json.decode(clients.fetch(running.url .. path).body)
  end

  local NO_CONTEXT = "; server_no_context_takeover; client_no_context_takeover"

  for name, case in pairs {
    ["by default, keeping nothing"] = { "/default", {}, NO_CONTEXT },
    ["with windows that are kept"] = { "/kept", { client_max_window_bits = true }, "" },
    ["with small windows that are kept"] = {
      "/kept",
      { server_max_window_bits = 9, client_max_window_bits = 9 },
      "; server_max_window_bits=9; client_max_window_bits=9",
    },
    ["with the client's window alone kept"] = {
      "/kept",
      { server_no_context_takeover = true },
      "; server_no_context_takeover",
    },
    ["with our window alone kept"] = {
      "/kept",
      { client_no_context_takeover = true },
      "; client_no_context_takeover",
    },
  } do
    it("gives python's websockets its messages back " .. name, function()
      local client = clients.run("deflate.py", "echo", running.ws .. case[1], case[2])
      assert.equal("permessage-deflate" .. case[3], client:get("agreed").terms)
      assert.is_nil(client:first("wrong"))
      assert.equal(25, client:get("done").messages)
    end)
  end

  for _, path in ipairs { "/default", "/kept", "/off" } do
    it("gives npm's ws its messages back over " .. path, function()
      local steps = {}
      for _, times in ipairs { 0, 1, 100, 1000, 60000 } do
        steps[#steps + 1] = { "text", "a text of äöü ", times }
        steps[#steps + 1] = { "receive", 1 }
      end
      steps[#steps + 1] = { "fragments", ("one "):rep(900), ("two "):rep(900) }
      steps[#steps + 1] = { "receive", 1 }
      steps[#steps + 1] = { "close", 1000, "" }
      local options = { perMessageDeflate = { threshold = 0 } }
      local client = clients.run("ws.js", running.ws .. path, steps, options)
      for _, message in ipairs(client:all("message")) do
        assert.is_true(message.same, json.encode(message))
      end
      assert.equal(6, #client:all("message"))
      assert.equal(1000, client:get("close").code)
    end)
  end

  local function raw(path, header, frames)
    return clients.run("deflate.py", "raw", tostring(running.port), path, header, frames)
  end

  it("begins at a threshold", function()
    for size, first in pairs { [1023] = 0x81, [1024] = 0xc1 } do
      local frames = { { first = 0xc1, of = size }, { first = 0x88 } }
      local client = raw("/default", "permessage-deflate", frames)
      assert.equal(first, client:get("frame").first)
      assert.equal(1005, client:get("closed").code)
    end
  end)

  it("is not used where it was not agreed", function()
    local hello = { first = 0xc1, hex = hex("\xf2\x48\xcd\xc9\xc9\x07\x00") }
    local client = raw("/off", "permessage-deflate", { hello })
    assert.equal("", client:get("answer").extensions)
    assert.equal(1002, client:get("closed").code)
    client = raw("/default", "permessage-deflate; server_max_window_bits=8", { hello })
    assert.equal("", client:get("answer").extensions)
    assert.equal(1002, client:get("closed").code)
    assert.equal(400, raw("/default", "permessage-deflate; x=\"", { hello }):get("answer").status)
  end)

  it("ends with 1009 for a bomb, and with 1007 for what is nothing", function()
    local bomb = raw("/default", "permessage-deflate", { { first = 0xc2, of = 20 * 1024 * 1024 } })
    assert.equal(1009, bomb:get("closed").code)
    local junk = raw("/default", "permessage-deflate", { { first = 0xc2, hex = "ffff" } })
    assert.equal(1007, junk:get("closed").code)
  end)

  it("is done once for all members of a group who agreed alike", function()
    local options, members = { perMessageDeflate = true }, {}
    local text = ("one message for all "):rep(500)
    local after = ("after it "):rep(300)
    for i, path in ipairs { "/member", "/member", "/member_kept" } do
      -- Those that keep a window have one before, and use it after.
      local steps = { { "text", after }, { "receive", 1 }, { "until", text } }
      steps[4], steps[5], steps[6] = { "text", after }, { "receive", 1 }, { "close", 1000, "" }
      members[i] = clients.open("ws.js", running.ws .. path, steps, options)
      members[i]:wait("message")
    end
    local before = get("/figures").deflated
    assert.equal(3, get("/tell").delivered)
    for _, member in ipairs(members) do
      member:finish()
      local heard = member:all("message")
      assert.equal(3, #heard)
      assert.equal(#text, heard[2].length)
      assert.is_true(heard[3].same)
      assert.equal(1000, member:get("close").code)
    end
    assert.equal(before + 1 + 3, get("/figures").deflated) -- the message, and each one's own
  end)

  it("holds nothing for connections that idle", function()
    clients.run("deflate.py", "many", running.ws .. "/default", "1", "0")
    local streams = get("/figures").streams
    local client = clients.open("deflate.py", "many", running.ws .. "/default", "100", "1")
    client:wait("idle")
    local now = get("/figures")
    assert.equal(streams, now.streams)
    client:finish()
  end)
end)
