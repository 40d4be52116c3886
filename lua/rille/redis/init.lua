--- Links to a Redis: what the layers stand on.
---
---     local redis = require "rille.redis"
---     local settings, rest = redis.parse(url, { "mode", "prefix" }) -- raises one sentence
---     local link = redis.open(settings, { name = "commands" })     -- waits for nothing
---     link:acall("ZADD", key, now, payload)
---
--- A link is one connection at a time. A task of its own connects, logs in (AUTH, SELECT, CLIENT
--- SETNAME), and does it again when the connection broke, with backoff and jitter, for as long as
--- the link is open. What was under way when it broke raises `rille.RedisUnavailable`, whose
--- `may_have_run` says whether the command may have reached the server; nothing is sent twice.
---
--- A link that subscribes (`subscriber = true`) has the methods of `rille.redis.Subscriptions`.

local Link = require("rille.redis.link")
local Subscriptions = require("rille.redis.subscriptions")
local task = require("rille.core").task
local url = require("rille.redis.url")

local redis = { parse = url.parse }

local function check_options(options)
  local outage, patience = options.outage, options.patience
  if outage ~= nil and outage ~= "fail" and outage ~= "wait" then
    error(("redis.open: outage: 'fail' or 'wait' expected, got '%s'"):format(tostring(outage)), 3)
  elseif patience ~= nil and not (type(patience) == "number" and patience > 0) then
    error("redis.open: patience: seconds expected, got " .. tostring(patience), 3)
  end
end

---@param where string|rille.redis.Settings
---@param options rille.redis.Options?
---@return rille.redis.Link
function redis.open(where, options)
  local settings = type(where) == "string" and url.parse(where) or where
  options = options or {}
  check_options(options)
  local link = (options.subscriber and Subscriptions or Link)(settings, options)
  link._task = task.serve(function() -- there is a last word to send, after all other tasks
    local ok, err = pcall(link._keep, link)
    link:close() -- it is, unless the worker stops
    if not ok then
      error(err, 0)
    end
  end)
  return link
end

return redis
