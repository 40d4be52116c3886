--- The two scripts that the core layer runs inside Redis. They do what channels_redis does with
--- several commands, by its rules, in one round trip and without anybody in between.
---
--- Both push payloads onto channels: KEYS are the channels' keys from the first on, and ARGV, from
--- its first on, a payload for each, the capacity of each, the score, the highest score that is too
--- old to wait any longer, and the seconds that the key may live. They return the numbers of the
--- channels that were full.
---
--- A message through Redis waits for them, and each `redis.call` costs as much as a command of its
--- own: there is none that could be elsewhere.

local scripts = {}

--- Behind `first`, the number of the first key, and `at`, that of the first payload.
local PUSH = [[
local call, n, full = redis.call, #KEYS - first + 1, {}
local score, old, expiry = ARGV[at + 2 * n], ARGV[at + 2 * n + 1], ARGV[at + 2 * n + 2]
for i = 0, n - 1 do
  local key = KEYS[first + i]
  local waiting = call('ZCARD', key)
  if waiting > 0 then
    waiting = waiting - call('ZREMRANGEBYSCORE', key, 0, old)
  end
  if waiting < tonumber(ARGV[at + n + i]) then
    call('ZADD', key, score, ARGV[at + i])
    call('EXPIRE', key, expiry)
  else
    full[#full + 1] = i + 1
  end
end
]]

scripts.PUSH = "local first, at = 1, 1\n" .. PUSH .. "return full"

--- To a group whose members the sender believes to know. KEYS[1] is the group's key, ARGV[1] the
--- lowest score of a membership that has not lapsed, ARGV[2] the digest of the members that the
--- sender knows of. Have they changed, it pushes nothing and returns their digest and their names,
--- for the sender to address them and come again.
scripts.GROUP_SEND = [[
local names = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')
local digest = redis.sha1hex(table.concat(names, ' '))
if digest ~= ARGV[2] then
  return { digest, names }
end
local first, at = 2, 3
]] .. PUSH .. "return { '', full }"

return scripts
