--- Which of several Redis servers holds a name: channels_redis's consistent hash, bit for bit.
---
--- The lower twelve bits of the name's CRC-32 are a place on a ring of 4096, of which each server
--- has an equal share.

local bit = require("bit")

local ring = {}

local PLACES = 4096

local table_of = {}
for byte = 0, 255 do
  local crc = byte
  for _ = 1, 8 do
    local low = bit.band(crc, 1)
    crc = bit.bxor(bit.rshift(crc, 1), bit.band(-low, 0xedb88320))
  end
  table_of[byte] = crc
end

--- The CRC-32 of zlib.
---@param bytes string
---@return integer  as the bit library has it: -2^31 to 2^31 - 1
function ring.crc32(bytes)
  local crc = bit.bnot(0)
  for i = 1, #bytes do
    local place = bit.band(bit.bxor(crc, bytes:byte(i)), 0xff)
    crc = bit.bxor(bit.rshift(crc, 8), table_of[place])
  end
  return bit.bnot(crc)
end

---@param name string
---@param servers integer
---@return integer  1 to servers
function ring.place(name, servers)
  if servers == 1 then
    return 1
  end
  local place = bit.band(ring.crc32(name), PLACES - 1)
  return math.floor(place / (PLACES / servers)) + 1
end

return ring
