--- `rille test`, run on small specs of its own.

local script = require("spec.support.script")

local RILLE = assert(os.getenv("RILLE_BIN"), "RILLE_BIN is not set")

--- Run a spec; its files beside it.
---@return string output
---@return integer status
local function run(text, arguments, files)
  files = files or {}
  files["kit_spec.lua"] = text
  local folder = script.folder(files)
  local command = "cd '%s' && '%s' test %s kit_spec.lua 2>&1; echo \"status $?\""
  local pipe = assert(io.popen(command:format(folder, RILLE, arguments or "")))
  local output = pipe:read("*a")
  pipe:close()
  return output, tonumber(output:match("status (%d+)%s*$")), folder
end

local HEAD = [[
local rille = require("rille")
local testing = require("rille.testing")
local Echo = rille.WebsocketConsumer:extend("Echo")
function Echo:receive(text)
  if text == "boom" then error("it broke") end
  self:asend { text_data = text }
end
]]

local function in_test(body)
  return HEAD .. 'it("does", function()\n' .. body .. "\nend)\n"
end

describe("rille test", function()
  after_each(script.clean)

  it("passes when all is well, with its status", function()
    local output, status = run(in_test("assert.is_true(true)"))
    assert.truthy(output:find("1 success / 0 failures / 0 errors", 1, true), output)
    assert.equal(0, status)
    output, status = run(in_test("assert.is_true(false)"))
    assert.truthy(output:find("0 successes / 1 failure / 0 errors", 1, true), output)
    assert.equal(1, status)
  end)

  for what, case in pairs {
    ["an open connection"] = {
      'testing.WebsocketCommunicator(Echo, "/room"):aconnect()',
      "left behind an open WebSocket to /room, opened at %S*kit_spec.lua:9",
    },
    ["an unread message"] = {
      [[local ann = testing.WebsocketCommunicator(Echo, "/room")
        ann:aconnect()
        ann:asend_to { text_data = "read me" }
        rille.asleep(0.01)
        ann:adisconnect()]],
      '/room with 1 unread messages, the first "read me", opened at %S*kit_spec.lua:9',
    },
    ["an error that nobody has seen"] = {
      [[local ann = testing.WebsocketCommunicator(Echo, "/room")
        ann:aconnect()
        ann:asend_to { text_data = "boom" }
        rille.asleep(0.01)]],
      "/room whose consumer failed, which nobody has seen: .*kit_spec.lua:5: it broke",
    },
    ["an answer that was not read"] = {
      'testing.HttpCommunicator(function() return 200, "x" end, "GET", "/a"):astart()',
      "a request, GET /a, whose answer was not read to its end, opened at %S*kit_spec.lua:9",
    },
    ["a running task"] = {
      "rille.spawn(function() rille.asleep(60) end)",
      "left behind a task, spawned at %S*kit_spec.lua:9",
    },
    ["a borrowed connection"] = {
      [[testing.load(rille.app {})
        rille.spawn(function()
          rille.atomic(function() rille.asleep(60) end)
        end)
        rille.asleep(0.05)]],
      "a borrowed connection of a database, pinned in the function at %S*kit_spec.lua:11",
    },
  } do
    it("fails a test that leaves " .. what .. ", and says where it began", function()
      local output, status = run(in_test(case[1]))
      assert.equal(1, status, output)
      assert.truthy(output:find(case[2]), output)
      assert.truthy(output:find("0 successes / 1 failure", 1, true), output)
    end)
  end

  it("has the next test begin clean", function()
    local text = in_test("rille.spawn(function() rille.asleep(60) end)")
      .. 'it("is next", function() end)'
    local output = run(text)
    assert.truthy(output:find("1 success / 1 failure / 0 errors", 1, true), output)
  end)
end)
