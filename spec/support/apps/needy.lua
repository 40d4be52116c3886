-- What spec/server/need_spec.lua refuses memory to, one block after another: most of what a
-- consumer may do.
local rille = require("rille")
local core = require("rille.core")

local Needy = rille.WebsocketConsumer:extend("Needy")
Needy.groups = { "needy" }

function Needy:connect()
  self:agroup_add("needy." .. self.scope.query.name)
  self:accept { headers = { ["x-name"] = self.scope.query.name } }
end

--- All but `rille.json.decode`: what lua-cjson copies the text into is lost when a string of it is
--- refused.
local function work(self, text)
  local task = self:spawn(function()
    rille.asleep(0)
    return rille.json.encode { list = { 1, 2, 3 }, text = text .. text }
  end)
  local results = rille.agather {
    function()
      return rille.db:aquery("SELECT $1 AS a, $2 AS b", text, 1.5)[1].a
    end,
    function()
      return rille.atimeout(5, function()
        rille.asleep(0.001)
        return "slept"
      end)
    end,
  }
  rille.atomic(function()
    rille.db:aexecute("INSERT INTO needs (name) VALUES ($1)", text)
    rille.on_commit(function() end)
  end)
  for event in coroutine.wrap(function()
    rille.asleep(0)
    coroutine.yield(task:ajoin())
  end) do
    self:agroup_send("needy." .. self.scope.query.name, {
      type = "needy.event",
      list = results,
      encoded = event,
    })
  end
end

function Needy:receive(text)
  local ok, err = pcall(work, self, text)
  local said = ok and "all" or tostring(err):match("not enough memory") or "something else"
  if said == "something else" then
    io.stderr:write("something else: ", tostring(err), "\n")
  end
  self:agroup_send("needy", { type = "websocket.send", text = said })
end

function Needy:needy_event(event)
  self:asend { text_data = rille.json.encode { #event.encoded } }
end

return rille.app {
  databases = { default = "sqlite::memory:" },
  on_start = function()
    rille.db:aexecute("CREATE TABLE needs (name TEXT)")
  end,
  routes = {
    rille.websocket("/needy", Needy),
    rille.get("/refuse/<int:after>/<int:n>", function(request)
      local at = request.url_route.kwargs
      return 200, tostring(core.testing.refuse(at.after, at.n))
    end),
    rille.get("/grant", function()
      return 200, tostring(core.testing.refuse(0, 0))
    end),
    rille.get("/census", function()
      collectgarbage()
      return 200, core.worker.census()
    end),
  },
}
