--- Messages for the layer from outside: over HTTP, with a token.
---
---     POST /publish                      at the admin address, or where `rille.publish` is routed
---     authorization: Bearer TOKEN
---     { "group": "room", "message": { "type": "chat.message", "text": "hi" } }
---
--- answers `{"delivered":2,"dropped":0}`, or `{"error":"…"}`: 400 what is wrong with the request,
--- 401 no token or a wrong one, 404 there is no token here, so nobody may, 503 the layer's backend
--- cannot be reached. `channel` in the place of `group` is for one. A token is 16 bytes or more;
--- with a list of them each is good, so that one can be exchanged for another.

local core = require("rille.core")
local errors = require("rille.errors")
local json = require("rille.json")
local layer = require("rille.layer")
local routing = require("rille.routing")

local M = {}

local SHORTEST = 16

---@type string[]
local tokens = {}

--- What is wrong with tokens, or nil.
---@param given string|string[]
---@return string?
function M.objection(given)
  local list = type(given) == "string" and { given } or given
  for _, token in ipairs(list) do
    if type(token) ~= "string" or #token < SHORTEST or token:find("[^\33-\126]") then
      return ("%d or more printable bytes without spaces expected"):format(SHORTEST)
    end
  end
  return #list == 0 and "a token expected" or nil
end

--- Take these from now on; RILLE_PUBLISH_TOKEN is stronger.
---@param given string|string[]|nil
function M.configure(given)
  local environment = os.getenv("RILLE_PUBLISH_TOKEN")
  given = environment and environment ~= "" and environment or given or {}
  tokens = type(given) == "string" and { given } or given
end

--- Compared in full, with each, whatever the first ones say.
local function is_allowed(authorization)
  local token = (authorization or ""):match("^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+) *$") or ""
  local allowed = false
  for _, good in ipairs(tokens) do
    allowed = core.http.same(token, good) or allowed
  end
  return allowed
end

local function refuse(status, why)
  return status, { error = why }
end

--- What a request asks for; raises what is wrong with it.
local function read(text)
  local order = json.decode(text)
  if type(order) ~= "table" then
    error(errors.BadRequest("a JSON object expected"), 0)
  end
  for name in pairs(order) do
    if name ~= "group" and name ~= "channel" and name ~= "message" then
      local told = ("unknown field %q; there are group or channel, and message"):format(name)
      error(errors.BadRequest(told), 0)
    end
  end
  if (order.group == nil) == (order.channel == nil) then
    error(errors.BadRequest("either group or channel expected"), 0)
  end
  if type(order.group or order.channel) ~= "string" then
    error(errors.BadRequest("a name is a string"), 0)
  end
  return order
end

local NOW = { now = true }

--- What a message is, and a name, the layer knows: whatever it raises is the request's fault, but
--- for a backend that is not there.
local function send(order)
  if order.group then
    return layer:agroup_send(order.group, order.message, NOW)
  end
  return layer:asend(order.channel, order.message, NOW)
end

--- Where rille's own code raised it is nobody's business outside.
local function said(err)
  if errors.is_error(err) then
    return err.message
  end
  local text = tostring(err):gsub("^[^\n]-%.lua:%d+: ", "")
  return (text:gsub("^bad argument #%d to '[^']*' %((.*)%)$", "%1"))
end

--- Look into a request, and send.
---@async
---@param authorization string?  the header
---@param text string            the body
---@return integer status
---@return table answer  for JSON
function M.answer(authorization, text)
  if #tokens == 0 then
    return refuse(404, "publishing is off: it wants publish_token (RILLE_PUBLISH_TOKEN)")
  elseif not is_allowed(authorization) then
    return refuse(401, "a bearer token expected")
  end
  local ok, order = pcall(read, text)
  if not ok then
    return refuse(400, said(order))
  end
  local sent, delivered, dropped = pcall(send, order)
  if sent then
    return 200, { delivered = delivered, dropped = dropped }
  elseif errors.is_error(delivered, errors.LayerError) then
    return refuse(503, said(delivered))
  elseif errors.is_error(delivered, errors.Cancelled) then
    error(delivered, 0)
  end
  return refuse(400, said(delivered))
end

--- A route that takes messages: `rille.publish("/publish")`.
---@param pattern string
---@param options table<string, any>?  limits, as for any route
---@return rille.Route
function M.route(pattern, options)
  return routing.post(pattern, function(request)
    local status, answer = M.answer(request.headers.authorization, request:abody() or "")
    local headers = { ["cache-control"] = "no-store" }
    if status == 401 then
      headers["www-authenticate"] = 'Bearer realm="rille"'
    end
    return status, answer, headers
  end, options)
end

return M
