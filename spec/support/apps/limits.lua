-- A body to read and a WebSocket to misuse, for spec/server/bad_input_spec.lua.
local rille = require("rille")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

local function length(request)
  return 200, tostring(#(request:abody() or ""))
end

return rille.app {
  routes = {
    rille.websocket("/ws", Echo),
    rille.post("/length", length),
    rille.get("/", function()
      return 200, "fine"
    end),
  },
}
