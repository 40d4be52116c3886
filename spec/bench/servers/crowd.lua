-- The echo of echo.lua in a heap where a hundred thousand other consumers live.
local rille = require "rille"
local Consumer = require "rille.consumer"
local Scope = require "rille.scope"

local CROWD = 100000

local Echo = rille.WebsocketConsumer:extend "Echo"

function Echo:receive(text_data, bytes_data)
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

local crowd = {} -- keeps them alive

return rille.app {
  on_start = function()
    for i = 1, CROWD do
      local fields = (":target\0/%d\0host\0%d\0"):format(i, i)
      local scope = Scope.new(-i, "websocket", "GET", fields)
      local one = Consumer.open(Echo, scope, true) -- as of a connection
      one.seen = { i, tostring(i) }
      crowd[#crowd + 1] = one
      if i % 1000 == 0 then
        rille.asleep(0)
      end
    end
  end,
  routes = { rille.websocket("/", Echo) },
}
