local rille = require("rille")

--- Wait until `condition()` is true, and return what it gave; fail if it never is. Tasks go on
--- meanwhile.
---@async
---@generic T
---@param condition async fun(): T?
---@param seconds number?  default 10
---@return T
local function eventually(condition, seconds)
  for _ = 1, (seconds or 10) / 0.01 do
    local answer = condition()
    if answer then
      return answer
    end
    rille.asleep(0.01)
  end
  error("it never happened", 2)
end

return eventually
