--- A network of two hosts that a spec can cut: this machine, and a network namespace at the other
--- end of a virtual cable. While it is cut, packets vanish in both directions, and nobody is told.
---
--- Needs root, `ip` and a kernel that lets it.

local cluster = require("spec.support.cluster")
local server = require("spec.support.server")

---@class spec.Netns
---@field name string
---@field near string  address of this machine
---@field far string   address of the other end
local Netns = {}
Netns.__index = Netns

local M = {}

--- Make one.
---@async
---@return spec.Netns?
---@return string? why  when it cannot be
function M.new()
  local id = tonumber(server.shell("echo $PPID"))
  local function address(host) -- of a range that RFC 2544 sets aside for tests
    return ("198.18.%d.%d"):format(math.floor(id / 64) % 256, id % 64 * 4 + host)
  end
  local self = setmetatable({ name = "rille-" .. id, cable = "rl" .. id }, Netns)
  self.near, self.far = address(1), address(2)
  local ok, why = pcall(cluster.arun, ([[
    set -e
    ip netns add NAME
    ip link add CABLE type veth peer name far netns NAME
    ip addr add NEAR/30 dev CABLE
    ip link set CABLE up
    ip -n NAME link set lo up
    ip -n NAME addr add FAR/30 dev far
    ip -n NAME link set far up
    ip netns exec NAME sh -c '
      for dev in all far; do echo 1 >/proc/sys/net/ipv4/conf/$dev/rp_filter; done
      echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries'
  ]]):gsub("%u+", { NAME = self.name, CABLE = self.cable, NEAR = self.near, FAR = self.far }))
  if not ok then
    self:remove()
    return nil, "a network namespace cannot be made: " .. tostring(why):gsub("%s+", " ")
  end
  return self
end

--- From now on nothing comes through, however it was addressed: the far end knows no way back to
--- us, nor believes that we are there.
---@async
function Netns:cut()
  cluster.arun(("ip -n %s route add blackhole %s/32"):format(self.name, self.near))
end

---@async
function Netns:mend()
  cluster.arun(("ip -n %s route del blackhole %s/32"):format(self.name, self.near))
end

--- Have the far end forget connections that it has closed, instead of saying so again and again;
--- what comes on them then is answered with a reset. Do it while the network is cut.
---@async
function Netns:forget()
  local closed = "ip netns exec %s ss -tanH%s exclude listening exclude established"
  cluster.eventually(function()
    server.shell(closed:format(self.name, "K"))
    return server.shell(closed:format(self.name, "")) == ""
  end)
end

--- Safe to call twice.
function Netns:remove()
  server.shell(("ip netns del %s 2>&1; ip link del %s 2>&1"):format(self.name, self.cable))
end

return M
