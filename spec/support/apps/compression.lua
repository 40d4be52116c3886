-- Echoes under several settings of compression, for spec/server/compression_spec.lua.
local core = require("rille.core")
local rille = require("rille")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

--- In a group whose messages are said to all.
local Member = rille.WebsocketConsumer:extend("Member")
Member.groups = { "all" }

function Member:receive(text_data)
  self:asend { text_data = text_data }
end

local KEPT = { threshold = 0, context_takeover = true }

local function figures()
  return 200, core.worker.compression()
end

local function tell()
  local text = ("one message for all "):rep(500)
  local message = { type = "websocket.send", text = text }
  local delivered = rille.channel_layer:agroup_send("all", message)
  return 200, { delivered = delivered }
end

return rille.app {
  limits = { max_message = 2 * 1024 * 1024 },
  routes = {
    rille.websocket("/default", Echo),
    rille.websocket("/kept", Echo, { compression = KEPT }),
    rille.websocket("/off", Echo, { compression = false }),
    rille.websocket("/member", Member),
    rille.websocket("/member_kept", Member, { compression = KEPT }),
    rille.get("/figures", figures),
    rille.get("/tell", tell),
  },
}
