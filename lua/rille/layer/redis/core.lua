--- The layer of channels_redis's core: a sorted set for each process and for each group.
---
--- A worker has one key of its own, `<prefix>specific.<its number>!`, which it empties as messages
--- come (`receiver.lua`), and in each group that has members here one member,
--- `specific.<its number>!g.<group>`, which stands for all of them (`names.lua`): who sends to a
--- group sends one message to each worker, and a group of ten thousand consumers is one line in
--- Redis. The names are such as channels_redis makes itself; a Django process pushes to them like
--- to any other, and may add a consumer's own `channel_name` to groups, and take it out again.
---
--- Members of the sender's own process have had a message through memory, so a sender leaves its
--- own workers out. It remembers a group's members (`plans.lua`). Few workers are pushed to at
--- once, and Redis tells behind that who the members are: who has come is told then, and from who
--- has gone it is taken back. Many, or those that Django has added by name, are known by something
--- that Redis compares before it pushes, in one step (`scripts.lua`), or it tells who they are now.
---
--- Scores are the time of sending, and those of one worker always grow: what one sender sends to
--- one receiver stays in order.

local Asking = require("rille.layer.asking")
local Names = require("rille.layer.redis.names")
local Payload = require("rille.layer.redis.payload")
local Plans = require("rille.layer.redis.plans")
local Receiver = require("rille.layer.redis.receiver")
local clock = require("rille.models.time")
local core = require("rille.core")
local errors = require("rille.errors")
local outside = require("rille.layer.outside")
local ring = require("rille.layer.redis.ring")
local scripts = require("rille.layer.redis.scripts")
local settings_of = require("rille.layer.redis.settings")
local task = require("rille.task")

local REGISTER = 500 -- groups that are told of in one go
local TRIES = 4 -- to catch up with a group whose members keep changing
local RENEW = 3600 -- seconds at most between renewals of memberships
local CROWDED = 1 -- seconds that Redis counts before it takes more, where many wait

---@class rille.layer.redis.Core : rille.layer.redis.Receiver
local Core = Receiver:extend("Core")

Core.queues = true

---@param options rille.layer.Options
function Core:init(options)
  Receiver.init(self, options)
  self.capacity = settings_of.capacities(self.settings)
  self.last_score = 0
  self.turn = 0 -- of the servers, for channels that any of them may have
end

function Core:prepare()
  local settings = self.settings
  self.key = settings.prefix .. self.own
  self.names = Names.new(self.own)
  self.payload = Payload.new {
    symmetric_encryption_keys = settings.symmetric_encryption_keys,
    expiry = settings.expiry,
    unique = self.own:match("(" .. ("%x"):rep(16) .. ")"),
  }
  self.plans = Plans.new {
    own = self.own,
    ours = self.ours,
    key = function(name)
      return settings.prefix .. name
    end,
    group_key = function(group)
      return self:group_key(group)
    end,
    place = function(name)
      return self:place(name)
    end,
    capacity = self.capacity,
  }
  outside.serve(function()
    self:renew()
  end)
end

function Core:group_key(group)
  return self.settings.prefix .. ":group:" .. group
end

