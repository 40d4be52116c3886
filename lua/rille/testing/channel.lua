--- What a background channel's consumer does with its messages, for tests.

local Stream = require("rille.testing.stream")
local application = require("rille.testing.application")
local channels = require("rille.channels")
local class = require("rille.class")
local core = require("rille.core")
local messages = require("rille.layer.message")
local opened = require("rille.testing.opened")

local channel = core.channel

---@class rille.testing.ChannelCommunicator : rille.Class, rille.testing.Opened
---@field name string
---@field private stream rille.testing.Stream  without a connection: it hears of failures
---@field private id number  of the consumer
local Communicator = class("rille.testing.ChannelCommunicator")

local function find_route(app, name)
  local known = {}
  for _, route in ipairs(app.router.channels) do
    if route.channel == name then
      return route
    end
    known[#known + 1] = route.channel
  end
  local told = "ChannelCommunicator: the application has no channel %q; there are: %s"
  error(told:format(tostring(name), known[1] and table.concat(known, ", ") or "none"), 4)
end

--- Makes a consumer of the channel's route. What is sent to the channel from now on waits until
--- `ahandle` takes it.
---@param app rille.App|string  an application, or its path
---@param name string  of one of its channels
function Communicator:init(app, name)
  local generation = application.use(app)
  local route = find_route(generation.app, name)
  self.name = name
  self.app = app
  channel.open(name, route.options.capacity, route.options.policy == "drop_oldest")
  self.id = channels.consumer(route).scope._id
  self.stream = Stream(core.testing.watch(self.id))
  opened.note(self)
end

local function aperform(self, body, timeout)
  local what = ("the handler of %s did not end"):format(self.name)
  local job, handled = self.stream:awithin(timeout, what, function()
    return channels.aperform(self.id, self.name, body)
  end)
  core.testing.failure(self.stream.peer) -- the same, a second time
  if job.error then
    error(job.raised, 0)
  elseif not job.done then
    local why = handled == nil and "the consumer has left" or "its handler was cancelled"
    error(("no message of %s is handled: %s"):format(self.name, why), 0)
  end
end

--- Have the consumer handle a message, to the end of its handler. Raises what that raises.
---@async
---@param message table  with a type
---@param timeout number?  seconds; default 5
function Communicator:asend(message, timeout)
  application.ause(self.app)
  aperform(self, (messages.encode(message, 2)), timeout)
end

--- Take the next message that was sent to the channel, and have the consumer handle it, to the end
--- of its handler. Raises what that raises, and `rille.Timeout` when there is no message.
---@async
---@param timeout number?  seconds; default 5
---@return table message
function Communicator:ahandle(timeout)
  local what = "no message on channel " .. self.name
  application.ause(self.app)
  local body = self.stream:awithin(timeout, what, function()
    local taken, err
    repeat
      taken, err = channel.take(self.name)
    until taken ~= true
    return taken or error(err, 0)
  end)
  aperform(self, body, timeout)
  return messages.decode(body)
end

--- Have the consumer end, and wait for its `disconnect`. Raises what that raises.
---@async
---@param timeout number?  seconds; default 5
function Communicator:adisconnect(timeout)
  core.consumer.close(self.id, 1000, "")
  self.stream:awithin(timeout, "the consumer of " .. self.name .. " did not end", function()
    self.stream:aended()
  end)
  self.over = true
end

function Communicator:remains()
  local waiting = not self.closed and channel.waiting(self.name) or 0
  local _, failure = core.testing.failure(self.stream.peer)
  if failure then
    return ("a consumer of channel %s that failed, which nobody has seen: %s"):format(
      self.name,
      failure
    )
  elseif waiting > 0 then
    return ("a channel, %s, with %d messages that nobody has handled"):format(self.name, waiting)
  elseif not self.over then
    return "a consumer of channel " .. self.name
  end
end

function Communicator:drop()
  core.consumer.close(self.id, 1000, "")
  channel.close(self.name)
  self.closed = true
end

return Communicator
