-- Rooms on a Redis layer, for spec/server/redis_*_spec.lua. RILLE_LAYER says which Redis.
local rille = require("rille")

local json = rille.json

--- In the group of its room; says what it hears as JSON, with its channel's name first.
local Guest = rille.WebsocketConsumer:extend("Guest")

function Guest:connect()
  self:agroup_add(self.scope.url_route.kwargs.room)
  self:accept()
  self:asend { text_data = "I am " .. self.channel_name }
end

--- "join GROUP", "leave GROUP", "say GROUP TEXT": answered with "done"; what could not be said,
--- because the layer is away, with "refused".
function Guest:receive(text_data)
  local verb, group, text = text_data:match("^(%a+) (%S+) ?(.*)$")
  local answer = "done"
  if verb == "join" then
    self:agroup_add(group)
  elseif verb == "leave" then
    self:agroup_discard(group)
  else
    local message = { type = "chat.message", text = text }
    local ok, err = pcall(self.agroup_send, self, group, message)
    answer = ok and "ok" or "refused " .. tostring(err)
  end
  self:asend { text_data = answer }
end

function Guest:chat_message(event)
  event.hex = event.bytes and event.bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end)
  event.bytes = nil
  self:asend { text_data = "heard " .. json.encode(event) }
end

function Guest:layer_reconnected()
  self:asend { text_data = "reconnected" }
end

--- What a call gave, or why it failed.
local function tell(ok, ...)
  if ok then
    return 200, { ... }
  end
  local err = ...
  return 200, { error = tostring(err), may_have_run = type(err) == "table" and err.may_have_run }
end

local layer = rille.channel_layer

local function message_of(query)
  if query.text then
    return { type = query.type or "chat.message", text = query.text }
  elseif query.hex then
    local bytes = query.hex:gsub("%x%x", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    return { type = query.type or "chat.message", bytes = bytes:rep(query.times or 1) }
  end
  return json.decode(query.message)
end

local ACTIONS = {
  send = function(query)
    return layer:asend(query.channel, message_of(query))
  end,
  group_send = function(query)
    return layer:agroup_send(query.group, message_of(query))
  end,
  flood = function(query) -- until one is refused: how many were not
    local sent = 0
    while pcall(layer.agroup_send, layer, query.group, { type = "chat.message", n = sent + 1 }) do
      sent = sent + 1
      if sent % 20 == 0 then
        rille.asleep(0.001)
      end
    end
    return sent
  end,
  add = function(query)
    return layer:agroup_add(query.group, query.channel)
  end,
  discard = function(query)
    return layer:agroup_discard(query.group, query.channel)
  end,
  count = function(query)
    return layer:agroup_count(query.group)
  end,
}

return rille.app {
  databases = { default = { url = "sqlite::memory:" } },
  limits = { mailbox = 20000 },
  routes = {
    rille.websocket("/rooms/<str:room>", Guest),
    rille.get("/<slug:action>", function(request)
      local action = ACTIONS[request.url_route.kwargs.action]
      return tell(pcall(action, request.query))
    end),
  },
}
