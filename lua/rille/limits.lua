--- The limits: what there is, what each is by default, and how one is given.
---
--- This is the only list. The core gets all of them as numbers, README shows them as a table, and a
--- spec holds that table to this one. Strongest first: `--limit NAME=VALUE`, `RILLE_LIMITS`, the
--- app's `limits`, the default; a route's own option beats all of these for its connections.

local errors = require("rille.errors")

local M = {}

local KIB, MIB = 1024, 1024 * 1024

---@class rille.Limit
---@field name string
---@field default number|string|false  false: off
---@field unit "bytes"|"count"|"seconds"|"bytes/s"|string[]  a list: one of these words
---@field routes "http"|"websocket"|"any"|nil  which routes may have their own
---@field off boolean?    may be false
---@field what string     what happens

---@type rille.Limit[]
M.list = {
  -- HTTP
  {
    name = "max_head",
    default = 32 * KIB,
    unit = "bytes",
    what = "request line and headers: 431",
  },
  { name = "max_fields", default = 100, unit = "count", what = "header lines: 431" },
  { name = "max_target", default = 8 * KIB, unit = "bytes", what = "the URL: 414" },
  {
    name = "max_body",
    default = 8 * MIB,
    unit = "bytes",
    routes = "http",
    what = "a request's body: 413",
  },
  {
    name = "request_timeout",
    default = 10,
    unit = "seconds",
    what = "for a whole head, from the first byte (or the connect): 408",
  },
  {
    name = "body_timeout",
    default = 20,
    unit = "seconds",
    routes = "http",
    off = true,
    what = "in any such time the body must come at min_body_rate: 408, or cut",
  },
  {
    name = "min_body_rate",
    default = 100,
    unit = "bytes/s",
    routes = "http",
    what = "see body_timeout; what the handler makes wait does not count",
  },
  {
    name = "answer_timeout",
    default = false,
    unit = "seconds",
    routes = "http",
    off = true,
    what = "for an answer to begin: 503, and the handler is cancelled",
  },
  {
    name = "keepalive_timeout",
    default = 75,
    unit = "seconds",
    what = "between requests: closed",
  },
  -- WebSocket
  {
    name = "handshake_timeout",
    default = 10,
    unit = "seconds",
    routes = "websocket",
    off = true,
    what = "for connect to accept: 503, and the handler is cancelled",
  },
  {
    name = "max_message",
    default = MIB,
    unit = "bytes",
    routes = "websocket",
    what = "a message, all its frames: 1009",
  },
  {
    name = "max_frame",
    default = false,
    unit = "bytes",
    routes = "websocket",
    off = true,
    what = "one frame: 1009",
  },
  {
    name = "ping_interval",
    default = 20,
    unit = "seconds",
    routes = "websocket",
    off = true,
    what = "of silence: a ping is sent",
  },
  {
    name = "pong_timeout",
    default = 20,
    unit = "seconds",
    routes = "websocket",
    what = "of silence after a ping: cut, 1006",
  },
  {
    name = "idle_timeout",
    default = false,
    unit = "seconds",
    routes = "websocket",
    off = true,
    what = "without a message either way: closed, 1001",
  },
  {
    name = "max_control_frames",
    default = 1000,
    unit = "count",
    routes = "websocket",
    off = true,
    what = "pings and pongs within a ping_interval: 1008",
  },
  {
    name = "close_timeout",
    default = 5,
    unit = "seconds",
    what = "for the peer's close frame: cut",
  },
  -- Connections
  {
    name = "max_connections",
    default = false,
    unit = "count",
    off = true,
    what = "refused: closed at once, told in the log",
  },
  {
    name = "max_connections_per_address",
    default = false,
    unit = "count",
    off = true,
    what = "likewise; of an IPv6 address its /64; a proxy without PROXY headers is one address",
  },
  {
    name = "max_connection_age",
    default = false,
    unit = "seconds",
    routes = "websocket",
    off = true,
    what = "give or take a tenth: a WebSocket is closed with 1001, HTTP after its answer",
  },
  {
    name = "send_timeout",
    default = 30,
    unit = "seconds",
    what = "in any such time the peer must read at min_send_rate if something waits: cut",
  },
  {
    name = "min_send_rate",
    default = 100,
    unit = "bytes/s",
    what = "see send_timeout; what the kernel has taken is not read yet",
  },
  {
    name = "write_high_water",
    default = 64 * KIB,
    unit = "bytes",
    what = "left unread: asend waits until a quarter is left",
  },
  {
    name = "max_unsent",
    default = 4 * MIB,
    unit = "bytes",
    routes = "websocket",
    what = "left unread: group messages meet unsent_policy",
  },
  {
    name = "unsent_policy",
    default = "drop_newest",
    unit = { "drop_newest", "close" },
    routes = "websocket",
    what = "the message is dropped, or the connection closed with 1013",
  },
  -- Consumers
  {
    name = "mailbox",
    default = 100,
    unit = "count",
    routes = "any",
    what = "events that wait: a client is not read from, others meet mailbox_policy; tenfold "
      .. "without a peer",
  },
  {
    name = "mailbox_bytes",
    default = 256 * KIB,
    unit = "bytes",
    what = "of a client's messages that wait: it is not read from",
  },
  {
    name = "mailbox_policy",
    default = "drop_newest",
    unit = { "drop_newest", "close", "drop_oldest" },
    routes = "any",
    what = "it, or the oldest of the layer's, is dropped, or the connection closed (1013)",
  },
  {
    name = "mailbox_expiry",
    default = 60,
    unit = "seconds",
    routes = "any",
    off = true,
    what = "that a message of the layer waits: then it is dropped",
  },
  -- Histories of groups
  {
    name = "max_histories",
    default = 10000,
    unit = "count",
    what = "groups whose history is kept, of the process: one without members is forgotten, the "
      .. "longest unused first",
  },
  {
    name = "history_bytes",
    default = 64 * MIB,
    unit = "bytes",
    what = "of all histories, of the process: of the group that was silent longest the oldest "
      .. "messages go",
  },
  {
    name = "presence_bytes",
    default = 16 * MIB,
    unit = "bytes",
    what = "of who is in which group, of the process: atrack raises",
  },
  {
    name = "max_tasks",
    default = 1000,
    unit = "count",
    what = "spawned by one consumer and not ended: spawn raises",
  },
  {
    name = "abandon_grace",
    default = 2,
    unit = "seconds",
    what = "for a handler whose peer has left: cancelled",
  },
  {
    name = "reload_timeout",
    default = 10,
    unit = "seconds",
    what = "for every worker to load other code: the old one serves on",
  },
  {
    name = "publish_timeout",
    default = 10,
    unit = "seconds",
    what = "for a worker to send what came to /publish at the admin address: 504",
  },
  {
    name = "handler_cpu_limit",
    default = 1,
    unit = "seconds",
    off = true,
    what = "of CPU without waiting: an error with a traceback",
  },
  {
    name = "memory_limit",
    default = 512 * MIB,
    unit = "bytes",
    what = 'of Lua\'s heap, per worker: "not enough memory" in the handler that asked',
  },
}

