--- Consumers of event streams: server-sent events, as a browser's `EventSource` reads them.
---
---     local Clock = rille.EventStreamConsumer:extend("Clock")
---
---     function Clock:connect()
---       self:agroup_add("ticks")
---     end
---
---     function Clock:clock_tick(message)
---       self:asend_event { event = "tick", data = message.time }
---     end
---
--- The stream stays open when `connect` has returned, without a coroutine; messages of the layer
--- are its events from then on. It ends when the client leaves (`disconnect` with 1006), when
--- `close` is called, or when the server drains. A browser then connects again by itself, after the
--- `retry` it was last told, and says which event it saw last: `self.last_event_id`.

local Consumer = require("rille.consumer")
local core = require("rille.core")
local errors = require("rille.errors")
local json = require("rille.json")

local check = errors.check
local consumer = core.consumer

---@class rille.StreamEvent
---@field data any        text of any number of lines; a table goes out as JSON
---@field event string?   its type; a browser's default is "message"
---@field id string|number|nil  what the client says in Last-Event-ID when it comes back
---@field retry integer?  milliseconds after which it does

---@class rille.EventStreamConsumer : rille.Consumer
---@field last_event_id string?  the last that the client saw, when it has been here before
---@field heartbeat number|false seconds of silence before a comment keeps the connection alive
local EventStreamConsumer = Consumer:extend_library "EventStreamConsumer"

EventStreamConsumer.heartbeat = 15

--- For dispatch: an instance for a request.
---@param cls rille.Consumer
---@param scope rille.Scope
---@return rille.Consumer
function EventStreamConsumer.open(cls, scope)
  local self = Consumer.open(cls, scope)
  -- Not through the scope: that would keep every header for as long as the stream lives.
  self.last_event_id = core.http.field(scope._fields, "last-event-id")
  return self
end

--- For dispatch: the request becomes a stream. HEAD gets the head of one.
---@async
---@param scope rille.Scope
function EventStreamConsumer:handle(scope)
  self:connect()
  if not consumer.answered(self._id) then
    self:accept()
  end
  if scope.method == "HEAD" then
    self:close()
  end
end

--- The beginning. A stream that was neither accepted nor denied by the end of it is accepted.
---@async
function EventStreamConsumer:connect() end

--- The last event, exactly once, whatever ended the stream.
---@async
---@param code integer   1006: the client left; 1001: the server did; 1000: `close`; 1011: an error
---@param reason string
function EventStreamConsumer:disconnect(code, reason) end

--- Begin the stream. `asend_event` does it, too.
---@param options { headers: table<string, string>? }?  instead of the default ones, or beside them
function EventStreamConsumer:accept(options)
  local headers = {
    ["content-type"] = "text/event-stream; charset=utf-8",
    ["cache-control"] = "no-cache",
    ["x-accel-buffering"] = "no", -- nginx would collect before it passes on
  }
  for name, value in pairs(options and options.headers or {}) do
    headers[name:lower()] = value
  end
  check(consumer.stream(self._id, headers, self.heartbeat or 0))
end

--- Refuse with a response of one's own, before `accept`. 204 tells a browser not to come again.
---@param status integer
---@param headers table?
---@param body string?
function EventStreamConsumer:deny(status, headers, body)
  check(consumer.respond(self._id, status, headers, body))
end

--- End the stream in order; before `accept`, refuse with 403.
---@param code integer?   what `disconnect` gets; default 1000
---@param reason string?
function EventStreamConsumer:close(code, reason)
  if not consumer.answered(self._id) then
    self:deny(403, { ["content-type"] = "text/plain; charset=utf-8" }, "Forbidden\n")
  else
    consumer.close(self._id, code, reason)
  end
end

--- One line of a field; what would end it early is refused.
local function add_line(lines, name, value, forbidden)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then
    error(("an event's %s is a string, got a %s"):format(name, kind), 3)
  end
  if tostring(value):find(forbidden) then
    error(("an event's %s may not contain a line end or a NUL"):format(name), 3)
  end
  lines[#lines + 1] = name .. ": " .. value
end

--- The event as it goes over the wire (HTML, section 9.2.5).
local function format_event(event)
  local lines = {}
  if event.event ~= nil then
    add_line(lines, "event", event.event, "[\r\n%z]")
  end
  if event.id ~= nil then
    add_line(lines, "id", event.id, "[\r\n%z]")
  end
  if event.retry ~= nil then
    if type(event.retry) ~= "number" or event.retry < 0 or event.retry % 1 ~= 0 then
      error("an event's retry is a whole number of milliseconds", 2)
    end
    lines[#lines + 1] = ("retry: %.0f"):format(event.retry)
  end
  local data = event.data
  if type(data) == "table" or type(data) == "boolean" or data == core.null then
    data = json.encode(data)
  end
  if data ~= nil then
    for line in (tostring(data):gsub("\r\n?", "\n") .. "\n"):gmatch("(.-)\n") do
      lines[#lines + 1] = "data: " .. line
    end
  end
  if #lines == 0 then
    error("asend_event needs { data = … }", 2)
  end
  return table.concat(lines, "\n") .. "\n\n"
end

--- Send an event. Without data it tells only its id or retry, and a browser shows nobody. Waits
--- while the client has too much unread; raises `rille.Closed` when it is gone.
---@async
---@param event rille.StreamEvent
function EventStreamConsumer:asend_event(event)
  if type(event) ~= "table" then
    error("asend_event needs { data = … }, got " .. type(event), 2)
  end
  local text = format_event(event)
  if not consumer.answered(self._id) then
    self:accept()
  end
  check(consumer.write(self._id, text, true))
end

return { EventStreamConsumer = EventStreamConsumer }
