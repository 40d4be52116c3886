--- The two scripts that the core layer runs inside Redis. They do what channels_redis does with
--- several commands, by its rules, in one round trip and without anybody in between.
---
--- Both push payloads onto channels: KEYS are the channels' keys from the first on, and ARGV, from
--- its first on, the score, the highest score that is too old to wait any longer, the seconds that
--- the key may live, and for each channel a payload and the channel's capacity. They return the
--- numbers of the channels that were full; nothing, if there were none.
---
--- A message through Redis waits for them, and each `redis.call` costs as much as a command of its
--- own: there is none that could be elsewhere. Numbers are given as text, which is what commands
--- take them as.

local scripts = {}

--- Behind `first`, the number of the first key, and `at`, that of the first argument.
local PUSH = [[
local call, score, old, expiry, full = redis.call, ARGV[at], ARGV[at + 1], ARGV[at + 2], nil
for i = first, #KEYS do
  local key = KEYS[i]
  local waiting = call('ZCARD', key)
  at = at + 2
  if waiting > 0 then
    waiting = waiting - call('ZREMRANGEBYSCORE', key, '0', old)
  end
  if waiting < tonumber(ARGV[at + 2]) then
    call('ZADD', key, score, ARGV[at + 1])
    call('EXPIRE', key, expiry)
  else
    full = full or {}
    full[#full + 1] = i - first + 1
  end
end
return full
]]

scripts.PUSH = "local first, at = 1, 1\n" .. PUSH

--- To a group whose members the sender believes to know. KEYS[1] is the group's key, ARGV[1] what
--- the sender knows the members by, ARGV[2] the highest score of a membership that has lapsed. Are
--- they others, it removes those and pushes nothing, but returns what the present ones are known
--- by, and their names and scores, for the sender to address them and come again.
---
--- They are known by their names; many, by a digest of these.
scripts.GROUP_SEND = [[
local function known_by(names)
  local known = table.concat(names, ' ')
  return #known > 256 and '#' .. redis.sha1hex(known) or known
end
if known_by(redis.call('ZRANGE', KEYS[1], '0', '-1')) ~= ARGV[1] then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '0', ARGV[2])
  return {
    known_by(redis.call('ZRANGE', KEYS[1], '0', '-1')),
    redis.call('ZRANGE', KEYS[1], '0', '-1', 'WITHSCORES')
  }
end
local first, at = 2, 3
]] .. PUSH

return scripts
