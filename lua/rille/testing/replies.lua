--- The channels that a test makes to be answered on (`channel_layer:new_channel`), and those of the
--- handlers that it runs: what nobody has received by the end is told.

local Layer = require("rille.layer")
local layer = require("rille.core").layer
local opened = require("rille.testing.opened")

---@class rille.testing.Reply : rille.testing.Opened
---@field channel string
local Reply = {}
Reply.__index = Reply

function Reply:remains()
  local n, first = 0, nil
  local message = layer.take(self.channel) -- nil: it has ended with its task
  while message do
    n, first = n + 1, first or message
    message = layer.take(self.channel)
  end
  if first then
    local told = "a channel with %d unread messages, the first of type %q"
    return told:format(n, Layer.decode(first).type)
  end
end

function Reply:drop() end -- it ends with the test

local M = {}

--- From now on, in this process.
function M.watch()
  local new_channel = Layer.new_channel
  function Layer:new_channel()
    local channel = new_channel(self)
    opened.note(setmetatable({ channel = channel }, Reply))
    return channel
  end
end

return M
