--- The receiving half of the core layer: a worker's own key, which is emptied as messages come, and
--- those of channels that any process may receive from.
---
--- Whom a message is for stands in it: names of consumers, added to groups by Django, or the member
--- that stands for all of ours in a group (`names.lua`).

local Links = require("rille.layer.redis.links")
local Names = require("rille.layer.redis.names")
local clock = require("rille.models.time")
local core = require("rille.core")
local outside = require("rille.layer.outside")
local task = require("rille.task")

local layer = core.layer

local BLOCK = 5 -- seconds that a BZPOPMIN waits: a dead connection is noticed soon after
local BATCH = 256 -- messages taken at once when several wait

---@class rille.layer.redis.Receiver : rille.layer.redis.Links
---@field key string                       that is ours in Redis
---@field names rille.layer.redis.Names
---@field payload rille.layer.redis.Payload
---@field unregister async fun(self, groups: string[])  take our members out of them
local Receiver = Links:extend("Receiver")

---@param options rille.layer.Options
function Receiver:init(options)
  Links.init(self, options)
  self.forgetting = {} -- groups of which something is being removed
end

--- A message for one of ours, by the name that it was sent to. With a group it is none of those who
--- have it from there.
function Receiver:hand(channel, message, group)
  if channel == self.asking.name then
    self.asking:take(message)
    return
  elseif group and layer.is_member(group, channel) then
    return
  end
  outside.deliver_or_drop(channel, message)
end

--- A trace of ours that could not be removed when it should have been.
function Receiver:forget(group)
  if self.forgetting[group] then
    return
  end
  self.forgetting[group] = true
  outside.serve(function()
    pcall(self.unregister, self, { group })
    self.forgetting[group] = nil
    if not self.groups[group] then
      self.names:forget(group)
    end
  end)
end

--- For all of ours in a group. If there are none any more, nobody misses it.
function Receiver:hand_to_group(channel, message)
  local group = self.names:group_of(channel)
  if group and self.groups[group] then
    outside.deliver_group(group, message)
  elseif group then
    self:forget(group)
  end
end

--- Members of a group that a sender has sent to, with one message for our key. Who is among the
--- members for all has it from there.
function Receiver:hand_to_members(channels, message)
  if not channels[2] and self.names:group_of(channels[1]) then -- as a rille writes it
    return self:hand_to_group(channels[1], message)
  end
  local group
  for _, channel in ipairs(channels) do
    if Names.is_for_all(channel) then
      group = self.names:group_of(channel)
      self:hand_to_group(channel, message)
    else
      group = Names.marked(channel) or group
    end
  end
  for _, channel in ipairs(channels) do
    if not channel:find("![ghx]%.") then
      self:hand(channel, message, group)
    end
  end
end

function Receiver:take(bytes, score)
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
function Receiver:take_queued(link, key, bytes, score)
  local channel = key:sub(#self.settings.prefix + 1)
  local message, why = self.payload:decode(bytes)
  if not message then
    outside.drop(1, "malformed", "a message cannot be read: " .. core.describe(why))
    return
  end
  local delivered, _, malformed = outside.deliver(channel, message)
  if delivered == 0 and not malformed then
    link:acall("ZADD", key, score, bytes)
    link:acall("EXPIRE", key, self.settings.expiry)
    task.asleep(0.05)
  end
end

--- Wait for what comes, and take all that waits in our key with it, in one command.
---@async
---@return boolean  false: this Redis has no such command, or does not let us
function Receiver:take_many(link)
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
function Receiver:listen(link)
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

return Receiver
