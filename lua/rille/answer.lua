--- A whole answer, whose body is a string: to the core at once when it is short, else by pieces, as
--- the peer reads them. A peer that does not read would otherwise have the core hold a copy of all.

local core = require("rille.core")

local consumer = core.consumer

local PIECE = 64 * 1024
local AT_ONCE = 4 * PIECE

--- Answer a request; waits for the peer when the body is long.
---@async
---@param id number
---@param status integer
---@param fields table?  headers, as `consumer.respond` takes them
---@param body string?
---@return boolean? ok
---@return rille.Error? err
return function(id, status, fields, body)
  if not body or #body <= AT_ONCE then
    return consumer.respond(id, status, fields, body)
  end
  local ok, err = consumer.start(id, status, fields, #body)
  for at = 1, #body, PIECE do
    if not ok then
      break
    end
    ok, err = consumer.write(id, body:sub(at, at + PIECE - 1), at + PIECE <= #body)
  end
  return ok, err
end
