--- Servers of Redis that a spec has for itself, to be hurt.
---
---     local server
---     lazy_setup(function() server = redis.start() end)
---     lazy_teardown(redis.clean)
---
--- They start in some fifty milliseconds. What is done to them blocks, briefly.

local server = require("spec.support.server")

local M = { eventually = require("spec.support.eventually") }

local SCRIPT = "spec/support/redis"

---@class spec.RedisServer
---@field folder string
---@field port integer
---@field socket string  path of its Unix socket
---@field url string     over loopback, without user and password
local Redis = {}
Redis.__index = Redis

local servers = {}

local function run(...)
  local words = {}
  for i, word in ipairs { SCRIPT, ... } do
    words[i] = server.quote(word)
  end
  local text = server.shell(table.concat(words, " ") .. " 2>&1; echo \"status $?\"")
  local answer, status = text:match("^(.*)status (%d+)%s*$")
  if status ~= "0" then
    error(table.concat(words, " ") .. ": " .. answer, 3)
  end
  return answer
end

local function begin(scheme, words)
  local folder = server.shell("mktemp -d"):gsub("%s+$", "")
  local self = setmetatable({ folder = folder, words = words }, Redis)
  servers[#servers + 1] = self
  self.socket = folder .. "/socket"
  self:restart()
  self.url = ("%s://localhost:%d"):format(scheme, self.port)
  return self
end

--- A fresh server.
---@param ... string  lines of its configuration
---@return spec.RedisServer
function M.start(...)
  return begin("redis", { "start", ... })
end

--- One that speaks TLS alone, over loopback.
---@param certificates string  a folder of spec/support/certificates
---@param ... string
---@return spec.RedisServer
function M.start_tls(certificates, ...)
  return begin("rediss", { "tls", certificates, ... })
end

--- A Sentinel that watches a server, as "main".
---@param master spec.RedisServer
---@param ... string
---@return spec.RedisServer
function M.start_sentinel(master, ...)
  return begin("redis", { "sentinel", master.port, ... })
end

--- Start it again, on its port and with its configuration; unless it was stopped, as after a crash.
function Redis:restart()
  self:stop()
  self.port = tonumber(run(self.words[1], self.folder, unpack(self.words, 2)))
end

--- As a crash would.
function Redis:stop()
  run("stop", self.folder)
end

---@param name string  "STOP", "CONT", "TERM"
function Redis:signal(name)
  run("signal", self.folder, name)
end

--- What redis-cli prints.
---@param ... string|number  a command
---@return string  without the last line end
function Redis:cli(...)
  local words = {}
  for i, word in ipairs { "timeout", "10", "redis-cli", "-s", self.socket, ... } do
    words[i] = server.quote(word)
  end
  return (server.shell(table.concat(words, " ") .. " 2>&1"):gsub("\n$", ""))
end

--- Names of the keys there are, sorted.
---@return string[]
function Redis:keys()
  local keys = {}
  for key in self:cli("KEYS", "*"):gmatch("[^\n]+") do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- End all servers, and remove what they left.
function M.clean()
  for i = #servers, 1, -1 do
    servers[i]:stop()
    os.execute("rm -rf " .. server.quote(servers[i].folder))
    servers[i] = nil
  end
end

return M
