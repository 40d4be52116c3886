--- And, or, not, of conditions that may be decided already: `true` (every row), `false` (none).

local logic = {}

--- `absorbing` decides the whole (false for "and"), its opposite adds nothing.
local function fold(kind, absorbing, nodes)
  local kept = { kind = kind }
  for _, node in ipairs(nodes) do
    if node == absorbing then
      return absorbing
    end
    if type(node) == "table" then
      kept[#kept + 1] = node
    end
  end
  if #kept == 0 then
    return not absorbing
  end
  return #kept == 1 and kept[1] or kept
end

---@param nodes (table|boolean)[]
---@return table|boolean
function logic.all_of(nodes)
  return fold("and", false, nodes)
end

---@param nodes (table|boolean)[]
---@return table|boolean
function logic.any_of(nodes)
  return fold("or", true, nodes)
end

---@param node table|boolean
---@return table|boolean
function logic.none_of(node)
  if type(node) == "boolean" then
    return not node
  end
  return { kind = "not", node }
end

return logic
