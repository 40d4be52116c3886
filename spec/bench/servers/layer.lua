-- What spec/bench measures of the layer between processes: members who get what is said, who says
-- it, and consumers that answer through the layer.
local rille = require "rille"

local layer = rille.channel_layer

local Member = rille.WebsocketConsumer:extend "Member"
Member.groups = { "room" }

local Speaker = rille.WebsocketConsumer:extend "Speaker"

function Speaker:receive(text_data)
  layer:agroup_send("room", { type = "websocket.send", text = text_data })
end

local Answerer = rille.WebsocketConsumer:extend "Answerer"
Answerer.groups = { "answerers" }

function Answerer:ping(event)
  layer:asend(event.reply, { type = "pong", text = event.text })
end

--- So many at a time ask through the group and wait for the answer, for so long.
local function ask(seconds, window)
  local over, answers, text = false, 0, ("x"):rep(100)
  local askers = {}
  for i = 1, window do
    askers[i] = function()
      local reply = layer:new_channel()
      while not over do
        layer:agroup_send("answerers", { type = "ping", reply = reply, text = text })
        assert(layer:areceive(reply).text == text)
        answers = answers + 1
      end
    end
  end
  rille.spawn(function()
    rille.asleep(seconds)
    over = true
  end)
  rille.agather(askers)
  return answers
end

return rille.app {
  routes = {
    rille.websocket("/", Member),
    rille.websocket("/say", Speaker),
    rille.websocket("/answer", Answerer),
    rille.get("/ask", function(request)
      local query = request.query
      return 200, { answers = ask(tonumber(query.seconds), tonumber(query.window)) }
    end),
  },
}
