--- A reload that brings other settings for a database that is open.
local Database = require("rille.db").Database
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local postgres = os.getenv("RILLE_TEST_POSTGRES")

-- Filled in: what is asked, settings of the database, what is wrong with it.
local APP = [[
local rille = require("rille")
local FOLDER = debug.getinfo(1, "S").source:match("^@(.*)/")

local function word()
  return rille.databases.shop:aquery(%q)[1].word
end

local function await_go()
  repeat rille.asleep(0.02) until io.open(FOLDER .. "/go")
end

local Room = rille.WebsocketConsumer:extend("Room")

function Room:told_twice()
  self:asend { text_data = word() }
  await_go()
  self:asend { text_data = word() }
end

function Room:receive(text)
  if text == "now" then
    self:asend { text_data = word() }
  elseif text == "pinned" then
    self:spawn(function()
      rille.databases.shop:atomic(function() self:told_twice() end)
      self:asend { text_data = word() }
    end)
  elseif text == "spawned" then
    self:spawn(function() self:told_twice() end)
  else
    self:told_twice()
  end
end

local Ear = rille.Consumer:extend("Ear")
function Ear:notify(event) rille.log.info("heard " .. event.payload) end
function Ear:notify_gap() rille.log.info("there was a gap") end

%s
return rille.app {
  databases = { shop = %s },
  routes = { rille.websocket("/room", Room), %s },
}
]]

local BACKENDS = {
  sqlite = {
    query = "SELECT word FROM words",
    ear = "",
    prepare = function(folder)
      for _, word in ipairs { "old", "new" } do
        local db = Database("made", { url = ("sqlite:%s/%s.db"):format(folder, word) })
        db:aexecute("CREATE TABLE words AS SELECT '" .. word .. "' AS word")
        db:aclose()
      end
    end,
    url = function(folder, word)
      return ("sqlite:%s/%s.db"):format(folder, word)
    end,
    count = function(it_runs, word)
      local line = "ls -l /proc/%d/fd | grep -c '/%s.db$'"
      return tonumber(server.shell(line:format(it_runs.pid, word)))
    end,
    other = "postgresql://127.0.0.1:1/x",
  },
  postgresql = postgres and {
    query = "SELECT current_setting('application_name') AS word",
    ear = 'rille.notify("database_reload_spec", Ear, { database = "shop" })',
    prepare = function() end,
    url = function(_, word)
      return postgres .. (postgres:find("?", 1, true) and "&" or "?") .. "application_name=" .. word
    end,
    count = function(_, word, db)
      return #db:aquery("SELECT 1 FROM pg_stat_activity WHERE application_name = $1", word)
    end,
    other = "sqlite:x.db",
  },
}

for name, backend in pairs(BACKENDS) do
  describe("other settings for a database on " .. name, function()
    local folder, path, env, it_runs, words, asker

    local function app(word, settings, wrong)
      local url = backend.url(folder, words[word])
      local given = ("{ url = %q, %s }"):format(url, settings or "")
      return APP:format(backend.query, wrong or "", given, backend.ear)
    end

    local function rille(...)
      return server.run({ ... }, env)
    end

    local function client(...)
      local one = clients.open("ws.js", it_runs.ws .. "/room", { ... })
      return one, function()
        return one:wait("message").data
      end
    end

    local function ask(text)
      local one, answer = client({ "text", text }, { "receive", 1 }, { "close" })
      local told = answer()
      one:finish()
      return told
    end

    local function count(word)
      return backend.count(it_runs, words[word], asker)
    end

    setup(function()
      folder = server.scratch()
      path = folder .. "/app.lua"
      env = { XDG_RUNTIME_DIR = folder }
      words = { old = "old", new = "new" }
      if name == "postgresql" then -- several may run this at a time
        local own = folder:match("[%w]+$")
        words = { old = "old" .. own, new = "new" .. own }
        asker = Database("asker", { url = postgres })
      end
      backend.prepare(folder)
      server.write(path, app("old"))
      it_runs = server.start({ "run", path, "--workers", "2" }, { env = env })
    end)

    teardown(function()
      if asker then
        asker:aclose()
      end
      server.clean()
    end)

    it("are refused with what is wrong beside them, and nothing changes", function()
      assert.equal(words.old, ask("now"))
      server.write(path, app("new", nil, "error('not yet')"))
      assert.equal(1, (rille("reload", path)))
      server.write(path, app("new", "max_conections = 1"))
      local status, err = rille("reload", path)
      assert.equal(1, status)
      assert.truthy(err:find("unknown setting max_conections", 1, true), err)
      server.write(path, (app("old"):gsub("url = %b\"\"", ("url = %q"):format(backend.other))))
      status, err = rille("reload", path)
      assert.equal(1, status)
      local told = "database 'shop' is open on " .. name .. "; to have it on "
      assert.truthy(err:find(told, 1, true), err)
      assert.equal(words.old, ask("now"))
    end)

    it("are those of whoever begins, and what is under way stays where it is", function()
      local open = {}
      for _, kind in ipairs { "event", "pinned", "spawned" } do
        local one, answer = client({ "text", kind }, { "receive", kind == "pinned" and 3 or 2 },
          { "text", "now" }, { "receive", 1 }, { "close" })
        assert.equal(words.old, answer(), kind)
        open[kind] = { client = one, answer = answer }
      end
      server.write(path, app("new", "max_connections = 3"))
      local status, err = rille("reload", path)
      assert.equal(0, status, err)
      assert.equal(words.new, ask("now"))
      assert.is_true(count("old") > 0)
      server.write(folder .. "/go", "")
      assert.equal(words.old, open.event.answer())
      assert.equal(words.old, open.pinned.answer())
      assert.equal(words.new, open.pinned.answer()) -- a task, whose pin is gone
      assert.equal(words.new, open.spawned.answer())
      for kind, one in pairs(open) do
        assert.equal(words.new, one.answer(), kind)
        one.client:finish()
      end
      assert.is_truthy(server.eventually(15, function()
        return count("old") == 0
      end), "the old connections stay")
    end)

    if name == "postgresql" then
      it("are those of whoever listens, who is told of the gap", function()
        assert.is_true(it_runs:says("there was a gap", 15), it_runs:stderr())
        asker:anotify("database_reload_spec", words.new)
        assert.is_true(it_runs:says("heard " .. words.new, 15), it_runs:stderr())
      end)
    end

    it("go with a rollback, too", function()
      assert.equal(0, (rille("rollback", path)))
      assert.equal(words.old, ask("now"))
      assert.is_truthy(server.eventually(15, function()
        return count("new") == 0
      end), "the connections of the code that was taken back stay")
      assert.equal(0, it_runs:stop())
    end)
  end)
end

describe("a database in memory", function()
  it("keeps its settings, since it would be lost with them", function()
    local db = require("rille.db")
    db.configure { spec_memory = "sqlite::memory:" }
    local ok, err = pcall(db.configure, {
      spec_memory = { url = "sqlite::memory:", statement_timeout = 5 },
    })
    assert.is_false(ok)
    assert.truthy(err.message:find("'spec_memory' is in memory, and would be lost", 1, true))
    db.forget("spec_memory"):aclose()
  end)
end)
