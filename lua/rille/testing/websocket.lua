--- A WebSocket client for tests, as Channels has it.

local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local frames = require("rille.testing.frames")
local http = require("rille.testing.response")
local json = require("rille.json")
local opened = require("rille.testing.opened")
local target = require("rille.testing.target")

---@class rille.testing.WebsocketOptions
---@field headers table<string, string>?
---@field subprotocols string[]?

---@class rille.testing.WebsocketCommunicator : rille.Class, rille.testing.Opened
---@field path string
---@field response rille.testing.Response?  to the handshake
---@field close_code integer?    what the server closed with, once it has
---@field close_reason string?
---@field private stream rille.testing.Stream?
---@field private messages { opcode: integer, payload: string }[]  that came, and were not read
local Communicator = class("rille.testing.WebsocketCommunicator")

---@param app rille.testing.Target
---@param path string  with its query
---@param options rille.testing.WebsocketOptions?
function Communicator:init(app, path, options)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error("WebsocketCommunicator: a path that begins with / expected", 3)
  end
  self.app = app
  self.path = path
  self.options = options or {}
  self.messages = {}
  opened.note(self)
end

local KEY = "AQIDBAUGBwgJCgsMDQ4PEA=="

local function handshake(self)
  local headers = target.headers(self.app, self.options.headers)
  headers["upgrade"] = "websocket"
  headers["connection"] = "Upgrade"
  headers["sec-websocket-version"] = "13"
  headers["sec-websocket-key"] = KEY
  local offered = self.options.subprotocols
  if offered and #offered > 0 then
    headers["sec-websocket-protocol"] = table.concat(offered, ", ")
  end
  return http.request("GET", self.path, headers)
end

