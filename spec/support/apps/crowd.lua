-- What spec/server/crowd_spec.lua and slow_peers_spec.lua lay siege to.
local rille = require("rille")
local core = require("rille.core")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

local Much = rille.HttpConsumer:extend("Much")

function Much:handle()
  local piece = ("m"):rep(65536)
  self:asend_headers(200, { ["content-length"] = tostring(64 * #piece) })
  for i = 1, 64 do
    self:asend_body(piece, { more_body = i < 64 })
  end
end

local function sink(request)
  local n = 0
  for chunk in request:achunks() do
    n = n + #chunk
  end
  return 200, tostring(n)
end

return rille.app {
  routes = {
    rille.websocket("/rest", Echo),
    rille.websocket("/echo", Echo, { ping_interval = 1, pong_timeout = 1 }),
    rille.get("/much", Much),
    rille.post("/sink", sink),
    rille.static("/files", "."),
    rille.get("/fine", function()
      return 200, "fine"
    end),
    rille.get("/census", function()
      return 200, core.worker.census()
    end),
  },
}
