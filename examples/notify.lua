-- Rows that anybody inserts show up at everybody who watches: a trigger says so with NOTIFY, one
-- consumer hears it and passes it on. It needs PostgreSQL.
-- Run:  DATABASE_URL=postgresql://… ./rille run examples/notify.lua
-- Try:  npx wscat -c ws://127.0.0.1:8000/orders      and meanwhile
--       psql "$DATABASE_URL" -c "INSERT INTO notify_order (item) VALUES ('a rover')"
local rille = require("rille")

local Watcher = rille.WebsocketConsumer:extend("Watcher")
Watcher.groups = { "watchers" }

local Orders = rille.Consumer:extend("Orders")

function Orders:notify(event)
  self:agroup_send("watchers", { type = "websocket.send", text = event.payload })
end

function Orders:notify_gap() -- the connection was lost for a while
  self:agroup_send("watchers", { type = "websocket.send", text = "look again" })
end

return rille.app {
  routes = { rille.websocket("/orders", Watcher), rille.notify("orders", Orders) },
  on_start = function()
    rille.db:atomic(function()
      rille.db:aexecute([[CREATE TABLE IF NOT EXISTS notify_order (id serial, item text)]])
      rille.db:aexecute([[
        CREATE OR REPLACE FUNCTION notify_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_notify('orders', row_to_json(NEW)::text);
          RETURN NULL;
        END $$
      ]])
      rille.db:aexecute([[
        CREATE OR REPLACE TRIGGER notify_order AFTER INSERT ON notify_order
        FOR EACH ROW EXECUTE FUNCTION notify_order()
      ]])
    end)
  end,
}
