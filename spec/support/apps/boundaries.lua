-- What handlers do to the database and how they end, for spec/server/database_spec.lua. /stats says
-- what the pool looks like, without using it.
local rille = require("rille")

local ENDLESS = {
  sqlite = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    .. " SELECT count(*) FROM n",
  postgresql = "SELECT pg_sleep(60)",
}

local SET = { sqlite = "PRAGMA cache_size = 7", postgresql = "SET work_mem = '7MB'" }

local UNPINNED = { sqlite = "ATTACH ':memory:' AS other", postgresql = "SET work_mem = '7MB'" }

local function ask()
  return rille.db:aquery("SELECT 1 AS one")[1].one
end

local Asking = rille.WebsocketConsumer:extend("Asking")

function Asking:connect()
  ask()
  self:accept()
end

function Asking:receive(text_data)
  if text_data == "unknown" then
    ask()
    return rille.channel_layer:asend(self.channel_name, { type = "nobody.knows" })
  end
  local before = rille.db:stats().opened
  for _ = 1, 5 do
    self:asend { text_data = tostring(ask()) }
    rille.asleep(0.01)
  end
  self:asend { text_data = "opened " .. rille.db:stats().opened - before }
end

local Denied = Asking:extend("Denied")

function Denied:connect()
  ask()
  self:close()
end

local FailsAtTheEnd = Asking:extend("FailsAtTheEnd")

function FailsAtTheEnd.disconnect()
  ask()
  error("disconnect broke")
end

local Leaving = rille.WebsocketConsumer:extend("Leaving") -- leaves something behind

--- Begin, and never go on: a coroutine that yields inside of what it has begun.
local function begin_and_leave(begin, work)
  local co = coroutine.create(function()
    begin(function(conn)
      work(conn)
      coroutine.yield()
    end)
  end)
  assert(coroutine.resume(co))
end

local ways = {}

function ways.transaction()
  begin_and_leave(rille.atomic, function()
    rille.db:aexecute("INSERT INTO boundaries VALUES (1)")
  end)
end

function ways.session()
  begin_and_leave(function(fn)
    rille.db:apinned(fn)
  end, function(conn)
    conn:aexecute(SET[rille.db.backend])
  end)
end

ways["by hand"] = function()
  begin_and_leave(function(fn)
    rille.db:apinned(fn)
  end, function(conn)
    conn:aexecute("BEGIN")
    conn:aexecute("INSERT INTO boundaries VALUES (1)")
  end)
end

ways["bare yield"] = function()
  rille.atomic(function()
    rille.db:aexecute("INSERT INTO boundaries VALUES (1)")
    coroutine.yield()
  end)
end

ways["in time"] = function() -- leaves nothing, and nothing is said of it
  rille.db:apinned(function(conn)
    conn:aexecute(SET[rille.db.backend])
  end)
  pcall(rille.atomic, function()
    error("rolled back")
  end)
end

function ways.holding()
  rille.atomic(function()
    rille.db:aexecute("INSERT INTO boundaries VALUES (1)")
    rille.asleep(0.7)
    error("rolled back", 0)
  end)
end

ways["at work"] = function() -- for longer than hold_warning, in one statement or in a COPY
  rille.atomic(function()
    if rille.db.backend == "sqlite" then
      return pcall(rille.atimeout, 0.7, function()
        rille.db:aquery(ENDLESS.sqlite)
      end)
    end
    rille.db:aquery("SELECT pg_sleep(0.5)")
    local select = "SELECT pg_sleep(0.05) FROM generate_series(1, 10)"
    rille.db:acopy_to(("COPY (%s) TO STDOUT"):format(select), function() end)
  end)
end

function ways.unpinned()
  for _ = 1, 3 do
    rille.db:aexecute(UNPINNED[rille.db.backend])
  end
end

function Leaving:receive(text_data)
  ways[text_data]()
  self:asend { text_data = "done" }
end

return rille.app {
  routes = {
    rille.websocket("/ws/asking", Asking),
    rille.websocket("/ws/denied", Denied),
    rille.websocket("/ws/fails-at-the-end", FailsAtTheEnd),
    rille.websocket("/ws/leaving", Leaving),
    rille.get("/stats", function()
      local stats = rille.db:stats()
      return 200, { opened = stats.opened, leased = stats.leased }
    end),
    rille.get("/ask", function()
      return 200, tostring(ask())
    end),
    rille.get("/behind", function()
      return 200, tostring(ask())
    end),
    rille.get("/fail", function()
      ask()
      error("handler broke")
    end),
    rille.get("/for-ever", function()
      rille.db:aquery(ENDLESS[rille.db.backend])
      return 200, "never"
    end),
    rille.get("/slow-commit", function() -- on PostgreSQL
      rille.db:aexecute([[
        CREATE OR REPLACE FUNCTION boundaries_sleep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$
      ]])
      rille.db:aexecute([[
        CREATE CONSTRAINT TRIGGER sleeps AFTER INSERT ON boundaries
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION boundaries_sleep()
      ]])
      rille.atomic(function()
        rille.db:aexecute("INSERT INTO boundaries VALUES (1)")
      end)
      return 200, "never"
    end),
    rille.get("/rows", function()
      return 200, tostring(rille.db:aquery("SELECT count(*) AS n FROM boundaries")[1].n)
    end),
    rille.get("/state", function()
      local sqlite = rille.db.backend == "sqlite"
      local row = rille.db:aquery(sqlite and "PRAGMA cache_size" or "SHOW work_mem")[1]
      return 200, tostring(row.cache_size or row.work_mem)
    end),
  },
  limits = { abandon_grace = 0.1 },
  middleware = {
    function(scope, next)
      if scope.path == "/behind" then
        ask()
      end
      return next(scope)
    end,
  },
  on_start = function()
    rille.db:aexecute("DROP TABLE IF EXISTS boundaries")
    rille.db:aexecute("CREATE TABLE boundaries (n integer)")
  end,
}
