--- What both Redis layers have in common: connections to each of the servers, two a worker. One is
--- for commands; the other waits for what others send, which in Redis takes a connection whole.
---
--- The layer is up while all of them are. When one breaks it is down, and up again when all are
--- back: then what this worker wants is told anew (`afollow` with `all`), and members hear that
--- something may have been missed.

local Asking = require("rille.layer.asking")
local Backend = require("rille.layer.backend")
local Log = require("rille.layer.redis.log")
local errors = require("rille.errors")
local outside = require("rille.layer.outside")
local redis = require("rille.redis")
local settings_of = require("rille.layer.redis.settings")
local task = require("rille.task")

-- Seconds until a server is listened to again: after a lost connection, and after a refusal.
local AGAIN, REFUSED = 0.02, 0.5

---@class rille.layer.redis.Links : rille.layer.Backend
---@field settings rille.layer.redis.Settings
---@field links rille.redis.Link[]  for commands, one a server
---@field ears rille.redis.Link[]   for waiting, likewise
---@field own string                "specific.<32 hexadecimal digits>!": of this worker's channels
---@field workers integer           of this process
---@field ours table<string, true>  the same of all workers of the process
---@field groups table<string, true>    with members here, as far as we have been told
---@field channels table<string, true>  without "!", that are received from here, likewise
local Links = Backend:extend("Links")

Links.failures = errors.RedisError

--- Do the ears subscribe? Else they wait in commands.
Links.subscriber = false

--- Told of what `apost` sent; nil: it is not used.
---@type fun(self: rille.layer.redis.Links, note: string, err: rille.Error?)?
Links.on_outcome = nil

---@param options rille.layer.Options
function Links:init(options)
  Backend.init(self, options)
  self.settings = settings_of.read(options)
  self.links, self.ears = {}, {}
  self.groups, self.channels = {}, {}
end

--- Called by each link for itself, and for the layer when they all are up, or no longer all.
function Links:open(server, name, more)
  local link
  local given = {
    name = "rille " .. name,
    on_up = function()
      self.missing[link] = nil
      if not next(self.missing) then
        outside.up()
      end
    end,
    on_down = function(err)
      self.missing[link] = true
      if not self.stopping then
        outside.down(err.message)
      end
    end,
  }
  for key, value in pairs(more) do
    given[key] = value
  end
  link = redis.open(server, given)
  self.missing[link] = true
  return link
end

---@async
function Links:astart()
  local prefixes = outside.prefixes()
  self.own, self.ours, self.workers = prefixes[1], {}, #prefixes
  for _, prefix in ipairs(prefixes) do
    self.ours[prefix] = true
  end
  table.sort(prefixes)
  self.process = prefixes[1]:match("%x%x%x%x+") -- a name that its workers agree on
  self.asking = Asking.new(self.own, function(channel, message)
    self:asend(channel, message)
  end)
  self.missing = {}
  for i, server in ipairs(self.settings.servers) do
    self.links[i] = self:open(server, "layer", {
      outage = "fail",
      on_outcome = self.on_outcome and function(note, err)
        self:on_outcome(note, err)
      end,
    })
    self.ears[i] =
      self:open(server, "layer, waiting", { outage = "wait", subscriber = self.subscriber })
  end
  self:prepare()
  for _, ear in ipairs(self.ears) do
    outside.serve(function()
      self:serve(ear)
    end)
  end
end

--- What a layer needs before anything is heard.
function Links:prepare() end

--- How many members a group has in other processes.
---@async
---@param group string
---@return integer
function Links:agroup_count(group)
  return #self:agroup_members(group)
end

--- Listen for as long as the layer is there, whatever the server says.
---@async
function Links:serve(ear)
  while not self.stopping do
    local ok, err = pcall(self.listen, self, ear)
    if self.stopping then
      return
    elseif not ok and not errors.is_error(err, errors.RedisError) then
      error(err, 0) -- cancelled, or a mistake of ours
    elseif not ok and not errors.is_error(err, errors.RedisUnavailable) then
      outside.down("it cannot be listened to: " .. err.message)
      task.asleep(REFUSED)
    end
    task.asleep(AGAIN)
  end
end

--- Those of a set that a list does not have.
local function others(set, list)
  local listed, missing = {}, {}
  for _, name in ipairs(list) do
    listed[name] = true
  end
  for name in pairs(set) do
    missing[#missing + 1] = not listed[name] and name or nil
  end
  return missing
end

local function exchange(set, gone, come)
  for _, name in ipairs(gone) do
    set[name] = nil
  end
  for _, name in ipairs(come) do
    set[name] = true
  end
end

--- Make a note of changes; also of what ended while nobody could be told.
---@param changes rille.layer.Changes
---@return string[] left
---@return string[] closed
function Links:apply(changes)
  local left, closed = changes.left, changes.closed
  if changes.all then
    left, closed = others(self.groups, changes.joined), others(self.channels, changes.opened)
  end
  exchange(self.groups, left, changes.joined)
  exchange(self.channels, closed, changes.opened)
  return left, closed
end

---@return rille.layer.Log
function Links:open_log()
  return Log(self.settings.servers[1], self.settings.prefix)
end

--- Close what is open.
function Links:close()
  self.stopping = true
  for i = 1, #self.links do
    self.ears[i]:close()
    self.links[i]:close()
  end
end

return Links
