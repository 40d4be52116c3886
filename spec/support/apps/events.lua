-- Event streams, for spec/server/events_spec.lua.
local core = require("rille.core")
local rille = require("rille")

local ended = {}

local Feed = rille.EventStreamConsumer:extend("Feed")

Feed.heartbeat = false

function Feed:connect()
  self:agroup_add("feed")
  self:asend_event { event = "hello", data = self.last_event_id or "new" }
end

function Feed:feed_news(message)
  self:asend_event(message.event)
end

function Feed:feed_close()
  self:close(1000, "enough")
end

function Feed:feed_raise()
  error("no more")
end

function Feed:feed_flood(message)
  for i = 1, message.times do
    self:asend_event { data = ("%d "):format(i) .. ("x"):rep(10000) }
  end
end

function Feed:disconnect(code, reason)
  ended[#ended + 1] = { code = code, reason = reason }
end

local Slow = Feed:extend("Slow") -- the same, with a pulse

Slow.heartbeat = 0.05

local Raising = rille.EventStreamConsumer:extend("Raising")

function Raising:connect()
  self:asend_event { data = "so far" }
  error("no further")
end

local Shy = rille.EventStreamConsumer:extend("Shy")

function Shy:connect()
  self:deny(204)
end

local Closed = rille.EventStreamConsumer:extend("Closed")

function Closed:connect()
  self:close()
end

local Dressed = rille.EventStreamConsumer:extend("Dressed")

function Dressed:connect()
  self:accept { headers = { ["Cache-Control"] = "no-store", ["x-more"] = "1" } }
  self:asend_event { data = { a = 1 }, id = 7, retry = 1500, event = "all" }
  self:asend_event { data = "one\ntwo\r\nthree\rfour\n" }
  self:asend_event { data = "" }
  self:asend_event { id = "" }
  for _, bad in ipairs {
    { id = "a\nb" },
    { id = "a\0b" },
    { event = "a\rb" },
    { retry = -1 },
    { retry = 1.5 },
    {},
  } do
    local ok, err = pcall(self.asend_event, self, bad)
    self:asend_event { event = "refused", data = tostring(not ok and err) }
  end
  self:close()
end

return rille.app {
  routes = {
    rille.http("/feed", Feed),
    rille.get("/slow", Slow),
    rille.http("/raising", Raising),
    rille.http("/shy", Shy),
    rille.http("/closed", Closed),
    rille.http("/dressed", Dressed),
    rille.post("/tell", function(request)
      rille.channel_layer:agroup_send("feed", request:ajson())
      return 204
    end),
    rille.get("/ended", function()
      local told = ended
      ended = told[1] and {} or told
      return 200, rille.array(told)
    end),
    rille.get("/census", function()
      collectgarbage()
      return 200, core.worker.census()
    end),
  },
}
