-- Groups that keep their history, for spec/server/history_spec.lua.
local rille = require("rille")

local GROUPS = {
  ["kept.*"] = { history = { size = 20, ttl = 300 } },
  ["large"] = { history = { size = 1000 } },
  ["plain.text"] = { history = { stamp = false } },
}

--- Joins as it is told, and says what it gets: { join = group, since =, snapshot = text,
--- first = what to say to the group right before }.
local Member = rille.JsonWebsocketConsumer:extend("Member")

function Member:receive_json(content)
  if content.say then
    local message = { type = content.type or "chat.message", text = content.say }
    local delivered, dropped, offset, epoch =
      self:agroup_send(content.group, message, { history = content.history })
    return self:asend_json { sent = { delivered, dropped, offset, epoch } }
  elseif content.leave then
    self:agroup_discard(content.leave)
    return self:asend_json { left = content.leave }
  elseif content.add then
    self:agroup_add(content.add, self.channel_name)
    return self:asend_json { added = content.add }
  end
  local options = {}
  if content.snapshot then
    function options.snapshot(mark)
      self:asend_json { snapshot = content.snapshot, offset = mark.offset }
      if content.meanwhile then
        self:agroup_send(content.join, { type = "chat.message", text = content.meanwhile })
      end
      rille.asleep(0.01)
    end
  end
  if content.first then
    self:agroup_send(content.join, { type = "chat.message", text = content.first })
  end
  local ok, result = pcall(self.arecover, self, content.join, content.since, options)
  self:asend_json(ok and { joined = result } or { refused = tostring(result) })
end

function Member:chat_message(event)
  self:asend_json { text = event.text, history = event.history }
end

--- Answers websocket.send itself.
local Careful = Member:extend("Careful")

function Careful:websocket_send(event)
  self:asend_json { careful = event.text, history = event.history }
end

--- GET /say?group=&text=&times=: as many messages, each with its number behind the text.
local function say(request)
  local query = request.query
  local said
  for i = 1, tonumber(query.times or 1) do
    local text = ("%s %d"):format(query.text, i)
    local message = { type = "chat.message", text = text }
    if query.type == "websocket.send" then
      message = { type = query.type, text = rille.json.encode { text = text } }
    end
    said = { rille.channel_layer:agroup_send(query.group, message) }
  end
  return 200, said
end

return rille.app {
  groups = GROUPS,
  limits = { mailbox = 100000 },
  databases = { default = { url = "sqlite::memory:" } },
  routes = {
    rille.websocket("/member", Member),
    rille.websocket("/careful", Careful),
    rille.get("/say", say),
  },
}
