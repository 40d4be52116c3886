--- What Redis does in one step for who is in a group. KEYS: the group's hash, from keys to packed
--- lists of connections { c: channel, m: meta, x: ms when its lease ends, l: it lingers }; and the
--- number of the last change. ARGV: verb, lease in ms, and what the verb needs.

return [[
local hash, counter = KEYS[1], KEYS[2]
local verb, lease = ARGV[1], tonumber(ARGV[2])
local key, channel, meta = ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function load(name)
  local packed = redis.call('HGET', hash, name)
  return packed and cmsgpack.unpack(packed) or {}
end

local function save(name, conns)
  if #conns == 0 then
    redis.call('HDEL', hash, name)
  else
    redis.call('HSET', hash, name, cmsgpack.pack(conns))
    redis.call('PEXPIRE', hash, math.max(lease, 1000) * 100)
  end
end

local function people(name, conns)
  local all = {}
  for _, conn in ipairs(conns) do
    all[#all + 1] = name
    all[#all + 1] = conn.m
  end
  return all
end

local function number()
  return string.format('%.0f', redis.call('INCR', counter))
end

local function changed(event, name, conns)
  return { event, number(), people(name, conns) }
end

local function find(conns, wanted)
  for i, conn in ipairs(conns) do
    if conn.c == wanted then
      return i
    end
  end
end

local function find_lingering(conns)
  local found
  for i, conn in ipairs(conns) do
    if conn.l and (not found or conn.m == meta) then
      found = i
    end
  end
  return found
end

local function finish(name, conns)
  save(name, conns)
  return changed(#conns == 0 and 'leave' or 'update', name, conns)
end

if verb == 'track' then
  local conns = load(key)
  local join = #conns == 0
  local before = find(conns, channel) or find_lingering(conns)
  local same = before and conns[before].m == meta
  if before then
    table.remove(conns, before)
  end
  conns[#conns + 1] = { c = channel, m = meta, x = now + lease }
  save(key, conns)
  if same then
    return { '' }
  end
  return changed(join and 'join' or 'update', key, conns)

elseif verb == 'untrack' or verb == 'lapse' then
  local conns = load(key)
  local at = find(conns, channel)
  if not at or (verb == 'lapse' and not conns[at].l) then
    return { '' }
  end
  table.remove(conns, at)
  return finish(key, conns)

elseif verb == 'linger' then
  local conns = load(key)
  local at = find(conns, channel)
  if at then
    conns[at].l, conns[at].x = true, now + tonumber(meta) + 1000
    save(key, conns)
  end
  return { '' }

elseif verb == 'renew' then
  local changes = {}
  for i = 3, #ARGV, 3 do
    local name, conns = ARGV[i], load(ARGV[i])
    local at = find(conns, ARGV[i + 1])
    local join = #conns == 0
    conns[at or #conns + 1] = { c = ARGV[i + 1], m = ARGV[i + 2], x = now + lease }
    save(name, conns)
    if not at then -- Redis had forgotten it
      local change = changed(join and 'join' or 'update', name, conns)
      changes[#changes + 1] = { name, change[1], change[2], change[3] }
    end
  end
  return changes

elseif verb == 'sweep' then
  local changes = {}
  local all = redis.call('HGETALL', hash)
  for i = 1, #all, 2 do
    local conns, left = cmsgpack.unpack(all[i + 1]), {}
    for _, conn in ipairs(conns) do
      if conn.x > now then
        left[#left + 1] = conn
      end
    end
    if #left < #conns then
      local change = finish(all[i], left)
      changes[#changes + 1] = { all[i], change[1], change[2], change[3] }
    end
  end
  return changes
end

local found = {}
local all = redis.call('HGETALL', hash)
for i = 1, #all, 2 do
  for _, conn in ipairs(cmsgpack.unpack(all[i + 1])) do
    if conn.x > now then
      found[#found + 1] = all[i]
      found[#found + 1] = conn.m
    end
  end
end
return { redis.call('GET', counter) or '0', found }
]]
