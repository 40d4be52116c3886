--- What the specs of the Redis layers do with `apps/redis.lua`: rooms, guests and messages.

local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local rooms = {}

local guests = {} -- a pipe that is collected waits for its process

local APP = "spec/support/apps/redis.lua"

---@param url string    of the layer
---@param more string[]?  further arguments
---@param env table<string, string>?
---@return spec.Server
function rooms.start(url, more, env)
  return server.start({ "run", APP, "--layer", url, unpack(more or {}) }, { env = env })
end

local function escape(text)
  return (text:gsub("[^%w]", function(character)
    return ("%%%02X"):format(character:byte())
  end))
end

--- Have the server do something (`ACTIONS` of the app).
---@param running spec.Server
---@param action string
---@param query table<string, string|table>  tables travel as JSON
---@return table  what it gave, a list; or { error = }
function rooms.act(running, action, query)
  local words = {}
  for name, value in pairs(query) do
    value = type(value) == "table" and json.encode(value) or value
    words[#words + 1] = name .. "=" .. escape(value)
  end
  local path = ("/%s?%s"):format(action, table.concat(words, "&"))
  local answer = clients.fetch(running.url .. path)
  assert(answer.status == 200, answer.body)
  return json.decode(answer.body)
end

--- A WebSocket in a room, which is in the group of the room's name. `hear` waits for what it hears
--- next: a message of the layer, or what the server says by itself.
---@param running spec.Server
---@param room string
---@param texts string[]?  that it sends to begin with
---@return spec.Client  with its `channel`
function rooms.guest(running, room, texts)
  local steps = {}
  for i, text in ipairs(texts or {}) do
    steps[i] = { "text", text }
  end
  steps[#steps + 1] = { "receive", 10000 }
  local client = clients.open("ws.py", running.ws .. "/rooms/" .. room, steps)
  guests[#guests + 1] = client
  client.channel = client:wait("message").data:match("^I am (.*)$")
  function client:hear()
    local said = self:wait("message").data
    local event = said:match("^heard (.*)$")
    return event and json.decode(event) or said
  end
  return client
end

--- Have done with the guests, after their servers have ended.
function rooms.clean()
  while #guests > 0 do
    table.remove(guests):finish()
  end
end

---@param n integer
---@return table message
function rooms.message(n)
  return { type = "chat.message", n = n }
end

return rooms
