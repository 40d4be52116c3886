--- Timers that say in the log where they run, for spec/server/timers_spec.lua.

local rille = require("rille")

rille.every(0.02, function()
  rille.log(("once on %d;"):format(rille.worker.id))
end, { name = "once" })

rille.every(0.02, function()
  rille.log(("each on %d;"):format(rille.worker.id))
end, { each = "worker", name = "each" })

rille.every(0.02, function()
  error("as it was told")
end, { name = "broken" })

rille.after(0.01, function()
  rille.log("warm;")
end)

rille.every(1000, function()
  rille.log("long begins;")
  local ok, err = pcall(rille.asleep, tonumber(os.getenv("LONG") or 0))
  rille.log(("long ends: %s;"):format(ok and "whole" or tostring(err)))
end, { immediate = true, name = "long" })

return rille.app {}
