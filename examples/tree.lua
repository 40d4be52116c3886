-- Send a folder's id: its name comes back, then its parent's, up to the root; one query a step.
-- Run:  ./rille run examples/tree.lua       Try:  npx wscat -c ws://127.0.0.1:8000/tree
local rille = require("rille")
local models = require("rille.models")

local Folder = models.define("folder", {
  id = models.auto(),
  name = models.text(),
  parent = models.foreign_key("self", { null = true }),
})

local Tree = rille.WebsocketConsumer:extend("Tree")

local function aclimb(self, id)
  while id do
    local folder = Folder.objects:aget { pk = id }
    self:asend { text_data = folder.name }
    id = folder.parent_id
  end
end

function Tree:receive(text_data)
  local ok, err = pcall(aclimb, self, tonumber(text_data))
  if ok then
    self:close(1000)
  elseif rille.is_error(err, Folder.DoesNotExist) then
    self:close(4004, "no such folder")
  else
    error(err, 0)
  end
end

-- 1 moon ─ 2 near side ─ 3 Mare Imbrium ─ 4 Rima Hadley
--        └ 5 far side
local function aplant()
  if Folder.objects:aexists() then
    return
  end
  rille.atomic(function()
    local moon = Folder.objects:acreate { name = "moon" }
    local near = Folder.objects:acreate { name = "near side", parent = moon }
    local mare = Folder.objects:acreate { name = "Mare Imbrium", parent = near }
    Folder.objects:acreate { name = "Rima Hadley", parent = mare }
    Folder.objects:acreate { name = "far side", parent = moon }
  end)
end

return rille.app {
  models = { Folder },
  routes = { rille.websocket("/tree", Tree) },
  on_start = aplant,
}
