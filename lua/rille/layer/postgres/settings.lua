--- What a `postgresql://` layer is told.
---
---     postgresql://localhost/site?prefix=shop&capacity=1000
---
--- Parameters that are not the layer's are the database's (`rille.core.DatabaseOptions`), and
--- libpq's.

local core = require("rille.core")
local errors = require("rille.errors")
local parameters = require("rille.layer.parameters")

local fail = parameters.fail

local M = {}

---@class rille.layer.postgres.Settings
---@field prefix string        of all tables and channels
---@field expiry integer       seconds that a message waits, at most
---@field group_expiry integer seconds until the memberships of a process that died lapse
---@field capacity integer     messages that wait on a channel without "!"
---@field database rille.core.DatabaseOptions

local DEFAULTS = { prefix = "rille", expiry = 60, group_expiry = 60, capacity = 100 }
local LEAST = { expiry = 1, group_expiry = 2, capacity = 1 }

--- For all of the backend's; read by nobody but `outside`, or by us.
local NOT_THE_DATABASE = { outage = true, outage_timeout = true }
for name in pairs(DEFAULTS) do
  NOT_THE_DATABASE[name] = true
end

--- No such name is a database's of the application, in the log or among the figures.
M.NAME = "channel layer"

--- The URL without our parameters, the others as they were written.
local function database_url(url)
  local head, query = url:match("^([^?]*)%??(.*)$")
  local words = {}
  for word in query:gmatch("[^&]+") do
    if not NOT_THE_DATABASE[word:match("^[^=]*")] then
      words[#words + 1] = word
    end
  end
  return #words == 0 and head or head .. "?" .. table.concat(words, "&")
end

--- Take what the layer was told apart and check it. Raises one sentence.
---@param options rille.layer.Options
---@return rille.layer.postgres.Settings
function M.read(options)
  local settings = {}
  for name, default in pairs(DEFAULTS) do
    local given = options.query[name] or default
    settings[name] = LEAST[name] and parameters.number(name, given, LEAST[name]) or given
  end
  if not settings.prefix:find("^[a-z_][a-z0-9_]*$") or #settings.prefix > 24 then
    local told = "prefix is 1 to 24 small letters, digits, underscores, no digit first, not '%s'"
    fail(told, settings.prefix)
  elseif options.query.pgbouncer then
    fail("pgbouncer: nothing is heard through it; the layer's URL leads to the server itself")
  end
  settings.database = {
    url = database_url(options.url),
    max_connections = 3,
    shared_connections = 0,
  }
  local ok, err = pcall(core.db.check, { name = M.NAME, url = settings.database.url })
  if not ok then
    fail("%s", errors.is_error(err) and err.message or tostring(err))
  end
  return settings
end

return M
