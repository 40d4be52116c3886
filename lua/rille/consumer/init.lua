--- What all consumers share: a scope, a channel, groups, tasks.
---
--- The core makes one per connection, request or route in the background, gives it one event at a
--- time, and calls `disconnect` exactly once at the end. Classes are found again by module and name
--- after a reload, so a consumer keeps its `self` and runs the new code from its next event.

local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local layer = require("rille.layer")
local loader = require("rille.loader")

local Scope = require("rille.scope")
local mqtt = require("rille.mqtt")
local recovery = require("rille.recovery")

---@class rille.Notification  what `notify(event)` gets
---@field type "notify"
---@field channel string
---@field payload string
---@field pid integer  the database session that said it

---@class rille.NotificationGap  what `notify_gap(event)` gets
---@field type "notify.gap"
---@field channel string

---@class rille.Consumer : rille.Class
---@field scope rille.Scope           who connected
---@field channel_name string         where the layer reaches this consumer
---@field channel_layer rille.ChannelLayer
---@field formerly string|string[]|nil  of a class: what it was called before, "Room" or, in another
---  module, "rooms:Room"; its connections go over to this one
---@field on_reload async fun(self: rille.Consumer, old: integer)?  what happens to a consumer first
---  in the code of another generation; old is the number of its last one
---@field groups string[]?            joined before the first event, left after the last
---@field private _id number          the core's name for the connection
local Consumer = class("Consumer")

Consumer.channel_layer = layer
Consumer.library = true -- its methods never answer a message of the layer

local extend = Consumer.extend

--- What thousands of idle connections should not each hold is made when it is asked for, and then
--- stays: the name of the channel, and a scope that holds no more than the request it is made of.
local made = {
  channel_name = function(self)
    return core.layer.prefix .. ("%.0f"):format(self._id)
  end,
  scope = function(self)
    local fields = rawget(self, "_fields")
    return fields and Scope.new(self._id, "websocket", nil, fields)
  end,
}

--- Instances look here when they do not have a field themselves: in the class first, as any object
--- does.
local function index_of(cls)
  return function(self, name)
    local value = cls[name]
    if value ~= nil then
      return value
    end
    local make = made[name]
    value = make and make(self)
    if value ~= nil then
      rawset(self, name, value)
    end
    return value
  end
end

local function extend_class(parent, name)
  local cls = extend(parent, name)
  cls.__index = index_of(cls)
  return cls
end

--- A consumer class of the script's own.
---@param name string  unique in its module: a reload finds the class again by it
---@return rille.Consumer
function Consumer:extend(name)
  local cls = extend_class(self, name)
  loader.register_class(cls)
  return cls
end

--- A class of the library itself.
---@param name string
---@return rille.Consumer
function Consumer:extend_library(name)
  local cls = extend_class(self, name)
  cls.library = true
  return cls
end

--- For dispatch: an instance for a connection.
---@param cls rille.Consumer
---@param scope rille.Scope
---@param anew boolean?  it can as well be made again, of its fields
---@return rille.Consumer
function Consumer.open(cls, scope, anew)
  local self
  if anew then
    self = setmetatable({ _id = scope._id, _fields = scope._fields }, cls)
  else
    self = setmetatable({ _id = scope._id, scope = scope }, cls)
  end
  if cls.init then
    self:init()
  end
  return self
end

--- Does the script's own class define this method?
---@param cls rille.Consumer
---@param name string
---@return boolean
function Consumer.defines(cls, name)
  while cls and not rawget(cls, "library") do
    if type(rawget(cls, name)) == "function" then
      return true
    end
    cls = rawget(cls, "super")
  end
  return false
end

--- What rille itself tells a group: whoever defines no method for it does not want to know.
local UNASKED = { ["presence.join"] = true, ["presence.leave"] = true, ["presence.update"] = true }

local function ignore() end

--- The method that answers messages of a type: public, of one of the script's own classes, and not
--- one that the library calls (`connect`, `receive`, …). Raises for a type nobody handles.
local function find_handler(self, kind)
  local cls = getmetatable(self)
  local name = kind:gsub("%.", "_")
  local at = cls
  while at and not rawget(at, "library") do
    at = rawget(at, "super")
  end
  if name:sub(1, 1) ~= "_" and not (at and at[name]) and Consumer.defines(cls, name) then
    return cls[name]
  end
  if UNASKED[kind] then
    return ignore
  end
  error(errors.Error(("no handler for message type %q in %s"):format(kind, cls.__name)), 0)
end

--- Answer a message of the layer; for dispatch. Raises when nobody handles its type.
---@async
---@param message table  with a `type`
---@return any ...  what the handler returned
function Consumer:dispatch(message)
  return find_handler(self, message.type)(self, message)
end

--- Join a group; messages to it reach this consumer from now on.
---@async
---@param group string
function Consumer:agroup_add(group)
  layer:agroup_add(group, self.channel_name)
end

--- Join a group that keeps its history where one has left it: what was said since is delivered
--- first, in order and once, as if it came now (`websocket.send` to the client, anything else to
--- the method of its type), then what is said from now on. Nothing falls between the two.
---
---     local result = self:arecover("room.lobby", content.since)
---     if result.gap then … end  -- what was missed is gone: load it from elsewhere
---
--- With `snapshot` the gap is closed here: that function is called when there is one, or when
--- nothing is known of an earlier visit, and may wait. What it reads includes everything up to the
--- mark that it is given; what is said meanwhile follows when it has returned.
---@async
---@param group string
---@param since rille.Since?  where one was; nil: nowhere, join at the end
---@param options { snapshot: (async fun(mark: rille.Mark))? }?
---@return rille.Recovery
function Consumer:arecover(group, since, options)
  return recovery.arecover(self, group, since, options)
end

--- Leave a group. Nothing happens to one who is no member.
---@async
---@param group string
function Consumer:agroup_discard(group)
  layer:agroup_discard(group, self.channel_name)
end

--- Send to every member of a group; inside a transaction when it commits.
---@async
---@param group string
---@param message table
---@param options { now: boolean?, history: false? }?
---@return integer delivered
---@return integer dropped
---@return integer? offset  in the group's history, if it keeps one
---@return string? epoch
function Consumer:agroup_send(group, message, options)
  return layer:agroup_send(group, message, options)
end

--- Publish at the MQTT broker; see `rille.MqttClient.apublish`.
---@async
---@param topic string
---@param payload string|table  a table is sent as JSON
---@param options rille.MqttOptions?
function Consumer:apublish(topic, payload, options) -- luacheck: no self
  mqtt.client:apublish(topic, payload, options)
end

--- Start a task that is cancelled when this consumer ends.
---@param fn async fun()
---@return rille.Task
function Consumer:spawn(fn)
  if type(fn) ~= "function" then
    error("spawn needs a function, got " .. type(fn), 2)
  end
  local handle, err = core.task.spawn(fn, self._id)
  if not handle then
    error(err, 2)
  end
  return handle
end

--- After the last event. Nothing by default.
---@async
function Consumer:disconnect() end

return Consumer
