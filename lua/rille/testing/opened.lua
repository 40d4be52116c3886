--- What a test has opened, and has to answer for at its end.

local core = require("rille.core")
local errors = require("rille.errors")

local M = {}

---@class rille.testing.Opened
---@field where string  file and line
---@field remains fun(self): string?  what is left of it, in words; nil: nothing
---@field drop fun(self)  have done with it
---@field tend? fun(self)  answer what asks for an answer

---@type rille.testing.Opened[]
local opened = {}

--- The innermost line that is not the library's.
---@return string
function M.place()
  for level = 2, 30 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      break
    elseif info.currentline > 0 and not info.source:find("^@rille/") then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return "?"
end

---@generic T : rille.testing.Opened
---@param one T
---@return T
function M.note(one)
  one.where = M.place()
  opened[#opened + 1] = one
  return one
end

--- Have the test be pending, for a reason. The runner's.
---@param why string
function M.skip(why)
  error(why, 0)
end

--- Turns of the loop by which what is on its way has come.
local TURNS = 4

--- Let what is on its way come.
---@async
function M.arest()
  for _ = 1, TURNS do
    errors.check(core.task.sleep(0))
    M.tend()
  end
end

---@return boolean
function M.is_empty()
  return opened[1] == nil
end

--- What is left of each, in words, in the order in which they were opened.
---@return string[]
function M.remains()
  local all = {}
  for _, one in ipairs(opened) do
    local left = one:remains()
    all[#all + 1] = left and ("%s, opened at %s"):format(left, one.where)
  end
  return all
end

--- Those that answer by themselves have a look at what has come.
function M.tend()
  for _, one in ipairs(opened) do
    if one.tend then
      one:tend()
    end
  end
end

--- The test is over: have done with everything.
function M.drop_all()
  while #opened > 0 do
    table.remove(opened):drop()
  end
end

return M
