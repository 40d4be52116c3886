--- Lua values as the text of a program, for commands that write one.

local source = {}

local KEYWORDS = {}
for word in
  ([[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]):gmatch("%a+")
do
  KEYWORDS[word] = true
end

--- Can it stand in a program as a name?
---@param text string
---@return boolean
function source.is_name(text)
  return text:match("^[%a_][%w_]*$") ~= nil and not KEYWORDS[text]
end

--- A key of a table constructor.
---@param key string
---@return string
function source.key(key)
  return source.is_name(key) and key or ("[%q]"):format(key)
end

--- As short as says it exactly.
local function number(value)
  local short = ("%.14g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local function sorted_keys(given)
  local keys = {}
  for key in pairs(given) do
    if type(key) ~= "number" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

--- A string, a number, a boolean, or a table of such, on one line.
---@param value any
---@param order string[]?  of the keys of a table; default: the alphabet's
---@return string
function source.value(value, order)
  if type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) == "number" then
    return number(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  for i, inner in ipairs(value) do
    parts[i] = source.value(inner)
  end
  for _, key in ipairs(order or sorted_keys(value)) do
    parts[#parts + 1] = source.key(key) .. " = " .. source.value(value[key])
  end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

return source
