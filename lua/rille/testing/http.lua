--- An HTTP client for tests, as Channels has it.

local class = require("rille.class")
local core = require("rille.core")
local http = require("rille.testing.response")
local opened = require("rille.testing.opened")
local target = require("rille.testing.target")

---@class rille.testing.HttpOptions
---@field headers table<string, string|string[]>?
---@field body string|string[]|nil  a list goes in chunks

---@class rille.testing.ServerEvent  of an event stream
---@field event string  "message" unless it said another
---@field data string
---@field id string?
---@field retry number?  milliseconds

---@class rille.testing.HttpCommunicator : rille.Class, rille.testing.Opened
---@field method string
---@field path string
---@field response rille.testing.Response?  as far as it has come
---@field private stream rille.testing.Stream?
local Communicator = class("rille.testing.HttpCommunicator")

---@param app rille.testing.Target
---@param method string
---@param path string  with its query
---@param options rille.testing.HttpOptions?
function Communicator:init(app, method, path, options)
  if type(path) ~= "string" or not path:find("^[/*]") then
    error("HttpCommunicator: a path that begins with / expected", 3)
  end
  self.app = app
  self.method = method
  self.path = path
  self.options = options or {}
  opened.note(self)
end

local function name_of(self)
  return ("%s %s"):format(self.method, self.path)
end

--- Send the request, if that is not done, and wait for status and headers.
---@async
---@param timeout number?  seconds; default 5
---@return rille.testing.Response  its body is yet to come: see `achunk` and `aevent`
function Communicator:astart(timeout)
  if not self.stream then
    local options = self.options
    self.stream = target.aopen(self.app)
    local headers = target.headers(self.app, options.headers)
    self.stream:write(http.request(self.method, self.path, headers, options.body))
  end
  if not self.response then
    self.response = self.stream:awithin(timeout, "no answer to " .. name_of(self), function()
      return http.ahead(self.stream)
    end)
    self.apiece = http.pieces(self.stream, self.response, self.method)
  end
  return self.response
end

--- The next piece of the body, as it comes; nil at its end. Raises what the handler raises.
---@async
---@param timeout number?  seconds; default 5
---@return string?
function Communicator:achunk(timeout)
  self:astart(timeout)
  if self.over then
    return nil
  end
  local piece = self.stream:awithin(timeout, "no more of " .. name_of(self), self.apiece)
  if not piece then
    self:_aend(timeout)
  end
  return piece
end

--- The answer is complete: the handler's end belongs to it.
function Communicator:_aend(timeout)
  self.over = true
  self.stream:awithin(timeout, "no end of the handler of " .. name_of(self), function()
    self.stream:aended()
  end)
  self.stream:close()
end

--- The whole answer, after its handler has ended; of an event stream what comes before the first
--- event. Raises what the handler raises.
---@async
---@param timeout number?  seconds, between one piece and the next; default 5
---@return rille.testing.Response
function Communicator:aget_response(timeout)
  local response = self:astart(timeout)
  local kind = response.headers["content-type"] or ""
  if kind:find("^text/event%-stream") then
    return response
  end
  local pieces = {}
  for piece in
    function()
      return self:achunk(timeout)
    end
  do
    pieces[#pieces + 1] = piece
  end
  response.body = response.body or table.concat(pieces)
  return response
end

local function parse_event(lines)
  local event, data = { event = "message" }, {}
  for _, line in ipairs(lines) do
    local name, value = line:match("^([^:]*):? ?(.*)$")
    if name == "data" then
      data[#data + 1] = value
    elseif name == "retry" then
      event.retry = tonumber(value)
    elseif name == "event" or name == "id" then
      event[name] = value
    end
  end
  event.data = table.concat(data, "\n")
  return #data > 0 and event or nil
end

--- The next event of an event stream; nil when it has ended.
---@async
---@param timeout number?  seconds; default 5
---@return rille.testing.ServerEvent?
function Communicator:aevent(timeout)
  self.pending = self.pending or ""
  while true do
    local block, rest = self.pending:match("^(.-)\n\n(.*)$")
    if block then
      self.pending = rest
      local lines = {}
      for line in block:gmatch("[^\n]+") do
        lines[#lines + 1] = line
      end
      local event = parse_event(lines)
      if event then
        return event
      end
    else
      local piece = self:achunk(timeout)
      if not piece then
        return nil
      end
      self.pending = self.pending .. piece:gsub("\r\n", "\n")
    end
  end
end

--- Hang up as a client that was killed, and wait until the handler has ended. Raises what it
--- raised.
---@async
---@param timeout number?  seconds; default 5
function Communicator:adisconnect(timeout)
  if self.stream and not self.over then
    self.stream:reset()
    self:_aend(timeout)
  end
end

function Communicator:remains()
  local stream = self.stream
  local _, failure = nil, nil
  if stream then
    _, failure = core.testing.failure(stream.peer)
  end
  if failure then
    local told = "a request, %s, whose handler failed, which nobody has seen: %s"
    return told:format(name_of(self), failure)
  elseif stream and not self.over then
    return ("a request, %s, whose answer was not read to its end"):format(name_of(self))
  end
end

function Communicator:drop()
  if self.stream then
    self.stream:close()
  end
end

return Communicator
