-- What spec/server/admin_spec.lua counts. Gates are files: a handler waits until one is there.
local rille = require("rille")

local FOLDER = os.getenv("GATES") or "."

local function is_open(gate)
  local file = io.open(FOLDER .. "/" .. gate)
  if file then
    file:close()
  end
  return file ~= nil
end

local function await(gate)
  while not is_open(gate) do
    rille.asleep(0.01)
  end
end

local made = rille.metrics.counter("shop_made_total", "Things made.", { "kind" })
local stock = rille.metrics.gauge("shop_stock", "Things in stock.")
local sizes = rille.metrics.histogram("shop_size_bytes", "How big.", {}, { buckets = { 1, 10 } })
stock:set(3)

local Echo = rille.WebsocketConsumer:extend("Echo")
Echo.groups = { "echoes" }

function Echo:receive(text_data)
  if text_data == "raise" then
    error("as asked")
  end
  self:asend { text_data = text_data }
end

return rille.app {
  admin = os.getenv("SCRIPT_ADMIN"),
  limits = { handler_cpu_limit = false },
  on_start = function()
    if os.getenv("GATE_START") then
      await("start")
    end
  end,
  routes = {
    rille.websocket("/echo", Echo),
    rille.get("/ok", function()
      return 200, "ok"
    end),
    rille.post("/made/<int:id>", function(request)
      made:inc { kind = 'a "thing"' }
      sizes:observe(10)
      sizes:observe(11)
      return 201, request:abody()
    end),
    rille.get("/raises", function()
      error("as asked")
    end),
    rille.get("/waits", function()
      await("waits")
      return 200, "ok"
    end),
    rille.get('/odd"route\\', function()
      return 200, "odd"
    end),
    rille.get("/spins", function()
      local tick = 0
      repeat -- its thread is busy, which handler_cpu_limit would end
        tick = tick + 1
      until tick % 1000 == 0 and is_open("spins")
      return 200, "ok"
    end),
  },
}
