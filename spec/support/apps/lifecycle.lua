-- Consumers that write to stderr what happens to them, for spec/server/lifecycle_spec.lua.
local rille = require("rille")

local function note(...)
  io.stderr:write("noted: ", table.concat({ ... }, " "), "\n")
end

local Noting = rille.WebsocketConsumer:extend("Noting")

function Noting:connect()
  note("connect", self.scope.path)
  self:accept()
end

function Noting:receive(text_data)
  self:asend { text_data = text_data }
end

function Noting:disconnect(code)
  note("disconnect", self.scope.path, tostring(code))
end

local Closing = Noting:extend("Closing")

function Closing:receive()
  self:close(4001, "enough")
end

local ClosesLate = Noting:extend("ClosesLate") -- with another message waiting

function ClosesLate:receive(text_data)
  if text_data == "close" then
    rille.asleep(0.2)
    return self:close(4002, "late")
  end
  note("answers", text_data)
  self:asend { text_data = text_data }
end

local FailsInConnect = Noting:extend("FailsInConnect")

function FailsInConnect.connect()
  error("connect broke")
end

local FailsInReceive = Noting:extend("FailsInReceive")

function FailsInReceive.receive()
  error("receive broke")
end

local FailsInDisconnect = Noting:extend("FailsInDisconnect")

function FailsInDisconnect:disconnect(code)
  Noting.disconnect(self, code)
  error("disconnect broke")
end

local Refusing = Noting:extend("Refusing")

function Refusing:connect()
  self:close()
end

local Denying = Noting:extend("Denying")

function Denying:connect()
  self:deny(401, { ["x-why"] = "no ticket" }, "show your ticket")
end

local Accepting = Noting:extend("Accepting") -- says nothing in connect, and is accepted

function Accepting.connect() end

local Ticking = Noting:extend("Ticking")

function Ticking:connect()
  self:accept()
  self:spawn(function()
    while true do
      rille.asleep(0.05)
      note("tick")
    end
  end)
end

local Sleeping = Noting:extend("Sleeping") -- a handler that is under way when its client goes

function Sleeping:receive()
  note("receive begins")
  rille.asleep(0.3)
  self:asend { text_data = "awake" }
  note("receive ends")
end

local function boom()
  error("handler broke")
end

return rille.app {
  routes = {
    rille.websocket("/ws/noting", Noting),
    rille.websocket("/ws/closing", Closing),
    rille.websocket("/ws/closes-late", ClosesLate),
    rille.websocket("/ws/fails-in-connect", FailsInConnect),
    rille.websocket("/ws/fails-in-receive", FailsInReceive),
    rille.websocket("/ws/fails-in-disconnect", FailsInDisconnect),
    rille.websocket("/ws/refusing", Refusing),
    rille.websocket("/ws/denying", Denying),
    rille.websocket("/ws/accepting", Accepting),
    rille.websocket("/ws/ticking", Ticking),
    rille.websocket("/ws/sleeping", Sleeping),
    rille.get("/fine", function()
      return 200, "fine"
    end),
    rille.get("/boom", boom),
  },
}
