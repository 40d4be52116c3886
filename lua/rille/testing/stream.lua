--- The client's end of a connection: bytes out, bytes and lines in.

local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local task = require("rille.task")

local testing = core.testing
local check = errors.check

---@class rille.testing.Stream : rille.Class
---@field peer userdata
---@field buffer string  came, and was not read
---@field over string?   why nothing follows, once that is so
local Stream = class("rille.testing.Stream")

---@param peer userdata
function Stream:init(peer)
  self.peer = peer
  self.buffer = ""
end

--- The client of a connection of this very process, which the server takes for an accepted one.
---@return rille.testing.Stream
function Stream.pair()
  --- Hang up, as a client that was killed.
function Stream:reset()
  testing.reset(self.peer)
end

return Stream(check(testing.pair()))
end

--- Connect to an address.
---@async
---@param host string
---@param port integer
---@return rille.testing.Stream
function Stream.adial(host, port)
  local self = Stream(testing.dial(host, port))
  check(testing.opened(self.peer))
  return self
end

---@param bytes string
function Stream:write(bytes)
  check(testing.write(self.peer, bytes))
end

--- Take what has come.
---@return boolean  was there anything?
function Stream:take()
  local bytes, over = testing.take(self.peer)
  self.buffer = self.buffer .. bytes
  self.over = over
  return bytes ~= ""
end

--- Raise what the consumer has raised, as it was: a string with its traceback around it, while the
--- traceback of an object goes to the log.
function Stream:check()
  local err, text = testing.failure(self.peer)
  if not text then
    return
  elseif err == nil or type(err) == "string" then
    error(text, 0)
  end
  core.log("error", text)
  error(err, 0)
end

--- Turns of the loop by which what was sent before an error has come.
local TURNS = 3

--- Wait for more bytes. Raises what the consumer has raised, once all that it has sent is read.
---@async
---@return boolean  false: nothing follows
function Stream:amore()
  local turns = 0
  while not self:take() do
    if turns == TURNS or self.over then
      self:check()
    elseif testing.failed(self.peer) then
      turns = turns + 1
      check(core.task.sleep(0))
    end
    if self.over then
      return false
    end
    if not testing.failed(self.peer) then
      check(testing.wait(self.peer))
    end
  end
  return true
end

--- So many bytes; nil when the end comes before.
---@async
---@param n integer
---@return string?
function Stream:abytes(n)
  while #self.buffer < n do
    if not self:amore() then
      return nil
    end
  end
  local bytes = self.buffer:sub(1, n)
  self.buffer = self.buffer:sub(n + 1)
  return bytes
end

--- A line without its end; nil when there is none.
---@async
---@return string?
function Stream:aline()
  local at
  repeat
    at = self.buffer:find("\n", 1, true)
    if not at and not self:amore() then
      return nil
    end
  until at
  local line = self.buffer:sub(1, at - 1):gsub("\r$", "")
  self.buffer = self.buffer:sub(at + 1)
  return line
end

--- Whatever has come, at least a byte; nil at the end.
---@async
---@return string?
function Stream:asome()
  if self.buffer == "" and not self:amore() then
    return nil
  end
  local bytes = self.buffer
  self.buffer = ""
  return bytes
end

--- Run `fn`, for at most `seconds`. Past them what the consumer raised is raised, or else
--- `rille.Timeout` with `what` did not come.
---@async
---@param seconds number?  default 5
---@param what string
---@param fn async fun(): ...
---@return any ...
function Stream:awithin(seconds, what, fn)
  seconds = seconds or 5
  local function finish(ok, ...)
    if ok then
      return ...
    elseif errors.is_error((...), errors.Timeout) then
      self:check()
      error(errors.Timeout(("%s within %g seconds"):format(what, seconds)), 0)
    end
    error((...), 0)
  end
  return finish(pcall(task.atimeout, seconds, fn))
end

--- Wait until the consumer has ended, `disconnect` and all. Raises what it raised.
---@async
function Stream:aended()
  while testing.consumer(self.peer) do
    check(core.task.sleep(0))
  end
  self:check()
end

--- Hang up without a word.
function Stream:close()
  testing.close(self.peer)
end

return Stream
