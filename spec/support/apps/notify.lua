-- Consumers of channels of a database, for spec/server/notify_spec.lua: they tell the log.
local rille = require("rille")

local Listener = rille.Consumer:extend("Listener")
Listener.groups = { "listeners" }

function Listener:init()
  self.n = 0
end

function Listener:tell(what)
  self.n = self.n + 1
  rille.log(("%s #%d: %s;"):format(self.scope.channel, self.n, what))
end

function Listener:notify(event)
  if event.payload == "raise" then
    error("as it was told")
  elseif event.payload == "sleep" then
    rille.asleep(1)
  elseif event.payload == "connection" then
    local row = rille.db:aquery("SELECT pg_backend_pid() AS pid")[1]
    return self:tell("connection " .. row.pid)
  end
  self:tell(("%s from %d"):format(event.payload, event.pid))
end

function Listener:notify_gap(event)
  self:tell("gap on " .. event.channel)
end

function Listener:chat_message(event)
  self:tell("chat " .. event.text)
end

function Listener:disconnect(code, reason)
  self:tell(("left %d %s"):format(code, reason))
end

--- Needs two attempts to come into being, and does not care for gaps.
local Late = rille.Consumer:extend("Late")
local attempts = 0

function Late.init()
  attempts = attempts + 1
  rille.asleep(0.01)
  if attempts == 1 then
    error("not yet")
  end
end

function Late.notify(_, event)
  rille.log(("late %d: %s;"):format(attempts, event.payload))
end

return rille.app {
  limits = { mailbox = 1 },
  routes = {
    rille.notify("orders", Listener),
    rille.notify("Odd \"name'; --", Listener),
    rille.notify("late", Late),
    rille.get("/say", function(request)
      local message = { type = "chat.message", text = request.query.text }
      return 200, { rille.channel_layer:agroup_send("listeners", message) }
    end),
  },
}
