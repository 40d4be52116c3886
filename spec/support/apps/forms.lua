-- Forms, for spec/server/forms_spec.lua.
local rille = require("rille")

local slow = tonumber(os.getenv("SLOW") or "0")

--- What a form has, as JSON can say it.
local function told(request)
  local first, all, files = request:aform()
  local names = {}
  for name, list in pairs(files) do
    for _, file in ipairs(list) do
      names[#names + 1] = {
        name = name,
        filename = file.filename,
        type = file.type,
        length = #file.content,
        first = file.content:sub(1, 8),
      }
    end
  end
  return 200, { first = first, all = all, files = names, again = request:aform() == first }
end

--- The lengths of the parts, none of which is kept.
local function measured(request)
  local lengths = {}
  for part in request:aparts() do
    local n = 0
    for chunk in part:achunks() do
      n = n + #chunk
      rille.asleep(slow)
    end
    lengths[#lengths + 1] = { part.name, part.filename or false, n }
  end
  return 200, lengths
end

return rille.app {
  routes = {
    rille.post("/form", told),
    rille.post("/parts", measured, { max_body = 256 * 1024 * 1024 }),
  },
}
