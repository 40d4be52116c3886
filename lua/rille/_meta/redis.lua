---@meta rille.core.redis

--- One connection to a Redis (src/bind/bind_redis.c): opened once, and gone when it is gone. Looking
--- up, connecting, TLS, pipelining and deadlines are here; who to connect to, logging in and doing it
--- all again when it broke is `rille.redis`, which everybody else uses.
---
--- Replies: a status or a bulk string is a string, an integer a number (beyond 2^53 a string of its
--- digits), an array a table, nil `null` (`rille.null`, truthy, so that arrays have no holes). A
--- refusal inside an array is a `rille.RedisError`; as the whole reply it is the second result.
---
--- Failures of a connection are `rille.RedisUnavailable`, whose `may_have_run` says whether the
--- command may have reached the server. Nothing is ever sent twice.

---@class rille.core.redis.Wire : userdata

---@class rille.core.redis.Tls
---@field ca string?        a file in PEM: who may vouch for the server; nil: the system's
---@field cert string?      a file in PEM: our certificate
---@field key string?       its key; nil: in the same file
---@field verify boolean    the server's certificate and its name
---@field name string       the server's name: asked for (SNI), and looked for in its certificate

---@class rille.core.redis.Address
---@field host string?      a name or an address; with `port`
---@field port integer?
---@field path string?      of a Unix socket, instead ("@name": in the abstract namespace)
---@field tls rille.core.redis.Tls?
---@field timeout number    seconds, for all of it: look up, connect, shake hands
---@field queue integer?    messages of subscriptions that wait for `next`, at most; default 10000

---@class rille.core.redis
local redis = {}

--- Connect. IPv6 and IPv4 are tried a quarter of a second apart (RFC 8305), the first that connects
--- is taken.
---@async
---@param address rille.core.redis.Address
---@return rille.core.redis.Wire?
---@return rille.RedisUnavailable? err
function redis.dial(address) end

--- One command, and its reply. What all tasks ask for in a turn leaves in one send, and replies come
--- back in that order. A task that gives up leaves the connection in order: its reply is dropped.
---@async
---@param wire rille.core.redis.Wire
---@param seconds number  to wait for the reply
---@param ... string|number  the command and its arguments; numbers are written so that they read back as the same
---@return any? reply     not nil
---@return rille.RedisError|rille.RedisUnavailable|nil err
function redis.call(wire, seconds, ...) end

--- One command, for whose reply nobody waits. Of what became of it only that is told, by `outcome`,
--- which is out of the ordinary.
---@param wire rille.core.redis.Wire
---@param seconds number  that the server may take for the reply
---@param note string?    comes back with the outcome; with one, the reply 0 is out of the ordinary, too
---@param ... string|number
---@return boolean? posted  false: 512 have no reply yet; ask for one of your own, which comes behind them
---@return rille.RedisUnavailable? err  it was not sent
function redis.post(wire, seconds, note, ...) end

--- What became of a command that was posted, and had no ordinary reply. After the connection's end
--- all that had none are told of. One task may wait for it at a time.
---@async
---@param wire rille.core.redis.Wire
---@return string? note  "": none was given; nil: the connection is over, and all was told
---@return rille.RedisError|rille.RedisUnavailable|nil err  nil: the reply was 0
function redis.outcome(wire) end

--- A command that waits on the server (BZPOPMIN): a task that gives up closes the connection, since
--- its reply would be lost.
---@async
---@param wire rille.core.redis.Wire
---@param seconds number  to wait for the reply: longer than the server is asked to
---@param ... string|number
---@return any? reply
---@return rille.RedisError|rille.RedisUnavailable|nil err
function redis.block(wire, seconds, ...) end

--- Several commands that leave together, with nothing of other tasks between them.
---@async
---@param wire rille.core.redis.Wire
---@param seconds number
---@param commands (string|number)[][]  at least one
---@return any[]? replies  of each in its order; a refusal is a `rille.RedisError`
---@return rille.RedisUnavailable? err
function redis.pipeline(wire, seconds, commands) end

--- SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE or PUNSUBSCRIBE with one name or more; waits until the server
--- has confirmed them all. From the first one on only these and PING may be sent.
---@async
---@param wire rille.core.redis.Wire
---@param seconds number
---@param verb "subscribe"|"unsubscribe"|"psubscribe"|"punsubscribe"
---@param names string[]
---@return true?
---@return rille.RedisError|rille.RedisUnavailable|nil err
function redis.subscription(wire, seconds, verb, names) end

--- The next message of a subscription. One task may wait for it at a time.
---@async
---@param wire rille.core.redis.Wire
---@return string? channel
---@return string|rille.RedisUnavailable payload  or what the connection ended of
---@return string? pattern  that it came by
---@return number? missed   so many before it were dropped, because the queue was full
function redis.next(wire) end

--- Wait for the connection's end. One task may wait for it at a time.
---@async
---@param wire rille.core.redis.Wire
---@return nil
---@return rille.RedisUnavailable why
function redis.lost(wire) end

--- Whoever waits on it hears that it was closed. Safe to call twice.
---@param wire rille.core.redis.Wire
function redis.close(wire) end

---@class rille.core.redis.Figures
---@field pending integer   commands without a reply
---@field queued integer    messages that nobody has taken yet
---@field dropped integer   messages that found the queue full
---@field abandoned integer replies that nobody waited for any more
---@field silent number     seconds since the server was last heard

---@param wire rille.core.redis.Wire
---@return rille.core.redis.Figures
function redis.figures(wire) end

---@param n integer  1 to 256
---@return string  so many random bytes: for names that must be nobody else's
function redis.random(n) end

return redis
