--- SQL of checks and of partial indexes, as far as a renamed column matters to it. Databases follow
--- a renaming by themselves; so must what we know of them.

local conditions = {}

--- One token behind `at`: what kind it is, and its text.
local function token(sql, at)
  for _, case in ipairs({
    { "text", "^'[^']*'" },
    { "quoted", '^"[^"]*"' },
    { "word", "^[%a_\128-\255][%w_$\128-\255]*" },
    { "number", "^%d[%w.]*" },
  }) do
    local found = sql:match(case[2], at)
    if found then
      return case[1], found
    end
  end
  return "sign", sql:sub(at, at)
end

--- The SQL with a column renamed: in quotes, or as a bare word that is no function's.
---@param sql string
---@param old string
---@param new string
---@return string
function conditions.rename(sql, old, new)
  local quoted_old, quoted_new = '"' .. old .. '"', '"' .. new .. '"'
  local parts, at = {}, 1
  while at <= #sql do
    local kind, found = token(sql, at)
    at = at + #found
    local is_function = kind == "word" and sql:find("^%s*%(", at) ~= nil
    if found == quoted_old or kind == "word" and found == old and not is_function then
      found = quoted_new
    end
    parts[#parts + 1] = found
  end
  return table.concat(parts)
end

--- The same of one text, or of one for each backend.
---@param text rille.db.Text
---@param old string
---@param new string
---@return rille.db.Text
function conditions.rename_in(text, old, new)
  if type(text) ~= "table" then
    return conditions.rename(text, old, new)
  end
  local renamed = {}
  for backend, sql in pairs(text) do
    renamed[backend] = conditions.rename(sql, old, new)
  end
  return renamed
end

return conditions
