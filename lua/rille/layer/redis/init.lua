--- The layer on Redis: wire-compatible with channels_redis, its core as its pub/sub.
---
--- In `core` mode Redis keeps messages until they are received or expire: who is away for a moment
--- misses nothing, and no more than `capacity` wait for it. In `pubsub` mode it keeps nothing and
--- has the least to do, and who is away has missed what was sent.

local settings = require("rille.layer.redis.settings")

local MODES = { core = "rille.layer.redis.core", pubsub = "rille.layer.redis.pubsub" }

local Redis = {}

---@param options rille.layer.Options
function Redis.check(options)
  settings.read(options)
end

Redis.has_logs = true

--- Presence, like histories, is on the first of the servers.
---@param options rille.layer.Options
---@return rille.redis.Settings
---@return string prefix
function Redis.presences(options)
  local given = settings.read(options)
  return given.servers[1], given.prefix
end

return setmetatable(Redis, {
  ---@param options rille.layer.Options
  ---@return rille.layer.Backend
  __call = function(_, options)
    return require(MODES[settings.read(options).mode])(options)
  end,
})
