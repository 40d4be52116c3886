--- Which origins may open a WebSocket (RFC 6455 section 10.2).
---
--- A browser says in `Origin` where the page came from, and any page may try to connect. Without a
--- list only the request's own host may. A list holds hosts (`example.com`), domains with all
--- below them (`.example.com`), either with a scheme or a port or both (`https://example.com:8443`;
--- a scheme alone means its default port), or `*`. Clients that are no browsers send no Origin and
--- are let in.

local errors = require("rille.errors")

---@class rille.Origins
local Origins = {}
Origins.__index = Origins

local DEFAULT_PORTS = { http = 80, https = 443, ws = 80, wss = 443 }

--- [scheme://]host[:port], and nothing else: no user, no path, no second origin. A dot at the end
--- of a name makes it no other name.
local function parse(origin)
  local scheme, rest = origin:match("^(%a[%w+.-]*)://(.*)$")
  rest = rest or origin
  local host, colon, port = rest:match("^(%[[%x:.]+%])(:?)(%d*)$")
  if not host then
    host, colon, port = rest:match("^([%w._~-]+)(:?)(%d*)$")
  end
  if not host or (colon == "") ~= (port == "") or (#port > 0 and tonumber(port) > 65535) then
    return nil
  end
  host = host:gsub("%.$", "")
  if host == "" then
    return nil
  end
  scheme = scheme and scheme:lower()
  local default = DEFAULT_PORTS[scheme or ""]
  return { scheme = scheme, host = host:lower(), port = tonumber(port) or default }
end

---@param list string[]
---@return rille.Origins
function Origins.new(list)
  local self = setmetatable({ list = list, rules = {} }, Origins)
  for _, item in ipairs(list) do
    if item == "*" then
      self.any = true
    else
      local rule = type(item) == "string" and parse(item)
      if not rule then
        errors.misconfigured(("allowed_origins: %q is not an origin"):format(tostring(item)))
      end
      self.rules[#self.rules + 1] = rule
    end
  end
  return self
end

local function matches(rule, origin)
  if rule.scheme and rule.scheme ~= origin.scheme then
    return false
  end
  if (rule.scheme or rule.port) and rule.port ~= origin.port then
    return false
  end
  if rule.host:sub(1, 1) == "." then
    return origin.host == rule.host:sub(2) or origin.host:sub(-#rule.host) == rule.host
  end
  return origin.host == rule.host
end

--- May a page of this origin connect?
---@param origins rille.Origins?  nil: only the request's own host
---@param origin string?          the Origin header
---@param host string?            the Host header
---@param secure boolean?         does it speak TLS to us? (If not, a proxy may in our place.)
---@return boolean
function Origins.allow(origins, origin, host, secure)
  if not origin or (origins and origins.any) then
    return true
  end
  local from = parse(origin)
  if not from or (not from.scheme and origin ~= "null") then
    return false
  end
  if not origins then
    local scheme = secure and "https" or from.scheme
    local own = scheme and host and parse(scheme .. "://" .. host)
    return own ~= nil and own.host == from.host and own.port == from.port
  end
  for _, rule in ipairs(origins.rules) do
    if matches(rule, from) then
      return true
    end
  end
  return false
end

return Origins
