--- A Redis of a spec's own, on a free port of the loopback, without a file on disk.
---
---     local redis
---     before_each(function() redis = redis_server.start() end)
---     after_each(redis_server.clean)
---
---     redis.url                        redis://127.0.0.1:PORT
---     redis:cli("ZRANGE", key, 0, -1)  the lines that redis-cli prints
---     redis:restart()                  empty again, as after a crash

local server = require("spec.support.server")

local redis_server = {}

local WITHIN = 10 -- seconds, for it to come or go

---@class spec.Redis
---@field url string
---@field port integer
---@field pid integer
local Redis = {}
Redis.__index = Redis

local running = {}

local FREE_PORT = [[/usr/bin/python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])']]

local function quoted(...)
  local words = {}
  for i = 1, select("#", ...) do
    words[i] = server.quote((select(i, ...)))
  end
  return table.concat(words, " ")
end

--- Start it, and wait until it answers.
function Redis:start()
  local command = "cd %s && exec redis-server --bind 127.0.0.1 --port %d --save '' "
    .. "--appendonly no --daemonize no %s >>%s/log 2>&1 </dev/null"
  command = command:format(self.folder, self.port, quoted(unpack(self.options)), self.folder)
  -- The shell becomes the server, so that its id is the server's.
  local started = ("sh -c %s >/dev/null 2>&1 & echo $! >%s/pid"):format(
    server.quote(command),
    self.folder
  )
  os.execute(started)
  self.pid = tonumber(server.read_file(self.folder .. "/pid"))
  local answers = server.eventually(WITHIN, function()
    return self:cli("PING")[1] == "PONG"
  end)
  assert(answers, "redis-server did not start: " .. (server.read_file(self.folder .. "/log") or ""))
end

--- End it at once, and wait until it is gone.
function Redis:stop()
  server.shell(("kill -KILL %d 2>&1"):format(self.pid))
  local gone = server.eventually(WITHIN, function()
    return server.shell(("kill -0 %d 2>&1"):format(self.pid)) ~= ""
  end)
  assert(gone, "redis-server does not end")
end

--- End it at once and start it again at the same port: it has forgotten everything.
function Redis:restart()
  self:stop()
  self:start()
end

--- What redis-cli prints for a command, in lines; also for one that fails.
---@param ... string|number
---@return string[]
function Redis:cli(...)
  local said = server.shell(("redis-cli -p %d %s 2>&1"):format(self.port, quoted(...)))
  local lines = {}
  for line in said:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line ~= "" and line or nil
  end
  return lines
end

--- Names of the keys there are, sorted.
---@return string[]
function Redis:keys()
  local keys = self:cli("KEYS", "*")
  table.sort(keys)
  return keys
end

---@param ... string  options for its command line: "--requirepass", "secret"
---@return spec.Redis
function redis_server.start(...)
  local self = setmetatable({ folder = server.scratch(), options = { ... } }, Redis)
  self.port = tonumber(server.shell(FREE_PORT))
  self.url = "redis://127.0.0.1:" .. self.port
  running[#running + 1] = self
  self:start()
  return self
end

--- End those that run. Their folders go with `server.clean`.
function redis_server.clean()
  while #running > 0 do
    server.shell(("kill -KILL %d 2>&1"):format(table.remove(running).pid))
  end
end

return redis_server
