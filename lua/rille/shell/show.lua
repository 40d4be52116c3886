--- Values as people want to read them, in Lua's own notation as far as there is one.

local core = require("rille.core")

local WIDTH, DEPTH, ENTRIES, STRING = 78, 6, 200, 2000

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function show_string(text)
  local shown = text:sub(1, STRING):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\%03d"):format(c:byte())
  end)
  if #text > STRING then
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
local function show_plain(value)
  local kind = type(value)
  if kind == "string" then
    return show_string(value)
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

local show

local function show_key(key, seen)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. show(key, "", DEPTH, seen) .. "]"
end

--- The parts of a table, each with what is in front of it.
local function parts_of(value, indent, depth, seen)
  local parts, listed = {}, 0
  while rawget(value, listed + 1) ~= nil do
    listed = listed + 1
  end
  local keys = sorted_keys(value, listed)
  for i = 1, math.min(listed, ENTRIES) do
    parts[i] = show(rawget(value, i), indent, depth, seen)
  end
  for i = 1, math.min(#keys, ENTRIES - #parts) do
    local inner = show(rawget(value, keys[i]), indent, depth, seen)
    parts[#parts + 1] = show_key(keys[i], seen) .. " = " .. inner
  end
  local left = listed + #keys - #parts
  if left > 0 then
    parts[#parts + 1] = ("… and %d more"):format(left)
  end
  return parts
end

local function show_table(value, indent, depth, seen)
  local mt = debug.getmetatable(value)
  if type(mt) == "table" and says_itself(value, mt) then
    return tostring(value)
  elseif seen[value] then
    return "{ the same again }"
  elseif depth == 0 then
    return next(value) == nil and "{}" or "{…}"
  end
  local name = type(mt) == "table" and rawget(mt, "__name")
  local label = type(name) == "string" and name .. " " or ""
  seen[value] = true
  local parts = parts_of(value, indent .. "  ", depth - 1, seen)
  seen[value] = nil
  if #parts == 0 then
    return label .. "{}"
  end
  local line = label .. "{ " .. table.concat(parts, ", ") .. " }"
  if #indent + #line <= WIDTH and not line:find("\n", 1, true) then
    return line
  end
  local inner = "\n" .. indent .. "  "
  return label .. "{" .. inner .. table.concat(parts, "," .. inner) .. ",\n" .. indent .. "}"
end

function show(value, indent, depth, seen)
  local plain = show_plain(value)
  if plain then
    return plain
  end
  local ok, text = pcall(show_table, value, indent, depth, seen)
  return ok and text or ("table that cannot be shown: " .. core.describe(text))
end

---@param value any
---@return string  one line, or several when it is long
return function(value)
  return show(value, "", DEPTH, {})
end
