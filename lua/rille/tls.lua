--- What an application's `tls` may hold.
---
---     tls = { cert = "site.pem", key = "site.key", min_version = "1.3" }
---     tls = { { cert = "a.pem", key = "a.key" }, { cert = "b.pem", key = "b.key" } }
---
--- Of several certificates the one is shown that is for the name a client asks for, the first one
--- to all others. A key may stand in the file of its certificate. Paths that are not absolute
--- begin at the script's folder.

local errors = require("rille.errors")

local tls = {}

---@class rille.TlsPair
---@field cert string  a file in PEM: the certificate and those that vouch for it
---@field key string?

---@class rille.TlsSettings : rille.TlsPair
---@field [integer] rille.TlsPair
---@field min_version "1.2"|"1.3"|nil   default "1.2"
---@field client_ca string?             a file in PEM: who may vouch for clients
---@field clients "optional"|"required"|nil  may they come without a certificate? With client_ca

local FILES = { cert = "--tls-cert", key = "--tls-key", client_ca = "--tls-client-ca" }
local WORDS = {
  min_version = { "--tls-min-version", "1.2", "1.3" },
  clients = { "--tls-clients", "optional", "required" },
}

local function fail(message, ...)
  errors.misconfigured("tls: " .. message:format(...), "tls")
end

local function check_pair(pair, where)
  if type(pair) ~= "table" then
    fail("%s is a %s, not a table with cert and key", where, type(pair))
  elseif type(pair.cert) ~= "string" then
    fail("%s: cert, a file, is missing", where)
  elseif pair.key ~= nil and type(pair.key) ~= "string" then
    fail("%s: key is a %s, not a file", where, type(pair.key))
  end
end

--- Raises what is wrong with it.
---@param settings rille.TlsSettings
function tls.check(settings)
  for name, value in pairs(settings) do
    local word = WORDS[name]
    if type(name) == "number" then
      check_pair(value, ("certificate %d"):format(name))
      for inner in pairs(value) do
        if inner ~= "cert" and inner ~= "key" then
          fail("certificate %d has %q; it takes cert and key", name, tostring(inner))
        end
      end
    elseif FILES[name] then
      if type(value) ~= "string" then
        fail("%s is a %s, not a file", name, type(value))
      end
    elseif not word then
      fail("unknown: %q; there are cert, key, min_version, client_ca, clients", tostring(name))
    elseif value ~= word[2] and value ~= word[3] then
      fail("%s is %q or %q, not %q", name, word[2], word[3], tostring(value))
    end
  end
  if #settings > 0 and (settings.cert or settings.key) then
    fail("either a list of certificates or one, not both")
  elseif settings.key and not settings.cert then
    fail("a key, but no cert that it belongs to")
  end
end

--- The same in the words of the command line, for the core: flag, value, flag, value…
---@param settings rille.TlsSettings?
---@param folder string  the script's
---@return string[]
function tls.words(settings, folder)
  local words = {}

  local function say(flag, value)
    if value ~= nil then
      words[#words + 1] = flag
      words[#words + 1] = value
    end
  end

  local function say_file(name, path)
    say(FILES[name], path and (path:sub(1, 1) == "/" and path or folder .. "/" .. path))
  end

  settings = settings or {}
  local list = #settings > 0 and settings or { settings }
  local keyed = false
  for _, pair in ipairs(list) do
    keyed = keyed or pair.key ~= nil
  end
  for _, pair in ipairs(list) do
    say_file("cert", pair.cert)
    say_file("key", keyed and (pair.key or pair.cert) or nil)
  end
  say_file("client_ca", settings.client_ca)
  for name, word in pairs(WORDS) do
    say(word[1], settings[name])
  end
  return words
end

return tls
