-- What spec/bench measures of strangers: one consumer waits for the database, another echoes.
local rille = require "rille"

local SECONDS = 5

local Echo = rille.WebsocketConsumer:extend "Echo"

function Echo:receive(text_data)
  self:asend { text_data = text_data }
end

local Sleeper = rille.HttpConsumer:extend "Sleeper"

function Sleeper:handle()
  rille.db:aquery("SELECT pg_sleep($1)", SECONDS)
  self:asend_response(200, "slept")
end

return rille.app {
  routes = { rille.websocket("/", Echo), rille.http("/sleep", Sleeper) },
}
