--- The one error object, and its classes.
---
--- Whatever rille raises is an instance of `Error`: a table with a `message` that prints as
--- one. Those of a database also carry `sqlstate`, `detail`, `constraint` and `query`; never
--- a password. Tell them apart with `rille.is_error(err, rille.IntegrityError)`, which also
--- accepts what is not an error object at all.

local class = require("rille.class")

---@class rille.Error : rille.Class
---@field message string
---@field sqlstate string?    five characters, from PostgreSQL or SQLite's closest
---@field detail string?
---@field constraint string?
---@field query string?       the SQL text, never its parameters
---@field code string?        of a RedisError: "WRONGTYPE"
---@field of_operation boolean?  of a migration: what it was about to do is in the message
---@field may_have_run boolean?  of a RedisUnavailable: the command may have reached the server
local Error = class("Error")

---@param message string
---@param fields table<string, any>?
function Error:init(message, fields)
  for name, value in pairs(fields or {}) do
    self[name] = value
  end
  self.message = message
end

function Error:__tostring()
  return getmetatable(self).__name .. ": " .. tostring(self.message)
end

local errors = { Error = Error }

local function define(name, parent)
  errors[name] = (parent or Error):extend(name)
  return errors[name]
end

define("Closed") -- asend on a connection that is gone
define("Cancelled") -- the task was cancelled; do not catch it for long
define("Timeout") -- atimeout's deadline passed
define("LayerError") -- the layer's backend cannot be reached, or refuses
define("ConfigurationError") -- a script, a route or a setting makes no sense
define("BadRequest") -- what the client sent makes no sense; HTTP 400

define("MqttError") -- the broker, the way to it, or what it was to publish

-- Databases, with Django's names.
local DatabaseError = define("DatabaseError")
define("OperationalError", DatabaseError)
define("IntegrityError", DatabaseError)
define("ProtectedError", errors.IntegrityError) -- on_delete; `objects` are those that protect
define("RestrictedError", errors.IntegrityError)
define("DataError", DatabaseError)
define("ProgrammingError", DatabaseError)
define("TransactionManagementError", errors.ProgrammingError)
define("NotSupportedError", DatabaseError)

-- Redis.
local RedisError = define("RedisError") -- it refused; `code` is the first word of its reply
define("RedisUnavailable", RedisError) -- no connection, or no reply; `may_have_run`

-- Models.
define("FieldError") -- a field or lookup that does not exist
define("ValueError") -- a value that its field cannot hold
define("NotFetched") -- a related object that no query has brought along
define("ObjectDoesNotExist")
define("MultipleObjectsReturned")

--- A mistake in a script: raise it with the script's own file and line, whatever called us. A call
--- in tail position has left no line on the stack; then the script's text is searched for `word`.
---@param message string
---@param word string?
function errors.misconfigured(message, word)
  local place
  for level = 2, 100 do
    local info = debug.getinfo(level, "Sl")
    if not info or info.source == "@rille/loader.lua" then -- beyond it is who required the module
      break
    end
    if info.currentline > 0 and not info.source:find("^@rille/") then
      place = ("%s:%d"):format(info.short_src, info.currentline)
      break
    end
  end
  place = place or require("rille.loader").locate(word)
  error(errors.ConfigurationError(place and (place .. ": " .. message) or message), 0)
end

--- Is `err` one of rille's errors, of this class or below it?
---@param err any
---@param cls rille.Class?  default: any of rille's errors
---@return boolean
function errors.is_error(err, cls)
  return class.is_instance(err, cls or Error)
end

--- For methods whose work the core does: its answer, or its error, raised where the method was
--- called.
---@generic T
---@param ok T?
---@param err any
---@return T
function errors.check(ok, err)
  if ok then
    return ok
  end
  error(err, 3)
end

return errors
