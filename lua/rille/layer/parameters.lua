--- What backends have in common when they read what the layer's URL says.

local errors = require("rille.errors")

local M = {}

--- Raise what is wrong, as a `ConfigurationError`.
---@param text string  for string.format
---@param ... any
function M.fail(text, ...)
  error(errors.ConfigurationError("layer: " .. text:format(...)), 0)
end

--- A whole number, at least so much.
---@param name string
---@param text string|number
---@param least integer
---@return integer
function M.number(name, text, least)
  local number = tonumber(text)
  if not (number and number % 1 == 0 and number >= least and number < 2 ^ 31) then
    M.fail("%s is a whole number from %d on, not '%s'", name, least, text)
  end
  return number
end

return M
