--- The two calls that every message of a WebSocket makes, made by compiled code itself: for a
--- function of Lua's C API it would have to leave, and come back.
---
--- Both are shortcuts. What they decline (nil, false) goes the way it would go without them, to the
--- same end; all does, where LuaJIT has no ffi or does not compile.

local consumer = require("rille.core").consumer

local has_ffi, ffi = pcall(require, "ffi")
if not has_ffi or not jit.status() then
  return {
    following = function() end,
    send = function()
      return false
    end,
  }
end

local M = {}

local address, next_at, send_at = consumer.direct()
local worker = ffi.cast("void *", address)
-- As in src/bind/bind_consumer_direct.c. No names: a module that is loaded again must not give one
-- twice.
local lent = ffi.new("struct { const char *p; int n; }")
local take_next = ffi.cast("int (*)(void *, void *)", next_at)
local append = ffi.cast("bool (*)(void *, double, const char *, size_t, bool)", send_at)
local TEXT, BYTES = 1, 2

--- The message behind the one that this task has just handled, if it was read with it: text, or nil
--- and bytes; or nothing, and the task is to end.
---@return string? text
---@return string? bytes
function M.following()
  local kind = take_next(worker, lent)
  if kind == TEXT then
    local text = ffi.string(lent.p, lent.n) -- no tail call: a trace ends where it returns
    return text
  elseif kind == BYTES then
    return nil, ffi.string(lent.p, lent.n)
  end
end

--- Send text, or bytes, to a peer that reads what it is sent.
---@param id number
---@param text any
---@param bytes any
---@return boolean  false: nothing was done, `consumer.send` does it
function M.send(id, text, bytes)
  if type(text) == "string" then
    return append(worker, id, text, #text, true)
  elseif text == nil and type(bytes) == "string" then
    return append(worker, id, bytes, #bytes, false)
  end
  return false
end

return M
