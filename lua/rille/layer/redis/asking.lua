--- Questions from worker to worker, through the layer itself: to have another's consumer join a
--- group, to count members.
---
--- A question is a message to "specific.<32 hexadecimal digits>!rille", a name that no consumer
--- has, and so is its answer. Django never sees either.

local errors = require("rille.errors")
local task = require("rille.task")

local WITHIN = 2 -- seconds for all answers to come

---@class rille.layer.redis.Question
---@field what "join"|"leave"|"members"
---@field group string
---@field channel string?

---@class rille.layer.redis.Asking
local Asking = {}
Asking.__index = Asking

local NAME = "rille"

---@param own string  what names of this worker's channels begin with
---@param send async fun(channel: string, message: table)
---@param answer async fun(question: rille.layer.redis.Question): any
---@return rille.layer.redis.Asking
function Asking.new(own, send, answer)
  return setmetatable({
    own = own,
    name = own .. NAME,
    send = send,
    answer = answer,
    number = 0,
    open = {}, -- number of a question to its answers
  }, Asking)
end

--- The channel for questions to a worker.
---@param prefix string
---@return string
function Asking.channel(prefix)
  return prefix .. NAME
end

--- Ask, and wait for so many answers.
---@async
---@param question rille.layer.redis.Question
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
      local value = self.answer(message)
      local answer = { type = "rille.answer", number = message.number, value = value }
      self.send(Asking.channel(message.from), answer)
    end)
  end
end

return Asking
