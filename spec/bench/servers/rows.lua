-- The long read that spec/bench measures: every row of a table, one instance after another.
local rille = require "rille"
local models = require "rille.models"

local Row = models.define("rille_bench_row", {
  id = models.auto(),
  name = models.text(),
})

local function read()
  local rows, bytes = 0, 0
  for row in Row.objects:aiterator() do
    rows = rows + 1
    bytes = bytes + #row.name
  end
  return 200, { rows = rows, bytes = bytes }
end

return rille.app {
  routes = { rille.get("/", read) },
}
