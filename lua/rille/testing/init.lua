--- What specs of an application need: clients of its consumers, in this very process.
---
---     local testing = require "rille.testing"
---
---     it("says it back", function()
---       local ann = testing.WebsocketCommunicator("examples/echo.lua", "/")
---       assert.is_true(ann:aconnect())
---       ann:asend_to { text_data = "hello" }
---       assert.equal("hello", ann:areceive_from())
---       ann:adisconnect()
---     end)
---
--- A communicator is the other end of a connection that the server takes for an accepted one, so
--- that what runs is what runs in production: handshake, frames, limits, routes, middleware, the
--- consumer's mailbox and its end. Errors of the consumer are raised in the test.

local M = {}

M.WebsocketCommunicator = require("rille.testing.websocket")
M.HttpCommunicator = require("rille.testing.http")
M.ChannelCommunicator = require("rille.testing.channel")

return M
