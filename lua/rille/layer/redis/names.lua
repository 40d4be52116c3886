--- Names of the core layer: which of them share a key, and who stands for whom.
---
--- channels_redis gives a process a key of its own, `specific.<its number>!`, and writes what is
--- behind the "!" into the message. Of a worker's members of a group only one is in Redis, and
--- stands for all: `specific.<its number>!g.<group>`.

local ring = require("rille.layer.redis.ring")

local LONGEST = 99 -- bytes of a channel's name

---@class rille.layer.redis.Names
---@field own string  "specific.<32 hexadecimal digits>!"
---@field private _groups table<string, string>  of members that stand for ours: which
local Names = {}
Names.__index = Names

---@param own string
---@return rille.layer.redis.Names
function Names.new(own)
  return setmetatable({ own = own, _groups = {} }, Names)
end

--- The key of a channel, without the layer's prefix: what all channels of one process share.
---@param channel string
---@return string
function Names.shared(channel)
  return channel:match("^[^!]*!") or channel
end

--- Does a name stand for all members of a group on some worker?
---@param channel string
---@return boolean
function Names.is_for_all(channel)
  return channel:find("![gh]%.") ~= nil
end

--- A name that stands for nobody: it says which group those behind it were members of, added by
--- name.
---@param own string  of the worker that has them
---@param group string
---@return string
function Names.mark(own, group)
  return own .. "x." .. group
end

--- The group that such a name says.
---@param channel string
---@return string?
function Names.marked(channel)
  return channel:match("!x%.(.*)$")
end

--- The member that stands for ours in a group.
---@param group string
---@return string
function Names:member(group)
  local name = self.own .. "g." .. group
  if #name > LONGEST then
    name = self.own .. ("h.%d.%08x"):format(#group, ring.crc32(group) % 2 ^ 32)
  end
  self._groups[name] = group
  return name
end

--- The group that a member of ours stands for.
---@param channel string
---@return string?
function Names:group_of(channel)
  return self._groups[channel] or channel:match("^[^!]*!g%.(.*)$")
end

--- We have nobody in that group any more.
---@param group string
function Names:forget(group)
  self._groups[self:member(group)] = nil
end

return Names
