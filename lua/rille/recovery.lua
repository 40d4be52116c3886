--- How a consumer comes back to a group that keeps its history: `Consumer:arecover`.

local core = require("rille.core")
local errors = require("rille.errors")
local layer = require("rille.layer")
local outside = require("rille.layer.outside")

local M = {}

--- In memory, or what the layer keeps for all processes.
local memory = {
  keeps = function(_, group)
    return core.layer.keeps(group)
  end,
  mark = function(_, group)
    return core.layer.mark(group)
  end,
  recover = function(_, ...)
    return core.layer.recover(...)
  end,
}

local function histories()
  return outside.histories or memory
end

---@class rille.Mark  a place in a group's history, as messages have it in `history`
---@field group string?
---@field epoch string    16 hexadecimal digits: another one, another life of the history
---@field offset integer  the last message that was got; 0 before the first

---@alias rille.Since
---| rille.Mark         what came last
---| string             the same as "EPOCH:OFFSET", for an event stream's ids
---| { last: integer }  a newcomer's: begin so many messages before the end

---@class rille.Recovery
---@field group string
---@field epoch string
---@field offset integer     where the group is now: this was got, or is what a gap ends with
---@field recovered boolean  it came back, and has got all it missed
---@field gap boolean        it came back, and what it missed is gone, or some of it
---@field missed integer     messages that it was given

--- What a client says of its place is a stranger's word: what is no mark was never one of ours, and
--- means a gap.
---@return string? epoch
---@return integer? offset
---@return integer last
---@return boolean came_back
local function read(since)
  if since == nil or since == core.null then
    return nil, nil, 0, false
  end
  local epoch, offset
  if type(since) == "string" then
    epoch, offset = since:match("^(%x+):(%d+)$")
    offset = tonumber(offset)
  elseif type(since) == "table" then
    local last = since.last
    if last ~= nil and since.epoch == nil then
      local sound = type(last) == "number" and last >= 0 and last <= 1e6
      return nil, nil, sound and math.floor(last) or 0, false
    end
    epoch, offset = since.epoch, since.offset
  end
  local sound = type(epoch) == "string"
    and #epoch == 16
    and not epoch:find("[^0-9a-f]")
    and epoch ~= ("0"):rep(16)
    and type(offset) == "number"
    and offset >= 0
    and offset <= 2 ^ 53
    and offset % 1 == 0
  if sound then
    return epoch, offset, 0, true
  end
  return "ffffffffffffffff", 2 ^ 53, 0, true
end

--- As if they came now. What a class answers itself goes to its method.
local function deliver(self, group, epoch, before, items)
  local own_send = getmetatable(self):defines("websocket_send") or not self.asend
  for i = 1, #items, 3 do
    local body, text, bytes = items[i], items[i + 1], items[i + 2]
    if (text or bytes) and not own_send then
      self:asend { text_data = text or nil, bytes_data = bytes or nil }
    else
      local message = layer.decode(body)
      message.history = { group = group, epoch = epoch, offset = before + (i + 2) / 3 }
      self:dispatch(message)
    end
  end
end

--- What came by the group before it was left for a recovery may wait in the mailbox still.
---@param self rille.Consumer
---@return boolean  it was given this message already
function M.has_seen(self, group, epoch, offset)
  local marks = rawget(self, "_marks")
  local mark = marks and marks[group]
  return mark and mark.epoch == epoch and offset <= mark.offset or false
end

local function check(group, options)
  if not histories():keeps(group) then
    local told = "group %q keeps no history (see groups of rille.app)"
    error(errors.Error(told:format(group)), 4)
  end
  for name, value in pairs(options or {}) do
    if name ~= "snapshot" or type(value) ~= "function" then
      error("arecover has the option snapshot, a function", 4)
    end
  end
end

--- The message at `offset` was delivered otherwise: it may be in the mailbox, too.
local function note_seen(self, group, epoch, offset)
  local marks = rawget(self, "_marks") or {}
  marks[group] = { epoch = epoch, offset = offset }
  self._marks = marks
end

--- One step, for the recovery that `turn` stands for.
local function step(self, turn, epoch, offset, last)
  local group = turn.group
  local turns = rawget(self, "_recovering")
  if not turns or turns[group] ~= turn then
    local told = "another recovery of group %q has begun"
    error(errors.Error(told:format(group)), 0)
  end
  local state, now_epoch, now_offset, was_member, items =
    histories():recover(group, self.channel_name, epoch, offset, last)
  if not state then
    error(errors.Closed("the connection is closed"), 0)
  end
  turn.was_member = turn.was_member or was_member
  return state, now_epoch, now_offset, items
end

--- Steps until it is a member. A step gives what is missing by now; the group's live messages reach
--- it only from the step on that finds nothing missing.
local function follow(self, turn, since, snapshot)
  local group = turn.group
  local epoch, offset, last, came_back = read(since)
  local result = { group = group, recovered = came_back, gap = false, missed = 0 }
  if snapshot and not epoch and last == 0 then
    epoch, offset = histories():mark(group)
    snapshot { group = group, epoch = epoch, offset = offset }
  end
  local state, items
  repeat
    state, epoch, offset, items = step(self, turn, epoch, offset, last)
    if state == "gap" then
      result.recovered, result.gap = false, came_back
      if snapshot then
        snapshot { group = group, epoch = epoch, offset = offset }
      end
    elseif state == "more" then
      result.missed = result.missed + #items / 3
      deliver(self, group, epoch, offset - #items / 3, items)
    end
  until state == "level"
  if turn.was_member then
    note_seen(self, group, epoch, offset)
  end
  if came_back then
    core.layer.note_recovery(result.recovered)
  end
  result.epoch, result.offset = epoch, offset
  return result
end

--- See `Consumer:arecover`. Of two for the same group at once the later goes on.
---@async
---@param self rille.Consumer
---@param group string
---@param since rille.Since?
---@param options { snapshot: (async fun(mark: rille.Mark))? }?
---@return rille.Recovery
function M.arecover(self, group, since, options)
  check(group, options)
  local turn = { group = group }
  self._recovering = rawget(self, "_recovering") or {}
  self._recovering[group] = turn
  local result = follow(self, turn, since, options and options.snapshot)
  self._recovering[group] = nil
  if next(self._recovering) == nil then
    self._recovering = nil
  end
  return result
end

return M
