local clients = require("spec.support.clients")
local server = require("spec.support.server")

--- What every version of the script has: who is told to by /tell says to its client what it is.
local HEAD = [[
local rille = require("rille")
local WORD = "%s"

local function describe(self)
  self.told = (self.told or 0) + 1
  local what = ("%%s %%d %%s"):format(WORD, self.told, tostring(self.scope.generation))
  self:asend { text_data = what }
end

local tell = rille.get("/tell", function()
  return 200, { rille.channel_layer:agroup_send("all", { type = "tell" }) }
end)
local word = rille.get("/word", function() return 200, WORD end)
]]

local CLASS = [[
local %s = rille.WebsocketConsumer:extend("%s")
%s.groups = { "all" }
%s.tell = describe
]]

local function class(name)
  return (CLASS:gsub("%%s", name))
end

local function version(which, rest)
  return HEAD:format(which) .. rest
end

--- A whole one, with routes beside /word and /tell, and settings.
local function app(which, code, routes, settings)
  local tail = "%s\nreturn rille.app {\n  %s\n  routes = { word, tell, %s },\n}\n"
  return version(which, tail:format(code or "", settings or "", routes or ""))
end

local ROOM = 'rille.websocket("/room", Room)'

describe("generations", function()
  local folder, path, it_runs

  before_each(function()
    folder = server.scratch()
    path = folder .. "/app.lua"
  end)

  after_each(server.clean)

  local function start(text, ...)
    server.write(path, text)
    local admin, control = "unix:" .. folder .. "/admin", folder .. "/control"
    it_runs = server.start { "run", path, "--admin", admin, "--control", control, ... }
    return it_runs
  end

  --- Load another version, and wait for generation `number`.
  local function reload(text, number)
    server.write(path, text)
    it_runs:signal("HUP")
    local said = ("reloaded: generation %d serves"):format(number)
    assert.is_true(it_runs:says(said, 10), it_runs:stderr())
  end

  --- Load what does not load, and return what the log says of it.
  local function fail_to_load(text)
    local before = #it_runs:stderr()
    server.write(path, text)
    it_runs:signal("HUP")
    local told
    server.eventually(10, function()
      told = it_runs:stderr():sub(before + 1)
      return told:find("the reload failed", 1, true)
    end)
    return told
  end

  local function hold(...)
    local client = clients.open("hold.py", ...)
    client:wait("open")
    return client
  end

  local function fetch(where, options)
    return clients.fetch(it_runs.url .. where, options)
  end

  --- What each of `n` has said, by their number.
  local function listen(client, n)
    local said = {}
    for _ = 1, n do
      local message = client:wait("message")
      said[message.at + 1] = message.data
    end
    return said
  end

  local function ask(client, n)
    fetch("/tell")
    return listen(client, n)
  end

  local function metric(name, labels)
    local page = clients.at("unix:" .. folder .. "/admin", { path = "/metrics" }).body
    local sum = 0
    for line in page:gmatch("[^\n]+") do
      local said, value = line:match("^" .. name .. "(%b{}) (%S+)$")
      local fits = said ~= nil
      for key, wanted in pairs(labels) do
        fits = fits and said:find(('%s="%s"'):format(key, wanted), 1, true)
      end
      sum = sum + (fits and tonumber(value) or 0)
    end
    return sum
  end

  it("are all loaded or none, and what is wrong is told once, with its place", function()
    start(app("one"), "--workers", "2", "--limit", "handler_cpu_limit=0.2")
    local broken = {
      ["app.lua:14:"] = app("two", "local = 1"),
      ["app.lua:15: not today"] = app("two", '\nerror("not today")'),
      ['bad route "nowhere": a pattern begins'] = app("two", "", 'rille.get("nowhere", tell)'),
      ['app.lua:16: unknown setting "colour"'] = app("two", "", "", 'colour = "red",'),
      ["module 'no.such' not found"] = app("two", 'require "no.such"'),
      ["worker 1: " .. path .. ":14: only here"] = app(
        "two",
        'if rille.worker.id == 1 then error("only here") end'
      ),
      ["handler_cpu_limit"] = app("two", "while true do end"),
      ["cannot wait here"] = app("two", "rille.asleep(1)"),
      ["an event stream answers GET only"] = app(
        "two",
        'local S = rille.EventStreamConsumer:extend("S")',
        'rille.post("/s", S)'
      ),
    }
    for wanted, text in pairs(broken) do
      local told = fail_to_load(text)
      assert.equal(1, server.count(told, wanted), wanted .. "\n" .. told)
      assert.equal(1, server.count(told, "the reload failed"), told)
      assert.equal("one", fetch("/word").body)
    end
    assert.truthy(fail_to_load(app("two", '\nerror("x")')):find("stack traceback:", 1, true))
    reload(app("three"), 2)
    assert.equal("three", fetch("/word").body)
  end)

  it("that take too long to load do not serve", function()
    start(app("one"), "--workers", "2", "--limit", "reload_timeout=0.3")
    local slow = 'if rille.worker.id == 1 then os.execute("sleep 1") end'
    local told = fail_to_load(app("two", slow))
    assert.truthy(told:find("worker 1: no word within 0.3 s (reload_timeout)", 1, true), told)
    server.write(path, app("three"))
    assert.truthy(server.eventually(10, function()
      it_runs:signal("HUP")
      return it_runs:says("generation 2 serves", 1)
    end))
    assert.equal("three", fetch("/word").body)
  end)

  it("that failed leave no database open with their settings", function()
    start(app("one"))
    local function with(url, code)
      return app("two", code, "", ('databases = { other = "sqlite:%s/%s" },'):format(folder, url))
    end
    fail_to_load(with("typo.db", "") .. "\nerror()")
    local notify = 'rille.notify("x", C, { database = "other" })'
    local C = 'local C = rille.Consumer:extend("C")\nfunction C:notify() end'
    local typo = ('databases = { other = "sqlite:%s/typo.db" },'):format(folder)
    local bad = app("two", C, notify, typo)
    assert.truthy(fail_to_load(bad):find("has no LISTEN and NOTIFY", 1, true))
    reload(with("right.db"), 2)
    local engine = 'databases = { other = "postgresql://127.0.0.1:1/x" },'
    assert.truthy(fail_to_load(app("two", "", "", engine)):find("needs a restart", 1, true))
  end)

  it("keep what was begun: self, groups, tasks; a class says what else", function()
    local with_ticker = class("Room") .. [[
function Room:connect()
  self:accept()
  self.task = self:spawn(function()
    while true do rille.asleep(0.02) ; self.ticks = WORD end
  end)
end
function Room:tell()
  self:asend { text_data = tostring(self.ticks) }
end
]]
    start(app("one", with_ticker, ROOM))
    local client = hold("1", it_runs.ws .. "/room")
    local function until_it_says(wanted)
      return server.eventually(5, function()
        return ask(client, 1)[1] == wanted
      end)
    end
    assert.is_true(until_it_says("one"))
    reload(app("two", with_ticker, ROOM), 2)
    server.sleep(0.1)
    assert.same({ "one" }, ask(client, 1)) -- the task ends in its own code
    local restarts = with_ticker .. [[
function Room:on_reload(old)
  io.stderr:write("from ", tostring(old), "\n")
  self.task:cancel()
  self.task = self:spawn(function()
    while true do rille.asleep(0.02) ; self.ticks = WORD end
  end)
end
]]
    reload(app("three", restarts, ROOM), 3)
    assert.is_true(it_runs:says("from 2", 5)) -- before anything is said to it
    assert.is_true(until_it_says("three"))
    local raises = with_ticker .. 'function Room:on_reload() error("no way") end'
    reload(app("four", raises, ROOM), 4)
    assert.equal(1011, client:wait("close").code)
    assert.is_true(it_runs:says("no way"))
  end)

  it("let what is under way end in its own code, middleware and route included", function()
    local waits = class("Room") .. [[
local shared = package.loaded
shared.gate, shared.waiting = shared.gate or rille.event(), shared.waiting or {}
local function await(who)
  shared.waiting[#shared.waiting + 1] = who
  shared.gate:await()
end
function Room:receive() await("receive") ; self:asend { text_data = WORD } end
function Room:connect()
  if self.scope.query.late then await("connect") end
  self:accept()
end
local function slow(scope, next)
  if scope.path == "/slow" then await("middleware") end
  return next(scope)
end
]]
    local routes = ROOM
      .. ', rille.get("/slow", function() return 200, WORD end)'
      .. ', rille.get("/waiting", function() return 200, tostring(#shared.waiting) end)'
      .. ', rille.get("/open", function() shared.gate:set() return 200 end)'
    local function waiting(which)
      return app(which, waits, routes, "middleware = { slow },")
    end
    start(waiting("one"))
    local request = clients.open("at.py", "127.0.0.1:" .. it_runs.port, { path = "/slow" })
    local room = it_runs.ws .. "/room"
    local socket = clients.open("ws.py", room, { { "text", "x" }, { "receive", 2 }, { "close" } })
    local late = clients.open("hold.py", "1", room .. "?late=1")
    assert.truthy(server.eventually(10, function()
      return fetch("/waiting").body == "3"
    end))
    reload(waiting("two"), 2)
    fetch("/open")
    assert.equal("one", request:next().body)
    assert.equal("one", socket:wait("message").data)
    late:wait("open")
    assert.same({ "two 1 2" }, ask(late, 1))
    assert.equal("two 1 2", socket:wait("message").data)
    request:finish()
    assert.equal("two", fetch("/slow").body)
  end)

  it("find renamed and moved classes by their former names, and close who is left", function()
    server.write(folder .. "/rooms.lua", [[
local rille = require("rille")
local Moved = rille.WebsocketConsumer:extend("Moved")
Moved.groups = { "all" }
function Moved:tell() self:asend { text_data = "moved" } end
return Moved
]])
    local classes = class("Room") .. class("Gone") .. class("Odd")
    classes = classes .. 'local Moved = require "rooms"'
    local routes = ROOM
      .. ', rille.websocket("/moved", Moved)'
      .. ', rille.websocket("/gone", Gone), rille.websocket("/odd", Odd)'
    start(app("one", classes, routes))
    local function at(where)
      return it_runs.ws .. where
    end
    local client = hold("1", at("/room"), "1", at("/moved"), "1", at("/gone"), "1", at("/odd"))
    assert.same({ "one 1 1", "moved", "one 1 1", "one 1 1" }, ask(client, 4))
    local renamed = class("Base")
      .. 'local Lobby = Base:extend("Lobby")\nLobby.formerly = { "Room", "rooms:Moved" }\n'
      .. 'local Odd = rille.HttpConsumer:extend("Odd")\n'
    reload(app("two", renamed, 'rille.websocket("/room", Lobby)'), 2)
    local codes = {}
    for _ = 1, 2 do
      local closed = client:wait("close")
      codes[closed.at] = closed.code
    end
    assert.same({ [2] = 1012, [3] = 1012 }, codes)
    assert.same({ "two 2 2", "two 1 2" }, ask(client, 2))
    local taken = renamed .. 'local Room = rille.WebsocketConsumer:extend("Room")'
    local told = fail_to_load(app("three", taken, 'rille.websocket("/room", Lobby)'))
    assert.truthy(told:find("app:Lobby.formerly: there is a class app:Room", 1, true), told)
  end)

  it("change groups, routes, middleware and limits", function()
    start(app("one", class("Room"), ROOM))
    local client = hold("2", it_runs.ws .. "/room")
    assert.same({ "one 1 1", "one 1 1" }, ask(client, 2))
    local others = class("Room")
      .. 'Room.groups = { "others" }\n'
      .. "local function refuse(scope, next)\n"
      .. '  if scope.path == "/no" then return 403, "no" end\n  return next(scope)\nend\n'
    local routes = ROOM
      .. ', rille.get("/sent", function()'
      .. ' return 200, { rille.channel_layer:agroup_send("others", { type = "tell" }) } end)'
      .. ', rille.get("/no", function() return 200 end)'
      .. ', rille.post("/small", function(r) return 200, r:abody() end, { max_body = 3 })'
    reload(app("two", others, routes, "middleware = { refuse },"), 2)
    assert.truthy(server.eventually(5, function()
      return fetch("/sent").body == "[2,0]"
    end))
    assert.equal("[0,0]", fetch("/tell").body)
    assert.equal(403, fetch("/no").status)
    local posts = { method = "POST", body = "four" }
    assert.equal(413, fetch("/small", posts).status)
    reload(app("three", others, routes:gsub("max_body = 3", "max_body = 4"), ""), 3)
    assert.equal(200, fetch("/no").status)
    assert.equal(200, fetch("/small", posts).status)
  end)

  it("bring their models, databases, origins and histories", function()
    start(app("one", class("Room"), ROOM))
    local function knock(options)
      return clients.run("ws.py", it_runs.ws .. "/room", { { "close", 1000, "" } }, options)
    end
    local stranger = { origin = "http://other.test" }
    assert.equal(403, knock(stranger):get("refused").status)
    local code = class("Room") .. [[
local models = require "rille.models"
local Note = models.define("note", { text = models.text() })
local store = rille.get("/store", function()
  Note { text = "kept" }:asave()
  return 200, { Note.objects:acount(), rille.databases.other:aquery("SELECT 5 AS n")[1].n }
end)
local say = rille.get("/say", function()
  local _, _, offset = rille.channel_layer:agroup_send("kept.x", { type = "tell" })
  return 200, tostring(offset)
end)
]]
    local databases = ("databases = { other = \"sqlite:%s/o.db\" }, "):format(folder)
    local settings = "models = { Note }, " .. databases
      .. 'allowed_origins = { "other.test" }, groups = { ["kept.*"] = { history = {} } },'
    reload(app("two", code, ROOM .. ", store, say", settings), 2)
    assert.is_true(it_runs:says("created note in "))
    assert.equal("[1,5]", fetch("/store").body)
    assert.equal(1000, knock(stranger):get("close").code)
    assert.equal("1", fetch("/say").body)
    reload(app("three", code, ROOM .. ", store, say", settings), 3)
    assert.equal("[2,5]", fetch("/store").body)
    assert.equal("2", fetch("/say").body) -- histories outlive it
  end)

  it("say once what waits for the next start", function()
    start(app("one"), "--workers", "1")
    local moved = 'listen = "127.0.0.1:1", workers = 7, layer = "redis://nowhere", '
    reload(app("two", "", "", moved), 2)
    reload(app("three", "", "", moved), 3)
    local told = it_runs:stderr()
    local wanted = "layer: redis://nowhere is for the next start; a reload does not change it"
    assert.equal(1, server.count(told, wanted), told)
    -- The others are the command line's.
    assert.equal(1, server.count(told, "is for the next start"))
    reload(app("four"), 4)
    assert.equal(1, server.count(it_runs:stderr(), "is for the next start"))
  end)

  it("are what a route's connections swap to, or not", function()
    local pinned = class("Room") .. class("Pinned")
    local routes = ROOM .. ', rille.websocket("/pinned", Pinned, { reload = "pin" })'
    start(app("one", pinned, routes), "--workers", "2")
    local client = hold("2", it_runs.ws .. "/room", "2", it_runs.ws .. "/pinned")
    ask(client, 4)
    reload(app("two", pinned, routes), 2)
    assert.same({ "two 2 2", "two 2 2", "one 2 1", "one 2 1" }, ask(client, 4))
    reload(app("three", pinned, routes), 3)
    assert.same({ "three 3 3", "three 3 3", "one 3 1", "one 3 1" }, ask(client, 4))
    assert.equal(2, metric("rille_generation_consumers", { generation = "1" }))
    assert.equal(2, metric("rille_generation_consumers", { generation = "3" }))
    assert.equal(0, metric("rille_generation_consumers", { generation = "2" }))
    assert.equal(1, metric("rille_generation_info", { generation = "2", role = "previous" }))
    assert.equal(1, metric("rille_generation_info", { generation = "3", role = "serving" }))
  end)

  it("are tried on a part of the new connections, and taken back or promoted", function()
    local routes = 'rille.websocket("/room", Room, { reload = { canary = 50 } })'
    start(app("one", class("Room"), routes), "--workers", "2")
    local client = hold("3", it_runs.ws .. "/room")
    assert.same({ "one 1 1", "one 1 1", "one 1 1" }, ask(client, 3))
    reload(app("two", class("Room"), routes), 2)
    assert.is_true(it_runs:says("on trial"))
    assert.equal("two", fetch("/word").body) -- has no canary
    assert.same({ "one 2 1", "one 2 1", "one 2 1" }, ask(client, 3))
    local newcomers = hold("40", it_runs.ws .. "/room")
    local of = { one = 0, two = 0 }
    for _, said in ipairs(ask(newcomers, 40)) do
      of[said:match("%a+")] = of[said:match("%a+")] + 1
    end
    assert.is_true(of.one >= 5 and of.two >= 5, ("%d and %d"):format(of.one, of.two))
    assert.equal(of.one + 3, metric("rille_generation_consumers", { generation = "1" }))
    listen(client, 3) -- they were told, too
    local function change(word)
      local status, err, out = server.run { word, "--control", folder .. "/control" }
      assert.equal(0, status, err)
      return out
    end
    assert.truthy(change("status"):find("generation 2 %(%x+%) on trial beside 1 "))
    assert.truthy(change("rollback"):find("generation 1", 1, true))
    assert.equal("one", fetch("/word").body)
    for _, said in ipairs(ask(newcomers, 40)) do
      assert.equal("one 2 1", said)
    end
    reload(app("three", class("Room"), routes), 3)
    assert.truthy(change("promote"):find("generation 3", 1, true))
    listen(client, 3)
    assert.same({ "three 5 3", "three 5 3", "three 5 3" }, ask(client, 3))
    assert.equal(1, metric("rille_rollbacks_total", { reason = "asked" }))
  end)

  it("leave nothing behind when nobody runs them", function()
    local kept = [[
package.loaded.alive = package.loaded.alive or setmetatable({}, { __mode = "k" })
package.loaded.alive[Room] = true
local rows = {}
for i = 1, 2000 do rows[i] = { i } end
rille.every(3600, function() return rows end)
]]
    local count = [[rille.get("/count", function()
  collectgarbage() collectgarbage()
  local alive = 0
  for _ in pairs(package.loaded.alive) do alive = alive + 1 end
  return 200, { alive, collectgarbage("count") }
end)]]
    local text = app("one", class("Room") .. kept, ROOM .. ", " .. count)
    start(text)
    local client = hold("50", it_runs.ws .. "/room")
    local function counted()
      local alive, kib = fetch("/count").body:match("^%[(%d+),([%d.]+)%]$")
      return tonumber(alive), tonumber(kib)
    end
    local after_ten
    for number = 2, 40 do
      reload(text .. "-- " .. number, number)
      if number == 10 then
        after_ten = select(2, counted())
      elseif number % 20 == 0 then
        ask(client, 50)
      end
    end
    assert.truthy(server.eventually(5, function()
      return counted() == 2 -- the one that serves, and the one before
    end))
    local _, kib = counted()
    assert.is_true(kib < after_ten * 1.1 + 100, ("%d KiB, then %d"):format(after_ten, kib))
  end)

  it("are taken back by themselves when too much of them raises", function()
    local function raising(which, code)
      local settings = "rollback = { errors = 0.2, within = 30, at_least = 10 },"
      local route = ('rille.get("/do", function() %s return 200, "done" end)'):format(code)
      return app(which, class("Room"), ROOM .. ", " .. route, settings)
    end
    start(raising("one", ""), "--workers", "2")
    local client = hold("2", it_runs.ws .. "/room")
    fetch("/do")
    reload(raising("two", 'error("broken")'), 2)
    assert.same({ "two 1 2", "two 1 2" }, ask(client, 2))
    assert.truthy(server.eventually(10, function()
      fetch("/do")
      return it_runs:says("rolled back: generation 1 serves", 0.1)
    end))
    assert.is_true(it_runs:says("rolling back: "))
    assert.equal("done", fetch("/do").body)
    assert.same({ "one 2 1", "one 2 1" }, ask(client, 2))
    assert.equal(1, metric("rille_rollbacks_total", { reason = "errors" }))
    local _, _, told = server.run { "status", "--control", folder .. "/control" }
    assert.truthy(told:find("1 by itself, the last time because %d+ of %d+ events"), told)
    reload(raising("three", ""), 3)
    for _ = 1, 12 do
      fetch("/do")
    end
    server.sleep(0.5)
    assert.equal("three", fetch("/word").body)
  end)
end)
