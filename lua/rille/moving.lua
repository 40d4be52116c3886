--- A consumer on its way to another process (src/core/moving.h): what of it is plain, as text.

local buffer = require("string.buffer")
local core = require("rille.core")
local presence = require("rille.presence")

local M = {}

local DEPTH = 32

--- Numbers, strings, booleans, and tables of them without a metatable; nil for what is not.
local function plain(value, depth)
  local kind = type(value)
  if kind == "number" or kind == "string" or kind == "boolean" then
    return value
  elseif kind ~= "table" or getmetatable(value) or depth == 0 then
    return nil
  end
  local copy = {}
  for key, inner in pairs(value) do
    if type(key) == "number" or type(key) == "string" then
      copy[key] = plain(inner, depth - 1)
    end
  end
  return copy
end

--- What is made anew over there, or would be wrong.
local LEFT_BEHIND = { _id = true, channel_name = true, scope = true, _marks = true }

---@class rille.Moving
---@field class string             "module:name"
---@field generation integer       of the code that it ran
---@field self table
---@field scope table?             nil: there is none yet, only self._fields
---@field groups string[]

---@param self rille.Consumer
---@param groups string[]
---@return string
function M.pack(self, groups)
  local cls = getmetatable(self)
  local scope = rawget(self, "scope")
  local record = {
    class = cls.module .. ":" .. cls.__name,
    generation = core.consumer.generation(self._id),
    self = {},
    scope = scope and {},
    groups = groups,
  }
  for name, value in pairs(self) do
    if not LEFT_BEHIND[name] then
      record.self[name] = plain(value, DEPTH)
    end
  end
  for name, value in pairs(scope or {}) do
    if name ~= "_id" then
      record.scope[name] = plain(value, DEPTH)
    end
  end
  local text = buffer.encode(record)
  presence.left(self._id)
  return text
end

---@param text string
---@return rille.Moving
function M.unpack(text)
  return buffer.decode(text)
end

return M
