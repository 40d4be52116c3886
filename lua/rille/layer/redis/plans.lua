--- Who is to be sent what, for the members of a group: worked out once for as long as they stay.
---
--- A plan belongs to a list of members, and keeps what Redis knows these by (`scripts.lua`). There
--- is one payload for those of one process, who share a key; keys of one server go in batches.

local Names = require("rille.layer.redis.names")

local KEYS = 500 -- that one script is given at most
local FEW = 32 -- members that are told with plain commands
local MOST = 4096 -- plans that are remembered, twice over

---@class rille.layer.redis.Batch
---@field place integer          of the server
---@field keys string[]          of processes
---@field members string[][]     of each: the names that are told
---@field capacities integer[]   of each: messages that may wait

---@class rille.layer.redis.Plan
---@field known_by string
---@field oldest number                   the score of the membership that lapses first
---@field first rille.layer.redis.Batch   what goes along with the question who the members are: of
---                                        the group's own server, and maybe of nobody
---@field asked string[]                  the group's key, and those of `first`
---@field rest rille.layer.redis.Batch[]  what goes afterwards
---@field own string[]                    members of this worker that Redis alone knows of
---@field names string[]                  the members, as Redis lists them
---@field plain boolean                   `first` is all there is, and may go before anybody asks
---                                        who the members are: to few workers, who know which of
---                                        theirs those are
---@field crowded number                  until then (`core.now()`) many messages wait with some

---@class rille.layer.redis.Plans
---@field own string                 what names of this worker's channels begin with
---@field ours table<string, true>   likewise, of all workers of the process
---@field key fun(name: string): string            in Redis, of a channel
---@field group_key fun(group: string): string
---@field place fun(name: string): integer         which of the servers has it
---@field capacity fun(channel: string): integer
local Plans = {}
Plans.__index = Plans

---@param given rille.layer.redis.Plans
---@return rille.layer.redis.Plans
function Plans.new(given)
  local self = setmetatable(given, Plans)
  self.recent, self.older, self.count = {}, {}, 0
  return self
end

local function new_batch(place)
  return { place = place, keys = {}, members = {}, capacities = {} }
end

--- Members by the key that they share, and the batches of keys.
local function add(self, batches, filling, channel, members)
  local name = Names.shared(channel)
  local place = self.place(name)
  local batch = filling[place]
  if not batch or #batch.keys == KEYS then
    batch = new_batch(place)
    filling[place], batches[#batches + 1] = batch, batch
  end
  local at = #batch.keys + 1
  batch.keys[at], batch.members[at] = self.key(name), members
  batch.capacities[at] = self.capacity(channel)
end

--- Who has had a message: ours from memory, and those that it was pushed to before.
local function told_of(self, before)
  local told = {}
  for name in pairs(self.ours) do
    told[name] = true
  end
  for _, channel in ipairs(before and before.names or {}) do
    told[Names.shared(channel)] = true
  end
  return told
end

--- Of our own only those are told that Redis alone knows to be members, added by name; on another
--- worker they are named behind a mark, so that only who is no member there is told.
---@param known_by string
---@param members string[]  a name, its score, and so on
---@param group string
---@param before rille.layer.redis.Plan?  a plain one that a message went by already: who it reached
---                                       is left out
---@return rille.layer.redis.Plan
function Plans:make(known_by, members, group, before)
  local batches, filling, by_key, own, names = {}, {}, {}, {}, {}
  local oldest, plain, workers_told = math.huge, true, told_of(self, before)
  for i = 1, #members, 2 do
    local channel = members[i]
    local name, for_all = Names.shared(channel), Names.is_for_all(channel)
    names[#names + 1] = channel
    plain = plain and for_all
    oldest = math.min(oldest, tonumber(members[i + 1]))
    local told, sharing = workers_told[name] and for_all, by_key[name]
    if not told and name == self.own then
      own[#own + 1] = channel
    elseif not told and sharing then
      sharing[#sharing + 1] = channel
    elseif not told then
      by_key[name] = workers_told[name] and { Names.mark(name, group), channel } or { channel }
      add(self, batches, filling, channel, by_key[name])
    end
  end
  local place, first, rest = self.place(group), nil, {}
  for _, batch in ipairs(batches) do
    if not first and batch.place == place then
      first = batch
    else
      rest[#rest + 1] = batch
    end
  end
  first = first or new_batch(place)
  local asked = { self.group_key(group), unpack(first.keys) }
  local plan = { known_by = known_by, oldest = oldest, names = names, crowded = 0 }
  plan.first, plan.asked, plan.rest, plan.own = first, asked, rest, own
  plan.plain = plain and #rest == 0 and #first.keys > 0 and #names <= FEW
  return plan
end

--- Remember a plan. When there are too many, those that were not asked for since the last time are
--- forgotten.
---@param group string
---@param plan rille.layer.redis.Plan
---@return rille.layer.redis.Plan
function Plans:remember(group, plan)
  if self.count >= MOST then
    self.older, self.recent, self.count = self.recent, {}, 0
  end
  self.count = self.count + (self.recent[group] and 0 or 1)
  self.recent[group] = plan
  return plan
end

--- The last one of a group; at first one of nobody.
---@param group string
---@return rille.layer.redis.Plan
function Plans:known(group)
  return self.recent[group] or self:remember(group, self.older[group] or self:make("", {}, group))
end

return Plans
