-- Members of a group in several processes, for spec/server/outside_spec.lua.
require("files_backend")
local rille = require("rille")

--- Says what it hears, and its channel's name first.
local Member = rille.WebsocketConsumer:extend("Member")
Member.groups = { "room" }

function Member:connect()
  self:accept()
  self:asend { text_data = self.channel_name }
end

function Member:chat_message(event)
  self:asend { text_data = event.text }
end

function Member:layer_reconnected()
  self:asend { text_data = "reconnected" }
end

--- Does not care whether something was missed.
local Careless = rille.WebsocketConsumer:extend("Careless")
Careless.groups = { "careless" }

function Careless:receive(text_data)
  if text_data == "leave" then
    self:agroup_discard("careless")
  end
  self:asend { text_data = text_data }
end

local function receipt(ok, delivered, dropped)
  if not ok then
    return 503, tostring(delivered)
  end
  return 200, { delivered, dropped }
end

local function send(request)
  local query, layer = request.query, rille.channel_layer
  local message = { type = query.type or "chat.message", text = query.text }
  if query.channel then
    return receipt(pcall(layer.asend, layer, query.channel, message))
  end
  return receipt(pcall(layer.agroup_send, layer, query.group or "room", message))
end

local function in_transaction(request)
  rille.atomic(function()
    rille.channel_layer:agroup_send("room", { type = "chat.message", text = request.query.text })
  end)
  return 200
end

local function state()
  return 200, require("rille.core").layer.figures()
end

return rille.app {
  routes = {
    rille.websocket("/member", Member),
    rille.websocket("/careless", Careless),
    rille.get("/send", send),
    rille.get("/transaction", in_transaction),
    rille.get("/state", state),
  },
  on_stop = function()
    rille.channel_layer:agroup_send("room", { type = "chat.message", text = "farewell" })
  end,
}
