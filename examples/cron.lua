-- Timers: everybody who listens hears the bell on working days at nine, on Berlin's clock, and
-- every second how many they are. Each runs once, wherever the listeners are connected.
-- Run:  ./rille run examples/cron.lua       Try:  npx wscat -c ws://127.0.0.1:8000/bell
local rille = require("rille")

local Listener = rille.WebsocketConsumer:extend("Listener")
Listener.groups = { "listeners" }

local function tell(text)
  return rille.channel_layer:agroup_send("listeners", { type = "websocket.send", text = text })
end

local function ring(event)
  tell("the bell of " .. os.date("!%d %B %H:%M UTC", event.due))
end

local function count()
  tell(("%d listen"):format(rille.channel_layer:agroup_count("listeners")))
end

return rille.app {
  routes = {
    rille.websocket("/bell", Listener),
    rille.cron("0 9 * * MON-FRI", ring, { timezone = "Europe/Berlin", timeout = 60 }),
    rille.every(1, count),
  },
}
