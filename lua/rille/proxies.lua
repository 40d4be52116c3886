--- Settings for a life behind proxies: whom to believe, and where the routes begin.

local core = require("rille.core")
local errors = require("rille.errors")

local M = {}

local fail = errors.misconfigured

--- The words of `trusted_proxies`, a string or a list of them.
---@param given string|string[]|nil
---@return string
local function words_of(given)
  return type(given) == "table" and table.concat(given, ",") or given or ""
end

--- A path without the slash at its end; "/" is none.
---@param path string
---@return string?  nil: it is no path that could stand in front of others
local function tidy(path)
  path = path:gsub("/+$", "")
  local sound = path == "" or (path:match("^/[^?#%%%s%c]*$") and not path:find("//", 1, true))
  return sound and path or nil
end

--- Raises what is wrong about the settings of a script.
---@param settings table
function M.check(settings)
  local given = settings.trusted_proxies
  for _, word in ipairs(type(given) == "table" and given or {}) do
    if type(word) ~= "string" then
      fail("trusted_proxies: a list of strings expected", "trusted_proxies")
    end
  end
  local ok, err = core.http.network(words_of(given))
  if not ok then
    fail("trusted_proxies: " .. err.message, "trusted_proxies")
  end
  if not tidy(settings.root_path or "") then
    fail(("root_path %q: a path like /app expected"):format(settings.root_path), "root_path")
  end
end

--- Whom to believe: the command line's and the environment's word is stronger than the script's.
---@param settings table
---@param given string?
---@return string
function M.trusted(settings, given)
  return given or words_of(settings.trusted_proxies)
end

--- Where the routes begin; likewise.
---@param settings table
---@param given string?
---@return string
function M.root_path(settings, given)
  local root = tidy(given or settings.root_path or "")
  if not root then
    error(errors.ConfigurationError(("root path %q: a path like /app expected"):format(given)), 0)
  end
  return root
end

--- The whole path of a request: what a proxy cut off is put back.
---@param path string  as it came
---@param root string
---@param cut boolean  it is known to be cut off; else only if it is not there
---@return string
function M.join(path, root, cut)
  if root == "" or path == "*" or (not cut and M.below(path, root)) then
    return path
  end
  return root .. path
end

--- What of a path is below the root; nil when it is elsewhere.
---@param path string
---@param root string
---@return string?
function M.below(path, root)
  if root == "" then
    return path
  elseif path == root then
    return "/"
  elseif path:sub(1, #root + 1) == root .. "/" then
    return path:sub(#root + 1)
  end
end

return M
