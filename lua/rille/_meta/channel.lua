---@meta rille.core.channel

--- Background channels (src/bind/bind_channel.c): what `rille.channels` is made of.

---@class rille.core.channel
local channel = {}

--- Receive from a channel on this worker, into the process's line of that name. Again, it only
--- changes the line.
---@param name string
---@param capacity integer
---@param drop_oldest boolean  for a message that finds no room; otherwise it is dropped itself
function channel.open(name, capacity, drop_oldest) end

--- Receive no more here. What waits is lost with the last worker that does this.
---@param name string
function channel.close(name) end

--- Put a message that was taken in front of the line.
---@param name string
---@param body string
---@param attempt integer  how often it was tried
function channel.put(name, body, attempt) end

--- Messages in line.
---@param name string
---@return integer
function channel.waiting(name) end

--- The next message; or wait for one.
---@async
---@param name string
---@return string|true|nil body  true: it has waited, and is to be called again
---@return integer|rille.Error? attempt
function channel.take(name) end

--- Have a consumer in the background handle an event "channel.job" with a number, and wait for that.
---@async
---@param id number
---@param number integer
---@return boolean?  did its handler come to an end? nil: the consumer leaves, or is gone
---@return rille.Error?
function channel.work(id, number) end

return channel
