--- How a WebSocket's messages may be compressed (permessage-deflate, RFC 7692): the `compression`
--- of an app, or of a route, which goes before it.
---
---     compression = false                       -- never
---     compression = { threshold = 4096 }        -- as told; what is not told, by default
---
--- It happens with clients that offer it, browsers do. By default every message stands by itself,
--- so that a connection which idles holds nothing for it. Keeping a window between messages makes
--- small, similar ones much smaller; per connection, from its first compressed message on, it costs
--- about 270 KB for what is sent and 44 KB for what is received (with windows of 12 bits 40 and 11,
--- of 9 bits 10 and 8). A message to a group is compressed once for all members.
---
--- Who can put text of their own beside a secret of somebody else's, in the same message, and see
--- how long it becomes, can guess the secret: send secrets over a route without compression.

local errors = require("rille.errors")

local fail = errors.misconfigured

local M = {}

---@class rille.Compression
---@field threshold integer?          bytes of the smallest message that is compressed; default 1024
---@field level integer?              1 (fast) to 9 (small); default 1
---@field context_takeover boolean|"server"|"client"|nil  keep the window of both sides, or of one,
---  between messages, where the client agrees; default false
---@field window_bits integer?        our window is at most 2^this bytes: 9 to 15; default 15
---@field client_window_bits integer? the client's, likewise, where it is kept

local NUMBERS = {
  threshold = { 0, 2 ^ 31 - 1 },
  level = { 1, 9 },
  window_bits = { 9, 15 },
  client_window_bits = { 9, 15 },
}

local function check(name, value, where)
  local range = NUMBERS[name]
  if name == "context_takeover" then
    if type(value) ~= "boolean" and value ~= "server" and value ~= "client" then
      fail(('%s: context_takeover is true, false, "server" or "client"'):format(where), name)
    end
  elseif not range then
    local told = "%s: unknown option %q; there are client_window_bits, context_takeover, level, "
      .. "threshold, window_bits"
    fail(told:format(where, tostring(name)), name)
  elseif
    type(value) ~= "number"
    or value % 1 ~= 0
    or value < range[1]
    or value > range[2]
  then
    local told = "%s: %s is a whole number from %.0f to %.0f"
    fail(told:format(where, name, range[1], range[2]), name)
  end
end

--- What the core wants to be told, checked. Raises what is wrong; `where` begins the sentence.
---@param given boolean|rille.Compression|nil  nil and true are the default
---@param where string
---@return rille.core.Compression?  nil: the default
function M.compile(given, where)
  if given == nil or given == true then
    return nil
  elseif given == false then
    return { off = true }
  elseif type(given) ~= "table" then
    fail(("%s: true, false or a table expected, got a %s"):format(where, type(given)))
  end
  for name, value in pairs(given) do
    check(name, value, where)
  end
  local takeover = given.context_takeover
  return {
    off = false,
    threshold = given.threshold and math.max(given.threshold, 1), -- nothing cannot be less
    level = given.level,
    bits = given.window_bits,
    client_bits = given.client_window_bits,
    takeover = takeover == true or takeover == "server",
    client_takeover = takeover == true or takeover == "client",
  }
end

return M
