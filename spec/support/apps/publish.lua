-- A group to publish to, for spec/server/publish_spec.lua.
local rille = require("rille")

local Member = rille.WebsocketConsumer:extend("Member")
Member.groups = { "room" }

function Member:connect()
  self:accept()
  self:asend { text_data = self.channel_name }
end

function Member:chat_message(event)
  self:asend { text_data = rille.json.encode(event) }
end

return rille.app {
  publish_token = { "the-one-from-yesterday", "the-one-of-today-is-this" },
  routes = {
    rille.websocket("/member", Member),
    rille.publish("/publish"),
  },
}
