-- Who is there, and where: for spec/server/addresses_spec.lua, proxies_spec.lua and
-- proxy_protocol_spec.lua.
local core = require("rille.core")
local rille = require("rille")

local Open = rille.WebsocketConsumer:extend("Open")

local function told(request)
  return 200,
    {
      client = request.client,
      server = request.server,
      scheme = request.scheme,
      host = request.host,
      path = request.path,
      raw_path = request.raw_path,
      root_path = request.root_path,
      seen = request.headers["x-forwarded-for"],
    }
end

return rille.app {
  routes = {
    rille.get("/", told),
    rille.get("/told", told),
    rille.get("/counters", function()
      return 200, core.worker.counters()
    end),
    rille.get("/app/told", function()
      return 200, { inner = true }
    end),
    rille.websocket("/ws", Open),
  },
}
