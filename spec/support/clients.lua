--- Clients that nobody here wrote, each driven by a small script in `spec/support/clients`:
--- Python's http.client and websockets, npm's ws, Chromium. They print one JSON object a line.

local json = require("cjson")
local server = require("spec.support.server")

local clients = {}

local FOLDER = "spec/support/clients/"
local NODE_PATH = ".build/npm/node_modules"
local LIMIT = 60 -- seconds that a client may take,
local BROWSER_LIMIT = 90 -- and one that starts browsers

local function command(script, arguments)
  local words = { "timeout -k 2", script:find("windows") and BROWSER_LIMIT or LIMIT }
  if script:find("%.js$") then
    words[#words + 1] = ("env NODE_PATH=%s node"):format(server.quote(NODE_PATH))
  else
    words[#words + 1] = "/usr/bin/python3"
  end
  words[#words + 1] = FOLDER .. script
  for _, argument in ipairs(arguments) do
    local text = type(argument) == "table" and json.encode(argument) or argument
    words[#words + 1] = server.quote(text)
  end
  return table.concat(words, " ") .. " 2>&1"
end

---@class spec.Client
---@field events table[]  what it printed so far
local Client = {}
Client.__index = Client

--- The next thing it prints; nil at its end.
---@return table?
function Client:next()
  local line = self.pipe:read("*l")
  if not line then
    return nil
  end
  local ok, event = pcall(json.decode, line)
  if not ok or type(event) ~= "table" then
    error("the client said: " .. line .. "\n" .. self.pipe:read("*a"), 2)
  end
  self.events[#self.events + 1] = event
  return event
end

--- Read on until an event of that name.
---@param name string
---@return table event
function Client:wait(name)
  for event in self.next, self do
    if event.event == name then
      return event
    end
  end
  error(("the client ended without '%s'; it printed %s"):format(name, json.encode(self.events)), 2)
end

--- Read to the end.
---@return table[] events
function Client:finish()
  repeat
    local event = self:next()
  until not event
  self.pipe:close()
  return self.events
end

---@param name string
---@return table[]  the events of that name
function Client:all(name)
  local found = {}
  for _, event in ipairs(self.events) do
    if event.event == name then
      found[#found + 1] = event
    end
  end
  return found
end

---@return table?  the first event of that name
function Client:first(name)
  return self:all(name)[1]
end

--- The first event of that name, which must be there.
---@param name string
---@return table
function Client:get(name)
  return self:first(name)
    or error(("no '%s' among %s"):format(name, json.encode(self.events)), 2)
end

--- Start a client and go on.
---@param script string      a file of `spec/support/clients`
---@param ... string|table   arguments; tables travel as JSON
---@return spec.Client
function clients.open(script, ...)
  local pipe = assert(io.popen(command(script, { ... }), "r"))
  return setmetatable({ pipe = pipe, events = {} }, Client)
end

--- Run a client to its end.
---@return spec.Client
function clients.run(script, ...)
  local client = clients.open(script, ...)
  client:finish()
  return client
end

--- The two WebSocket clients, by name; both take `url, steps, options` as `ws.js` says.
clients.websockets = { ["npm ws"] = "ws.js", ["python websockets"] = "ws.py" }

---@class spec.FetchOptions
---@field method string?                    default GET
---@field headers table<string, string>?
---@field body string?
---@field repeat_body integer?              how many times over

--- What curl is told: no word of its own that changes an answer, nor a wait for "100 Continue".
local function curl_words(url, options)
  local words = { "-sS -i --http1.1 --max-time 20 -H Expect:" }
  words[#words + 1] = "-H Accept: -H User-Agent: -H Accept-Encoding:identity"
  if options.method == "HEAD" then
    words[#words + 1] = "-I"
  elseif options.method then
    words[#words + 1] = "-X " .. server.quote(options.method)
  end
  for name, value in pairs(options.headers or {}) do
    words[#words + 1] = "-H " .. server.quote(name .. ": " .. value)
  end
  if options.body then
    words[#words + 1] = "-H Content-Type: --data-binary @-"
  end
  words[#words + 1] = server.quote(url)
  return "curl " .. table.concat(words, " ") .. " 2>&1"
end

--- The last head in curl's output, and what is behind it; heads of the kind 1xx go before.
local function parse_answer(text)
  local head, rest
  repeat
    head, rest = text:match("^(HTTP/1%.[01] .-\r\n)\r\n(.*)$")
    if not head then
      return nil
    end
    text = rest
  until not head:find("^HTTP/1%.. 1")
  local headers = {}
  for name, value in head:gmatch("\n([^:\r\n]+):%s*([^\r\n]*)") do
    headers[name:lower()] = value
  end
  return { status = tonumber(head:match(" (%d+)")), headers = headers, body = rest }
end

--- One HTTP request, by curl.
---@param url string
---@param options spec.FetchOptions?
---@return { status: integer, headers: table<string, string>, body: string }
function clients.fetch(url, options)
  options = options or {}
  local line, body = curl_words(url, options), nil
  if options.body then
    body = os.tmpname()
    local file = assert(io.open(body, "wb"))
    file:write(options.body:rep(options.repeat_body or 1))
    file:close()
    line = line .. " <" .. body
  end
  local text = server.shell(line)
  if body then
    os.remove(body)
  end
  return parse_answer(text) or error(("no answer from %s: %s"):format(url, text), 2)
end

---- One GET by a bare socket, see `at.py`.
---@param where string  "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name"
---@param options { path: string?, headers: string[][]?, before: string?, cut: integer? }
---@return { status: integer?, headers: table, body: string, closed: boolean?, seconds: number? }
function clients.at(where, options)
  local said = {}
  for name, value in pairs(options) do
    said[name] = value
  end
  said.before = (options.before or ""):gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end)
  local client = clients.open("at.py", where, said)
  local answer = client:next() or error("no answer from " .. where, 2)
  client:finish()
  return answer
end

-- JSON carries characters; the raw client speaks bytes. Latin-1 is one for the other.
---@param bytes string
---@return string
local function to_characters(bytes)
  return (bytes:gsub("[\128-\255]", function(byte)
    local code = byte:byte()
    return string.char(192 + math.floor(code / 64), 128 + code % 64)
  end))
end

local function to_bytes(characters)
  return (characters:gsub("([\194\195])([\128-\191])", function(high, low)
    return string.char((high:byte() - 192) * 64 + low:byte() - 128)
  end))
end

clients.to_characters = to_characters

--- Send bytes as they are and go on; see `raw.py`. Its one event is what `clients.raw` returns,
--- with the bytes still as characters.
---@param port integer
---@param steps any[][]
---@return spec.Client
function clients.open_raw(port, steps)
  local said = {}
  for i, step in ipairs(steps) do
    said[i] = { unpack(step) }
    said[i][2] = type(step[2]) == "string" and to_characters(step[2]) or step[2]
  end
  return clients.open("raw.py", tostring(port), said)
end

--- Send bytes as they are and read until the server closes; see `raw.py`.
---@param port integer
---@param steps any[][]
---@return { received: string, ended: string, seconds: number }
function clients.raw(port, steps)
  local client = clients.open_raw(port, steps)
  local answer = client:next() or error("the raw client said nothing", 2)
  client:finish()
  answer.received = to_bytes(answer.received)
  return answer
end

return clients
