-- What spec/bench measures of the layer between processes: members who get what is said, who says
-- it, and consumers that answer through the layer.
local rille = require "rille"
local time = require "rille.models.time"

local layer = rille.channel_layer

local Member = rille.WebsocketConsumer:extend "Member"
Member.groups = { "room" }

local Speaker = rille.WebsocketConsumer:extend "Speaker"

function Speaker:receive(text_data)
  layer:agroup_send("room", { type = "websocket.send", text = text_data })
end

local Answerer = rille.WebsocketConsumer:extend "Answerer"
Answerer.groups = { "answerers" }

function Answerer:connect()
  self.had = {}
  self:accept()
end

function Answerer:ping(event)
  layer:asend(event.reply, { type = "pong", text = event.text })
end

--- Every so many of one sender's are answered: with how many that is.
function Answerer:notice(event)
  local had = (self.had[event.reply] or 0) + 1
  self.had[event.reply] = had
  if had % event.every == 0 then
    layer:asend(event.reply, { type = "had", n = had })
  end
end

local TEXT = ("x"):rep(100)

--- So many tasks, for so long: how often one of them said that something was done, and seconds.
local function work(seconds, tasks, fn)
  local over, done, all = false, 0, {}
  local function count(n)
    done = done + n
    return over
  end
  for i = 1, tasks do
    all[i] = function()
      fn(layer:new_channel(), count)
    end
  end
  local begin = time.now()
  rille.spawn(function()
    rille.asleep(seconds)
    over = true
  end)
  rille.agather(all)
  return { done = done, seconds = time.now() - begin }
end

--- So many at a time ask through the group and wait for the answer.
local function ask(seconds, window)
  return work(seconds, window, function(reply, count)
    repeat
      layer:agroup_send("answerers", { type = "ping", reply = reply, text = TEXT })
      assert(layer:areceive(reply).text == TEXT)
    until count(1)
  end)
end

--- So many messages are on the way to the group at most, each task's `every` of them: then it waits
--- to be told that these were had, and none is missing.
local function tell(seconds, window, every)
  return work(seconds, window / every, function(reply, count)
    local sent = 0
    repeat
      for _ = 1, every do
        local message = { type = "notice", reply = reply, every = every, text = TEXT }
        layer:agroup_send("answerers", message)
      end
      sent = sent + every
      local had = rille.atimeout(5, function()
        return layer:areceive(reply)
      end)
      assert(had.n == sent, "messages are missing")
    until count(every)
  end)
end

local WORKS = { ask = ask, tell = tell }

return rille.app {
  routes = {
    rille.websocket("/", Member),
    rille.websocket("/say", Speaker),
    rille.websocket("/answer", Answerer),
    rille.get("/measure/<slug:what>", function(request)
      local query = request.query
      local work_of = WORKS[request.url_route.kwargs.what]
      return 200, work_of(tonumber(query.seconds), tonumber(query.window), tonumber(query.every))
    end),
  },
}
