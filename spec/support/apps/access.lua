-- What spec/server/access_log_spec.lua asks for.
local rille = require("rille")

local Ticks = rille.EventStreamConsumer:extend("Ticks")

function Ticks:connect()
  self:asend_event { data = "first" }
end

return rille.app {
  routes = {
    rille.get("/id", function(request)
      rille.log.info("in the handler", { more = 'a "quoted" word' })
      return 200, { id = request.request_id, trace = request.traceparent }
    end),
    rille.http("/ticks", Ticks),
    rille.get("/any/<path:rest>", function()
      return 200, "ok"
    end),
  },
}
