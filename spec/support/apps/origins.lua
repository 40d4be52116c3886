-- An app that names who may come, for spec/server/lifecycle_spec.lua.
local rille = require("rille")

local Open = rille.WebsocketConsumer:extend("Open")

return rille.app {
  allowed_origins = { "https://app.example:8443", "plain.example", ".moon.example" },
  routes = { rille.websocket("/ws", Open) },
}
