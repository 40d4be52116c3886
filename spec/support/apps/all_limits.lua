-- Routes whose limits are small, for spec/server/limits_spec.lua.
local rille = require("rille")
local core = require("rille.core")

local function note(...)
  io.stderr:write("noted: ", table.concat({ ... }, " "), "\n")
end

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

function Echo:disconnect(code)
  note("disconnect", self.scope.path, tostring(code))
end

local Late = rille.WebsocketConsumer:extend("Late")

function Late.connect()
  local _, err = pcall(rille.asleep, 1000)
  note("late", tostring(err))
end

local released = 0 -- how often

local Slow = rille.WebsocketConsumer:extend("Slow") -- busy until it is released

function Slow:connect()
  self:accept()
  self:agroup_add(self.scope.path:sub(2))
end

function Slow:receive(text)
  if text == "hold" then
    local before = released
    self:asend { text_data = "busy" }
    repeat
      rille.asleep(0.01)
    until released > before
  end
end

function Slow:told(event)
  self:asend { text_data = tostring(event.n) }
end

local Stream = rille.EventStreamConsumer:extend("Stream")
Stream.groups = { "stream" }

function Stream:told()
  self:asend_event { data = "busy" }
  rille.asleep(1000)
end

function Stream.disconnect(_, code)
  note("stream", tostring(code))
end

local Spawner = rille.WebsocketConsumer:extend("Spawner")

function Spawner:receive()
  local started = 0
  local ok, err
  repeat
    ok, err = pcall(self.spawn, self, function()
      rille.asleep(1000)
    end)
    started = started + (ok and 1 or 0)
  until not ok or started > 100
  self:asend { text_data = started .. " " .. tostring(err) }
end

--- n messages for a group: "?group&n".
local function tell(request)
  local group, n = request.query_string:match("^(%w+)&(%d+)$")
  local delivered, dropped = 0, 0
  for i = 1, tonumber(n) do
    local message = { type = "told", n = i }
    if group == "flooded" then
      message = { type = "websocket.send", text = ("x"):rep(60000) }
    end
    local d, l = rille.channel_layer:agroup_send(group, message)
    delivered, dropped = delivered + d, dropped + l
  end
  return 200, { delivered = delivered, dropped = dropped }
end

local function length(request)
  return 200, tostring(#(request:abody() or ""))
end

return rille.app {
  limits = {
    max_head = 2000,
    max_fields = 20,
    max_target = 500,
    max_body = 1000,
    request_timeout = 0.3,
    keepalive_timeout = 0.3,
    handshake_timeout = 5,
    send_timeout = 0.4,
    close_timeout = 0.2,
    abandon_grace = 0.1,
    max_tasks = 7,
  },
  routes = {
    rille.post("/length", length),
    rille.post("/small", length, { max_body = 10 }),
    rille.post("/large", length, { max_body = 5000 }),
    rille.post("/slow", length, { body_timeout = 0.2, min_body_rate = 1000 }),
    rille.get("/late", function()
      local _, err = pcall(rille.asleep, 1000)
      note("late", tostring(err))
    end, { answer_timeout = 0.2 }),
    rille.get("/patient", function()
      rille.asleep(0.8)
      return 200, "patient"
    end),
    rille.get("/much", function(request)
      return 200, ("x"):rep(tonumber(request.query_string) or 3e7)
    end),
    rille.get("/counters", function()
      return 200, core.worker.counters()
    end),
    rille.get("/tell", tell),
    rille.get("/release", function()
      released = released + 1
      return 200
    end),
    rille.websocket("/echo", Echo),
    rille.websocket("/message", Echo, { max_message = 10 }),
    rille.websocket("/frame", Echo, { max_frame = 5 }),
    rille.websocket("/pings", Echo, { ping_interval = 0.2, pong_timeout = 0.2 }),
    rille.websocket("/idle", Echo, { idle_timeout = 0.3 }),
    rille.websocket("/flood", Echo, { max_control_frames = 5 }),
    rille.websocket("/age", Echo, { max_connection_age = 0.5 }),
    rille.websocket("/handshake", Late, { handshake_timeout = 0.2 }),
    rille.websocket("/newest", Slow, { mailbox = 3 }),
    rille.websocket("/oldest", Slow, { mailbox = 3, mailbox_policy = "drop_oldest" }),
    rille.websocket("/closing", Slow, { mailbox = 3, mailbox_policy = "close" }),
    rille.websocket("/expiring", Slow, { mailbox = 2, mailbox_expiry = 0.1 }),
    rille.get("/stream", Stream, { mailbox = 2, mailbox_policy = "close" }),
    rille.websocket("/flooded", Slow, { max_unsent = 100000, unsent_policy = "close" }),
    rille.websocket("/spawner", Spawner),
  },
}
