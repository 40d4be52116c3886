-- Consumers of MQTT topics, for spec/server/mqtt_spec.lua: they tell the log.
local rille = require("rille")

local Sensor = rille.Consumer:extend("Sensor")
Sensor.groups = { "sensors" }

function Sensor:init()
  self.n = 0
end

function Sensor:tell(what)
  self.n = self.n + 1
  rille.log(("%s #%d: %s;"):format(self.scope.filter, self.n, what))
end

--- A payload says what is to be done with it.
local deeds = {}

function deeds.raise()
  error("as it was told")
end

function deeds.sleep()
  rille.asleep(3600)
end

function deeds.nap()
  rille.asleep(0.3)
end

function deeds.answer(self, event)
  local options = { qos = event.qos, properties = event.properties }
  self:apublish(event.properties.response_topic or "answer", event.payload, options)
end

function Sensor:mqtt_message(event)
  local deed = deeds[event.payload]
  local shown = #event.payload > 100 and #event.payload .. " bytes" or ("%q"):format(event.payload)
  local told = "%s q%d [%s] [%s] %s"
  local retained = event.retain and "retained" or "fresh"
  local line = told:format(
    event.topic,
    event.qos,
    retained,
    table.concat(event.matches, ","),
    shown
  )
  if deed then
    rille.log("begins: " .. line .. ";")
    deed(self, event)
  end
  for name, value in pairs(event.properties) do
    line = line .. (" %s=%s"):format(name, type(value) == "table" and value[1][2] or value)
  end
  self:tell(line)
end

function Sensor:mqtt_reconnected(event)
  self:tell("reconnected " .. tostring(event.resumed))
end

function Sensor:disconnect(code)
  self:tell("left " .. code)
end

--- Counts silently, for loads; tells when it is asked.
local Counter = rille.Consumer:extend("Counter")
local seen, total, disorder, latest = {}, 0, 0, 0

function Counter.mqtt_message(_, event)
  local number = tonumber(event.payload)
  total = total + 1
  disorder = disorder + (number < latest and 1 or 0)
  latest = number
  seen[number] = (seen[number] or 0) + 1
end

local function publish(request)
  local query = request.query
  rille.mqtt_client:apublish(query.topic, query.payload or request:abody(), {
    qos = tonumber(query.qos or 0),
    retain = query.retain ~= nil,
    timeout = tonumber(query.timeout),
  })
  return 200, "ok"
end

return rille.app {
  limits = { mailbox = 1 },
  mqtt = { ack_timeout = tonumber(os.getenv("ACK_TIMEOUT")), will = os.getenv("WILL") and {
    topic = os.getenv("WILL"),
    payload = "lost",
    qos = 1,
  } or nil },
  routes = {
    rille.mqtt("sensors/+/#", Sensor, { qos = 2 }),
    rille.mqtt("plain", Sensor),
    rille.mqtt("$share/crew/shared", Sensor, { qos = 1 }),
    rille.mqtt("count", Counter, { qos = 2 }),
    rille.get("/count", function()
      local missing, twice = 0, 0
      for number = 1, latest do
        missing = missing + (seen[number] and 0 or 1)
        twice = twice + (seen[number] and seen[number] > 1 and 1 or 0)
      end
      return 200, { total = total, missing = missing, twice = twice, disorder = disorder }
    end),
    rille.post("/publish", publish),
    rille.get("/publish", publish),
  },
}
