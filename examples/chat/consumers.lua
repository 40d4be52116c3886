--- One visitor in one room.
---
--- The page connects to `/ws/chat/ROOM?name=NAME&after=ID`. It is told what it missed, then what
--- is said and who is there, as it happens:
---
---     { type = "history", messages = { … }, gap = true if there was more than fits }
---     { type = "message", id =, ref =, name =, text =, sent_at = }
---     { type = "people", names = { … } }
---
--- and says `{ type = "say", ref =, text = }`. The group is joined before the history is read, so
--- nothing falls between the two; what arrives by both ways has the same id.
local rille = require("rille")
local Message = require("messages")

local HISTORY = 50 -- messages for a newcomer
local CATCH_UP = 200 -- and for one who was here before
local MAX_ROOM, MAX_NAME, MAX_REF, MAX_TEXT = 60, 60, 80, 8000 -- bytes

local people = {} -- room to channel name to visitor's name; those of this worker

local Room = rille.JsonWebsocketConsumer:extend("Room")

--- `value` as a line of text without control characters; nil if that is empty or too long.
local function line(value, longest)
  if type(value) ~= "string" or #value > longest then
    return nil
  end
  local text = value:gsub("%c+", " "):match("^%s*(.-)%s*$")
  return text ~= "" and text or nil
end

local function as_json(message)
  return {
    type = "message",
    id = message.id,
    ref = message.ref,
    name = message.name,
    text = message.text,
    sent_at = message.sent_at,
  }
end

function Room:connect()
  local scope = self.scope
  self.room = scope.url_route.kwargs.room
  self.name = line(scope.query.name, MAX_NAME)
  if not self.name or #self.room > MAX_ROOM then
    return self:close()
  end
  self.group = "chat." .. self.room
  self:accept()
  self:agroup_add(self.group)
  self:acatch_up(tonumber(scope.query.after) or 0)
  self:aenter()
end

--- Tell this visitor the newest messages behind the id `after`, oldest first.
---@async
function Room:acatch_up(after)
  local limit = after > 0 and CATCH_UP or HISTORY
  local newest = Message.objects
    :filter({ room = self.room, id__gt = after })
    :order_by("-id")
    :limit(limit + 1)
    :alist()
  local messages = rille.array({})
  for i = math.min(#newest, limit), 1, -1 do
    messages[#messages + 1] = as_json(newest[i])
  end
  self:asend_json { type = "history", messages = messages, gap = #newest > limit }
end

---@async
function Room:aenter()
  people[self.room] = people[self.room] or {}
  people[self.room][self.channel_name] = self.name
  self:aannounce()
end

---@async
function Room:aannounce()
  local names = {}
  for _, name in pairs(people[self.room]) do
    names[#names + 1] = name
  end
  table.sort(names)
  self:agroup_send(self.group, { type = "chat.people", names = names })
end

function Room:receive_json(content)
  local said = type(content) == "table" and content.type == "say" and content or {}
  local ref, text = line(said.ref, MAX_REF), said.text
  if not ref or type(text) ~= "string" or #text > MAX_TEXT or not text:find("%S") then
    return self:asend_json { type = "refused", ref = ref }
  end
  local message, created = Message.objects:aget_or_create(
    { ref = ref },
    { room = self.room, name = self.name, text = text }
  )
  if created then
    self:agroup_send(self.group, { type = "chat.message", message = as_json(message) })
  else
    self:asend_json(as_json(message)) -- said again after a lost connection
  end
end

function Room:chat_message(event)
  self:asend_json(event.message)
end

function Room:chat_people(event)
  self:asend_json { type = "people", names = event.names }
end

function Room:disconnect()
  local here = people[self.room]
  if here and here[self.channel_name] then
    here[self.channel_name] = nil
    self:aannounce()
    if not next(here) then
      people[self.room] = nil
    end
  end
end

-- A reload starts this file, and `people`, afresh; those who stayed come in again.
function Room:on_reload()
  if self.group then
    self:aenter()
  end
end

return Room
