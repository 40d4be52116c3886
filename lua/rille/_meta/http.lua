---@meta rille.core.http

--- Pieces of HTTP (src/bind/bind_http.c).

---@class rille.core.http
local http = {}

--- Header fields of a block "name\0value\0…"; repeated ones joined by ", ", cookies by "; ".
---@param block string
---@return table<string, string>
function http.fields(block) end

--- One of them, or nil.
---@param block string
---@param name string  in lower case
---@return string?
function http.field(block, name) end

--- What a block says beside the header: the request's target, and what trusted proxies told.
---@param block string
---@param name "target"|"host"|"prefix"
---@return string?
function http.via(block, name) end

--- Would these words do as trusted proxies ("10.0.0.0/8, loopback")?
---@param words string
---@return true?
---@return rille.Error? err
function http.network(words) end

--- A request's target, taken apart.
---@param target string
---@return string? path  decoded
---@return string|rille.Error raw
---@return string? query  without the "?"; "" when there is none
function http.split(target) end

--- A query or a form, decoded.
---@param text string
---@return table<string, string>? first  value of each name
---@return table<string, string[]>|rille.Error all
function http.form(text) end

--- A date as HTTP writes it.
---@param time number  seconds since 1970, up to the year 9999
---@return string  "Sun, 06 Nov 1994 08:49:37 GMT"
function http.date(time) end

--- Are two strings the same? In a time that does not tell where they differ: for secrets.
---@param a string
---@param b string
---@return boolean
function http.same(a, b) end

return http
