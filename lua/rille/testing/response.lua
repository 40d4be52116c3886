--- HTTP/1.1 as a client speaks it: a request to write, a response to read (RFC 9112).

local M = {}

---@class rille.testing.Response
---@field status integer
---@field headers table<string, string>  names in lower case; repeated ones joined by commas
---@field header_list string[][]          name and value, as they came
---@field body string?                    nil: of an event stream, which has no end

--- The bytes of a request. A body that is a list of strings goes in chunks.
---@param method string
---@param path string   with its query
---@param headers table<string, string|string[]>|nil
---@param body string|string[]|nil
---@return string
function M.request(method, path, headers, body)
  local fields = { ("%s %s HTTP/1.1"):format(method, path) }
  local given = {}
  for name, value in pairs(headers or {}) do
    local values = type(value) == "table" and value or { value }
    given[name:lower()] = true
    for _, one in ipairs(values) do
      fields[#fields + 1] = ("%s: %s"):format(name, one)
    end
  end
  local function add(name, value)
    if not given[name] then
      fields[#fields + 1] = ("%s: %s"):format(name, value)
    end
  end
  add("host", "testserver")
  local text = ""
  if type(body) == "table" then
    add("transfer-encoding", "chunked")
    local chunks = {}
    for i, chunk in ipairs(body) do
      chunks[i] = ("%x\r\n%s\r\n"):format(#chunk, chunk)
    end
    text = table.concat(chunks) .. "0\r\n\r\n"
  elseif body then
    add("content-length", #body)
    text = body
  end
  return table.concat(fields, "\r\n") .. "\r\n\r\n" .. text
end

--- Status and headers, of whatever is not 100 Continue.
---@async
---@param stream rille.testing.Stream
---@return rille.testing.Response
function M.ahead(stream)
  local response
  repeat
    local line = stream:aline()
    if not line then
      error("no response: " .. stream.over, 0)
    end
    local status = line:match("^HTTP/1%.1 (%d%d%d)")
    if not status then
      error(("no response, but %q"):format(line), 0)
    end
    response = { status = tonumber(status), headers = {}, header_list = {} }
    for field in stream.aline, stream do
      if field == "" then
        break
      end
      local name, value = field:match("^([^:]+):%s*(.-)%s*$")
      local key = name:lower()
      local before = response.headers[key]
      response.headers[key] = before and before .. ", " .. value or value
      table.insert(response.header_list, { name, value })
    end
  until response.status ~= 100
  return response
end

--- A function that gives the body piece by piece, as it comes, and nil at its end. Raises when the
--- connection ends before.
---@param stream rille.testing.Stream
---@param response rille.testing.Response
---@param method string
---@return async fun(): string?
function M.pieces(stream, response, method)
  local status, headers = response.status, response.headers
  local left = tonumber(headers["content-length"])
  local chunked = headers["transfer-encoding"] == "chunked"
  local function cut()
    error("the connection ended in the middle of the body: " .. stream.over, 0)
  end
  if method == "HEAD" or status == 204 or status == 304 or status < 200 then
    return function() end
  elseif chunked then
    local ended = false
    return function()
      local line = not ended and (stream:aline() or cut())
      local n = line and tonumber(line, 16)
      if n and n > 0 then
        local piece = stream:abytes(n + 2) or cut()
        return piece:sub(1, -3)
      elseif n then
        while (stream:aline() or cut()) ~= "" do -- trailers
        end
        ended = true
      end
    end
  end
  return function()
    if left == 0 then
      return nil
    end
    local piece = stream:asome()
    if not piece then
      return left and cut()
    elseif left and #piece > left then
      piece, stream.buffer = piece:sub(1, left), piece:sub(left + 1)
    end
    left = left and left - #piece
    return piece
  end
end

return M
