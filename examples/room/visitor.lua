--- The server's half of examples/client, whose README has the protocol: joining, leaving and
--- speaking in groups called room.…
local rille = require("rille")

local MAX_TEXT, MAX_NAME, MAX_ROOMS = 2000, 60, 10

local Visitor = rille.JsonWebsocketConsumer:extend("Visitor")

local answers = {} -- type of what the client says to function

local function is_text(value, longest)
  return type(value) == "string" and #value > 0 and #value <= longest
end

local function is_room(group)
  return is_text(group, 60) and group:find("^room%.[%w_-]+$") ~= nil
end

function Visitor:receive_json(content)
  local said = type(content) == "table" and content or {}
  local answer = answers[said.type]
  if not answer or not is_room(said.group) or not answer(self, said.group, said) then
    self:asend_json { type = "refused", group = is_room(said.group) and said.group or nil }
  end
end

--- Who is here, as the client wants it: { seq =, keys = { key = [meta, …] } }.
local function people_of(group)
  local keys, seq = rille.presence:alist(group)
  for _, metas in pairs(keys) do
    rille.array(metas)
  end
  return { seq = seq, keys = keys }
end

--- { type = "join", group =, since =, key =, name = }: what was missed comes first, then this
--- answer, then what is said from now on. A visitor has a key, the same after each return.
function answers.join(self, group, said)
  self.rooms = self.rooms or {}
  if not self.rooms[group] then
    local count = 0
    for _ in pairs(self.rooms) do
      count = count + 1
    end
    local named = is_text(said.key, MAX_NAME) and is_text(said.name, MAX_NAME)
    if count == MAX_ROOMS or not named then
      return false
    end
    self.rooms[group] = { key = said.key, name = said.name }
    rille.presence:atrack(group, said.key, { name = said.name })
  end
  local result = self:arecover(group, said.since)
  self:asend_json {
    type = "joined",
    group = group,
    history = result,
    recovered = result.recovered,
    gap = result.gap,
    people = people_of(group),
  }
  return true
end

function answers.leave(self, group)
  local own = self.rooms and self.rooms[group]
  if own then
    self.rooms[group] = nil
    self:agroup_discard(group)
    rille.presence:auntrack(group, own.key)
  end
  return true
end

--- { type = "say", group =, text = }: to all members, by the core. `ref` is for whoever says it.
function answers.say(self, group, said)
  local own = self.rooms and self.rooms[group]
  if not own or not is_text(said.text, MAX_TEXT) then
    return false
  end
  local message = { type = "said", name = own.name, text = said.text, ref = tonumber(said.ref) }
  self:agroup_send(group, { type = "websocket.send", text = rille.json.encode(message) })
  return true
end

function Visitor:presence_join(event)
  for _, change in ipairs(event.changes) do
    rille.array(change.metas)
  end
  self:asend_json { type = "presence", group = event.group, changes = event.changes }
end

Visitor.presence_update = Visitor.presence_join
Visitor.presence_leave = Visitor.presence_join

return Visitor
