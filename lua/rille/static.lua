--- Files of a folder, as a route.
---
--- Names that leave the folder, hidden files and folders are not found; symbolic links are followed
--- wherever they lead, since whoever may make one in the folder could as well have put the file
--- there. `index.html` answers for its folder, which without its slash is redirected to it. A file
--- goes out with its type, its date and an ETag of size and date; conditions and ranges are
--- answered as RFC 9110 says (sections 13 and 14). Files are read by threads, piece by piece, no
--- faster than the client takes them.

local core = require("rille.core")
local preconditions = require("rille.static.preconditions")
local ranges = require("rille.static.ranges")
local type_of = require("rille.static.types")

local fs = core.fs
local consumer = core.consumer

local CHUNK = 128 * 1024

--- Siblings that were compressed beforehand, the better one first.
local CODINGS = { { "br", ".br" }, { "gzip", ".gz" } }

local M = {}

local function check(ok, ...)
  if ok then
    return ok, ...
  end
  error((...), 2)
end

--- A relative name that stays inside, or nil.
local function safe_name(name)
  if name:find("[%z\\]") then
    return nil
  end
  for segment in name:gmatch("[^/]+") do
    if segment:sub(1, 1) == "." then
      return nil
    end
  end
  return name
end

---@class rille.StaticFile
---@field fd integer
---@field size integer
---@field mtime number
---@field name string     as asked for
---@field coding string?  of a sibling that stands in for it

--- Open a regular file, if it is there.
---@async
---@return rille.StaticFile?
local function aopen(root, name)
  local fd, size, mtime, regular = fs.open(root .. "/" .. name)
  if fd and regular then
    core.worker.uses(root .. "/" .. name, fd)
    return { fd = fd, size = size, mtime = mtime, name = name }
  elseif fd then
    fs.close(fd)
  end
end

local function accepts(field, coding)
  for name, rest in (field or ""):lower():gmatch("([^,;%s]+)([^,]*)") do
    if name == coding then
      return tonumber(rest:match(";%s*q%s*=%s*([%d.]+)") or 1) > 0
    end
  end
  return false
end

---@async
---@return rille.StaticFile?
local function aopen_best(root, name, request, options)
  for _, coding in ipairs(options.precompressed and CODINGS or {}) do
    if accepts(request.headers["accept-encoding"], coding[1]) then
      local file = aopen(root, name .. coding[2])
      if file then
        file.name, file.coding = name, coding[1]
        return file
      end
    end
  end
  return aopen(root, name)
end

--- Send the bytes from..to; `more` when something follows them.
local function asend_bytes(request, fd, from, to, more)
  while from <= to do
    local chunk = check(fs.read(fd, from, math.min(CHUNK, to - from + 1)))
    if chunk == "" then
      error("a static file shrank while it was sent")
    end
    from = from + #chunk
    check(consumer.write(request._id, chunk, more or from <= to))
  end
end

local function asend_range(request, file, headers, range)
  local length, status = range.to - range.from + 1, 200
  if range.asked then
    status = 206
    headers["content-range"] = ranges.describe(range, file.size)
  end
  check(consumer.start(request._id, status, headers, length))
  if request.method == "HEAD" or length == 0 then
    check(consumer.write(request._id, "", false))
  else
    asend_bytes(request, file.fd, range.from, range.to, false)
  end
end

