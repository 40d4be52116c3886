--- rille shell and rille attach: what is typed is run in a worker.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
local models = require("rille.models")
local Folder = models.define("folder", { id = models.auto(), name = models.text() })
local Room = rille.WebsocketConsumer:extend("Room")
function Room:receive(text)
  self.last = text
  rille.asleep(60)
end
return rille.app {
  models = { Folder },
  routes = { rille.websocket("/room", Room) },
  on_start = function() rille.log.info("started for real") end,
}
]]

local BINARY = os.getenv("RILLE_BIN") or ".build/src/rille"

describe("rille shell", function()
  local folder, path, env

  --- The words that run the command.
  local function command(...)
    local words = { "/usr/bin/env" }
    for name, value in pairs(env) do
      words[#words + 1] = name .. "=" .. value
    end
    words[#words + 1] = BINARY
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
    return words
  end

  --- What the command prints for this input, and its status.
  local function run(input, ...)
    local words = command(...)
    for i, word in ipairs(words) do
      words[i] = server.quote(word)
    end
    server.write(folder .. "/input", input)
    local line = ("timeout 20 %s <%s/input 2>%s/err; echo \"status $?\""):format(
      table.concat(words, " "), folder, folder)
    local out, status = server.shell(line):match("^(.-)status (%d+)\n$")
    return out, tonumber(status)
  end

  setup(function()
    folder = server.scratch()
    path = folder .. "/app.lua"
    env = { XDG_RUNTIME_DIR = folder, HOME = folder, LC_ALL = "C.UTF-8", RILLE_LOG_LEVEL = "info" }
    env.DATABASE_URL = "sqlite:" .. folder .. "/shell.db"
    server.write(path, APP)
  end)

  teardown(server.clean)

  it("runs what is typed in the application, and serves nothing", function()
    local out, status = run(
      [[
1 + 1
Folder.objects:acreate { name = "a" }
Folder.objects:alist()
x = 20

x + 1, "two", nil
function double(n)
  return n * 2
end
double(x)
print("a", 1)
_
rille.asleep(0.01)
app.settings.routes[1].pattern
require("rille") == rille
= models.Folder == Folder, models
{ { id = 1, name = ("n"):rep(60) }, { at = { 1, 2 }, a = ("a"):rep(30), b = ("b"):rep(30), c = 1 } }
]],
      "shell",
      path
    )
    assert.equal(
      [[
2
Folder { id = 1, name = "a" }
{ Folder { id = 1, name = "a" } }
21
"two"
nil
40
a	1
40
"/room"
true
true
{ Folder = model Folder }
{
  { id = 1, name = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"… (60 bytes) },
  { a = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", at = {… 2 entries}, … and 2 more },
}
]],
      out
    )
    assert.equal(0, status)
    local err = server.read_file(folder .. "/err")
    assert.is_nil(err:find("started for real", 1, true), err)
    assert.is_nil(err:find("listening", 1, true), err)
  end)

  it("survives every mistake, and tells of them by its status", function()
    local out, status = run(
      [[
local function inner() error("oops") end inner()
nothing.there
)(
while true do end
error { code = 7 }
("x"):rep(-1) .. nil
:consumer 12
:nonsense
"still here"
if true then
]],
      "shell",
      path,
      "--limit",
      "handler_cpu_limit=0.2"
    )
    assert.equal(1, status)
    for _, part in ipairs {
      "console:1: oops\nstack traceback:\n",
      "in function 'inner'\n",
      "attempt to index global 'nothing'",
      "console:1: unexpected symbol near ')'\n",
      "it took 0.2 s of CPU time",
      "{ code = 7 }",
      "attempt to concatenate a nil value",
      'no consumer of this worker has the id "12"\n',
      ":nonsense is no command: see :help\n",
      '"still here"\n',
    } do
      assert.truthy(out:find(part, 1, true), part .. " is missing in:\n" .. out)
    end
    assert.truthy(server.read_file(folder .. "/err"):find("ends in the middle of a statement", 1,
      true))
    local _, failed = run("1\n", "shell", folder .. "/none.lua")
    assert.equal(1, failed)
  end)

  it("attaches to a worker of a running process, and finds who waits where", function()
    local it_runs = server.start(
      { "run", path, "--workers", "2", "--drain-timeout", "1" },
      { env = env }
    )
    local client = clients.open("ws.js", it_runs.ws .. "/room", { { "text", "hello" } })
    local id, worker
    assert.is_truthy(server.eventually(8, function()
      for n = 0, 1 do
        local out = run(":consumers\n", "attach", path, "--worker", tostring(n))
        id = id or out:match("\n(%d+) +Room +/room +1 +%d+s  receive: asleep at .-app%.lua:7\n")
        worker = id and (worker or n)
      end
      return id
    end))
    local out = run((":consumer %s\n"):format(id), "attach", path, "--worker", tostring(worker))
    assert.truthy(out:find('self = Room {', 1, true), out)
    assert.truthy(out:find('last = "hello"', 1, true), out)
    assert.truthy(out:find("app.lua:7: in function", 1, true), out)
    assert.equal("1\n", (run("rille.worker.id\n", "attach", path, "--worker", "1")))
    -- A session's globals are its own; what it breaks is too.
    assert.equal("nil\n", (run("x\n", "attach", path)))
    assert.equal("2\n", (run("setmetatable(_G, nil) and 2\n", "attach", path)))
    local _, status = run("1\n", "attach", path, "--worker", "2")
    assert.equal(1, status)
    assert.truthy(server.read_file(folder .. "/err"):find("no such worker: they are 0 to 1", 1,
      true))
    assert.equal(0, it_runs:stop())
    client:finish()
  end)

  it("shows what is printed as it is made, and says how much nobody could read", function()
    local room = 4 * 1024 * 1024
    local out = run(('print(("x"):rep(%d))\n1\n'):format(room + 7), "shell", path)
    assert.equal(("x"):rep(room) .. "\n… (8 bytes more)\n1\n", out)
    -- What a task prints when nothing is asked comes with the next answer.
    out = run(
      'rille.spawn(function() rille.asleep(0) print("late") end) and nil\nrille.asleep(0.05)\n1\n',
      "shell",
      path
    )
    assert.equal("nil\nlate\n1\n", out)
  end)

  --- Somebody at a terminal.
  local function typist(steps, ...)
    return clients.open("typist.py", steps, unpack(command(...)))
  end

  it("is a prompt on a terminal: Ctrl-C ends what runs, Ctrl-D leaves", function()
    local client = typist({
      { "sees", "Ctrl-D leaves" },
      { "type", "1 + 2\r" },
      { "sees", "\n3\r\n> " },
      { "type", "for i = 1, 2 do\r" },
      { "sees", ">> " },
      { "type", "\3" },
      { "sees", "> " },
      { "type", "print('by' .. ' and by') rille.asleep(300)\r" },
      { "sees", "\nby and by\r\n" }, -- while it runs
      { "type", "\3" },
      { "sees", "interrupted\r\n> " },
      { "type", "print('and' .. ' round') while true do end\r" },
      { "sees", "\nand round\r\n" },
      { "type", "\3" },
      { "sees", "console:1: interrupted\r\n" },
      { "type", "6 * 7\r" },
      { "sees", "\n42\r\n> " },
      { "type", "\4" },
      { "ends" },
    }, "shell", path, "--limit", "handler_cpu_limit=100")
    assert.equal(0, client:wait("ended").status)
    client:finish()
  end)

  it("completes names, and remembers what was typed in another process, too", function()
    local it_runs = server.start({ "run", path }, { env = env })
    local client = typist({
      { "sees", "Ctrl-D leaves.\r\n> " },
      { "type", "models.Fo\t" },
      { "sees", "lder" }, -- the rest is there
      { "type", ".objects:afi\t" },
      { "sees", "rst" },
      { "type", "\3" },
      { "sees", "^C\r\n> " },
      { "type", "models.Folder.objects:ac\t" }, -- acount, acontains, acreate
      { "sees", "acreate" },
      { "type", "\3" },
      { "sees", "^C\r\n> " },
      { "type", "21 + 21\r" },
      { "sees", "\n42\r\n> " },
      { "type", "\4" },
      { "ends" },
    }, "attach", path)
    assert.equal(0, client:wait("ended").status)
    client:finish()
    client = typist({
      { "sees", "Ctrl-D leaves.\r\n> " },
      { "type", "\27[A" },
      { "sees", "21 + 21" },
      { "type", " + 1\r" },
      { "sees", "\n43\r\n> " },
      { "type", "\4" },
      { "ends" },
    }, "attach", path)
    assert.equal(0, client:wait("ended").status)
    client:finish()
    assert.equal(0, it_runs:stop())
  end)
end)
