-- What several workers do, told on stderr, for spec/server/workers_spec.lua.
local rille = require("rille")

local worker = rille.worker

local function note(...)
  local who = ("noted: worker %d of %d: "):format(worker.id, worker.count)
  io.stderr:write(who .. table.concat({ ... }) .. "\n")
end

local function broken(where)
  return os.getenv("BREAK") == where and worker.id == 2
end

if broken("load") then
  error("this worker cannot load")
end

--- Everybody in one room, told where they are.
local Guest = rille.WebsocketConsumer:extend("Guest")
Guest.groups = { "room" }

local KINDS = { frame = "websocket.send", told = "chat.message" }

function Guest:connect()
  self:accept()
  note("has ", self.channel_name)
  self:asend { text_data = "worker " .. worker.id }
end

function Guest:receive(text_data)
  local kind = KINDS[text_data:match("^%a+")]
  self:agroup_send("room", { type = kind, text = text_data })
end

function Guest:chat_message(event)
  self:asend { text_data = event.text }
end

function Guest:disconnect(code)
  note("disconnects ", self.channel_name, " with ", code)
end

local layer = rille.channel_layer

local function send(request)
  local query = request.query
  local message = { type = "websocket.send", text = query.text }
  if query.channel then
    return 200, { layer:asend(query.channel, message) }
  end
  return 200, { layer:agroup_send(query.group, message) }
end

return rille.app {
  workers = 3,
  limits = { mailbox = 10000, max_connections = tonumber(os.getenv("LIMIT")) },
  on_start = function()
    if broken("start") then
      error("this worker cannot start")
    end
    rille.asleep(0.05 * worker.id)
    note("starts")
  end,
  on_stop = function()
    note("stops")
  end,
  routes = {
    rille.websocket("/room", Guest),
    rille.get("/send", send),
    rille.get("/count", function(request)
      return 200, { layer:agroup_count(request.query.group) }
    end),
    rille.get("/members", function(request)
      return 200, layer:agroup_members(request.query.group)
    end),
    rille.get("/place", function(request)
      local channel = request.query.channel
      local found = { layer:asend(channel, { type = "websocket.send", text = "kind 0 0" }) }
      found[3] = pcall(layer.agroup_add, layer, "few", channel)
      found[4] = layer:agroup_count("few")
      layer:agroup_discard("few", channel)
      found[5] = layer:agroup_count("few")
      return 200, found
    end),
    rille.get("/worker", function()
      return 200, { id = worker.id, count = worker.count }
    end),
  },
}
