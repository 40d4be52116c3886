--- Who is in a group.
---
---     function Room:connect()
---       self:agroup_add("room.lobby")
---       rille.presence:atrack("room.lobby", self.user, { since = os.time() })
---       self:asend_json { type = "people", people = rille.presence:alist("room.lobby") }
---     end
---
---     function Room:presence_join(event)  -- likewise presence_update and presence_leave
---       self:asend_json { type = "presence", changes = event.changes }
---     end
---
--- A key (a user, say) is present from its first connection to its last, and then lingers for a
--- while: who comes back in that time has not been away. Members of the group are told of changes,
--- those of a turn in one message.

local buffer = require("string.buffer")
local core = require("rille.core")
local errors = require("rille.errors")
local groups = require("rille.groups")
local layer = require("rille.layer")
local task = require("rille.task")

local M = {}

---@type rille.PresenceRule[]  of the app that serves
M.rules = {}

local DEFAULT = { linger = 10, events = true }
local MOST_META = 4096 -- bytes, encoded

--- Where it is kept: in memory, or what has methods like it, which wait.
---@type rille.layer.Presences
M.store = {
  encode = function(meta)
    return buffer.encode { meta }
  end,
  decode = function(bytes)
    return buffer.decode(bytes)[1]
  end,
}
for name, fn in pairs(core.presence) do
  M.store[name] = function(_, ...)
    return fn(...)
  end
end

---@class rille.PresenceChange
---@field event "join"|"update"|"leave"
---@field key string
---@field metas any[]  what each connection of the key says of itself; none when it leaves
---@field seq number   of two changes of a key the one with the greater number counts

---@class rille.PresenceEvent  what `presence_join(event)` and so on get
---@field type "presence.join"|"presence.update"|"presence.leave"
---@field group string
---@field changes rille.PresenceChange[]

local function settings_of(group)
  return groups.find(M.rules, group) or DEFAULT
end

