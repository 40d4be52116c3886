-- A chat: rooms, a history that survives a restart, and a page to talk in.
-- Run:  ./rille run examples/chat           Try:  http://127.0.0.1:8000/#lobby in two windows
local rille = require("rille")
local Message = require("messages")
local Room = require("consumers")

return rille.app {
  models = { Message },
  routes = {
    rille.websocket("/ws/chat/<slug:room>", Room),
    rille.static("/", "page"),
  },
}
