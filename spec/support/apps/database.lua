-- One statement over HTTP, its error told or left uncaught, for spec/server/bad_input_spec.lua.
local rille = require("rille")

local function told()
  local ok, answer = pcall(function()
    return rille.db:aquery("select 1 as one")
  end)
  if ok then
    return 200, { one = answer[1].one }
  end
  return 503,
    {
      operational = rille.is_error(answer, rille.OperationalError),
      message = tostring(answer),
    }
end

local function raised()
  return 200, { one = rille.db:aquery("select 1 as one")[1].one }
end

return rille.app {
  routes = {
    rille.get("/told", told),
    rille.get("/raised", raised),
    rille.get("/alive", function()
      return 200, "alive"
    end),
  },
}
