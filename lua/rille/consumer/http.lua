--- Consumers of HTTP requests, for answers that come in pieces or take their time. Plain answers
--- are simpler as functions.

local answer = require("rille.answer")
local Consumer = require("rille.consumer")
local core = require("rille.core")
local errors = require("rille.errors")

local check = errors.check
local consumer = core.consumer

---@class rille.HttpConsumer : rille.Consumer
local HttpConsumer = Consumer:extend_library "HttpConsumer"

--- Answer the request.
---@async
---@param request rille.Scope
function HttpConsumer:handle(request)
  error("HttpConsumer needs a method handle(request)", 0)
end

--- Begin the answer. Without a content-length header the body goes out in chunks.
---@async
---@param status integer
---@param headers table?  { name = value }
function HttpConsumer:asend_headers(status, headers)
  local length
  local others = {}
  for name, value in pairs(headers or {}) do
    if type(name) == "string" and name:lower() == "content-length" then
      length = tonumber(value)
    else
      others[name] = value
    end
  end
  check(consumer.start(self._id, status, others, length))
end

--- A piece of the answer's body, the last unless there is more. Waits while the client has too much
--- unread; raises `rille.Closed` when it is gone.
---@async
---@param chunk string
---@param options { more_body: boolean }?
function HttpConsumer:asend_body(chunk, options)
  check(consumer.write(self._id, chunk, options ~= nil and options.more_body == true))
end

--- The whole answer.
---@async
---@param status integer
---@param body string?
---@param headers table?
function HttpConsumer:asend_response(status, body, headers)
  check(answer(self._id, status, headers, body))
end

return { HttpConsumer = HttpConsumer }
