--- The layer of channels_redis's pub/sub: a topic for each group and for each channel.
---
--- A worker subscribes to the topic of each group that has members here, and by one pattern to
--- those of all its channels. Nothing is kept in Redis: what is published while nobody is
--- connected is gone, and nobody pushes back.
---
--- Members of the sender's own process have a message through memory; what its workers hear of it
--- from Redis is an echo. Nothing in the message may say so, since Django reads it,
--- too. Therefore a sender publishes two things in one step: to a topic of its own process a mark
--- that describes the message, and then the message. Redis lets nothing come between the two, so a
--- worker for whom the first message after a mark is the one that it describes has heard an echo;
--- after any other, and after a reconnect, the mark means nothing. (With everything through Redis
--- there would be no echoes, and a message to the member next door would go around by Redis.)
---
--- Who sends does not wait for Redis to say that it has published a message, as long as that goes
--- well (`Link:apost`): a message is on its way when it has been handed to a connection that is up,
--- and leaves in order with all others. What Redis says then is counted: that nobody heard it
--- (`unheard`), or that it would not publish it (`lost`). Those of which it has said nothing when
--- the connection breaks, 512 at most, may have been published, and are counted as `lost`, too.

local Links = require("rille.layer.redis.links")
local Payload = require("rille.layer.redis.payload")
local core = require("rille.core")
local errors = require("rille.errors")
local outside = require("rille.layer.outside")
local ring = require("rille.layer.redis.ring")

local layer = core.layer

local TOPICS = 500 -- that one command is given at most

---@class rille.layer.redis.Pubsub : rille.layer.redis.Links
local Pubsub = Links:extend("Pubsub")

Pubsub.subscriber = true

local PUBLISH_MARKED = [[
redis.call('PUBLISH', ARGV[1], ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
]]

function Pubsub:prepare()
  local settings = self.settings
  self.payload = Payload.new {
    symmetric_encryption_keys = settings.symmetric_encryption_keys,
  }
  self.topics = settings.prefix .. "__group__"
  self.marks = settings.prefix .. "__rille__" .. self.process
  self.questions = settings.prefix .. "__rille__" -- to every worker of every rille
end

--- What a mark says of a message.
local function describe(topic, payload)
  return ("%d %08x %s"):format(#payload, ring.crc32(payload) % 2 ^ 32, topic)
end

function Pubsub:place(topic)
  return ring.place(topic, #self.links)
end

-- Groups

--- Subscribe to these groups and channels, or no longer, with few commands.
function Pubsub:subscribe(verb, groups, channels)
  local waiting = {}
  local function ask(place)
    local ear = self.ears[place]
    ear[verb](ear, unpack(waiting[place]))
    waiting[place] = nil
  end
  local function add(topic)
    local place = self:place(topic)
    local topics = waiting[place] or {}
    waiting[place] = topics
    topics[#topics + 1] = topic
    if #topics == TOPICS then
      ask(place)
    end
  end
  for _, group in ipairs(groups) do
    add(self.topics .. group)
  end
  for _, channel in ipairs(channels) do
    add(channel)
  end
  for place = 1, #self.ears do
    if waiting[place] then
      ask(place)
    end
  end
end

---@async
---@param changes rille.layer.Changes
function Pubsub:afollow(changes)
  if changes.all then
    for _, ear in ipairs(self.ears) do
      ear:asubscribe(self.marks, self.questions)
      ear:apsubscribe(self.own .. "*")
    end
  end
  local left, closed = self:apply(changes)
  self:subscribe("asubscribe", changes.joined, changes.opened)
  self:subscribe("aunsubscribe", left, closed)
end

--- Members are those who have joined themselves.
---@async
---@param group string
---@param channel string
function Pubsub:agroup_add(group, channel)
  if not self.asking:aplace("join", group, channel) then
    local told = "channels_redis's pub/sub has %s join groups in its own process only"
    error(errors.LayerError(told:format(channel)), 0)
  end
end

---@async
---@param group string
---@param channel string
function Pubsub:agroup_discard(group, channel)
  self.asking:aplace("leave", group, channel)
end

--- Members in other processes: those of rille's. Django's are known to nobody.
---@async
---@param group string
---@return string[]
function Pubsub:agroup_members(group)
  return self.asking:amembers(group, function(message)
    local heard = self:attempt(function()
      local payload = self.payload:encode(message)
      return self.links[self:place(self.questions)]:acall("PUBLISH", self.questions, payload)
    end)
    return heard - self.workers -- who do not answer themselves
  end)
end

-- Sending

--- To a channel of another process.
---@async
---@param channel string
---@param message table
function Pubsub:asend(channel, message)
  local payload = self.payload:encode(message)
  local link = self.links[self:place(channel)]
  local heard = self:attempt(link.apost, link, channel, "PUBLISH", channel, payload)
  if heard == 0 then
    outside.drop_unheard(channel)
  end
end

--- To the members that a group has in other processes.
---@async
---@param group string
---@param message table
function Pubsub:agroup_send(group, message)
  local topic = self.topics .. group
  local link = self.links[self:place(topic)]
  local payload = self.payload:encode(message)
  if layer.count(group) == 0 then -- then no worker of ours listens
    self:attempt(link.apost, link, nil, "PUBLISH", topic, payload)
  else
    local words = { self.marks, describe(topic, payload), topic, payload }
    self:attempt(link.apost_script, link, nil, PUBLISH_MARKED, 0, words)
  end
end

--- What became of a message that nobody waited for.
---@param channel string  "": it was for a group
---@param err rille.RedisError|rille.RedisUnavailable|nil
function Pubsub:on_outcome(channel, err)
  if err then
    outside.drop(1, "lost", "a message that was sent may be lost: " .. err.message)
  else
    outside.drop_unheard(channel)
  end
end

-- Receiving

function Pubsub:take(topic, payload)
  local message, why = self.payload:decode(payload)
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. core.describe(why))
  elseif topic:sub(1, #self.topics) == self.topics then
    outside.deliver_group(topic:sub(#self.topics + 1), message)
  elseif topic == self.asking.name then
    self.asking:take(message)
  elseif topic == self.questions then
    if not self.ours[message.from] then
      self.asking:take(message)
    end
  else
    outside.deliver_or_drop(topic, message)
  end
end

--- Hear what is published, for as long as the link is open.
---@async
---@param link rille.redis.Link
function Pubsub:listen(link)
  local mark
  for kind, topic, payload in link.anext, link do
    if kind == "gap" then
      mark = nil
      if type(topic) == "number" then
        outside.drop(topic, "lost", "more was published than there is room for")
        layer.tell_members()
      end
    elseif topic == self.marks then
      mark = payload
    else
      local echo = mark and mark == describe(topic, payload)
      mark = nil
      if not echo then
        self:safely("take", topic, payload)
      end
    end
  end
end

--- Redis forgets us with our connections, once it has published what was sent.
---@async
function Pubsub:astop()
  for _, link in ipairs(self.links) do
    pcall(link.asettle, link) -- what is lost, is told
  end
  self:close()
end

return Pubsub
