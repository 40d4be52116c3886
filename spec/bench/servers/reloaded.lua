-- An echo in a script of some size, which is loaded anew while it is measured: spec/bench/reload.
local rille = require("rille")
local models = require("rille.models")

local tables = {}
for i = 1, 50 do
  tables[i] = models.define("table_" .. i, { name = models.text(), number = models.integer() })
end

local words = {} -- so that loading takes a while
for i = 1, 20000 do
  words["word " .. i] = { number = i }
end
assert(next(words))

for i = 1, tonumber(os.getenv("RELOAD_MODULES") or 0) do
  require("module_" .. i)
end

local Echo = rille.WebsocketConsumer:extend("Echo")
Echo.groups = { "everybody" }

function Echo:receive(text_data, bytes_data)
  self.count = (self.count or 0) + 1
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

if os.getenv("RELOAD_TELLS") then
  function Echo:on_reload()
    self.reloads = (self.reloads or 0) + 1
  end
end

return rille.app {
  models = tables,
  routes = { rille.websocket("/", Echo) },
}
