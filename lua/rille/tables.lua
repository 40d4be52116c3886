--- What is done with tables in several places.

local tables = {}

--- The keys of these tables, in order: all of one type, strings or numbers.
---@param ... table?
---@return any[]
function tables.sorted_keys(...)
  local keys = {}
  for i = 1, select("#", ...) do
    for key in pairs(select(i, ...) or {}) do
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

--- Are these the same, whatever tables it stands in?
---@param a any
---@param b any
---@return boolean
function tables.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not tables.same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

return tables
