--- A private mosquitto, and Mosquitto's own clients, which nobody here wrote.
---
---     local broker = brokers.start { "persistence" }
---     local ear = broker:subscribe("#", 2)
---     broker:publish("a/b", "hello", { qos = 1 })
---     assert.truthy(ear:says("a/b 1 0 hello"))
---
--- `brokers.clean` ends what a spec left running: call it in `after_each`.

local server = require("spec.support.server")

local brokers = {}

local SCRIPT = "spec/support/mosquitto"
local running, pids = {}, {}

---@class spec.Broker
---@field url string
---@field port string
---@field folder string
---@field options string  of its clients
local Broker = {}
Broker.__index = Broker

local function trim(text)
  return (text:gsub("%s+$", ""))
end

--- Whether there is one to test against.
---@return boolean
function brokers.is_there()
  return server.shell("command -v mosquitto /usr/sbin/mosquitto; command -v mosquitto_pub"):find(
    "mosquitto_pub",
    1,
    true
  ) ~= nil
end

---@param lines string[]?  of configuration
---@param files table<string, string>?  to be put into its folder first, by name
---@return spec.Broker
function brokers.start(lines, files)
  local self = setmetatable({ folder = server.scratch(), options = "" }, Broker)
  for name, path in pairs(files or {}) do
    server.shell(("cp %s %s/%s"):format(path, self.folder, name))
  end
  local words = {}
  for i, line in ipairs(lines or {}) do
    words[i] = server.quote((line:gsub("FOLDER", self.folder)))
  end
  local line = ("%s start %s %s"):format(SCRIPT, self.folder, table.concat(words, " "))
  self.url = trim(server.shell(line))
  self.port = self.url:match("%d+$")
  assert(self.port, "mosquitto did not start")
  running[#running + 1] = self
  return self
end

---@param signal string?  default TERM: it saves what is persistent
function Broker:stop(signal)
  server.shell(("%s stop %s %s 2>&1"):format(SCRIPT, self.folder, signal or ""))
end

function Broker:again()
  local said = server.shell(("%s again %s 2>&1"):format(SCRIPT, self.folder))
  assert(said == "", said)
end

--- All it has logged so far.
function Broker:log()
  return server.read_file(self.folder .. "/log") or ""
end

function Broker:says(text, seconds)
  return server.eventually(seconds or 5, function()
    return self:log():find(text, 1, true) ~= nil
  end)
end

function Broker:command(name, arguments)
  return ("%s -h 127.0.0.1 -p %s %s %s"):format(name, self.port, self.options, arguments)
end

---@param topic string
---@param payload string
---@param options { qos: integer?, retain: boolean?, more: string? }?
function Broker:publish(topic, payload, options)
  options = options or {}
  local path = self.folder .. "/payload"
  local file = assert(io.open(path, "wb"))
  file:write(payload)
  file:close()
  local arguments = ("-t %s -f %s -q %d %s %s"):format(
    server.quote(topic),
    path,
    options.qos or 0,
    options.retain and "-r" or "",
    options.more or ""
  )
  local said = server.shell(self:command("mosquitto_pub", arguments) .. " 2>&1")
  assert(said == "", said)
end

--- Publish 1 to n, a message each, over one connection; comes back at once. Killed and begun anew
--- if the broker goes away, so let it be at QoS 1 or 2 with an id of its own.
---@param topic string
---@param n integer
---@param qos integer
---@param more string?
function Broker:publish_numbers(topic, n, qos, more)
  local arguments = ("-l -t %s -q %d %s"):format(server.quote(topic), qos, more or "")
  local line = ("seq %d | %s >%s/numbers 2>&1 & echo $!"):format(
    n,
    self:command("mosquitto_pub", arguments),
    self.folder
  )
  pids[#pids + 1] = trim(server.shell(line))
end

---@class spec.Ear
---@field path string
local Ear = {}
Ear.__index = Ear

function Ear:text()
  return server.read_file(self.path) or ""
end

function Ear:says(text, seconds)
  return server.eventually(seconds or 5, function()
    return self:text():find(text, 1, true) ~= nil
  end)
end

--- Subscribe in the background: a line `TOPIC QOS RETAINED PAYLOAD` for each message. Comes back
--- when the subscription stands.
---@param topic string
---@param qos integer?
---@param more string?
---@return spec.Ear
function Broker:subscribe(topic, qos, more)
  local ear = setmetatable({ path = self.folder .. "/ear" .. #pids }, Ear)
  local count = server.count(self:log(), "Sending SUBACK")
  local arguments = ("-t %s -q %d -F '%%t %%q %%r %%p' %s"):format(
    server.quote(topic),
    qos or 2,
    more or ""
  )
  local line = ("%s >%s 2>&1 & echo $!"):format(self:command("mosquitto_sub", arguments), ear.path)
  pids[#pids + 1] = trim(server.shell(line))
  assert(server.eventually(5, function()
    return server.count(self:log(), "Sending SUBACK") > count
  end), "mosquitto_sub did not subscribe: " .. ear:text())
  return ear
end

--- End them all. Call it before server.clean, which removes their folders.
function brokers.clean()
  for i = #pids, 1, -1 do
    server.shell(("kill %s 2>&1"):format(pids[i]))
    pids[i] = nil
  end
  for i = #running, 1, -1 do
    running[i]:stop("KILL")
    running[i] = nil
  end
end

return brokers
