-- A consumer that speaks by itself: the time in UTC, every second, until the client leaves.
-- Run:  ./rille run examples/clock.lua      Try:  npx wscat -c ws://127.0.0.1:8000/clock
local rille = require("rille")

local Clock = rille.WebsocketConsumer:extend("Clock")

function Clock:atick()
  while true do
    self:asend { text_data = os.date("!%H:%M:%S") }
    rille.asleep(1)
  end
end

function Clock:connect()
  self:accept()
  self:spawn(function() -- ends with the connection; the handler itself must return
    self:atick()
  end)
end

return rille.app {
  routes = { rille.websocket("/clock", Clock) },
}
