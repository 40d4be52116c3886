-- Work in the background: a request is answered at once, four consumers make the pictures, and who
-- watches hears of each. What fails is tried again twice, then put aside.
-- Run:  ./rille run examples/thumbnails.lua
-- Try:  npx wscat -c ws://127.0.0.1:8000/done      and meanwhile
--       curl -X POST http://127.0.0.1:8000/photos/7
local rille = require("rille")

local Thumbnails = rille.Consumer:extend("Thumbnails")

function Thumbnails:make(event)
  if event.photo == 0 then
    error("there is no photo 0")
  end
  rille.asleep(0.05) -- as long as it takes
  local text = "thumbnail of " .. event.photo
  self:agroup_send("watchers", { type = "websocket.send", text = text })
end

local Failed = rille.Consumer:extend("Failed")

function Failed:dead_letter(event)
  local text = ("photo %d: given up after %d times"):format(event.message.photo, event.attempts)
  self:agroup_send("watchers", { type = "websocket.send", text = text })
end

local Watcher = rille.WebsocketConsumer:extend("Watcher")
Watcher.groups = { "watchers" }

local function add(request)
  local photo = request.url_route.kwargs.id
  local taken = rille.channel_layer:asend("thumbnails", { type = "make", photo = photo })
  return taken == 1 and 202 or 503
end

return rille.app {
  routes = {
    rille.websocket("/done", Watcher),
    rille.post("/photos/<int:id>", add),
    rille.channel("thumbnails", Thumbnails, {
      concurrency = 4,
      retry = { times = 2, delay = 0.2 },
      dead_letter = "failed",
    }),
    rille.channel("failed", Failed),
  },
}
