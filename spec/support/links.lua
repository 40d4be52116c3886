--- Links to a Redis, for one test, which may leave none behind:
---
---     it("answers", links.closing(function()
---       local link = links.open("redis://localhost:6379")
---       …
---     end))

local redis = require("rille.redis")

local links = {}

local opened = {}

--- Open one.
---@param url string
---@param options table?  those of `redis.open`
---@return rille.redis.Link
function links.open(url, options)
  local link = redis.open(url, options)
  opened[#opened + 1] = link
  return link
end

--- A test at whose end all that it opened are closed, however it ends.
---@param test async fun()
---@return async fun()
function links.closing(test)
  return function()
    local ok, err = pcall(test)
    for i = #opened, 1, -1 do
      table.remove(opened, i):close()
    end
    if not ok then
      error(err, 0)
    end
  end
end

return links
