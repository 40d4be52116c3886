--- Values as people want to read them, in Lua's own notation as far as there is one.
---
--- At the prompt a table shows one level. A table in it has one line, with as much as fits there;
--- of what is inside that the size is told, and an index leads on.

local core = require("rille.core")

local WIDTH, DEPTH, ENTRIES, STRING = 78, 6, 200, 2000
local SHORT = 40 -- bytes of a string in a line of its table

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function show_string(text, most)
  local shown = text:sub(1, most):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\%03d"):format(c:byte())
  end)
  if #text > most then
    return ('"%s"… (%d bytes)'):format(shown, #text)
  end
  return '"' .. shown .. '"'
end

local function show_number(number)
  if number == math.floor(number) and math.abs(number) < 2 ^ 53 then
    return ("%.0f"):format(number)
  end
  return ("%.14g"):format(number)
end

local function show_function(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then
    return "function of C"
  end
  return ("function of %s:%d"):format(info.short_src, info.linedefined)
end

--- What has no inside to be shown; nil: it has.
---@param most integer  bytes of a string
local function show_plain(value, most)
  local kind = type(value)
  if kind == "string" then
    return show_string(value, most)
  elseif kind == "number" then
    return show_number(value)
  elseif kind == "function" then
    return show_function(value)
  elseif value == core.null then
    return "null"
  elseif kind ~= "table" then
    return tostring(value)
  end
end

--- Classes, models and errors say themselves what they are; instances are shown with their fields.
local function says_itself(value, mt)
  if rawget(value, "__name") or rawget(value, "_meta") or value.message then
    return rawget(mt, "__tostring") ~= nil
  end
  return rawget(mt, "__tostring") ~= nil and not rawget(mt, "__name")
end

local function is_hidden(value, key)
  return getmetatable(value) and type(key) == "string" and key:sub(1, 1) == "_"
end

local function sorted_keys(value, listed)
  local keys = {}
  for key in next, value do
    local in_list = type(key) == "number" and key >= 1 and key <= listed and key % 1 == 0
    if not in_list and not is_hidden(value, key) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
      return a < b
    end
    return type(a) == type(b) and tostring(a) < tostring(b) or type(a) < type(b)
  end)
  return keys
end

local function label_of(value)
  local mt = debug.getmetatable(value)
  local name = type(mt) == "table" and rawget(mt, "__name")
  return type(name) == "string" and name .. " " or ""
end

--- How much is inside.
local function show_size(value)
  local n = 0
  for key in next, value do
    n = n + (is_hidden(value, key) and 0 or 1)
  end
  local inside = n == 0 and "{}" or n == 1 and "{… 1 entry}" or ("{… %d entries}"):format(n)
  return label_of(value) .. inside
end

--- What is shown without a look inside; nil: that would say nothing.
local function show_name(value, most)
  local plain = show_plain(value, most)
  if plain then
    return plain
  end
  local mt = debug.getmetatable(value)
  return type(mt) == "table" and says_itself(value, mt) and tostring(value) or nil
end

--- In the least room.
local function show_briefly(value)
  return show_name(value, SHORT) or show_size(value)
end

local function show_key(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. show_briefly(key) .. "]"
end

--- The parts of a table, each with what is in front of it, and how many there are no room for.
---@param show_inner fun(value: any): string
---@return string[] parts
---@return integer left
local function parts_of(value, show_inner)
  local parts, listed = {}, 0
  while rawget(value, listed + 1) ~= nil do
    listed = listed + 1
  end
  local keys = sorted_keys(value, listed)
  for i = 1, math.min(listed, ENTRIES) do
    parts[i] = show_inner(rawget(value, i))
  end
  for i = 1, math.min(#keys, ENTRIES - #parts) do
    parts[#parts + 1] = show_key(keys[i]) .. " = " .. show_inner(rawget(value, keys[i]))
  end
  return parts, listed + #keys - #parts
end

local function on_a_line(label, parts)
  return #parts == 0 and label .. "{}" or label .. "{ " .. table.concat(parts, ", ") .. " }"
end

local function lay_out(label, parts, left, indent)
  if left > 0 then
    parts[#parts + 1] = ("… and %d more"):format(left)
  end
  local line = on_a_line(label, parts)
  if #indent + #line <= WIDTH and not line:find("\n", 1, true) then
    return line
  end
  local inner = "\n" .. indent .. "  "
  return label .. "{" .. inner .. table.concat(parts, "," .. inner) .. ",\n" .. indent .. "}"
end

--- A table in a table: as much of it as a line has room for.
local function show_row(value)
  local name = show_name(value, SHORT)
  if name then
    return name
  end
  local label, parts = label_of(value), {}
  local all, left = parts_of(value, show_briefly)
  local room = WIDTH - #label - 2 * #"{ "
  for i, part in ipairs(all) do
    room = room - #part - #", "
    if room < 0 then
      left = left + #all - i + 1
      break
    end
    parts[i] = part
  end
  if left > 0 then
    parts[#parts + 1] = ("… and %d more"):format(left)
  end
  return on_a_line(label, parts)
end

local function show_deeply(value, indent, depth, seen)
  local name = show_name(value, STRING)
  if name then
    return name
  elseif seen[value] then
    return "{ the same again }"
  elseif depth == 0 then
    return show_size(value)
  end
  seen[value] = true
  local parts, left = parts_of(value, function(inner)
    return show_deeply(inner, indent .. "  ", depth - 1, seen)
  end)
  seen[value] = nil
  return lay_out(label_of(value), parts, left, indent)
end

local function show_level(value)
  local name = show_name(value, STRING)
  if name then
    return name
  end
  local parts, left = parts_of(value, show_row)
  return lay_out(label_of(value), parts, left, "")
end

--- What a script's metatables do meanwhile is its own fault.
local function guarded(how, value, ...)
  local ok, text = pcall(how, value, ...)
  return ok and text or "a value that cannot be shown: " .. core.describe(text)
end

local M = {}

--- A value as the prompt shows it.
---@param value any
---@return string  a line, or several
function M.level(value)
  return guarded(show_level, value)
end

--- All of a value, as deep as is sensible.
---@param value any
---@return string  a line, or several
function M.whole(value)
  return guarded(show_deeply, value, "", DEPTH, {})
end

return M
