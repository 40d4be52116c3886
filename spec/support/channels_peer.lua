--- Processes with the real channels_redis, told what to do; see `channels_peer.py`.
---
---     local django = channels_peer.start("core", { hosts = { redis.url } })
---     local channel = django:ask { "new_channel" }
---     django:ask { "group_send", group = "room", message = { type = "chat.message", n = 1 } }
---
--- `after_each(channels_peer.clean)` ends them.

local json = require("cjson")
local server = require("spec.support.server")

local channels_peer = {}

local LIMIT = 60 -- seconds that one may live

---@class spec.ChannelsPeer
local Peer = {}
Peer.__index = Peer

local running = {}

--- Is there a channels_redis on this machine?
channels_peer.found =
  os.execute("/usr/bin/python3 -c 'import channels_redis.core' 2>/dev/null") == 0

---@param mode "core"|"pubsub"
---@param config table  the arguments of its layer
---@return spec.ChannelsPeer
function channels_peer.start(mode, config)
  local folder = server.scratch()
  local pipe = folder .. "/commands"
  assert(os.execute("mkfifo " .. pipe) == 0)
  local script = "spec/support/channels_peer.py"
  local command = ("timeout -k 2 %d /usr/bin/python3 %s %s %s <%s 2>%s/err"):format(
    LIMIT,
    script,
    mode,
    server.quote(json.encode(config)),
    pipe,
    folder
  )
  local self = setmetatable({ folder = folder, number = 0, early = {} }, Peer)
  self.said = assert(io.popen(command, "r"))
  self.commands = assert(io.open(pipe, "w")) -- waits until the script reads
  running[#running + 1] = self
  self:read("ready")
  return self
end

--- Its answer to a command, or its event; what else it says is kept.
function Peer:read(key)
  while self.early[key] == nil do
    local line = self.said:read("*l")
    if not line then
      error("the peer has ended: " .. (server.read_file(self.folder .. "/err") or ""), 3)
    end
    local said = json.decode(line)
    self.early[said.event or said.id] = said
  end
  local said = self.early[key]
  self.early[key] = nil
  return said
end

--- Begin a command. Others may follow before its answer is asked for.
---@param command table  what is to be done first, then its arguments by name
---@return integer number  for `answer`
function Peer:tell(command)
  self.number = self.number + 1
  local line = { id = self.number }
  for name, value in pairs(command) do
    line[name == 1 and "do" or name] = value
  end
  self.commands:write(json.encode(line), "\n")
  self.commands:flush()
  return self.number
end

--- The answer to a command, when it comes.
---@param number integer
---@return any value
---@return string? error  the exception's name; then `value` is its text
function Peer:answer(number)
  local said = self:read(number)
  if said.error then
    return said.text, said.error
  end
  return said.value ~= json.null and said.value or nil
end

--- Do something and wait for the answer.
---@param command table
---@return any value
---@return string? error
function Peer:ask(command)
  return self:answer(self:tell(command))
end

--- The same; fails with what it was refused for.
---@param command table
---@return any value
function Peer:must(command)
  local value, failure = self:ask(command)
  if failure then
    error(("%s: %s: %s"):format(command[1], failure, value), 2)
  end
  return value
end

--- Bytes, for its messages.
---@param bytes string
---@return table
function channels_peer.bytes(bytes)
  return { ["$bytes"] = (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end)) }
end

--- End them all.
function channels_peer.clean()
  while #running > 0 do
    local peer = table.remove(running)
    peer:tell { "end" } -- others that were started since hold its input open, too
    peer.commands:close()
    peer.said:close()
  end
end

return channels_peer
