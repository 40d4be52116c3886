-- The echo that spec/bench measures: every message goes through a handler and comes back.
local rille = require "rille"

local Echo = rille.WebsocketConsumer:extend "Echo"

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

return rille.app {
  routes = { rille.websocket("/", Echo) },
}
