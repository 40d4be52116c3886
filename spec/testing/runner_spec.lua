--- `rille test`, run on small specs of its own.

local eventually = require("spec.support.eventually")
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
    ["an unread message in a channel of its own"] = {
      [[local reply = rille.channel_layer:new_channel()
        for i = 1, 3 do
          rille.channel_layer:asend(reply, { type = "an.answer", i = i })
        end
        assert.equal(1, rille.channel_layer:areceive(reply).i)]],
      'channel with 2 unread messages, the first of type "an.answer", opened at %S*kit_spec.lua:9',
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
    local text = in_test([[
        rille.channel_layer:agroup_add("room", rille.channel_layer:new_channel())
        rille.spawn(function() rille.asleep(60) end)]])
      .. 'it("is next", function() assert.equal(0, rille.channel_layer:agroup_count("room")) end)'
    local output = run(text)
    assert.truthy(output:find("1 success / 1 failure / 0 errors", 1, true), output)
  end)

  it("interrupts what never waits, says where it was, and runs the next test", function()
    local output, status = run(
      HEAD
        .. [[
local function spin() local n = 0; while true do n = n + 1 end end
describe("busy", function()
  for i = 1, 8 do
    it("is not counted with others " .. i, function()
      local began = os.clock()
      repeat until os.clock() > began + 0.1
    end)
  end
end)
describe("endless", function()
  it("in a test", spin)
  it("caught over and over", function() while true do pcall(spin) end end)
  it("in a handler", function()
    local Spinner = Echo:extend("Spinner")
    Spinner.receive = spin
    local ann = testing.WebsocketCommunicator(Spinner, "/room")
    ann:aconnect()
    ann:asend_to { text_data = "hello" }
    ann:areceive_from()
  end)
  describe("before", function()
    before_each(spin)
    it("never begins", function() end)
  end)
end)
it("is reached", function() rille.asleep(0) end)]],
      "--cpu-limit 0.5"
    )
    assert.equal(1, status, output)
    assert.truthy(output:find("9 successes / 0 failures / 4 errors", 1, true), output)
    local _, times = output:gsub(
      "kit_spec.lua:%d+: interrupted: it took 0.5 s of CPU time without waiting for anything"
        .. " %(%-%-cpu%-limit of rille test%)",
      ""
    )
    assert.equal(4, times, output)
    assert.truthy(output:find("kit_spec.lua:8: in function", 1, true), output)
  end)

  it("goes on counting lines after an interruption", function()
    local output, _, folder = run(
      'it("spins", loadfile("spin.lua"))\nit("runs", loadfile("fine.lua"))',
      "--cpu-limit=0.5 --coverage=out.info",
      { ["spin.lua"] = "while true do\nend", ["fine.lua"] = "local one = 1\nreturn one" }
    )
    local file = assert(io.open(folder .. "/out.info"), output)
    local lcov = file:read("*a")
    file:close()
    assert.truthy(lcov:find("fine.lua\nDA:1,1\nDA:2,1\n", 1, true), lcov)
  end)

  it("takes busted's options", function()
    local text = 'it("is wanted #quick", function() end)\nit("is not", function() error("ran") end)'
    local output, status = run(text, "--tags=quick -o TAP")
    assert.equal(0, status, output)
    assert.truthy(output:find("ok 1 - is wanted #quick", 1, true), output)
    assert.truthy(run(text, "--filter=wanted"):find("1 success", 1, true))
  end)

  it("writes which lines of the scripts ran", function()
    local output, status, folder = run(
      [[
local testing = require("rille.testing")
local app = testing.load("app.lua")
it("does", function()
  for _ = 1, 3 do
    assert.equal(200, testing.HttpCommunicator(app, "GET", "/5"):aget_response().status)
  end
end)]],
      "--coverage=out.info",
      {
        ["app.lua"] = [[
local rille = require("rille")
local sort = require("sort")
return rille.app {
  routes = { rille.get("/<int:n>", function(request)
    return 200, sort(request.url_route.kwargs.n)
  end) },
}]],
        ["sort.lua"] = [[
return function(n)
  if n > 9 then
    return "large"
  end
  local sum = 0
  for i = 1, 100 do
    sum = sum + i
  end
  return "small"
end]],
      }
    )
    assert.equal(0, status, output)
    assert.truthy(output:find(" sort.lua  not run: 3\n", 1, true), output)
    local file = assert(io.open(folder .. "/out.info"))
    local lcov = file:read("*a")
    file:close()
    local sort = lcov:match("SF:sort.lua\n(.-)end_of_record")
    assert.truthy(sort and sort:find("DA:2,3\nDA:3,0\n", 1, true), lcov)
    assert.truthy(sort:find("DA:7,300\n", 1, true), sort)
    assert.is_nil(lcov:find("kit_spec", 1, true))
  end)

  it("counts the lines of what specs themselves require", function()
    local output, _, folder = run(
      'local help = require("help")\nit("asks", function() assert.equal(1, help.one()) end)',
      "--coverage=out.info --lpath='./?.lua'",
      { ["help.lua"] = "local M = {}\nfunction M.one()\n  return 1\nend\nreturn M\n" }
    )
    assert.truthy(output:find(" help.lua\n", 1, true), output)
    local file = assert(io.open(folder .. "/out.info"))
    assert.truthy(file:read("*a"):find("DA:3,1\n", 1, true))
    file:close()
  end)

  it("runs in several processes, and adds up", function()
    local app = "return function(n) if n == 1 then return 'one' end return 'more' end"
    local function asks(n)
      return ([[
local count = assert(loadfile("count.lua"))()
it("counts", function() assert.truthy(count(%d)) assert.truthy(os.getenv("RILLE_TEST_JOB")) end)
]]):format(n)
    end
    local output, status, folder = run(asks(1), "--jobs=2 --coverage=all.info .", {
      ["count.lua"] = app,
      ["b_spec.lua"] = asks(2) .. 'it("fails", function() error("no") end)',
    })
    assert.equal(1, status, output)
    assert.truthy(output:find("2 successes / 0 failures / 1 errors / 0 pending in 2 jobs"), output)
    local file = assert(io.open(folder .. "/all.info"))
    assert.truthy(file:read("*a"):find("SF:count.lua\nDA:1,[24]\n"))
    file:close()
  end)

  it("runs again when a file has changed", function()
    local folder = script.folder { ["kit_spec.lua"] = 'it("is old", function() end)' }
    local command = "cd '%s' && { '%s' test --watch -o TAP kit_spec.lua & echo $! >&3; wait $!;"
      .. ' echo "status $?"; } 3>&1 >out 2>&1 &'
    local pipe = assert(io.popen(command:format(folder, RILLE)))
    local pid = pipe:read("*n")
    pipe:close()
    local function says(text)
      eventually(function()
        local file = io.open(folder .. "/out")
        local output = file and file:read("*a") or ""
        if file then
          file:close()
        end
        return output:find(text) ~= nil
      end)
    end
    local ok, err = pcall(function()
      says("ok 1 %- is old.*watching 1 files")
      script.write(folder, "kit_spec.lua", 'it("is new", function() end)')
      says("ok 1 %- is new.*watching 1 files")
      script.write(folder, "other.lua", "return 1")
      says("is new.*is new.*watching 2 files")
      os.execute("kill -INT " .. pid)
      says("status 130")
    end)
    os.execute("kill " .. pid .. " 2>/dev/null")
    assert(ok, err)
  end)

  it("passes what README shows", function()
    local file = assert(io.open("README.md"))
    local text = file:read("*a"):match("\n## Testing\n\n```lua\n(.-)```")
    file:close()
    local folder = script.folder { ["readme_spec.lua"] = text }
    local pipe = assert(io.popen(("'%s' test %s 2>&1"):format(RILLE, folder)))
    local output = pipe:read("*a")
    pipe:close()
    assert.truthy(output:find("1 success / 0 failures / 0 errors", 1, true), output)
  end)

  it("says what is wrong with its own options", function()
    local output, status = run("", "--jobs many")
    assert.equal(1, status)
    assert.truthy(output:find("--jobs wants a number from 1 to 64, got many", 1, true), output)
    output, status = run("", "--nonsense")
    assert.equal(1, status)
    assert.truthy(output:find("rille test: error: unknown/bad flag: --nonsense", 1, true), output)
    output, status = run("", "--watch --help")
    assert.equal(0, status)
    assert.truthy(output:find("^usage: rille test %[PATH"), output)
    output, status = run("", "--jobs 2 --cpu-limit soon")
    assert.equal(1, status)
    assert.truthy(output:find("wants seconds of CPU, 0 for no limit, got soon", 1, true), output)
  end)
end)
