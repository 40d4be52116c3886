--- Who connected, and with what: ASGI's scope, read as one goes.
---
--- An idle connection keeps its scope, so a scope keeps only the request's own bytes. Fields are
--- made of them when somebody asks, and then stay. For HTTP the scope is the request, too: it
--- has `abody`, `achunks`, `ajson`, `aform` and `aparts`.

local core = require("rille.core")
local errors = require("rille.errors")
local json = require("rille.json")

local proxies = require("rille.proxies")

local http = core.http
local consumer = core.consumer

---@class rille.Scope
---@field type "http"|"websocket"|"notify"
---@field method string            "GET"; only HTTP
---@field scheme string            "http" or "ws"; over TLS "https" or "wss"
---@field tls rille.core.Tls?        nil without TLS
---@field host string?             what the client asked for, as trusted proxies have it
---@field path string              decoded, whole: also what is below root_path
---@field root_path string         where the routes begin; "" is everywhere
---@field raw_path string
---@field query_string string      raw, without the "?"
---@field query table<string, string>   first value of each name
---@field query_lists table<string, string[]>  every value
---@field headers table<string, string>  names in lower case; repeated ones joined
---@field trailers table<string, string>?  what followed the body, once it was read to its end
---@field cookies table<string, string>
---@field subprotocols string[]
---@field client { host: string, port: integer }?  not on a Unix socket
---@field server { host: string, port: integer }?
---@field url_route { kwargs: table<string, any> }
---@field channel string           only notify: what it listens to,
---@field database string          and the name of the database where
---@field generation integer       of the code that it runs
---@field request_id string        the client's X-Request-Id, or one that was made
---@field traceparent string       W3C Trace Context, to be passed on: the client's trace, or a
---  new one, with a span of this request
---@field tracestate string        "" when there is none
---@field session any
---@field user any
local Scope = {}

--- Fields that come about together; what somebody has put in their place stays.
local function store(self, fields)
  for name, value in pairs(fields) do
    if rawget(self, name) == nil then
      rawset(self, name, value)
    end
  end
end

local function split(self)
  local path, raw, query = http.split(http.via(self._fields, "target"))
  if path then
    path = proxies.join(path, self.root_path, http.via(self._fields, "prefix") ~= nil)
    store(self, { path = path, raw_path = raw, query_string = query })
  end
end

local function parse_query(self)
  local first, all = http.form(self.query_string)
  if not first then
    error(errors.BadRequest("the query cannot be decoded"), 3)
  end
  store(self, { query = first, query_lists = all })
end

local function names(self)
  local request_id, traceparent, tracestate = consumer.names(self._id)
  if request_id then
    store(self, { request_id = request_id, traceparent = traceparent, tracestate = tracestate })
  end
end

