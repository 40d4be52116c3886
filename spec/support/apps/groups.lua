-- Groups, and what reaches their members, for spec/server/groups_spec.lua.
local models = require("rille.models")
local rille = require("rille")

local Thing = models.define("groups_thing", { id = models.auto(), name = models.text() })

--- In the group "all"; messages of type chat.message are said with a star.
local Member = rille.WebsocketConsumer:extend("Member")
Member.groups = { "all" }

function Member:receive(text_data)
  if text_data == "leave" then
    self:agroup_discard("all")
  elseif text_data == "name" then
    return self:asend { text_data = self.channel_name }
  end
  self:asend { text_data = "ok" }
end

function Member:chat_message(event)
  event.seen = (event.seen or 0) + 1 -- a copy of its own: nobody else sees this
  self:asend { text_data = ("* %s %d"):format(event.text, event.seen) }
end

function Member:_secret()
  self:asend { text_data = "secret" }
end

--- Answers websocket.send itself.
local Careful = Member:extend("Careful")

function Careful:websocket_send(event)
  self:asend { text_data = "careful: " .. event.text }
end

--- Busy for a while with each message.
local Slow = rille.WebsocketConsumer:extend("Slow")
Slow.groups = { "slow" }

function Slow:chat_message(event)
  rille.asleep(0.3)
  self:asend { text_data = event.text }
end

local function send(request)
  local query = request.query
  local message = { type = query.type, text = query.text }
  if query.channel then
    return 200, { rille.channel_layer:asend(query.channel, message) }
  end
  local delivered, dropped = 0, 0
  for _ = 1, tonumber(query.times or 1) do
    local more, less = rille.channel_layer:agroup_send(query.group or "all", message)
    delivered, dropped = delivered + more, dropped + less
  end
  return 200, { delivered = delivered, dropped = dropped }
end

--- Inside a transaction that is then committed or rolled back.
local function in_transaction(request)
  local outcome = request.query.outcome
  pcall(rille.atomic, function()
    Thing.objects:acreate { name = outcome }
    rille.channel_layer:agroup_send("all", { type = "chat.message", text = outcome })
    rille.channel_layer:agroup_send("all", { type = "chat.message", text = "now" }, { now = true })
    rille.asleep(0.05)
    if outcome == "rollback" then
      error("roll it back")
    end
  end)
  return 200, { count = Thing.objects:filter({ name = outcome }):acount() }
end

return rille.app {
  databases = { default = { url = "sqlite::memory:" } },
  models = { Thing },
  limits = { mailbox = 5 },
  routes = {
    rille.websocket("/member", Member),
    rille.websocket("/careful", Careful),
    rille.websocket("/slow", Slow),
    rille.get("/send", send),
    rille.get("/transaction", in_transaction),
    rille.get("/count", function(request)
      return 200, { count = rille.channel_layer:agroup_count(request.query.group or "all") }
    end),
  },
}
