-- The lookups that spec/bench measures: a message is an account's number, its balance comes back.
--
--   /       a model's instance      /row    a row, by the statement that pgbench sends
--   /plain  the same answer without the database: what the message by itself costs
local rille = require "rille"
local models = require "rille.models"

local SUM = 1000000 -- what spec/bench/postgres.py has every number and its balance add up to

local Account = models.define("pgbench_accounts", {
  aid = models.integer { primary_key = true },
  abalance = models.integer(),
})

local Instance = rille.WebsocketConsumer:extend "Instance"

function Instance:receive(text_data)
  local account = Account.objects:aget { pk = tonumber(text_data) }
  self:asend { text_data = tostring(account.abalance) }
end

local Row = rille.WebsocketConsumer:extend "Row"

function Row:receive(text_data)
  local rows = rille.db:aquery(
    "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    tonumber(text_data)
  )
  self:asend { text_data = tostring(rows[1].abalance) }
end

local Plain = rille.WebsocketConsumer:extend "Plain"

function Plain:receive(text_data)
  self:asend { text_data = tostring(SUM - tonumber(text_data)) }
end

return rille.app {
  routes = {
    rille.websocket("/", Instance),
    rille.websocket("/row", Row),
    rille.websocket("/plain", Plain),
  },
}
