--- Consumers of WebSockets.

local Consumer = require("rille.consumer")
local core = require("rille.core")
local direct = require("rille.consumer.direct")
local errors = require("rille.errors")
local json = require("rille.json")

local check = errors.check
local consumer = core.consumer
local send = consumer.send

---@class rille.WebsocketConsumer : rille.Consumer
local WebsocketConsumer = Consumer:extend_library "WebsocketConsumer"

--- The handshake. Accepts by default, and so does one that returns without having said anything.
---@async
function WebsocketConsumer:connect()
  self:accept()
end

--- One message from the client: text or bytes, the other is nil.
---@async
---@param text_data string?
---@param bytes_data string?
function WebsocketConsumer:receive(text_data, bytes_data) end

--- The last event, exactly once, whatever ended the connection.
---@async
---@param code integer   the close code; 1006 when there was none
---@param reason string
function WebsocketConsumer:disconnect(code, reason) end

--- Accept the handshake.
---@param options { subprotocol: string?, headers: table? }?
function WebsocketConsumer:accept(options)
  if options then
    check(consumer.accept(self._id, options.subprotocol, options.headers))
  else
    check(consumer.accept(self._id))
  end
end

--- Send a message. Returns when it is on its way; waits while the client has too much unread.
--- Raises `rille.Closed` when the client is gone.
---@async
---@param message { text_data: string?, bytes_data: string? }
function WebsocketConsumer:asend(message)
  if type(message) ~= "table" then
    error("asend needs { text_data = … } or { bytes_data = … }, got " .. type(message), 2)
  end
  local text, bytes = message.text_data, message.bytes_data
  if text == nil and bytes == nil then
    error("asend needs { text_data = … } or { bytes_data = … }", 2)
  end
  if not direct.send(self._id, text, bytes) then
    check(send(self._id, text, bytes))
  end
end

--- Close, or before accept refuse with 403.
---@param code integer?   default 1000
---@param reason string?  at most 123 bytes
function WebsocketConsumer:close(code, reason)
  consumer.close(self._id, code, reason)
end

--- Refuse the handshake with a response of one's own.
---@param status integer
---@param headers table?
---@param body string?
function WebsocketConsumer:deny(status, headers, body)
  check(consumer.respond(self._id, status, headers, body))
end

---@class rille.JsonWebsocketConsumer : rille.WebsocketConsumer
local JsonWebsocketConsumer = WebsocketConsumer:extend_library "JsonWebsocketConsumer"

--- Text is decoded for `receive_json`; bytes and text that is not JSON are the client's mistake.
---@async
---@param text_data string?
function JsonWebsocketConsumer:receive(text_data)
  if not text_data or text_data == "" then
    error(errors.BadRequest("a text message with JSON expected"), 0)
  end
  self:receive_json(json.decode(text_data))
end

--- One message from the client.
---@async
---@param content any
function JsonWebsocketConsumer:receive_json(content) end

--- Send a value as JSON.
---@async
---@param content any
function JsonWebsocketConsumer:asend_json(content)
  local text = json.encode(content)
  if not direct.send(self._id, text, nil) then
    check(send(self._id, text, nil))
  end
end

return { WebsocketConsumer = WebsocketConsumer, JsonWebsocketConsumer = JsonWebsocketConsumer }
