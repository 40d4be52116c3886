-- A WebSocket that sends back what it gets, text as text and bytes as bytes.
-- Run:  ./rille run examples/echo.lua       Try:  npx wscat -c ws://127.0.0.1:8000/echo
local rille = require("rille")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

return rille.app {
  routes = { rille.websocket("/echo", Echo) },
}
