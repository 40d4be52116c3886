--- Consumers of this very process, without a peer, that do what a spec tells them.
---
---     local one = background.open(Class)
---     one:run(function(self) self:agroup_add("room") end)   -- in an event of its own
---     one:close()

local Scope = require("rille.scope")
local core = require("rille.core")
local dispatch = require("rille.dispatch")
local eventually = require("spec.support.eventually")
local layer = require("rille.layer")
local rille = require("rille")

local background = {}

--- What is dispatched to: an application without routes, unless there is one.
local function have_application()
  if not dispatch.current() then
    dispatch.switch { app = rille.app {}, number = core.worker.generation() }
  end
end

local jobs, opened = {}, {}

--- Records what it hears of type "chat.message" in `self.heard`, and does jobs.
---@class spec.Background : rille.Consumer
local Background = rille.Consumer:extend("Background")
background.Background = Background

function Background:init()
  self.heard = {}
end

function Background:chat_message(event)
  self.heard[#self.heard + 1] = event
end

function Background:spec_job(event)
  local job = jobs[event.number]
  job.self = self
  job.results = { pcall(job.fn, self) }
end

---@class spec.Consumer
---@field id number
---@field channel string
---@field self spec.Background?  once it has done something
local Consumer = {}
Consumer.__index = Consumer

--- One that has begun.
---@async
---@param cls rille.Consumer?  below Background
---@return spec.Consumer
function background.open(cls)
  local scope = Scope.background { type = "spec", channel = "spec", _route = "spec" }
  local id = core.consumer.background { target = cls or Background, scope = scope }
  scope._id = id
  local channel = core.layer.prefix .. ("%.0f"):format(id)
  local one = setmetatable({ id = id, channel = channel }, Consumer)
  opened[#opened + 1] = one
  one:run(function() end)
  return one
end

--- Have it do something in an event; for how that ends see `results`.
---@param fn async fun(self: spec.Background)
---@return { results: any[]? }  filled in when it has ended, as pcall's
function Consumer:start(fn)
  local job = { fn = fn }
  jobs[#jobs + 1] = job
  layer:asend(self.channel, { type = "spec.job", number = #jobs })
  return job
end

--- Likewise, to its end. Returns what it returns, and raises what it raises.
---@async
function Consumer:run(fn)
  local job = self:start(fn)
  eventually(function()
    return job.results
  end)
  self.self = job.self
  if not job.results[1] then
    error(job.results[2], 0)
  end
  return unpack(job.results, 2)
end

--- What it has heard since it was asked last.
---@async
---@return table[]
function Consumer:heard()
  return self:run(function(consumer)
    local heard = consumer.heard
    consumer.heard = {}
    return heard
  end)
end

--- End it.
function Consumer:close()
  core.consumer.close(self.id, 1000, "")
end

--- End all.
function background.clean()
  for i = #opened, 1, -1 do
    opened[i]:close()
    opened[i] = nil
  end
  jobs = {}
end

have_application()

return background