--- Field name to how it comes about: it stores the field, or returns it.
local lazy = {
  path = split,
  host = function(self)
    return http.via(self._fields, "host") or self.headers.host
  end,
  raw_path = split,
  query_string = split,
  query = parse_query,
  query_lists = parse_query,
  headers = function(self)
    return http.fields(self._fields)
  end,
  trailers = function(self)
    local fields = consumer.trailers(self._id)
    return fields and http.fields(fields)
  end,
  cookies = function(self)
    local cookies = {}
    for pair in (self.headers.cookie or ""):gmatch("[^;]+") do
      local name, value = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
      if name and cookies[name] == nil then
        cookies[name] = value:match('^"(.*)"$') or value
      end
    end
    return cookies
  end,
  subprotocols = function(self)
    local offered = {}
    for name in (self.headers["sec-websocket-protocol"] or ""):gmatch("[^,%s]+") do
      offered[#offered + 1] = name
    end
    return offered
  end,
  client = function(self)
    local host, port = consumer.peer(self._id)
    return host and { host = host, port = port }
  end,
  server = function(self)
    local asked = http.via(self._fields, "host")
    if asked then
      local name, at = asked:match("^(.-):?(%d*)$")
      local default = consumer.secure(self._id) and 443 or 80
      return { host = name:match("^%[(.*)%]$") or name, port = tonumber(at) or default }
    end
    local host, port = consumer.here(self._id)
    return host and { host = host, port = port }
  end,
  scheme = function(self)
    return (self.type == "websocket" and "ws" or "http")
      .. (consumer.secure(self._id) and "s" or "")
  end,
  tls = function(self)
    return consumer.tls(self._id)
  end,
  url_route = function()
    return { kwargs = {} }
  end,
  request_id = names,
  traceparent = names,
  tracestate = names,
}

--- Asked anew each time: a reload changes it.
local function generation_of(self)
  return consumer.generation(self._id)
end

local function new_meta(constants, methods)
  return {
    __name = "Scope",
    __index = function(self, name)
      local value = methods[name]
      if value == nil then
        value = constants[name]
      end
      if value ~= nil then
        return value
      end
      local make = lazy[name]
      if not make then
        return name == "generation" and generation_of(self) or nil
      end
      value = make(self)
      if value == nil then
        return rawget(self, name)
      end
      rawset(self, name, value)
      return value
    end,
  }
end

--- Request: what an HTTP scope can do.
local Request = {}

local function check(ok, ...)
  if ok then
    return ok, ...
  end
  error((...), 3)
end

--- The body, piece by piece, as it arrives.
---@async
---@return fun(): string?
function Request:achunks()
  local finished = false
  return function()
    while not finished do
      local chunk, done = check(consumer.body(self._id))
      finished = done
      if #chunk > 0 then
        return chunk
      end
      if not done then
        check(consumer.wait(self._id))
      end
    end
    return nil
  end
end

--- The whole body. One over the limit is answered with 413 before it is here.
---@async
---@return string
function Request:abody()
  if not self._body then
    local parts = {}
    for chunk in self:achunks() do
      parts[#parts + 1] = chunk
    end
    self._body = table.concat(parts)
  end
  return self._body
end

--- The body as JSON; raises `rille.BadRequest` (answered with 400) if it is none.
---@async
---@return any
function Request:ajson()
  return json.decode(self:abody())
end

--- The parts of a form with files (`multipart/form-data`), in order, as they arrive: see
--- `rille.multipart`. Raises `rille.BadRequest` for what is none.
---@async
---@return async fun(): rille.FormPart?
function Request:aparts()
  local multipart = require("rille.multipart") -- few applications need it
  local boundary = multipart.boundary(self.headers["content-type"] or "")
  if not boundary then
    error(errors.BadRequest("a form of type multipart/form-data, with its boundary, expected"), 2)
  end
  return multipart.parts(self:achunks(), boundary)
end

---@class rille.FormFile
---@field filename string
---@field type string?
---@field content string

--- Of a form with files: all of it is kept.
local function collect(self)
  local first, all, files = {}, {}, {}
  for part in self:aparts() do
    local content = part:aread()
    local into = part.filename and files or all
    if part.filename then
      content = { filename = part.filename, type = part.type, content = content }
    else
      first[part.name] = first[part.name] or content
    end
    into[part.name] = into[part.name] or {}
    table.insert(into[part.name], content)
  end
  return first, all, files
end

--- The body as a form: `application/x-www-form-urlencoded`, or `multipart/form-data`, for whose
--- files there is `aparts` if they are large. Raises `rille.BadRequest` if it is neither.
---@async
---@return table<string, string> first  value of each name
---@return table<string, string[]> all
---@return table<string, rille.FormFile[]> files
function Request:aform()
  if not self._form then
    local kind = (self.headers["content-type"] or ""):lower()
    local first, all, files
    if kind:find("^multipart/form%-data") then
      first, all, files = collect(self)
    elseif kind:find("^application/x%-www%-form%-urlencoded") then
      first, all = http.form(self:abody())
    else
      error(errors.BadRequest("a form expected: urlencoded, or multipart/form-data"), 2)
    end
    if not first then
      error(errors.BadRequest("the form cannot be decoded"), 2)
    end
    self._form = { first, all, files or {} }
  end
  return self._form[1], self._form[2], self._form[3]
end

--- Of a consumer without a peer: what there is, is there from the start.
local background_meta = {
  __name = "Scope",
  __index = function(self, name)
    return name == "generation" and generation_of(self) or nil
  end,
}

local websocket_meta = new_meta({ type = "websocket", root_path = "" }, {})
local http_meta = new_meta({ type = "http", root_path = "" }, Request)

--- For dispatch: a scope of what the core hands over.
---@param id number
---@param kind "http"|"websocket"
---@param method string
---@param fields string  "name\0value\0…"; the first is ":target", as it stands in the request, then
---  come the proxies' (`core.http.via`), then the header
---@param root string?     where the routes begin, unless a proxy says it
---@return rille.Scope
function Scope.new(id, kind, method, fields, root)
  local self
  if kind == "websocket" then
    self = setmetatable({ _id = id, _fields = fields }, websocket_meta)
  else
    self = setmetatable({ _id = id, _fields = fields, method = method }, http_meta)
  end
  root = http.via(fields, "prefix") or root
  if root and root ~= "" then
    self.root_path = root
  end
  return self
end

--- For dispatch: is it a WebSocket's to which nothing was added? (Then nobody else has seen it, if
--- there is no middleware.)
---@param scope rille.Scope
---@return boolean
function Scope.is_bare(scope)
  if getmetatable(scope) ~= websocket_meta then
    return false
  end
  for name in pairs(scope) do
    if name ~= "_id" and name ~= "_fields" then
      return false
    end
  end
  return true
end

--- The scope of a consumer without a peer; `_id` is still to come.
---@param fields table
---@return rille.Scope
function Scope.background(fields)
  return setmetatable(fields, background_meta)
end

return Scope
