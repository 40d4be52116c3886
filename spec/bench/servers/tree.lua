-- The walk that spec/bench measures: a message names a folder, and the handler climbs from
-- there to the top of its chain, one query and one line per step, and says "." at the end.
local rille = require "rille"
local models = require "rille.models"

local FOLDERS = 1000
local CHAIN = 10

-- The name keeps clear of any table that the database may already have.
local Folder = models.define("rille_bench_folder", {
  id = models.auto(),
  name = models.text(),
  parent = models.foreign_key("self", { null = true }),
})

local Tree = rille.WebsocketConsumer:extend "Tree"

function Tree:receive(text_data)
  local folder = Folder.objects:aget { pk = tonumber(text_data) }
  while folder do
    self:asend { text_data = folder.name }
    folder = folder.parent_id and Folder.objects:aget { pk = folder.parent_id }
  end
  self:asend { text_data = "." }
end

--- Fill the table once: 1000 folders in chains of ten, "folder 10" being the far end of the
--- first chain and "folder 1" its top.
local function fill()
  if Folder.objects:aexists() then
    return
  end
  local folders = {}
  for id = 1, FOLDERS do
    local top = (id - 1) % CHAIN == 0
    folders[id] = { id = id, name = "folder " .. id, parent_id = not top and id - 1 or nil }
  end
  Folder.objects:abulk_create(folders)
end

return rille.app {
  models = { Folder },
  routes = { rille.websocket("/", Tree) },
  on_start = function()
    rille.atomic(fill)
  end,
}