--- Several parts, each with a head of its own (section 14.6).
local function asend_parts(request, file, headers, parts)
  local boundary = ("%08x%08x"):format(math.random(0, 2 ^ 31 - 1), math.random(0, 2 ^ 31 - 1))
  local heads, length = {}, 0
  for i, range in ipairs(parts) do
    heads[i] = ("\r\n--%s\r\ncontent-type: %s\r\ncontent-range: %s\r\n\r\n"):format(
      boundary,
      headers["content-type"],
      ranges.describe(range, file.size)
    )
    length = length + #heads[i] + range.to - range.from + 1
  end
  local tail = ("\r\n--%s--\r\n"):format(boundary)
  headers["content-type"] = "multipart/byteranges; boundary=" .. boundary
  check(consumer.start(request._id, 206, headers, length + #tail))
  for i, range in ipairs(parts) do
    check(consumer.write(request._id, heads[i], true))
    asend_bytes(request, file.fd, range.from, range.to, true)
  end
  check(consumer.write(request._id, tail, false))
end

--- Answer with an open file: what is returned is the answer's, unless it was sent.
local function aanswer(request, file, options)
  local modified = math.floor(file.mtime)
  local etag = ('"%x-%x%s"'):format(file.size, file.mtime * 1000, file.coding or "")
  local headers = {
    ["content-type"] = type_of(file.name),
    ["last-modified"] = core.http.date(modified),
    ["cache-control"] = options.cache_control or "no-cache",
    ["x-content-type-options"] = "nosniff",
    ["accept-ranges"] = "bytes",
    ["content-encoding"] = file.coding,
    vary = options.precompressed and "accept-encoding" or nil,
    etag = etag,
  }
  local asked = request.headers
  local status = preconditions.check(asked, etag, modified)
  if status == 412 then
    return 412, "Precondition Failed\n"
  elseif status then
    return status, nil, headers
  end
  local parts
  if request.method == "GET" and preconditions.allows_range(asked["if-range"], etag, modified) then
    parts = ranges.parse(asked.range, file.size)
  end
  if not parts then
    asend_range(request, file, headers, { from = 0, to = file.size - 1 })
  elseif #parts == 0 then
    local unsatisfied = { ["content-range"] = ("bytes */%.0f"):format(file.size) }
    return 416, "Range Not Satisfiable\n", unsatisfied
  elseif #parts == 1 then
    parts[1].asked = true
    asend_range(request, file, headers, parts[1])
  else
    asend_parts(request, file, headers, parts)
  end
end

--- Run fn with the file, which is closed however that ends.
local function awith(file, fn, ...)
  local ok, status, body, headers = pcall(fn, ...)
  fs.close(file.fd)
  if not ok then
    error(status, 0)
  end
  return status, body, headers
end

--- A folder that was asked for without its slash. The answer is relative, so that it holds wherever
--- we are mounted, and cannot lead to another host.
local function redirect(request)
  local location = "./" .. request.raw_path:match("[^/]*$") .. "/"
  if request.query_string ~= "" then
    location = location .. "?" .. request.query_string
  end
  return 301, "", { location = location }
end

---@class rille.StaticOptions
---@field cache_control string?   default "no-cache": kept, but asked for again, and a 304 is cheap
---@field index string|false|nil  answers for its folder; default "index.html"
---@field fallback string?        a file that answers, with 200, for what is not there
---@field precompressed boolean?  send name.br or name.gz instead of name to who accepts it

M.OPTIONS = {
  cache_control = "string",
  index = "string or boolean",
  fallback = "string",
  precompressed = "boolean",
}

--- A function route that serves `root`.
---@param root string
---@param options rille.StaticOptions?
---@return async fun(request: rille.Scope): integer?, string?
function M.new(root, options)
  options = options or {}
  local index = options.index == nil and "index.html" or options.index

  local function afind(name, request)
    if name ~= "" and name:sub(-1) ~= "/" then
      local file = aopen_best(root, name, request, options)
      if file or not index then
        return file
      end
      file = aopen(root, name .. "/" .. index)
      if file then
        fs.close(file.fd)
      end
      return nil, file ~= nil
    end
    return index and aopen_best(root, name .. index, request, options) or nil
  end

  return function(request)
    local name = safe_name(request.url_route.kwargs.file or "")
    local file, is_folder
    if name then
      file, is_folder = afind(name, request)
    end
    if is_folder then
      return redirect(request)
    end
    if not file and name and options.fallback then
      file = aopen_best(root, options.fallback, request, options)
    end
    if not file then
      return 404, "Not Found\n"
    end
    return awith(file, aanswer, request, file, options)
  end
end

return M
