--- Files of a folder, as a route.
---
--- Names that leave the folder, hidden files and folders are not found. A file goes out with its
--- type, its date and an ETag of size and date; an unchanged one is answered with 304. `index.html`
--- answers for its folder.

local core = require("rille.core")

local fs = core.fs
local consumer = core.consumer

local CHUNK = 128 * 1024

local TYPES = {
  css = "text/css; charset=utf-8",
  gif = "image/gif",
  html = "text/html; charset=utf-8",
  ico = "image/x-icon",
  jpeg = "image/jpeg",
  jpg = "image/jpeg",
  js = "text/javascript; charset=utf-8",
  json = "application/json",
  map = "application/json",
  mjs = "text/javascript; charset=utf-8",
  mp4 = "video/mp4",
  pdf = "application/pdf",
  png = "image/png",
  svg = "image/svg+xml",
  txt = "text/plain; charset=utf-8",
  wasm = "application/wasm",
  webmanifest = "application/manifest+json",
  webp = "image/webp",
  woff2 = "font/woff2",
  xml = "application/xml",
}

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

local function type_of(name)
  local ending = name:match("%.(%w+)$")
  return ending and TYPES[ending:lower()] or "application/octet-stream"
end

local function asend_file(request, fd, size, headers)
  check(consumer.start(request._id, 200, headers, size))
  local offset = 0
  while request.method ~= "HEAD" and offset < size do
    local chunk = check(fs.read(fd, offset, math.min(CHUNK, size - offset)))
    if chunk == "" then
      error("a static file shrank while it was sent")
    end
    offset = offset + #chunk
    check(consumer.write(request._id, chunk, offset < size))
  end
  if request.method == "HEAD" or size == 0 then
    check(consumer.write(request._id, "", false))
  end
end

--- A function route that serves `root`.
---@param root string
---@return async fun(request: rille.Scope): integer?, string?
function M.new(root)
  return function(request)
    local name = safe_name(request.url_route.kwargs.file or "")
    if not name then
      return 404, "Not Found\n"
    end
    if name == "" or name:sub(-1) == "/" then
      name = name .. "index.html"
    end
    local fd, size, mtime, regular = fs.open(root .. "/" .. name)
    if not fd then
      return 404, "Not Found\n"
    end
    local ok, status, body, headers = pcall(function()
      if not regular then
        return 404, "Not Found\n"
      end
      local etag = ('"%x-%x"'):format(size, mtime * 1000)
      local head = {
        ["content-type"] = type_of(name),
        ["last-modified"] = core.http.date(math.floor(mtime)),
        ["cache-control"] = "no-cache", -- may be kept, is asked for again: a 304 is cheap
        ["x-content-type-options"] = "nosniff",
        etag = etag,
      }
      if request.headers["if-none-match"] == etag then
        return 304, nil, head
      end
      asend_file(request, fd, size, head)
    end)
    fs.close(fd)
    if not ok then
      error(status, 0)
    end
    return status, body, headers
  end
end

return M
