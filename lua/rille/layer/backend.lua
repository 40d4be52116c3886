--- What joins the layers of several processes: the interface, and its defaults.
---
--- Each worker has an instance, with connections of its own. Members on the worker itself and on
--- the process's other workers are none of its business: the core reaches them. It brings a
--- message to other processes, and those of others to this worker's members. `rille.layer.outside`
--- calls what is declared here, and is what a backend calls back:
---
---     local Files = require("rille.layer.backend"):extend("Files")
---     function Files:astart() … outside.serve(function() … outside.up() … end) end
---     function Files:agroup_send(group, message) … end
---     outside.schemes.files = Files      -- layer = "files:/var/spool"
---
--- Functions named `a…` run in a task and may wait. One that finds the connection gone calls
--- `outside.down`; it may raise `rille.LayerError`.

local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")

local layer = core.layer

---@class rille.layer.Options  what the URL says
---@field url string       all of it, with its password: not for messages
---@field name string      for messages: scheme, host and path
---@field scheme string
---@field query table<string, string>  unescaped, without the two below
---@field outage "fail"|"wait"  what sends do while the connection is lost
---@field outage_timeout number  seconds that they wait

---@class rille.layer.Changes  what has become of this worker's groups
---@field joined string[]  have got their first member on this worker
---@field left string[]    have lost their last
---@field opened string[]  channels with a name of their own (without "!") that are received from
---@field closed string[]
---@field all boolean      the connection is new: these are all there are, and nothing else counts

---@class rille.layer.Backend : rille.Class
---@field options rille.layer.Options
local Backend = class("Backend")

--- Channels without "!" are the backend's: what is sent to one goes through it even when it is open
--- here, since others may receive from it, too.
Backend.queues = false

--- Can groups keep their history there, for all processes? See `open_log`.
Backend.has_logs = false

--- Where it is known who is in groups (`rille.presence`), for all processes: a function from
--- options to the settings of a Redis and a prefix of keys there. Else each process knows its own.
---@type false|fun(options: rille.layer.Options): rille.redis.Settings, string
Backend.presences = false

--- The errors that its connections raise: a class.
---@type rille.Class?
Backend.failures = nil

--- Of one of these: may what it tells of have happened nevertheless?
---@param err rille.Error
---@return boolean
function Backend.in_doubt(err)
  return err.may_have_run or false
end

--- Look at options before anything else happens, also on reloads and for `rille check`. Raises
--- `ConfigurationError`.
---@param options rille.layer.Options
function Backend.check(options)
  local name = next(options.query)
  if name then
    error(errors.ConfigurationError(("layer: unknown option %q in the URL"):format(name)), 0)
  end
end

---@param options rille.layer.Options
function Backend:init(options)
  self.options = options
end

--- Begin: start what serves (`outside.serve`) and return; nobody waits for the connection here. It
--- calls `outside.up()` whenever there is one, and `outside.down(why)` when it is lost.
---@async
function Backend:astart() end

--- Where histories are; for who `has_logs`. Called before `astart`, or later.
---@return rille.layer.Log
function Backend:open_log()
  error("this backend has no logs")
end

--- The end, after `on_stop`: remove own traces, within two seconds. What serves is cancelled next.
---@async
function Backend:astop() end

--- Let it be known where messages to groups and channels are wanted. Returns when messages that
--- others send from now on will come. Only while it is up, one call at a time; after each `up()`
--- the first one names all there is.
---@async
---@param changes rille.layer.Changes
function Backend:afollow(changes) end

--- To a channel that is not of this process. Returns when it is on its way.
---@async
---@param channel string
---@param message table
function Backend:asend(channel, message) end

--- To the members of a group in other processes. What comes back of it is the backend's to leave
--- out: see `outside.prefixes`.
---@async
---@param group string
---@param message table
function Backend:agroup_send(group, message) end

--- Put a channel of another process into a group. Raises when it cannot.
---@async
---@param group string
---@param channel string
function Backend:agroup_add(group, channel)
  error(errors.Closed("nobody has the channel " .. channel), 0)
end

---@async
---@param group string
---@param channel string
function Backend:agroup_discard(group, channel) end

--- Members in other processes.
---@async
---@param group string
---@return integer?  nil: it cannot tell
function Backend:agroup_count(group) end

--- Their channels' names.
---@async
---@param group string
---@return string[]?  nil: it cannot tell
function Backend:agroup_members(group) end

local function finish_attempt(self, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if errors.is_error(err, self.failures) then
    layer.count_up("refused", 1)
    local told = errors.LayerError(("the layer %s: %s"):format(self.options.name, err.message))
    told.may_have_run = self.in_doubt(err)
    error(told, 0)
  end
  error(err, 0)
end

--- For backends: do something with connections that may be lost while we do, and then raise
--- `LayerError`. What failed was refused, or may have happened: the sender learns which.
---@async
---@generic T
---@param fn async fun(...: any): T
---@param ... any  for it
---@return T
function Backend:attempt(fn, ...)
  return finish_attempt(self, pcall(fn, ...))
end

--- For backends, and what they are made of: do something with what came; one message that is bad is
--- one message that is dropped.
---@async
---@param self table
---@param method string
---@param ... any
function Backend.safely(self, method, ...)
  local ok, err = pcall(self[method], self, ...)
  if not ok then
    core.task.may_wait() -- raises if it was us who was cancelled
    local why = "a message cannot be delivered: " .. core.describe(err)
    require("rille.layer.outside").drop(1, "malformed", why)
  end
end

return Backend