--- The handshake.
---@async
---@param timeout number?  seconds; default 5
---@return boolean accepted
---@return string|integer|nil  the subprotocol chosen, if one was; or the status of the refusal
function Communicator:aconnect(timeout)
  if self.stream then
    error("aconnect: it is connected already", 2)
  end
  self.stream = target.aopen(self.app)
  self.stream:write(handshake(self))
  return self.stream:awithin(timeout, "no answer to the handshake of " .. self.path, function()
    local response = http.ahead(self.stream)
    self.response = response
    if response.status == 101 then
      return true, response.headers["sec-websocket-protocol"]
    end
    local pieces = {}
    for piece in http.pieces(self.stream, response, "GET") do
      pieces[#pieces + 1] = piece
    end
    response.body = table.concat(pieces)
    self.over = true
    self.stream:aended()
    self.stream:close()
    return false, response.status
  end)
end

local function check_open(self, what)
  if not self.stream then
    error(what .. ": not connected, call aconnect first", 3)
  end
end

--- Send a message: text or bytes.
---@async
---@param message { text_data: string?, bytes_data: string? }
function Communicator:asend_to(message)
  check_open(self, "asend_to")
  local text, bytes = message.text_data, message.bytes_data
  if type(text or bytes) ~= "string" or (text and bytes) then
    error("asend_to: one of text_data and bytes_data expected, a string", 2)
  end
  self.stream:check()
  self.stream:write(frames.encode(text and frames.TEXT or frames.BINARY, text or bytes))
end

--- Send a value as JSON.
---@async
---@param value any
function Communicator:asend_json_to(value)
  check_open(self, "asend_json_to")
  self:asend_to { text_data = json.encode(value) }
end

--- A frame that nobody waits for.
local function say(self, opcode, payload)
  if not (self.over or self.stream.over) then
    pcall(self.stream.write, self.stream, frames.encode(opcode, payload)) -- it may be over by now
  end
end

--- What a frame of the server's means.
local function take_frame(self, frame)
  if frame.opcode == frames.TEXT or frame.opcode == frames.BINARY then
    if not frame.fin then
      error("the server has sent a message in fragments", 0)
    end
    table.insert(self.messages, frame)
  elseif frame.opcode == frames.PING then
    say(self, frames.PONG, frame.payload)
  elseif frame.opcode == frames.CLOSE then
    self.close_code, self.close_reason = frames.read_close(frame.payload)
  end
end

--- Take the frames that have come whole.
local function take_frames(self)
  local stream = self.stream
  while true do
    local frame, n = frames.decode(stream.buffer)
    if not frame then
      return
    end
    stream.buffer = stream.buffer:sub(n + 1)
    take_frame(self, frame)
  end
end

--- The next message; nil when the server has closed.
local function anext(self)
  while not self.messages[1] do
    take_frames(self)
    if self.messages[1] then
      break
    elseif self.close_code or not self.stream:amore() then
      self.stream:check()
      self.close_code = self.close_code or 1006
      return nil
    end
  end
  return table.remove(self.messages, 1)
end

local function describe_close(self)
  local reason = self.close_reason or ""
  return ("%d%s"):format(self.close_code, reason ~= "" and " " .. reason or "")
end

--- The next message. Raises what the consumer raises, and an error when the server closes instead.
---@async
---@param timeout number?  seconds; default 5
---@return string  text or bytes
function Communicator:areceive_from(timeout)
  check_open(self, "areceive_from")
  local message = self.stream:awithin(timeout, "no message from " .. self.path, function()
    return anext(self)
  end)
  if not message then
    error(("a message expected, but the server has closed: %s"):format(describe_close(self)), 2)
  end
  return message.payload
end

--- The next message, which has to be text, decoded from JSON.
---@async
---@param timeout number?  seconds; default 5
---@return any
function Communicator:areceive_json_from(timeout)
  check_open(self, "areceive_json_from")
  local text = self:areceive_from(timeout)
  return json.decode(text)
end

--- Is it true that no message comes, and the server does not close?
---@async
---@param timeout number?  seconds; default 0.1
---@return boolean
function Communicator:areceive_nothing(timeout)
  check_open(self, "areceive_nothing")
  local ok, message = pcall(self.stream.awithin, self.stream, timeout or 0.1, "", function()
    return anext(self) or false
  end)
  if not ok and errors.is_error(message, errors.Timeout) then
    return true
  elseif not ok then
    error(message, 0)
  end
  if message then
    table.insert(self.messages, 1, message)
  end
  return false
end

--- Wait until the server closes.
---@async
---@param timeout number?  seconds; default 5
---@return integer code
---@return string reason
function Communicator:areceive_close(timeout)
  check_open(self, "areceive_close")
  local message = self.stream:awithin(timeout, self.path .. " was not closed", function()
    return anext(self)
  end)
  if message then
    error(("a close expected, but a message came: %q"):format(message.payload), 2)
  end
  return self.close_code, self.close_reason or ""
end

--- Close, and wait until the consumer has ended. Raises what it raised.
---@async
---@param code integer?  default 1000
---@param timeout number?  seconds; default 5
function Communicator:adisconnect(code, timeout)
  check_open(self, "adisconnect")
  local stream = self.stream
  take_frames(self)
  stream:awithin(timeout, "the consumer of " .. self.path .. " did not end", function()
    if not self.close_code then
      say(self, frames.CLOSE, frames.close_payload(code or 1000))
    end
    while not self.close_code and stream:amore() do
      take_frames(self)
    end
    stream:close()
    self.over = true
    stream:aended()
  end)
end

--- Wait until the consumer has ended by itself. Raises what it raised.
---@async
---@param timeout number?  seconds; default 5
function Communicator:await(timeout)
  check_open(self, "await")
  local stream = self.stream
  stream:awithin(timeout, "the consumer of " .. self.path .. " did not end", function()
    while not self.close_code and stream:amore() do
      take_frames(self)
    end
    if self.close_code then
      say(self, frames.CLOSE, frames.close_payload(1000))
      self.over = true
    end
    stream:aended()
  end)
end

--- A browser answers pings while its script does something else.
function Communicator:tend()
  if self.response and self.response.status == 101 then
    self.stream:take()
    take_frames(self)
  end
end

function Communicator:remains()
  local stream = self.stream
  if not stream then
    return nil
  end
  self:tend()
  local _, failure = core.testing.failure(stream.peer)
  if failure then
    return ("a WebSocket to %s whose consumer failed, which nobody has seen: %s"):format(
      self.path,
      failure
    )
  elseif not (self.over or stream.over or self.close_code) then
    return "an open WebSocket to " .. self.path
  elseif self.messages[1] then
    local told = "a WebSocket to %s with %d unread messages, the first %q"
    return told:format(self.path, #self.messages, self.messages[1].payload:sub(1, 100))
  end
end

function Communicator:drop()
  if self.stream then
    self.stream:close()
  end
end

return Communicator
