---@meta rille.core.consumer

--- What a handler may do to its connection (src/bind/bind_consumer.c). `id` is the `_id` of a scope
--- or a consumer. Once the connection is gone, everything answers nil and `rille.Closed`.

--- `{ name = value }`, `{ name = { value, … } }` or `{ { name, value }, … }`; values are strings or
--- numbers. Raises on what is no header.
---@alias rille.core.Headers table<string|integer, string|number|(string|number)[]>

---@class rille.core.consumer
local consumer = {}

--- From now on `self` answers for this connection.
---@param id number
---@param self table
---@param own_send boolean  it defines `websocket_send`: messages of that type go through Lua
---@return true?
---@return rille.Closed? err
function consumer.bind(id, self, own_send) end

--- Is there such a consumer, whose `disconnect` is still to come?
---@param id number
---@return boolean
function consumer.is_bound(id) end

--- A consumer without a peer: `dispatch.background` makes its `self` of `origin`, soon. Its errors
--- are named after `origin.scope._route`. A patient one that leaves waits for the end of its handler,
--- until the drain is over.
---@param origin { scope: table, [string]: any }
---@param patient boolean?
---@return number id
function consumer.background(origin, patient) end

--- An event "timer" for one of these, if it has nothing else to do.
---@param id number
---@param name string
---@param due number      seconds since 1970
---@param skipped number  runs since the last
---@return boolean?  true: it begins; false: a handler is under way, which is counted; nil: it is gone
function consumer.tick(id, name, due, skipped) end

--- It runs this generation of the code from now on.
---@param id number
---@param generation integer
---@param own_send boolean?  when its class has become another: see `bind`
function consumer.run(id, generation, own_send) end

--- It stays with its generation, whatever else serves.
---@param id number
function consumer.pin(id) end

--- Its request has no line in the access log.
---@param id number
function consumer.unlogged(id) end

--- An event of type "reload", so that it is adopted without waiting for another.
---@param id number
function consumer.nudge(id) end

--- Has it nothing to do?
---@param id number
---@return boolean
function consumer.is_idle(id) end

---@class rille.core.Compression
---@field off boolean
---@field threshold integer?
---@field level integer?
---@field bits integer?
---@field client_bits integer?
---@field takeover boolean?
---@field client_takeover boolean?

--- How messages may be compressed, if the client offers it; before accept.
---@param id number
---@param compression rille.core.Compression  what it does not say is the default
function consumer.compression(id, compression) end

--- Accept a WebSocket's handshake.
---@param id number
---@param subprotocol string?
---@param headers rille.core.Headers?
---@return true?
---@return rille.Error? err  Closed, or Error when it was answered before
function consumer.accept(id, subprotocol, headers) end

--- Was the handshake or the request answered, in whatever way? Also true when it is gone.
---@param id number
---@return boolean
function consumer.answered(id) end

--- Send a WebSocket message: text (which must be UTF-8), or bytes when text is nil. Waits while the
--- client has too much unread.
---@async
---@param id number
---@param text string?
---@param bytes string?
---@return true?
---@return rille.Closed? err
function consumer.send(id, text, bytes) end

--- For `rille.consumer.direct` only, which has their types: where this worker is, and two functions
--- that compiled code calls by themselves.
---@return lightuserdata worker
---@return lightuserdata take_next
---@return lightuserdata append
function consumer.direct() end

--- Close a WebSocket; before accept, refuse it with 403. Closing twice is harmless.
---@param id number
---@param code integer?   default 1000; 1000 to 1014 without the reserved ones, 3000 to 4999
---@param reason string?  UTF-8, at most 123 bytes
function consumer.close(id, code, reason) end

--- The whole answer to a request, or instead of a handshake.
---@param id number
---@param status integer  200 to 599
---@param headers rille.core.Headers?
---@param body string?
---@return true?
---@return rille.Error? err
function consumer.respond(id, status, headers, body) end

--- Begin an answer; `write` sends its body.
---@param id number
---@param status integer  200 to 599
---@param headers rille.core.Headers?
---@param length number?  bytes of the body; without it the body goes out in chunks
---@return true?
---@return rille.Error? err
function consumer.start(id, status, headers, length) end

--- Begin an answer that stays open when the handler has ended, until the peer leaves, the server
--- drains or `close` ends it.
---@param id number
---@param headers rille.core.Headers?
---@param beat number  seconds of silence before a comment (":") is sent; 0: never
---@return true?
---@return rille.Error? err
function consumer.stream(id, headers, beat) end

--- A piece of the answer's body. Waits, when more is to come, while the client has too much unread.
---@async
---@param id number
---@param body string?
---@param more boolean  false: this was the last
---@return true?
---@return rille.Error? err
function consumer.write(id, body, more) end

--- What has come of the request's body since the last call; never waits.
---@param id number
---@return string? bytes
---@return boolean|rille.Closed done
function consumer.body(id) end

--- The fields behind a chunked body, once all of it has come.
---@param id number
---@return string? fields  "name\0value\0…"; nothing before
function consumer.trailers(id) end

--- Wait until more of the body is here, or the client has read.
---@async
---@param id number
---@return true?
---@return rille.Error? err
function consumer.wait(id) end

--- The client's address; nothing when it is gone, or on a Unix socket.
---@param id number
---@return string? host
---@return integer? port
function consumer.peer(id) end

--- Which generation of the code the connection runs; nothing when it is gone.
---@param id number
---@return integer?
---@return integer? route  the number of its route
function consumer.generation(id) end

--- The server's own address; nothing when the client is gone, or on a Unix socket.
---@param id number
---@return string? host
---@return integer? port
function consumer.here(id) end

--- The connection's route is known: from now on it has its limits.
---@param id number
---@param place integer  that of the route's set, see `worker.places`
---@return boolean  false: it was answered, its body is too long for the route
function consumer.limit(id, place) end

--- Does the client speak TLS to us?
---@param id number
---@return boolean?  nil: it is gone
function consumer.secure(id) end

---@class rille.core.Tls
---@field version string       "TLSv1.2" or "TLSv1.3"
---@field cipher string        OpenSSL's name of it
---@field alpn string?         "http/1.1", if the client offered it
---@field server_name string?  that the client asked for
---@field client_name string?  subject of the client's certificate (RFC 4514), which was checked
---@field resumed boolean      it came back with a ticket

---@param id number
---@return rille.core.Tls?  nil: it is plain, or gone
function consumer.tls(id) end

--- Which route it is counted under.
---@param id number
---@param number integer  of `core.worker.route`
function consumer.route(id, number) end

--- What its request is called; see src/core/names.h.
---@param id number
---@return string? request_id
---@return string traceparent  with a span of its own
---@return string tracestate   "" when there is none
function consumer.names(id) end

--- Every consumer of this worker.
---@return number[] ids
function consumer.ids() end

---@class rille.core.Look
---@field kind "http"|"websocket"|"background"
---@field state "opening"|"open"|"leaving"
---@field route string        its pattern; "" when there is none, or not yet
---@field generation integer  of the code that it runs
---@field age integer         seconds
---@field queued integer      events that wait
---@field tasks integer       that it has spawned
---@field event string?       the event under way,
---@field thread thread?      and where it is: to look at, not to resume
---@field self table?         the script's side, once there is one

--- One of them as seen from outside.
---@param id number
---@return rille.core.Look?  nil: it is gone
function consumer.look(id) end

return consumer
