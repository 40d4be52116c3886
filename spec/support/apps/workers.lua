-- What several workers do, told on stderr, for spec/server/workers_spec.lua.
local rille = require("rille")

local worker = rille.worker

local function note(...)
  io.stderr:write(("noted: worker %d of %d: "):format(worker.id, worker.count), ..., "\n")
end

local function broken(where)
  return os.getenv("BREAK") == where and worker.id == 2
end

if broken("load") then
  error("this worker cannot load")
end

return rille.app {
  workers = 3,
  on_start = function()
    if broken("start") then
      error("this worker cannot start")
    end
    rille.asleep(0.05 * worker.id)
    note("starts")
  end,
  on_stop = function()
    note("stops")
  end,
  routes = {
    rille.get("/worker", function()
      return 200, { id = worker.id, count = worker.count }
    end),
  },
}
