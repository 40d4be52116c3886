---@meta rille.core.testing

--- What tests need of the worker (src/bind/bind_testing.c).

---@class rille.core.testing
local testing = {}

--- Limit the CPU time that a script may take without waiting: then it is interrupted.
---@param seconds number  0: no limit
function testing.limit_cpu(seconds) end

--- What this script has taken so far counts no more.
---@return boolean interrupted  it was being, for that, and is not any longer
function testing.begin_slice() end

--- The client's end of a connection that the server takes for an accepted one.
---@return userdata? peer
---@return rille.Error?
function testing.pair() end

--- A peer without a connection, which only hears of a consumer's failures.
---@param id number  of the consumer
---@return userdata peer
function testing.watch(id) end

--- Connect to an address; see `opened`.
---@param host string
---@param port integer
---@return userdata peer
function testing.dial(host, port) end

--- Wait until what was dialled is open.
---@async
---@param peer userdata
---@return true?
---@return rille.Error?
function testing.opened(peer) end

---@param peer userdata
---@param bytes string
---@return true?
---@return rille.Error?
function testing.write(peer, bytes) end

--- What has come since the last call.
---@param peer userdata
---@return string bytes  perhaps none
---@return string? over  why nothing follows, once that is so
function testing.take(peer) end

--- Wait until something has changed.
---@async
---@param peer userdata
---@return true?
---@return rille.Error?
function testing.wait(peer) end

--- What the peer's consumer, or a task of it, has raised first; forgotten then.
---@param peer userdata
---@return any err      as it was raised; nil of a task
---@return string? text  the same in words, with the traceback; nil: nothing was raised
function testing.failure(peer) end

--- Is there something for `failure`?
---@param peer userdata
---@return boolean
function testing.failed(peer) end

--- The consumer that the peer's last request began.
---@param peer userdata
---@return number? id  nil: there is none, or none any more
function testing.consumer(peer) end

--- Hang up, without a word.
---@param peer userdata
function testing.close(peer) end

--- Likewise, so that the server hears of it at once, and does not take us for one who still reads.
---@param peer userdata
function testing.reset(peer) end

--- Accept connections on 127.0.0.1.
---@return integer? port  one that was free
---@return rille.Error?
function testing.listen() end

--- Have no listener accept any more.
function testing.unlisten() end

--- What each consumer that is alive is called, by its number.
---@return table<number, string>
function testing.consumers() end

--- Where each connection of a database was pinned that is not back.
---@return string[]
function testing.leases() end

--- Have every consumer leave, and every task end that is not a consumer's, but the running one, whose
--- channels end.
function testing.cancel() end

--- Have so much time pass at once: timers that are due then run in the next turn.
---@param seconds number  0 to 1e9
function testing.advance(seconds) end

--- How long until the first timer of the worker is due.
---@return number? seconds
function testing.next_timer() end

--- Of what the worker's scripts ask for from now, the first `after` blocks of memory are granted, and
--- the `n` behind them refused.
---@param after integer  0 to 1e9
---@param n integer  0 to 1e9
---@return integer refused  how often they were refused one so far
function testing.refuse(after, n) end

--- Wait until a file is not what it was.
---@async
---@param paths string[]
---@return true?
---@return rille.Error?
function testing.changed(paths) end

return testing
