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

--- Its worker does nothing else while there is a file.
local function busy(request)
  local path = request.query.path
  assert(io.open(path .. ".seen", "w")):close()
  local file
  repeat
    file = io.open(path)
    if file then
      file:close()
    end
  until not file
  return 204
end

return rille.app {
  publish_token = { "the-one-from-yesterday", "the-one-of-today-is-this" },
  routes = {
    rille.websocket("/member", Member),
    rille.publish("/publish"),
    rille.get("/busy", busy),
  },
}
