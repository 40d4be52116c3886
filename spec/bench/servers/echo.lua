-- What spec/bench measures without a database: an echo in which every message goes through a
-- handler, and a room in which the core carries what one says to all.
local rille = require "rille"

local Echo = rille.WebsocketConsumer:extend "Echo"

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

local Member = rille.WebsocketConsumer:extend "Member"
Member.groups = { "room" }

function Member:receive(text_data)
  self.channel_layer:agroup_send("room", { type = "websocket.send", text = text_data })
end

return rille.app {
  routes = { rille.websocket("/", Echo), rille.websocket("/fan", Member) },
}
