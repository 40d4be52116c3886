--- Parts of a file (RFC 9110, section 14).

local M = {}

local MOST = 16 -- ranges in one request; with more it gets the whole

---@class rille.Range
---@field from integer  the first byte, from 0
---@field to integer    the last

local function range_of(first, last, size)
  if first == "" then -- so many from the end
    return { from = math.max(size - tonumber(last), 0), to = size - 1 }
  end
  return { from = tonumber(first), to = math.min(tonumber(last) or size - 1, size - 1) }
end

--- The ranges that a request asks for. Nil when they are to be ignored: there are none, they cannot
--- be read, are too many, or come to more than the whole (so they overlap). An empty list when
--- nothing of what is asked for is there.
---@param field string?
---@param size integer
---@return rille.Range[]?
function M.parse(field, size)
  local specs = field and field:match("^[bB][yY][tT][eE][sS]=(.*)$")
  if not specs then
    return nil
  end
  local ranges, n, bytes = {}, 0, 0
  for spec in (specs .. ","):gmatch("%s*(.-)%s*,") do
    local first, last = spec:match("^(%d*)%-(%d*)$")
    if spec ~= "" then
      n = n + 1
      if not first or first .. last == "" or n > MOST then
        return nil
      end
      if first ~= "" and last ~= "" and tonumber(first) > tonumber(last) then
        return nil
      end
      local range = range_of(first, last, size)
      if range.from < size and range.from <= range.to then
        ranges[#ranges + 1] = range
        bytes = bytes + range.to - range.from + 1
      end
    end
  end
  if n == 0 or bytes > size then
    return nil
  end
  return ranges
end

---@param range rille.Range
---@param size integer
---@return string  the value of a Content-Range
function M.describe(range, size)
  return ("bytes %.0f-%.0f/%.0f"):format(range.from, range.to, size)
end

return M