local function decode(people)
  local metas = {}
  for i = 2, #people, 2 do
    metas[#metas + 1] = M.store.decode(people[i])
  end
  return metas
end

-- Telling

---@type table<string, rille.PresenceChange[]>  group to changes of this turn
local untold = {}

local EVENTS = { "leave", "update", "join" }

local function tell_group(group, changes)
  for _, event in ipairs(EVENTS) do
    local of_event = {}
    for _, change in ipairs(changes) do
      if change.event == event then
        of_event[#of_event + 1] = change
      end
    end
    if of_event[1] then
      local message = { type = "presence." .. event, group = group, changes = of_event }
      layer:agroup_send(group, message, { history = false, now = true })
    end
  end
end

---@async
local function tell_all()
  local groups_told = untold
  untold = {}
  for group, changes in pairs(groups_told) do
    local ok, err = pcall(tell_group, group, changes)
    if not ok then
      core.log("warn", ("presence: %s is not told: %s"):format(group, core.describe(err)))
    end
  end
end

--- A change, as a store gives it. The rest of the turn may bring more.
local function note(group, key, event, seq, people)
  if not event or not settings_of(group).events then
    return
  end
  if next(untold) == nil then
    core.task.serve(tell_all)
  end
  untold[group] = untold[group] or {}
  local changes = untold[group]
  changes[#changes + 1] = { event = event, key = key, metas = decode(people), seq = seq }
end

--- Have it kept on a Redis, for all processes.
---@param server rille.redis.Settings
---@param prefix string
---@param lease number?  seconds for which those of a process that died are still present
function M.share(server, prefix, lease)
  M.store = require("rille.layer.presences")(server, prefix, note, lease)
end

function M.close()
  if M.store.close then
    M.store:close()
  end
end

-- Lingering

--- Of each length of time those that linger, in the order in which they fall due.
---@type table<number, { first: integer, last: integer }>
local queues = {}

---@async
local function lapse_on(linger)
  local queue = queues[linger]
  while queue.first <= queue.last do
    local one = queue[queue.first]
    if one.due > core.now() then
      task.asleep(one.due - core.now())
    end
    queue[queue.first] = nil
    queue.first = queue.first + 1
    note(one.group, one.key, M.store:lapse(one.group, one.key, one.channel))
  end
  queues[linger] = nil
end

local function lapse_later(linger, one)
  one.due = core.now() + linger
  local queue = queues[linger]
  if not queue then
    queue = { first = 1, last = 0 }
    queues[linger] = queue
    core.task.serve(function()
      lapse_on(linger)
    end)
  end
  queue.last = queue.last + 1
  queue[queue.last] = one
end

-- Who tracks what

---@type table<number, table<string, { group: string, key: string, channel: string }>>
local tracked = {}

--- The running handler's consumer, as its channel.
local function own_id()
  local id = core.task.owner()
  if not id then
    error("a presence is a consumer's: this is no handler, nor a task of one", 3)
  elseif not core.consumer.is_bound(id) then
    error(errors.Closed("the connection is closed"), 0)
  end
  return id, core.layer.prefix .. ("%.0f"):format(id)
end

local function encode(meta)
  local ok, encoded = pcall(M.store.encode, meta)
  if not ok then
    error("what a presence says of itself holds only data: " .. tostring(encoded), 3)
  elseif #encoded > MOST_META then
    error(("what a presence says of itself is too long: %d bytes"):format(#encoded), 3)
  end
  return encoded
end

jit.off(encode) -- as in rille.layer.message

local function leave(one)
  local linger = settings_of(one.group).linger
  if linger > 0 then
    M.store:linger(one.group, one.key, one.channel, linger)
    lapse_later(linger, one)
  else
    note(one.group, one.key, M.store:untrack(one.group, one.key, one.channel))
  end
end

--- For dispatch: a consumer ends. Raises nothing, since its own `disconnect` follows.
---@async
---@param id number
function M.left(id)
  local all = tracked[id]
  if not all then
    return
  end
  tracked[id] = nil
  for _, one in pairs(all) do
    local ok, err = pcall(leave, one)
    if not ok then
      core.log("warn", ("presence: %s may stay in %s until its lease ends: %s"):format(
        one.key,
        one.group,
        core.describe(err)
      ))
    end
  end
end

---@class rille.Presence
local Presence = {}
M.Presence = Presence

local function name_of(group, key)
  return group .. "\0" .. key
end

--- The consumer whose handler runs is present in a group, under a key, until it ends (and then for
--- the group's `linger` seconds), or `auntrack` says so. Raises when there is no room
--- (presence_bytes), and `rille.Closed` once the consumer has ended. It need not be a member.
---@async
---@param group string
---@param key string  1 to 255 bytes
---@param meta any    what it says of itself: data, at most 4096 bytes encoded; default {}
function Presence:atrack(group, key, meta)
  local id, channel = own_id()
  if meta == nil then
    meta = {}
  end
  local change, seq, people = M.store:track(group, key, channel, encode(meta))
  if change == "full" then
    error(errors.Error("there is no room for another presence (presence_bytes)"), 2)
  end
  if not core.consumer.is_bound(id) then
    note(group, key, M.store:untrack(group, key, channel))
    error(errors.Closed("the connection is closed"), 0)
  end
  tracked[id] = tracked[id] or {}
  tracked[id][name_of(group, key)] = { group = group, key = key, channel = channel }
  note(group, key, change, seq, people)
end

--- It says something else of itself. Raises when it is not tracked.
---@async
---@param group string
---@param key string
---@param meta any
function Presence:aupdate(group, key, meta)
  local id = own_id()
  if not (tracked[id] and tracked[id][name_of(group, key)]) then
    error(errors.Error(("%q is not tracked in group %q here"):format(key, group)), 2)
  end
  return self:atrack(group, key, meta)
end

--- It is no longer present, at once. Nothing happens to one that is not.
---@async
---@param group string
---@param key string
function Presence:auntrack(group, key)
  local id, channel = own_id()
  local all = tracked[id]
  if not (all and all[name_of(group, key)]) then
    return
  end
  all[name_of(group, key)] = nil
  note(group, key, M.store:untrack(group, key, channel))
end

--- Who is in a group.
---@async
---@param group string
---@return table<string, any[]> people  key to what each of its connections says of itself
---@return number seq  changes up to this number are in it
function Presence:alist(group)
  local all, seq = M.store:list(group)
  local people = {}
  for i = 1, #all, 2 do
    local key = all[i]
    people[key] = people[key] or {}
    table.insert(people[key], M.store.decode(all[i + 1]))
  end
  return people, seq
end

return M
