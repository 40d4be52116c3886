local clients = require("spec.support.clients")
local server = require("spec.support.server")

--- The script under change: a counter in `self`, and a word that tells the versions apart.
local SCRIPT = [[
local rille = require("rille")
local WORD = "%s"

local Counter = rille.WebsocketConsumer:extend("Counter")

function Counter:connect()
  self.n = 0
  self:accept()
end

function Counter:receive(text_data)
  if text_data == "count" then
    self.n = self.n + 1
    self:asend { text_data = tostring(self.n) }
  else
    self:asend { text_data = WORD }
  end
end

return rille.app {
  routes = {
    rille.websocket("/ws", Counter),
    rille.get("/word", function() return 200, WORD end),
  },
}
]]

local PART = [[
return { word = function() return "%s" end }
]]

local WITH_PART = [[
local rille = require("rille")
local part = require("part")

return rille.app {
  routes = { rille.get("/word", function() return 200, part.word() end) },
}
]]

describe("reload", function()
  local folder, path

  before_each(function()
    folder = server.scratch()
    path = folder .. "/app.lua"
  end)

  after_each(server.clean)

  --- Wait until `/word` answers with `wanted`; the last answer.
  local function word(it_runs, wanted)
    local body
    server.eventually(8, function()
      body = clients.fetch(it_runs.url .. "/word").body
      return body == wanted
    end)
    return body
  end

  local COUNT_TWICE_THEN_AGAIN = {
    { "text", "count" },
    { "receive" },
    { "text", "count" },
    { "receive" },
    { "poll", 50, "word", "two" },
    { "text", "count" },
    { "until", "3" },
    { "close", 1000, "" },
  }

  it("serves a saved change, and keeps open connections with their state", function()
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "dev", path }
    assert.equal("one", clients.fetch(it_runs.url .. "/word").body)
    local client = clients.open("ws.js", it_runs.ws .. "/ws", COUNT_TWICE_THEN_AGAIN)
    client:wait("message")
    assert.equal("2", client:wait("message").data)
    server.write(path, SCRIPT:format("two"))
    assert.equal(1000, client:wait("close").code)
    client:finish()
    local messages = client:all("message")
    assert.equal("3", messages[#messages].data)
    assert.equal("two", word(it_runs, "two"))
    assert.equal(0, it_runs:stop())
  end)

  it("keeps the old code when a save is broken, and says where", function()
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "dev", path }
    server.write(path, "local x =\n" .. SCRIPT:format("two"):gsub("^local", "= local"))
    assert.is_true(it_runs:says("app.lua:2:", 8), it_runs:stderr())
    assert.equal("one", clients.fetch(it_runs.url .. "/word").body)
    server.write(path, SCRIPT:format("three"))
    assert.equal("three", word(it_runs, "three"))
    assert.equal(0, it_runs:stop())
  end)

  it("keeps the old code when the new one fails while it runs", function()
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "dev", path }
    server.write(path, 'local rille = require("rille")\nerror("not today")\nreturn rille.app {}\n')
    assert.is_true(it_runs:says("not today", 8), it_runs:stderr())
    assert.is_true(it_runs:says("app.lua:2:"), it_runs:stderr())
    assert.equal("one", clients.fetch(it_runs.url .. "/word").body)
  end)

  it("notices a module of the script, too", function()
    server.write(folder .. "/part.lua", PART:format("one"))
    server.write(path, WITH_PART)
    local it_runs = server.start { "dev", folder }
    assert.equal("one", word(it_runs, "one"))
    server.write(folder .. "/part.lua", PART:format("two"))
    assert.equal("two", word(it_runs, "two"))
  end)

  it("happens at SIGHUP when nobody watches, and only then", function()
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "run", path }
    server.write(path, SCRIPT:format("two"))
    server.sleep(0.8)
    assert.equal("one", clients.fetch(it_runs.url .. "/word").body)
    it_runs:signal("HUP")
    assert.equal("two", word(it_runs, "two"))
    assert.equal(0, it_runs:stop())
  end)

  it("shows in a browser what is wrong, while that is so", function()
    local BROKEN = "local x = <script>alert(1)</script>\n"
    local page = { headers = { Accept = "text/html,*/*;q=0.8" } }
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "dev", path }
    local function get(options, where)
      return clients.fetch(it_runs.url .. (where or "/word"), options)
    end
    local function poll()
      return get { headers = { ["rille-page"] = "any" } }.headers["rille-page"]
    end
    local well = poll()
    assert.equal("one", get(page).body)
    server.write(path, "\n" .. BROKEN)
    assert.is_true(it_runs:says("the reload failed", 8))
    local shown = get(page)
    assert.equal(500, shown.status)
    assert.equal("text/html; charset=utf-8", shown.headers["content-type"])
    assert.truthy(shown.body:find("app.lua:2:", 1, true), shown.body)
    assert.truthy(shown.body:find("local x = &lt;script&gt;alert", 1, true), shown.body)
    assert.is_nil(shown.body:find("<script>alert", 1, true))
    assert.truthy(shown.body:find(poll(), 1, true))
    assert.are_not.equal(well, poll())
    assert.equal("one", get().body) -- who wants no page is served as before
    assert.equal(404, get({ method = "POST", headers = page.headers }, "/x").status)
    local raising = 'error("see <here>")'
    server.write(path, (SCRIPT:format("two"):gsub("return 200, WORD", raising)))
    local failed
    assert.truthy(server.eventually(8, function()
      failed = get(page)
      return failed.body:find("A handler failed", 1, true)
    end))
    assert.equal(500, failed.status)
    assert.truthy(failed.body:find("see &lt;here&gt;\n", 1, true), failed.body)
    assert.truthy(failed.body:find("stack traceback:", 1, true))
    assert.truthy(failed.body:find("<b><i>  23</i>", 1, true), failed.body)
    assert.truthy(get().body:find("see <here>", 1, true)) -- as text
    server.write(path, SCRIPT:format("three"))
    assert.equal("three", word(it_runs, "three"))
    assert.equal("three", get(page).body)
  end)

  it("has the browser's page load anew when the code has changed #slow", function()
    local function titled(title)
      local html = ("<h1>%s</h1>"):format(title)
      return (SCRIPT:format("x"):gsub(
        "return 200, WORD",
        ("return 200, %q, { ['content-type'] = 'text/html' }"):format(html)
      ))
    end
    server.write(path, (titled("x"):gsub("return 200", "error() return 200")))
    local it_runs = server.start { "dev", path }
    local window = clients.open("error_windows.js", it_runs.url .. "/word")
    assert.equal("A handler failed", window:wait("title").text)
    server.write(path, "nonsense")
    assert.equal("The new code does not load", window:wait("title").text)
    server.write(path, titled("done"))
    assert.equal("done", window:wait("title").text)
    window:finish()
    assert.is_nil(it_runs:stderr():find("GET /word 204", 1, true))
  end)

  it("shows nothing of it under `rille run`", function()
    server.write(path, (SCRIPT:format("one"):gsub("return 200, WORD", 'error("secret")')))
    local it_runs = server.start { "run", path }
    local page = { headers = { Accept = "text/html", ["rille-page"] = "x" } }
    assert.equal("Internal Server Error\n", clients.fetch(it_runs.url .. "/word", page).body)
    server.write(path, "nonsense")
    it_runs:signal("HUP")
    assert.is_true(it_runs:says("the reload failed", 8))
    assert.equal("Internal Server Error\n", clients.fetch(it_runs.url .. "/word", page).body)
  end)

  it("closes a consumer whose class is gone with 1012", function()
    server.write(path, SCRIPT:format("one"))
    local it_runs = server.start { "dev", path }
    local client = clients.open(
      "ws.js",
      it_runs.ws .. "/ws",
      { { "text", "count" }, { "receive" }, { "poll", 50, "word", "two" } }
    )
    client:wait("message")
    server.write(path, (SCRIPT:format("two"):gsub("Counter", "Other")))
    assert.equal(1012, client:wait("close").code)
    client:finish()
  end)
end)
