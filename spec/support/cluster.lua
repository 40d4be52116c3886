--- Servers of PostgreSQL that a spec file has for itself, to be hurt.
---
---     local pg
---     lazy_setup(function() pg = cluster.start { "log_connections = on" } end)
---     lazy_teardown(cluster.clean)
---
--- What takes the server a while (`control`) lets tasks go on; `sql` asks the server through
--- another client and its unix socket, so that it also answers when rille cannot.

local rille = require("rille")
local server = require("spec.support.server")

local cluster = { eventually = require("spec.support.eventually") }

local SCRIPT = "spec/support/postgres"
local PATIENCE = 30 -- seconds for one command

---@class spec.Cluster
---@field folder string
---@field port integer
---@field url string      over loopback
---@field socket string   over the unix socket
local Cluster = {}
Cluster.__index = Cluster

local clusters, doors, bouncers = {}, {}, {}

local function quoted(words)
  local out = {}
  for i, word in ipairs(words) do
    out[i] = server.quote(word)
  end
  return table.concat(out, " ")
end

--- Run a shell command to its end while tasks go on. Raises what it wrote if it fails.
---@async
---@param command string
---@return string  what it printed
function cluster.arun(command)
  local out = os.tmpname()
  os.execute(("{ ( %s ) >%s 2>&1 </dev/null; echo $? >%s.rc; } &"):format(command, out, out))
  local status
  for _ = 1, PATIENCE / 0.01 do
    status = tonumber(server.read_file(out .. ".rc") or "")
    if status then
      break
    end
    rille.asleep(0.01)
  end
  local text = server.read_file(out)
  os.remove(out)
  os.remove(out .. ".rc")
  if status ~= 0 then
    error(("%s: %s\n%s"):format(command, status or "never ended", text), 2)
  end
  return text
end

local function script(action, folder, arguments, environment)
  local words = { SCRIPT, action, folder }
  for _, argument in ipairs(arguments) do
    words[#words + 1] = argument
  end
  return (environment and environment .. " " or "") .. quoted(words)
end

local function adopt(folder, environment)
  local port = tonumber(server.read_file(folder .. "/port"))
  local self = setmetatable({ folder = folder, port = port, environment = environment }, Cluster)
  self.url = ("postgresql://rille@127.0.0.1:%d/postgres"):format(port)
  self.socket = ("postgresql://rille@/postgres?host=%s&port=%d"):format(folder, port)
  clusters[#clusters + 1] = self
  return self
end

local function new_folder()
  return (server.shell("d=$(mktemp -d) && chmod 755 $d && echo $d"):gsub("%s+$", ""))
end

--- A fresh server.
---@async
---@param lines string[]?       of its configuration
---@param options { netns: string? }?  the network namespace to start it in
---@return spec.Cluster
function cluster.start(lines, options)
  local folder = new_folder()
  local environment = options and options.netns and "RILLE_TEST_NETNS=" .. options.netns
  cluster.arun(script("start", folder, lines or {}, environment))
  return adopt(folder, environment)
end

--- A standby of this one.
---@async
---@param lines string[]?
---@return spec.Cluster
function Cluster:standby(lines)
  local folder = new_folder()
  cluster.arun(script("standby", folder, { self.folder, unpack(lines or {}) }))
  return adopt(folder)
end

--- Have `spec/support/postgres` do something: "restart", "fast" and the like.
---@async
---@param action string
---@param ... string
function Cluster:control(action, ...)
  cluster.arun(script(action, self.folder, { ... }, self.environment))
end

--- Say who may come in, and how; before that everybody may, from this machine.
---@async
---@param rules string[]  lines of pg_hba.conf
function Cluster:admit(rules)
  local file = server.quote(self.folder .. "/data/pg_hba.conf")
  cluster.arun(("printf '%%s\\n' %s >%s"):format(quoted(rules), file))
  self:control("configure")
end

--- Run a statement with psql.
---@param statement string
---@return string  unaligned, without the last line end
function Cluster:sql(statement)
  local command = ("env -i PATH=\"$PATH\" psql -X -q -At -v ON_ERROR_STOP=1 %s -c %s 2>&1"):format(
    server.quote(self.socket),
    server.quote(statement)
  )
  local text = server.shell(command .. "; echo \"status $?\"")
  local answer, status = text:match("^(.*)status (%d+)%s*$")
  if status ~= "0" then
    error(statement .. ": " .. answer, 2)
  end
  return (answer:gsub("\n$", ""))
end

--- All that it has logged.
---@return string
function Cluster:log()
  return server.read_file(self.folder .. "/data/log") or ""
end

---@class spec.Bouncer  a pgbouncer in transaction mode
---@field url string
local Bouncer = {}
Bouncer.__index = Bouncer

local BOUNCER = "spec/support/pgbouncer"

--- A pgbouncer in front of this server.
---@async
---@param lines string[]?  of its configuration
---@return spec.Bouncer
function Cluster:bouncer(lines)
  local folder = new_folder()
  local words = { BOUNCER, "start", folder, self.port, unpack(lines or {}) }
  local one = setmetatable({ folder = folder, start = quoted(words) }, Bouncer)
  local port = cluster.arun(one.start):match("%d+")
  one.url = ("postgresql://rille@127.0.0.1:%s/postgres"):format(port)
  bouncers[#bouncers + 1] = one
  return one
end

--- Stop it at once and start it again.
---@async
function Bouncer:restart()
  cluster.arun(quoted { BOUNCER, "stop", self.folder })
  cluster.arun(self.start)
end

local DOOR = "spec/support/clients/fault_door.py"

---@class spec.Door  a way to a server that can be closed, see `clients/fault_door.py`
---@field url string
---@field port integer
local Door = {}
Door.__index = Door

--- Another way to this server, which forwards over loopback.
---@async
---@return spec.Door
function Cluster:door()
  local folder = new_folder()
  server.write(folder .. "/mode", "pass")
  local command = quoted { "/usr/bin/python3", DOOR, folder, self.port }
  os.execute(command .. " >/dev/null 2>&1 </dev/null &")
  local door = setmetatable({ folder = folder }, Door)
  door.port = cluster.eventually(function()
    return tonumber(server.read_file(folder .. "/door") or "")
  end)
  door.url = ("postgresql://rille@127.0.0.1:%d/postgres"):format(door.port)
  doors[#doors + 1] = door
  return door
end

--- From now on it passes, or is "stuck", "old" or "refuse".
---@async
---@param mode string
function Door:set(mode)
  server.write(self.folder .. "/mode", mode)
  cluster.eventually(function()
    return server.read_file(self.folder .. "/now") == mode
  end)
end

--- How many connections came to it.
---@return integer
function Door:visitors()
  return tonumber(server.read_file(self.folder .. "/visitors") or "0")
end

--- Stop all servers and remove them, with their doors.
---@async
function cluster.clean()
  for i = #clusters, 1, -1 do
    local one = clusters[i]
    pcall(one.control, one, "stop", "immediate")
    server.shell("rm -rf " .. server.quote(one.folder))
    clusters[i] = nil
  end
  for i = #bouncers, 1, -1 do
    pcall(cluster.arun, quoted { BOUNCER, "stop", bouncers[i].folder })
    server.shell("rm -rf " .. server.quote(bouncers[i].folder))
    bouncers[i] = nil
  end
  for i = #doors, 1, -1 do
    server.shell("rm -rf " .. server.quote(doors[i].folder))
    doors[i] = nil
  end
end

return cluster