function Core:place(name)
  return ring.place(name, #self.links)
end

-- Groups

local function check_replies(replies)
  for _, reply in ipairs(replies) do
    if errors.is_error(reply, errors.RedisError) then
      error(reply, 0)
    end
  end
end

--- For each of these groups the commands that `add` writes, in few round trips.
function Core:for_groups(groups, add)
  local batches = {}
  for _, group in ipairs(groups) do
    local place = self:place(group)
    local commands = batches[place] or {}
    batches[place] = commands
    add(commands, self:group_key(group), group)
    if #commands >= REGISTER then
      check_replies(self.links[place]:apipeline(commands))
      batches[place] = nil
    end
  end
  for place, commands in pairs(batches) do
    check_replies(self.links[place]:apipeline(commands))
  end
end

--- The highest score of a membership that has lapsed.
function Core:lapsed()
  return math.floor(clock.now()) - self.settings.group_expiry
end

--- Whose membership has lapsed goes, too: who sends to a group passes over it.
function Core:register(groups)
  local now, lifetime = ("%.6f"):format(clock.now()), self.settings.group_expiry
  local lapsed = self:lapsed()
  self:for_groups(groups, function(commands, key, group)
    commands[#commands + 1] = { "ZREMRANGEBYSCORE", key, 0, lapsed }
    commands[#commands + 1] = { "ZADD", key, now, self.names:member(group) }
    commands[#commands + 1] = { "EXPIRE", key, lifetime }
  end)
end

function Core:unregister(groups)
  self:for_groups(groups, function(commands, key, group)
    commands[#commands + 1] = { "ZREM", key, self.names:member(group) }
  end)
end

--- Have whoever waits in Redis look again at what to wait for.
function Core:wake_ears()
  local payload = self.payload:encode({ type = "rille.wake" }, { Names.mark(self.own, "") })
  for i = 1, #self.links do
    self.links[i]:acall("ZADD", self.key, self:score(), payload)
  end
end

---@async
---@param changes rille.layer.Changes
function Core:afollow(changes)
  local left, closed = self:apply(changes)
  for _, group in ipairs(changes.joined) do
    self.names:member(group)
  end
  self:register(changes.joined)
  self:unregister(left)
  for _, group in ipairs(left) do
    self.names:forget(group)
  end
  if #changes.opened + #closed > 0 then
    self:wake_ears()
  end
end

--- Memberships lapse unless they are renewed.
---@async
function Core:renew()
  while true do
    task.asleep(math.min(self.settings.group_expiry / 3, RENEW))
    local groups = {}
    for group in pairs(self.groups) do
      groups[#groups + 1] = group
    end
    if outside.is_up() then
      local ok, err = pcall(self.register, self, groups)
      if not ok and not errors.is_error(err, errors.RedisError) then
        error(err, 0)
      end
    end
  end
end

--- Put a channel of another process into a group.
---@async
---@param group string
---@param channel string
function Core:agroup_add(group, channel)
  if self.asking:aplace("join", group, channel) then
    return
  end
  local key = self:group_key(group)
  self:attempt(function()
    check_replies(self.links[self:place(group)]:apipeline {
      { "ZADD", key, ("%.6f"):format(clock.now()), channel },
      { "EXPIRE", key, self.settings.group_expiry },
    })
  end)
end

---@async
---@param group string
---@param channel string
function Core:agroup_discard(group, channel)
  self.asking:aplace("leave", group, channel) -- and if Django has added it:
  self:attempt(function()
    self.links[self:place(group)]:acall("ZREM", self:group_key(group), channel)
  end)
end

--- Members in other processes: those that are named, and those that rille's workers tell of.
---@async
---@param group string
---@return string[]
function Core:agroup_members(group)
  local listed = self:attempt(function()
    local key, since = self:group_key(group), "(" .. self:lapsed()
    return self.links[self:place(group)]:acall("ZRANGEBYSCORE", key, since, "+inf")
  end)
  local workers, names = {}, {}
  for _, channel in ipairs(listed) do
    local prefix = Names.shared(channel)
    if Names.is_for_all(channel) then
      workers[#workers + 1] = not self.ours[prefix] and prefix or nil
    elseif not self.ours[prefix] then
      names[#names + 1] = channel
    end
  end
  local told = self.asking:amembers(group, function(message)
    for _, prefix in ipairs(workers) do
      self:asend(Asking.channel(prefix), message)
    end
    return #workers
  end)
  for _, name in ipairs(told) do
    names[#names + 1] = name
  end
  return names
end

-- Sending

--- A time that no other message of ours has.
function Core:score()
  local now = clock.now()
  if now <= self.last_score then
    now = self.last_score + 1e-6
  end
  self.last_score = now
  return ("%.6f"):format(now)
end

--- Write what every push begins with behind its keys: the score, what is too old to wait, how long
--- a key may live. -> how many words there are now
function Core:begin(words)
  local n, expiry = #words, self.settings.expiry
  words[n + 1], words[n + 2] = self:score(), math.floor(clock.now()) - expiry
  words[n + 3] = expiry
  return n + 3
end

--- To a channel of another process, or to one that any process may receive from.
---@async
---@param channel string
---@param message table
function Core:asend(channel, message)
  local name = Names.shared(channel)
  local specific = name:sub(-1) == "!"
  local place = specific and self:place(name) or self.turn % #self.links + 1
  self.turn = specific and self.turn or place
  local payload = self.payload:encode(message, specific and channel or nil)
  local words = { self.settings.prefix .. name }
  local n = self:begin(words)
  words[n + 1], words[n + 2] = payload, self.capacity(channel)
  local link = self.links[place]
  local full = self:attempt(link.arun, link, scripts.PUSH, 1, words)
  if full then
    outside.drop(1, "full", ("channel %s is full"):format(channel))
  end
end

--- Write the push of a batch behind its keys, and what there may be.
function Core:fill(words, batch, message)
  local n = self:begin(words)
  for i, members in ipairs(batch.members) do
    words[n + 1], words[n + 2] = self.payload:encode(message, members), batch.capacities[i]
    n = n + 2
  end
  return words
end

--- -> how many of them had no room
function Core:push(batch, message)
  local words = self:fill({ unpack(batch.keys) }, batch, message)
  local full = self.links[batch.place]:arun(scripts.PUSH, #batch.keys, words)
  return full and #full or 0
end

local function same(names, others)
  for i = 1, math.max(#names, #others) do
    if names[i] ~= others[i] then
      return false
    end
  end
  return true
end

--- Which of these names are not among others; nil if both are the same, in the same order.
local function missing(names, others)
  if same(names, others) then
    return nil
  end
  local absent = {}
  for _, name in ipairs(names) do
    absent[name] = true
  end
  for _, name in ipairs(others) do
    absent[name] = nil
  end
  return absent
end

--- Push with plain commands, which cost Redis a third of what a script does, and ask behind them
--- who the members are. What should not have been pushed is taken back, if it still waits there.
---@param plan rille.layer.redis.Plan  a plain one
---@return boolean agreed  the members are those of the plan
---@return integer full    of the plan's, those that had no room
function Core:push_plainly(link, plan, message)
  local batch, commands, full = plan.first, {}, 0
  local score, expiry = self:score(), self.settings.expiry
  for i, key in ipairs(batch.keys) do
    local payload = self.payload:encode(message, batch.members[i])
    commands[3 * i - 2] = { "ZADD", key, score, payload }
    commands[3 * i - 1] = { "EXPIRE", key, expiry }
    commands[3 * i] = { "ZCARD", key }
  end
  commands[#commands + 1] = { "ZRANGE", plan.asked[1], "0", "-1" }
  local replies = link:apipeline(commands)
  check_replies(replies)
  local gone = missing(plan.names, replies[#replies])
  for i, key in ipairs(batch.keys) do
    local waiting, capacity = replies[3 * i], batch.capacities[i]
    local has_gone = gone and gone[batch.members[i][1]]
    if 2 * waiting > capacity then
      plan.crowded = core.now() + CROWDED
    end
    if has_gone or waiting > capacity then
      local taken = link:acall("ZREM", key, commands[3 * i - 2][4])
      full = full + (has_gone and 0 or taken)
    end
  end
  return gone == nil, full
end

--- Push to those members whose messages the group's server holds, and learn of the others.
---@return rille.layer.redis.Plan
---@return integer full  members that had no room
function Core:agree(group, message)
  local link, lapsed = self.links[self:place(group)], self:lapsed()
  local plan, full, before = self.plans:known(group), 0, nil
  local lasts = plan.oldest > lapsed -- else somebody's membership has lapsed
  local known_by = lasts and plan.known_by or "?"
  if lasts and plan.plain and plan.crowded < core.now() then
    local agreed
    agreed, full = self:push_plainly(link, plan, message)
    if agreed then
      return plan, full
    end
    before, plan, known_by = plan, self.plans:make("", {}, group), "?"
  end
  for _ = 1, TRIES do
    local words = { unpack(plan.asked) }
    local n = #words
    words[n + 1], words[n + 2] = known_by, lapsed
    local reply = link:arun(scripts.GROUP_SEND, n, self:fill(words, plan.first, message))
    if not reply or type(reply[1]) == "number" then
      return plan, full + (reply and #reply or 0)
    end
    known_by = reply[1]
    plan = self.plans:remember(group, self.plans:make(known_by, reply[2], group))
    plan = before and self.plans:make(known_by, reply[2], group, before) or plan
  end
  return plan, full + self:push(plan.first, message)
end

function Core:push_to_group(group, message)
  local plan, full = self:agree(group, message)
  for _, batch in ipairs(plan.rest) do
    full = full + self:push(batch, message)
  end
  return plan, full
end

--- To the members that a group has in other processes, and to those of ours that only Redis knows.
---@async
---@param group string
---@param message table
function Core:agroup_send(group, message)
  local plan, full = self:attempt(self.push_to_group, self, group, message)
  if full > 0 then
    outside.drop(full, "full", ("group %s has processes that are full"):format(group))
  end
  for _, channel in ipairs(plan.own) do
    self:hand(channel, message, group)
  end
end

-- The end

--- Nothing of ours stays: neither memberships nor what waits for us.
---@async
function Core:astop()
  self.stopping = true
  local groups = {}
  for group in pairs(self.groups) do
    groups[#groups + 1] = group
  end
  self:unregister(groups)
  for i, ear in ipairs(self.ears) do
    ear:close()
    self.links[i]:acall("DEL", self.key)
  end
  self:close()
end

return Core
