-- A room: who is here, and nothing missed by whoever was away for a moment. It needs no database.
-- Run:  ./rille run examples/room           Try:  http://127.0.0.1:8000/#lobby in two windows
local rille = require("rille")
local Visitor = require("visitor")

return rille.app {
  groups = {
    ["room.*"] = { history = { size = 200, ttl = 600 }, presence = { linger = 5 } },
  },
  routes = {
    rille.websocket("/ws", Visitor),
    rille.static("/client", "../client"),
    rille.static("/", "page"),
  },
}
