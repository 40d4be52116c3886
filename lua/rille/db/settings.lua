--- The settings of a database, by name and value.

local errors = require("rille.errors")

local M = {}

local COUNT, SECONDS, SECONDS_OR_FALSE = "a whole number", "a number", "a number or false"

--- What may be set, and what its values are; `rille.core.DatabaseOptions` says what it means.
local SETTINGS = {
  url = "string",
  acquire_timeout = SECONDS,
  coalesce = "boolean",
  conn_health_checks = "boolean",
  conn_max_age = SECONDS_OR_FALSE,
  hold_warning = SECONDS_OR_FALSE,
  idle_in_transaction_timeout = SECONDS_OR_FALSE,
  idle_timeout = SECONDS,
  max_connections = COUNT,
  min_connections = COUNT,
  null = "boolean",
  pgbouncer = "boolean",
  prepare = "boolean",
  shared_connections = COUNT,
  slow_statement = SECONDS_OR_FALSE,
  statement_cache_size = COUNT,
  statement_timeout = SECONDS,
}

local function is_setting(kind, value)
  if kind == "string" or kind == "boolean" then
    return type(value) == kind
  elseif value == false then
    return kind == SECONDS_OR_FALSE
  end
  return type(value) == "number"
    and value >= 0
    and value <= 1e9
    and (kind ~= COUNT or value <= 1e5 and value % 1 == 0)
end

--- Raise `ConfigurationError`, with the line of the script where it can be told, if a database is
--- given what it does not know. A url may still be missing.
---@param name string
---@param given table<string, any>
function M.check(name, given)
  for key, value in pairs(given) do
    local kind = SETTINGS[key]
    if not kind then
      local known = {}
      for setting in pairs(SETTINGS) do
        known[#known + 1] = setting
      end
      table.sort(known)
      local told = "database '%s': unknown setting %s; there are %s"
      local word = tostring(key)
      errors.misconfigured(told:format(name, word, table.concat(known, ", ")), word)
    elseif not is_setting(kind, value) then
      local told = "database '%s': setting %s: %s expected, got %s"
      errors.misconfigured(told:format(name, key, kind, tostring(value)), key)
    end
  end
end

return M
