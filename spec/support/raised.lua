--- What a call raises that is meant to raise.
---
---     local err = raised.by(query.alist, query)
---     assert.equal("no such folder", raised.is(errors.NotFound, err))
---     raised.says("such folder", err)

local errors = require("rille.errors")

local raised = {}

--- What a call raises.
---@param fn function
---@param ... any  that it is called with
---@return any err
function raised.by(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "nothing was raised")
  return err
end

--- What an error says, object or text.
---@param err any
---@return string
local function message(err)
  return tostring(type(err) == "table" and err.message or err)
end

--- What the error says that a call raises.
---@param fn function
---@param ... any
---@return string
---@return any err
function raised.message(fn, ...)
  local err = raised.by(fn, ...)
  return message(err), err
end

--- An error is of a class.
---@param class table  of `rille.errors`, or a model's
---@param err any
---@return string message
function raised.is(class, err)
  assert(errors.is_error(err, class), tostring(err))
  return err.message
end

--- An error says something, taken literally.
---@param text string
---@param err any
function raised.says(text, err)
  assert(message(err):find(text, 1, true), ("no %q in: %s"):format(text, message(err)))
end

return raised
