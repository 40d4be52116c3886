---@meta rille.redis

--- Links to a Redis: what `lua/rille/redis` gives to the layers. (Declared ahead of the module, for
--- those who write against it; the module takes these comments over.)
---
---     local redis = require "rille.redis"
---     local settings, rest = redis.parse(url, { "mode", "prefix" })   -- raises one sentence
---     local link = redis.open(settings, { name = "commands" })       -- waits for nothing
---     link:acall("ZADD", key, now, payload)
---
--- A link is one connection at a time: it connects in the background, logs in (AUTH, SELECT, CLIENT
--- SETNAME), and when the connection breaks makes another, with backoff and jitter, for as long as
--- it is open. What was under way when one broke raises `rille.RedisUnavailable`, whose
--- `may_have_run` says whether it may have reached the server; nothing is sent twice.

---@class rille.RedisError : rille.Error        the server refused
---@field code string?                          the first word of its reply: "WRONGTYPE", "NOSCRIPT"
---@class rille.RedisUnavailable : rille.RedisError  no connection, or one that broke, or no answer
---@field may_have_run boolean

---@class rille.redis.Settings   what a URL says, checked
---@field display string         the URL without its password, for logs and errors

---@class rille.redis.Options
---@field name string?           for the log, and with CLIENT SETNAME for the server; default "rille"
---@field outage ("fail"|"wait")?  commands while there is no connection raise at once, or wait for
---                              one as long as their patience lasts; default "wait"
---@field patience number?       seconds for a command, with all waiting; default the URL's `timeout` (5)
---@field subscriber boolean?    it subscribes, and has no acall
---@field queue integer?         messages of a subscriber that nobody has taken; what is more is
---                              dropped, the newest first, and counted; default 10000
---@field on_up (async fun(link: rille.redis.Link, again: boolean))?  connected and logged in; runs
---                              before any waiting command goes, and may use the link
---@field on_down fun(link: rille.redis.Link, err: rille.RedisUnavailable)?  the connection broke,
---                              or the first attempt failed: once per outage

---@class rille.redis
local redis = {}

--- Take apart
---
---     redis://[user:password@]host[:6379][/db][?parameters]      rediss:// with TLS
---     unix:///path[?parameters]   redis+unix:///path             or unix:@name
---     redis+sentinel://[user:password@]host1[:26379],host2/service[/db]   rediss+sentinel://
---
--- with the parameters `db timeout connect_timeout keepalive username password`, of TLS `ca cert key
--- verify servername`, of Sentinel `sentinel_username sentinel_password`.
---@param url string
---@param others string[]?  parameters that are the caller's
---@return rille.redis.Settings
---@return table<string, string> values  of the others
function redis.parse(url, others) end

---@param where string|rille.redis.Settings
---@param options rille.redis.Options?
---@return rille.redis.Link
function redis.open(where, options) end

---@class rille.redis.Link
redis.Link = {}

--- One command. Commands of a turn leave together; replies come back in order.
---@async
---@param ... string|number
---@return any reply  nil for a nil reply; inside arrays that is `rille.null`
function redis.Link:acall(...) end

--- Several commands in one go, nothing of others between them. What the server refuses is a
--- `rille.RedisError` in its place.
---@async
---@param commands (string|number)[][]
---@return any[] replies  nil replies are `rille.null`
function redis.Link:apipeline(commands) end

--- A command that waits on the server for at most `seconds` (which must be among its arguments, too).
--- It wants a link of its own: whoever calls meanwhile waits behind it. A task that gives up closes
--- the connection, so that no reply is taken from the server and lost unseen.
---@async
---@param seconds number  0: for ever
---@param ... string|number
---@return any reply
function redis.Link:ablock(seconds, ...) end

--- EVALSHA, and EVAL when the server does not know the script.
---@async
---@param script string
---@param keys string[]
---@param ... string|number
---@return any reply
function redis.Link:aeval(script, keys, ...) end

--- Wait until it is connected and logged in.
---@async
---@param seconds number?  default its patience; raises `rille.RedisUnavailable`
function redis.Link:aready(seconds) end

---@return boolean
function redis.Link:is_up() end

--- Subscribe; waits for the server to confirm. What is subscribed is so again after every reconnect.
--- When it raises for want of a connection the wish stands all the same.
---@async
---@param ... string
function redis.Link:asubscribe(...) end

---@async
---@param ... string
function redis.Link:aunsubscribe(...) end

---@async
---@param ... string  glob patterns
function redis.Link:apsubscribe(...) end

---@async
---@param ... string
function redis.Link:apunsubscribe(...) end

--- The next message; one task may wait at a time, and it waits through reconnects.
--- "gap": messages may have been missed here; everything is subscribed again (after a lost
--- connection), or the queue was full (then `channel` is how many were dropped).
---@async
---@return "message"|"gap"|nil kind  nil: the link was closed
---@return string|integer|nil channel
---@return string? payload
---@return string? pattern
function redis.Link:anext() end

--- Whoever waits on it hears of it. Safe to call twice; never waits.
function redis.Link:close() end

---@class rille.redis.Stats
---@field up boolean
---@field connects integer      so far
---@field failures integer      since the last success
---@field pending integer       commands without a reply
---@field queued integer        messages that nobody has taken
---@field dropped integer       messages that found the queue full, so far
---@field where string          the server's address, without a password
---@field last_error string?

---@return rille.redis.Stats
function redis.Link:stats() end

return redis
