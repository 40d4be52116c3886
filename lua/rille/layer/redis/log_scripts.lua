--- What Redis does in one step for a group's history. KEYS: its stream, and its place: a hash with
--- the epoch and the last offset.

local M = {}

--- ARGV: an epoch should it begin; size; ttl in ms; seconds that the place is known; topic;
--- payload.
--- Returns epoch and offset.
M.ADD = [[
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[2], 'offset', 1)
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], string.format('%.0f-0', offset),
  't', now, 'm', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
offset = string.format('%.0f', offset)
redis.call('PUBLISH', ARGV[5], epoch .. ':' .. offset .. ':' .. ARGV[6])
return { epoch, offset }
]]

--- ARGV: an epoch should it begin; the mark's epoch or ''; its offset; without an epoch so many
--- before the end; entries at most; ttl in ms; seconds that the place is known.
--- Returns epoch, offset, 1 for a gap (then the offset is the end), and what stands behind it.
M.READ = [[
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', 0)
end
redis.call('EXPIRE', KEYS[2], ARGV[7])
local head = tonumber(redis.call('HGET', KEYS[2], 'offset'))
local from = tonumber(ARGV[3])
local own = ARGV[2] ~= ''
if not own then
  from = math.max(0, head - tonumber(ARGV[4]))
end
local function at(offset)
  return string.format('%.0f', offset)
end
if own and (ARGV[2] ~= epoch or from > head) then
  return { epoch, at(head), 1, {} }
end
if from == head then
  return { epoch, at(head), 0, {} }
end
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[6])
local entries = redis.call('XRANGE', KEYS[1], at(from + 1) .. '-0', '+', 'COUNT',
  own and ARGV[5] or tonumber(ARGV[4]))
local found, expected = {}, from + 1
for _, entry in ipairs(entries) do
  local offset = tonumber(string.match(entry[1], '^%d+'))
  local fresh = tonumber(entry[2][2]) > oldest
  if fresh and (offset == expected or (not own and #found == 0)) and #found < tonumber(ARGV[5]) then
    if #found == 0 then
      from = offset - 1
    end
    found[#found + 1] = entry[2][4]
    expected = offset + 1
  elseif own and #found == 0 then
    return { epoch, at(head), 1, {} }
  end
end
if #found == 0 then
  return { epoch, at(head), own and 1 or 0, {} }
end
return { epoch, at(from), 0, found }
]]

return M
