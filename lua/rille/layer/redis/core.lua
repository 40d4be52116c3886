--- The layer of channels_redis's core: a sorted set for each process and for each group.
---
--- A worker has one key of its own, `<prefix>specific.<its number>!`, which it empties as messages
--- come, and in each group that has members here one member, `specific.<its number>!g.<group>`,
--- which stands for all of them: who sends to a group sends one message to each worker, and a group
--- of ten thousand consumers is one line in Redis. The names are such as channels_redis makes
--- itself; a Django process pushes to them like to any other, and may add a consumer's own
--- `channel_name` to groups, and take it out again.
---
--- Members of the sender's own process have had a message through memory, so a sender leaves its
--- own workers out. It remembers a group's members and the digest of their names: Redis compares
--- and pushes in one step (`scripts.lua`), or tells who they are now.
---
--- Scores are the time of sending, and those of one worker always grow: what one sender sends to
--- one receiver stays in order.

local Asking = require("rille.layer.asking")
local Links = require("rille.layer.redis.links")
local Payload = require("rille.layer.redis.payload")
local clock = require("rille.models.time")
local core = require("rille.core")
local errors = require("rille.errors")
local outside = require("rille.layer.outside")
local ring = require("rille.layer.redis.ring")
local scripts = require("rille.layer.redis.scripts")
local settings_of = require("rille.layer.redis.settings")
local task = require("rille.task")

local layer = core.layer

local BLOCK = 5 -- seconds that a BZPOPMIN waits: a dead connection is noticed soon after
local BATCH = 256 -- messages taken at once when several wait
local REGISTER = 500 -- groups that are told of in one go
local KEYS = 500 -- that one script is given at most
local TRIES = 4 -- to catch up with a group whose members keep changing
local PLANS = 4096 -- groups whose members are remembered, twice over
local LONGEST = 99 -- bytes of a channel's name
local RENEW = 3600 -- seconds at most between renewals of memberships

---@class rille.layer.redis.Core : rille.layer.redis.Links
local Core = Links:extend("Core")

Core.queues = true

---@param options rille.layer.Options
function Core:init(options)
  Links.init(self, options)
  self.capacity = settings_of.capacities(self.settings)
  self.named = {} -- names of such members that do not tell their group, to the group
  self.forgetting = {} -- groups of which something is being removed
  self.plans, self.older_plans, self.planned = {}, {}, 0
  self.last_score = 0
  self.turn = 0 -- of the servers, for channels that any of them may have
end

function Core:prepare()
  local settings = self.settings
  self.key = settings.prefix .. self.own
  self.payload = Payload.new {
    symmetric_encryption_keys = settings.symmetric_encryption_keys,
    expiry = settings.expiry,
    unique = self.own:match("(" .. ("%x"):rep(16) .. ")"),
  }
  outside.serve(function()
    self:renew()
  end)
end

-- Names

--- The key of a channel, without the layer's prefix: what all channels of one process share.
local function shared_name(channel)
  return channel:match("^[^!]*!") or channel
end

