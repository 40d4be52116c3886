--- A database of a spec's own on the server that RILLE_TEST_POSTGRES leads to, as a layer: to be
--- looked into, and to be hurt without hurting others on the server.
---
---     local store
---     lazy_setup(function() store = layer_database.create("my_spec") end)
---     lazy_teardown(layer_database.clean)

local Database = require("rille.db").Database
local core = require("rille.core")
local eventually = require("spec.support.eventually")

local layer_database = {}

local server_url = os.getenv("RILLE_TEST_POSTGRES")

--- Is there a server?
layer_database.found = server_url ~= nil

---@class spec.LayerDatabase
---@field name string
---@field url string
---@field inside rille.db.Database  this one
---@field beside rille.db.Database  another of the server
local Store = {}
Store.__index = Store

local stores = {}

---@async
---@param name string
---@return spec.LayerDatabase
function layer_database.create(name)
  local self = setmetatable({ name = ("%s_%.0f"):format(name, core.random() * 2 ^ 52) }, Store)
  self.beside = Database("beside", { url = server_url, max_connections = 2 })
  self.beside:aexecute("CREATE DATABASE " .. self.name)
  local head, query = server_url:match("^(%w+://[^/?]*)[^?]*(.*)$")
  self.url = head .. "/" .. self.name .. query
  self.inside = Database("inside", { url = self.url, max_connections = 2 })
  stores[#stores + 1] = self
  return self
end

--- One value, or nil.
---@async
---@param sql string  with a column `value`
---@param ... rille.db.Value
function Store:value(sql, ...)
  local row = self.inside:aquery(sql, ...)[1]
  return row and row.value
end

--- Rows of one of the layer's tables.
---@async
---@param table_name string  without the prefix
---@return integer
function Store:count(table_name)
  return self:value("SELECT count(*) AS value FROM rille_layer_" .. table_name)
end

--- Let nobody in any more, and put out who is there.
---@async
function Store:shut()
  self.inside:aclose()
  self.beside:aexecute(("ALTER DATABASE %s ALLOW_CONNECTIONS false"):format(self.name))
  local put_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
  eventually(function()
    return #self.beside:aquery(put_out, self.name) == 0
  end)
end

---@async
function Store:open()
  self.beside:aexecute(("ALTER DATABASE %s ALLOW_CONNECTIONS true"):format(self.name))
  self.inside = Database("inside", { url = self.url, max_connections = 2 })
end

---@async
function layer_database.clean()
  while #stores > 0 do
    local self = table.remove(stores)
    self.inside:aclose()
    self.beside:aexecute(("DROP DATABASE %s WITH (FORCE)"):format(self.name))
    self.beside:aclose()
  end
end

return layer_database
