-- What spec/bench measures without a database: an echo in which every message goes through a
-- handler, a room in which the core carries what one says to all, and one with a handler for each.
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

local Handled = rille.WebsocketConsumer:extend "Handled"
Handled.groups = { "handled" }

function Handled:receive(text_data)
  self.channel_layer:agroup_send("handled", { type = "chat.message", text = text_data })
end

function Handled:chat_message(event)
  self:asend { text_data = event.text }
end

return rille.app {
  routes = {
    rille.websocket("/", Echo),
    rille.websocket("/fan", Member),
    rille.websocket("/handled", Handled),
  },
}