--- The member that stands for ours in a group.
function Core:member(group)
  local name = self.own .. "g." .. group
  if #name > LONGEST then
    name = self.own .. ("h.%d.%08x"):format(#group, ring.crc32(group) % 2 ^ 32)
    self.named[name] = group
  end
  return name
end

--- Does a name stand for all members of a group on some worker?
local function is_member_of_all(channel)
  return channel:find("![gh]%.") ~= nil
end

--- The group that a member of ours stands for.
function Core:group_of(channel)
  return channel:match("^[^!]*!g%.(.*)$") or self.named[channel]
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

function Core:register(groups)
  local now, lifetime = ("%.6f"):format(clock.now()), self.settings.group_expiry
  self:for_groups(groups, function(commands, key, group)
    commands[#commands + 1] = { "ZADD", key, now, self:member(group) }
    commands[#commands + 1] = { "EXPIRE", key, lifetime }
  end)
end

function Core:unregister(groups)
  self:for_groups(groups, function(commands, key, group)
    commands[#commands + 1] = { "ZREM", key, self:member(group) }
  end)
end

---@async
---@param changes rille.layer.Changes
function Core:afollow(changes)
  local left, closed = self:apply(changes)
  for _, group in ipairs(changes.joined) do
    self:member(group)
  end
  self:register(changes.joined)
  self:unregister(left)
  for _, group in ipairs(left) do
    self.named[self:member(group)] = nil
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
    return self.links[self:place(group)]:acall("ZRANGE", self:group_key(group), 0, -1)
  end)
  local workers, names = {}, {}
  for _, channel in ipairs(listed) do
    local prefix = shared_name(channel)
    if is_member_of_all(channel) then
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

--- Write what every push ends with: the score, what is too old to wait, how long the key may live.
function Core:finish(arguments)
  local n, expiry = #arguments, self.settings.expiry
  arguments[n + 1], arguments[n + 2] = self:score(), math.floor(clock.now()) - expiry
  arguments[n + 3] = expiry
  return arguments
end

--- To a channel of another process, or to one that any process may receive from.
---@async
---@param channel string
---@param message table
function Core:asend(channel, message)
  local name = shared_name(channel)
  local specific = name:sub(-1) == "!"
  local place = specific and self:place(name) or self.turn % #self.links + 1
  self.turn = specific and self.turn or place
  local payload = self.payload:encode(message, specific and channel or nil)
  local keys = { self.settings.prefix .. name }
  local arguments = self:finish { payload, self.capacity(channel) }
  local full = self:attempt(function()
    return self.links[place]:aeval(scripts.PUSH, keys, unpack(arguments))
  end)
  if #full > 0 then
    outside.drop(1, "full", ("channel %s is full"):format(channel))
  end
end

local NOBODY = { digest = "", batches = {}, own = {} }

--- Who is to be sent what, for the members of a group. Those of one process share a key. Of our own
--- only those are told that Redis alone knows to be members, added by name; on another worker they
--- are named behind the member for all, marked so that only who is not among these is told.
function Core:plan(digest, names, group)
  local plan = { digest = digest, batches = {}, own = {} }
  local by_key, filling = {}, {}
  for _, channel in ipairs(names) do
    local name = shared_name(channel)
    local members = by_key[name]
    local told = self.ours[name] and is_member_of_all(channel)
    if not told and name == self.own then
      plan.own[#plan.own + 1] = channel
    elseif not told and members then
      members[#members + 1] = channel
    elseif not told then
      local place = self:place(name)
      local batch = filling[place]
      if not batch or #batch.keys == KEYS then
        batch = { place = place, keys = {}, members = {}, capacities = {} }
        filling[place] = batch
        plan.batches[#plan.batches + 1] = batch
      end
      local at = #batch.keys + 1
      by_key[name] = self.ours[name] and { name .. "x." .. group, channel } or { channel }
      batch.keys[at] = self.settings.prefix .. name
      batch.members[at] = by_key[name]
      batch.capacities[at] = self.capacity(channel)
    end
  end
  return plan
end

--- Remember a plan. When there are too many, those that were not asked for since the last time are
--- forgotten.
function Core:remember(group, plan)
  if self.planned >= PLANS then
    self.older_plans, self.plans, self.planned = self.plans, {}, 0
  end
  self.planned = self.planned + (self.plans[group] and 0 or 1)
  self.plans[group] = plan
end

function Core:known(group)
  local plan = self.plans[group]
  if not plan then
    plan = self.older_plans[group] or NOBODY
    self:remember(group, plan)
  end
  return plan
end

--- Write a batch behind what the arguments have already.
function Core:fill(arguments, batch, message)
  local n, count = #arguments, #batch.keys
  for i, members in ipairs(batch.members) do
    arguments[n + i] = self.payload:encode(message, members)
  end
  for i, capacity in ipairs(batch.capacities) do
    arguments[n + count + i] = capacity
  end
  return self:finish(arguments)
end

local EMPTY = { keys = {}, members = {}, capacities = {} }

--- The batch that goes along with the question who the members are: of the group's own server.
local function companion(plan, place)
  for i, batch in ipairs(plan.batches) do
    if batch.place == place then
      return batch, i
    end
  end
  return EMPTY
end

--- Push to those members whose messages the group's server holds, and learn of the others.
---@return table plan
---@return integer full     members that had no room
---@return integer? pushed  the number of the batch that is done
function Core:agree(group, message)
  local place = self:place(group)
  local plan = self:known(group)
  for _ = 1, TRIES do
    local batch, number = companion(plan, place)
    local keys = { self:group_key(group), unpack(batch.keys) }
    local lapsed = math.floor(clock.now()) - self.settings.group_expiry
    local arguments = self:fill({ lapsed, plan.digest }, batch, message)
    local reply = self.links[place]:aeval(scripts.GROUP_SEND, keys, unpack(arguments))
    if reply[1] == "" then
      return plan, #reply[2], number
    end
    plan = self:plan(reply[1], reply[2], group)
    self:remember(group, plan)
  end
  return plan, 0
end

function Core:push_to_group(group, message)
  local plan, full, pushed = self:agree(group, message)
  for i, batch in ipairs(plan.batches) do
    if i ~= pushed then
      local arguments = self:fill({}, batch, message)
      full = full + #self.links[batch.place]:aeval(scripts.PUSH, batch.keys, unpack(arguments))
    end
  end
  return plan, full
end

--- To the members that a group has in other processes, and to those of ours that only Redis knows.
---@async
---@param group string
---@param message table
function Core:agroup_send(group, message)
  local plan, full = self:attempt(function()
    return self:push_to_group(group, message)
  end)
  if full > 0 then
    outside.drop(full, "full", ("group %s has processes that are full"):format(group))
  end
  for _, channel in ipairs(plan.own) do
    self:hand(channel, message, group)
  end
end

-- Receiving

--- A message for one of ours, by the name that it was sent to. With a group it is none of those who
--- have it from there.
function Core:hand(channel, message, group)
  if channel == self.asking.name then
    self.asking:take(message)
    return
  elseif group and layer.is_member(group, channel) then
    return
  end
  local delivered, dropped = outside.deliver(channel, message)
  if delivered + dropped == 0 then
    outside.drop(1, "unheard", ("nobody has the channel %s"):format(channel))
  end
end

--- A trace of ours that could not be removed when it should have been.
function Core:forget(group)
  if self.forgetting[group] then
    return
  end
  self.forgetting[group] = true
  outside.serve(function()
    pcall(self.unregister, self, { group })
    self.forgetting[group] = nil
  end)
end

--- For all of ours in a group.
function Core:hand_to_group(channel, message)
  local group = self:group_of(channel)
  if group and self.groups[group] then
    outside.deliver_group(group, message)
    return
  end
  outside.drop(1, "unheard", ("nobody here is in the group of %s any more"):format(channel))
  if group then
    self:forget(group)
  end
end

--- Members of a group that a sender has sent to, with one message for our key. Who is among the
--- members for all has it from there.
function Core:hand_to_members(channels, message)
  local group
  for _, channel in ipairs(channels) do
    if is_member_of_all(channel) then
      group = self:group_of(channel)
      self:hand_to_group(channel, message)
    else
      group = channel:match("!x%.(.*)$") or group
    end
  end
  for _, channel in ipairs(channels) do
    if not channel:find("![ghx]%.") then
      self:hand(channel, message, group)
    end
  end
end

function Core:take(bytes, score)
  if clock.now() - tonumber(score) > self.settings.expiry then
    outside.drop(1, "expired", "a message has waited longer than expiry")
    return
  end
  local message, address = self.payload:decode(bytes)
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. core.describe(address))
  elseif type(address) == "table" then
    self:hand_to_members(address, message)
  elseif type(address) == "string" then
    self:hand_to_members({ address }, message)
  else
    outside.drop(1, "malformed", "a message does not say whom it is for")
  end
end

--- What came for a channel without "!". When there is no room for it here it goes back to where it
--- was, for whoever has.
function Core:take_queued(link, key, bytes, score)
  local channel = key:sub(#self.settings.prefix + 1)
  local message, why = self.payload:decode(bytes)
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. core.describe(why))
    return
  end
  local delivered = outside.deliver(channel, message)
  if delivered == 0 then
    link:acall("ZADD", key, score, bytes)
    link:acall("EXPIRE", key, self.settings.expiry)
    task.asleep(0.05)
  end
end

--- Have whoever waits in Redis look again at what to wait for.
function Core:wake_ears()
  local payload = self.payload:encode({ type = "rille.wake" }, { self.own .. "x." })
  for i = 1, #self.links do
    self.links[i]:acall("ZADD", self.key, self:score(), payload)
  end
end

--- Wait for what comes, and take all that waits in our key with it, in one command.
---@async
---@return boolean  false: this Redis has no such command, or does not let us
function Core:take_many(link)
  local ok, popped = pcall(
    link.ablock, link, BLOCK, "BZMPOP", BLOCK, 1, self.key, "MIN", "COUNT", BATCH
  )
  if ok then
    for _, pair in ipairs(popped and popped[2] or {}) do
      self:safely("take", pair[1], pair[2])
    end
  elseif popped.code then
    return false
  else
    error(popped, 0)
  end
  return true
end

--- Empty our key as messages come, and take turns with others at what anybody may receive.
---@async
---@param link rille.redis.Link
function Core:listen(link)
  local takes_many = true -- since version 7
  while not self.stopping do
    while takes_many and not next(self.channels) and not self.stopping do
      takes_many = self:take_many(link)
    end
    local keys = { self.key }
    for channel in pairs(self.channels) do
      keys[#keys + 1] = self.settings.prefix .. channel
    end
    keys[#keys + 1] = BLOCK
    local popped = link:ablock(BLOCK, "BZPOPMIN", unpack(keys))
    if popped and popped[1] == self.key then
      self:safely("take", popped[2], popped[3])
      repeat
        local more = link:acall("ZPOPMIN", self.key, BATCH)
        for i = 1, #more, 2 do
          self:safely("take", more[i], more[i + 1])
        end
      until #more < 2 * BATCH
    elseif popped then
      self:take_queued(link, popped[1], popped[2], popped[3])
    end
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
