--- The two scripts that the core layer runs inside Redis. They do what channels_redis does with
--- several commands, by its rules, in one round trip and without anybody in between.
---
--- Both push payloads onto channels: KEYS are the channels' keys from the first on, and ARGV, from
--- its first on, a payload for each, the capacity of each, the score, the highest score that is too
--- old to wait any longer, and the seconds that the key may live. They return the numbers of the
--- channels that were full.

local scripts = {}

local PUSH = [[
local function push(keys, first, at)
  local n = #keys - first + 1
  local score, old, expiry = ARGV[at + 2 * n], ARGV[at + 2 * n + 1], ARGV[at + 2 * n + 2]
  local full = {}
  for i = 0, n - 1 do
    local key = keys[first + i]
    local waiting = redis.call('ZCARD', key)
    if waiting > 0 then
      waiting = waiting - redis.call('ZREMRANGEBYSCORE', key, 0, old)
    end
    if waiting < tonumber(ARGV[at + n + i]) then
      redis.call('ZADD', key, score, ARGV[at + i])
      redis.call('EXPIRE', key, expiry)
    else
      full[#full + 1] = i + 1
    end
  end
  return full
end
]]

scripts.PUSH = PUSH .. "return push(KEYS, 1, 1)"

--- To a group whose members the sender believes to know. KEYS[1] is the group's key, ARGV[1] the
--- highest score of a membership that has lapsed, ARGV[2] the digest of the members that the sender
--- knows of. Have they changed, it pushes nothing and returns their digest and their names, for the
--- sender to address them and come again.
scripts.GROUP_SEND = PUSH
  .. [[
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
local names = redis.call('ZRANGE', KEYS[1], 0, -1)
local digest = redis.sha1hex(table.concat(names, ' '))
if digest ~= ARGV[2] then
  return { digest, names }
end
return { '', push(KEYS, 2, 3) }
]]

return scripts
