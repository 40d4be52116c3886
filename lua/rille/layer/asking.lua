--- Questions from worker to worker, through the layer itself: to have another's consumer join a
--- group, or leave it, and who is in a group there.
---
--- A question is a message to "specific.<32 hexadecimal digits>!rille", a name that no consumer
--- has, and so is its answer. Django never sees either.

local core = require("rille.core")
local errors = require("rille.errors")
local outside = require("rille.layer.outside")
local task = require("rille.task")

local layer = core.layer

local WITHIN = 2 -- seconds for all answers to come

---@class rille.layer.Question
---@field what "join"|"leave"|"members"
---@field group string
---@field channel string?

---@class rille.layer.Asking
---@field own string   what names of this worker's channels begin with
---@field name string  the channel that questions come to
---@field send async fun(channel: string, message: table): integer?  0: it knows that nobody has it
local Asking = {}
Asking.__index = Asking

--- What is behind the "!" of that channel.
Asking.NAME = "rille"

---@param own string
---@param send async fun(channel: string, message: table): integer?
---@return rille.layer.Asking
function Asking.new(own, send)
  return setmetatable({
    own = own,
    name = own .. Asking.NAME,
    send = send,
    number = 0,
    open = {}, -- number of a question to its answers
  }, Asking)
end

--- The channel for questions to a worker.
---@param prefix string
---@return string
function Asking.channel(prefix)
  return prefix .. Asking.NAME
end

--- Ask, and wait for so many answers.
---@async
---@param question rille.layer.Question
---@param ask async fun(message: table): integer  sends it, and says how many will answer
---@return any[] answers
---@return boolean  are these all?
function Asking:aask(question, ask)
  self.number = self.number + 1
  local number = self.number
  local answers = {}
  local sleep = task.spawn(function()
    task.asleep(WITHIN)
  end)
  self.open[number] = { answers = answers, sleep = sleep }
  local ok, expected = pcall(ask, {
    type = "rille.question",
    number = number,
    from = self.own,
    what = question.what,
    group = question.group,
    channel = question.channel,
  })
  local why
  if ok and #answers < expected then
    self.open[number].expected = expected
    ok, why = pcall(sleep.ajoin, sleep)
    ok = ok or (#answers >= expected and errors.is_error(why, errors.Cancelled))
  elseif not ok then
    why = expected
  end
  sleep:cancel()
  self.open[number] = nil
  if not ok then
    error(why, 0)
  end
  return answers, #answers >= expected
end

--- Members of a group in other rille processes, as far as these answer in time.
---@async
---@param group string
---@param ask async fun(message: table): integer
---@return string[]
function Asking:amembers(group, ask)
  local names = {}
  for _, answer in ipairs((self:aask({ what = "members", group = group }, ask))) do
    for _, name in ipairs(type(answer.value) == "table" and answer.value or {}) do
      names[#names + 1] = name
    end
  end
  return names
end

--- The worker that makes a channel a member, or no longer, if it is a rille's; nil: it is none, as
--- names go. (Django's have 32 hexadecimal digits behind the "!".)
---@param channel string
---@return string? prefix
local function prefix_of(channel)
  local prefix, id = channel:match("^(specific%.%x+!)t?(%d+)$")
  return id and #id < 20 and prefix or nil
end

--- Have a channel of another rille process join or leave a group, by its own worker.
---@async
---@param what "join"|"leave"
---@param group string
---@param channel string
---@return boolean? done  nil: it is no rille's
function Asking:aplace(what, group, channel)
  local prefix = prefix_of(channel)
  if not prefix then
    return nil
  end
  local question = { what = what, group = group, channel = channel }
  local unheard = false
  local answers, all = self:aask(question, function(message)
    unheard = self.send(Asking.channel(prefix), message) == 0
    return unheard and 0 or 1
  end)
  if not all then
    error(errors.LayerError("no answer from the process that has the channel " .. channel), 0)
  end
  if what == "join" and (unheard or not answers[1].value) then
    error(errors.Closed("nobody has the channel " .. channel), 0)
  end
  return true
end

--- Of names, one a line, those of this worker's channels.
local function own_among(own, names)
  local list = {}
  for name in names:gmatch("[^\n]+") do
    list[#list + 1] = name:sub(1, #own) == own and name or nil
  end
  return list
end

--- What another worker wants to know, or wants done.
---@async
---@param own string
---@param question rille.layer.Question
---@return any
local function answer(own, question)
  local group, channel = question.group, question.channel
  if question.what == "join" then
    local ok, found = pcall(layer.join, group, channel)
    if ok and found then
      outside.settle(group)
    end
    return ok and found
  elseif question.what == "leave" then
    local ok, found = pcall(layer.leave, group, channel)
    return ok and found
  elseif question.what == "members" then
    local ok, names = pcall(layer.members, group)
    return ok and names and own_among(own, names) or {}
  end
end

--- A message to our name: somebody asks, or answers.
---@param message table
function Asking:take(message)
  if message.type == "rille.answer" then
    local open = self.open[message.number]
    if open then
      open.answers[#open.answers + 1] = message
      if open.expected and #open.answers >= open.expected then
        open.sleep:cancel()
      end
    end
  elseif message.type == "rille.question" and type(message.from) == "string" then
    task.spawn(function()
      local value = answer(self.own, message)
      local told = { type = "rille.answer", number = message.number, value = value }
      self.send(Asking.channel(message.from), told)
    end)
  end
end

return Asking
