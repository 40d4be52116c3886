-- Readings of sensors reach those who may see them. A message of MQTT wakes one consumer, a minute
-- or an hour after the last; it asks the database who that is, on a connection that is neither too
-- old nor dead, and sends the reading on to their WebSockets.
-- Run:  ./rille run examples/sensors.lua    beside an MQTT broker here, or with --mqtt URL
--       (on PostgreSQL: --database postgresql://… --migrate)
-- Try:  npx wscat -c ws://127.0.0.1:8000/readings/ann       and meanwhile
--       mosquitto_pub -t sensors/kitchen/temp -m 21.5
--       curl -X PUT http://127.0.0.1:8000/viewers/ann/cellar
local rille = require("rille")
local models = require("rille.models")

local Viewer = models.define("sensor_viewer", {
  id = models.auto(),
  name = models.text { index = true },
  sensor = models.text { index = true },
})

local Reader = rille.WebsocketConsumer:extend("Reader")

function Reader:connect()
  self:agroup_add("viewer." .. self.scope.url_route.kwargs.name)
  self:accept()
end

local Sensor = rille.Consumer:extend("Sensor")

function Sensor:mqtt_message(event)
  local sensor, quantity = unpack(event.matches)
  local text = ("%s %s %s"):format(sensor, quantity, event.payload)
  for _, viewer in ipairs(Viewer.objects:filter { sensor = sensor }:alist()) do
    self:agroup_send("viewer." .. viewer.name, { type = "websocket.send", text = text })
  end
end

return rille.app {
  mqtt = "mqtt://localhost",
  models = { Viewer },
  routes = {
    rille.mqtt("sensors/+/+", Sensor, { qos = 1 }),
    rille.websocket("/readings/<slug:name>", Reader),
    rille.put("/viewers/<slug:name>/<slug:sensor>", function(request)
      local _, created = Viewer.objects:aget_or_create(request.url_route.kwargs)
      return created and 201 or 200, request.url_route.kwargs
    end),
  },
  on_start = function()
    if rille.worker.id == 0 then
      Viewer.objects:aget_or_create { name = "ann", sensor = "kitchen" }
    end
  end,
}