---@type table<string, rille.Limit>
M.by_name = {}
for _, limit in ipairs(M.list) do
  M.by_name[limit.name] = limit
end

--- The largest value of a unit that every integer of the core holds.
local MOST = { bytes = 2 ^ 53, count = 2 ^ 31, seconds = 1e9, ["bytes/s"] = 2 ^ 31 }

--- Names of the limits, of those only that routes of a kind may have.
local function names(kind)
  local found = {}
  for _, limit in ipairs(M.list) do
    if not kind or limit.routes == kind or limit.routes == "any" then
      found[#found + 1] = limit.name
    end
  end
  table.sort(found)
  return table.concat(found, ", ")
end

local function describe_word(limit)
  return "one of " .. table.concat(limit.unit, ", ")
end

--- What is wrong with a value, or nil.
local function objection(limit, value)
  if value == false and limit.off then
    return nil
  elseif type(limit.unit) == "table" then
    for _, word in ipairs(limit.unit) do
      if value == word then
        return nil
      end
    end
    return describe_word(limit) .. " expected"
  end
  local most = MOST[limit.unit]
  if type(value) ~= "number" or not (value > 0 and value <= most) then
    local told = "a number above 0 expected, at most %.0f%s"
    return told:format(most, limit.off and ", or false" or "")
  elseif limit.unit ~= "seconds" and value % 1 ~= 0 then
    return "a whole number expected"
  end
end

--- Check limits as a script gives them; raises where the script says so.
---@param given table<string, any>
---@param kind "http"|"websocket"|nil  those of a route of this kind
---@param where string?  how the message begins
function M.check(given, kind, where)
  where = where and (where .. ": ") or ""
  for name, value in pairs(given) do
    local limit = M.by_name[name]
    if not limit then
      local told = "%sunknown limit %q; there are %s"
      errors.misconfigured(told:format(where, tostring(name), names(kind)), name)
    elseif kind and limit.routes ~= kind and limit.routes ~= "any" then
      local told = "%slimit %s is not one of a %s route; there are %s"
      errors.misconfigured(told:format(where, name, kind, names(kind)), name)
    end
    local wrong = objection(limit, value)
    if wrong then
      errors.misconfigured(("%slimit %s: %s"):format(where, name, wrong), name)
    end
  end
end

--- Limits from the command line or the environment: "max_body=1000".
---@param words string[]
---@return table<string, any>
function M.parse(words)
  local given = {}
  for _, word in ipairs(words) do
    local name, text = word:match("^%s*([%w_]+)%s*=%s*(.-)%s*$")
    local limit = name and M.by_name[name]
    local value = tonumber(text)
    if value == nil then
      value = text ~= "false" and text
    end
    local wrong = not name and "NAME=VALUE expected"
      or not limit and ("unknown; there are " .. names())
      or objection(limit, value)
    if wrong then
      error(errors.ConfigurationError(("limit '%s': %s"):format(word, wrong)), 0)
    end
    given[name] = value
  end
  return given
end

local function to_number(limit, value)
  if value == false then
    return -1
  end
  for i, word in ipairs(type(limit.unit) == "table" and limit.unit or {}) do
    if word == value then
      return i - 1
    end
  end
  return value
end

--- Every limit as a number for the core: what is off is -1, a word its place in its list.
---@param ... table<string, any>  stronger ones first
---@return table<string, number>
function M.complete(...)
  local numbers = {}
  for name, limit in pairs(M.by_name) do
    local value
    for i = 1, select("#", ...) do
      value = (select(i, ...))[name]
      if value ~= nil then
        break
      end
    end
    if value == nil then
      value = limit.default
    end
    numbers[name] = to_number(limit, value)
  end
  return numbers
end

--- The sets that the routes of an application need: the first is everybody's; the others are those
--- of routes with limits of their own, which get its number as `limits_set`.
---@param app_limits table<string, any>
---@param overrides table<string, any>
---@param routes rille.Route[]
---@return table<string, number>[]
function M.sets(app_limits, overrides, routes)
  local sets = { M.complete(overrides, app_limits) }
  local most = sets[1].max_body
  for _, route in ipairs(routes) do
    if route.limits then
      sets[#sets + 1] = M.complete(route.limits, overrides, app_limits)
      route.limits_set = #sets
      most = math.max(most, sets[#sets].max_body)
    end
  end
  for _, route in ipairs(routes) do
    -- A parser lets as much through as any route may have: the others are to be held to less.
    if not route.limits and route.kind == "http" and most > sets[1].max_body then
      route.limits_set = 1
    end
  end
  return sets
end

return M
