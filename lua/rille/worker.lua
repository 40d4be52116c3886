--- Which of the process's workers runs this code. Each has a Lua state of its own: what a script
--- keeps in its variables is one worker's, and what all share belongs into the database or goes
--- through the layer.

local core = require("rille.core")

---@class rille.Worker
---@field id integer     from 0: what there may be only one of belongs on worker 0
---@field count integer  how many there are; final once the script is loaded, as in `on_start`
return setmetatable({}, {
  __index = function(_, name)
    local id, count = core.worker.place()
    return name == "id" and id or name == "count" and count or nil
  end,
  __newindex = function(_, name)
    error(("rille.worker.%s: a script cannot choose its worker"):format(tostring(name)), 2)
  end,
})
