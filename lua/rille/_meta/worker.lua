---@meta rille.core.worker

--- The worker itself (src/bind/bind_worker.c).

---@class rille.core.Entries
---@field open async fun(id: number, kind: "http"|"websocket", method: string, target: string, fields: string)
---@field receive async fun(self: table, text: string?, bytes: string?)
---@field message async fun(self: table, encoded: string)
---@field event async fun(self: table, event: table)
---@field disconnect async fun(self: table, code: integer, reason: string)
---@field adopt async fun(entry: function, self: table, ...)
---@field leave fun(self: table, groups: string[]): string
---@field arrive async fun(id: number, text: string)
---@field background async fun(id: number, origin: table)
---@field page fun(text: string, again: boolean): string

---@class rille.core.Census
---@field consumers integer
---@field tasks integer        begun and not ended, the asking one included
---@field connections integer
---@field leases integer       pinned database connections
---@field memory number        bytes of Lua's heap
---@field dropped integer      events of sources that found a mailbox full, since the start

---@class rille.core.worker
local worker = {}

--- Which worker this is, of how many. Their number is final once the script has been loaded.
---@return integer id  from 0
---@return integer count
function worker.place() end

--- Where events begin.
---@param entries rille.core.Entries
function worker.entries(entries) end

--- Set which generation of the code serves: everybody else is adopted at the next event.
---@param serving integer?  nil: only ask
---@param before integer?   the one to return to
---@return integer
function worker.generation(serving, before) end

---@class rille.core.Generation
---@field number integer
---@field consumers integer  that run it
---@field events number      handlers that have ended
---@field failed number      of them, those that raised

--- Those that somebody runs, and those kept.
---@return rille.core.Generation[]
function worker.generations() end

--- A walk over the consumers that have not been adopted since the generation was set.
---@param at number     0 at the beginning
---@param most integer  consumers to look at
---@return rille.Consumer[]
---@return number? at   where to go on; nil at the end
function worker.stale(at, most) end

--- Where the sets of limits that serve are, for `consumer.limit`.
---@return integer[]
function worker.places() end

--- What is alive, for tests and the curious.
---@return rille.core.Census
function worker.census() end

--- What this worker refused, dropped and cut off so far, by the names in src/base/counters.h.
---@return table<string, number>
function worker.counters() end

--- What is compressed. A message for several counts once; streams are what zlib holds in memory.
---@return { deflated: integer, inflated: integer, streams: integer }
function worker.compression() end

--- The number that a route is counted under; the same for all generations of the code.
---@param kind string
---@param pattern string  or the channel
---@param consumer string  the class's name, "" for a function
---@return integer
function worker.route(kind, pattern, consumer) end

--- The script depends on what this file holds, or on its not being there: where files are watched, a
--- change of it starts a reload. To be said before it is read: what it holds now is what others are
--- told apart from.
---@param path string
---@param fd integer?  it is open there, and what that holds is meant
function worker.uses(path, fd) end

return worker
