--- Forms with files: `multipart/form-data` (RFC 7578), piece by piece as it arrives.
---
---     for part in request:aparts() do
---       if part.filename then
---         for chunk in part:achunks() do file:write(chunk) end
---       else
---         fields[part.name] = part:aread()
---       end
---     end
---
--- No more is kept than a piece of the body, and a boundary that may be cut in two: what is not
--- asked for is not read, so a slow handler slows its client down. A part whose rest nobody wants
--- is passed over when the next one is asked for. All errors are `rille.BadRequest`.

local errors = require("rille.errors")

local multipart = {}

local MAX_HEAD = 16 * 1024 -- bytes of a part's header
local MAX_PARTS = 1000
local MAX_BOUNDARY = 70 -- RFC 2046, section 5.1.1
local MAX_PADDING = 100 -- white space behind a boundary, which nobody sends

---@class rille.FormPart
---@field name string
---@field filename string?  of a file, without any folders: what the client says, and not to trust
---@field type string?      its content-type, as it was sent
---@field headers table<string, string>  by name in lower case
local Part = {}
Part.__index = Part

---@class rille.multipart.Reader
---@field source async fun(): string?  the next piece of the body
---@field rest string       what was read and not used
---@field delimiter string
---@field lead integer      how many bytes of it are no content
---@field count integer     parts so far
---@field part rille.FormPart?  the one whose content comes next
---@field over boolean
local Reader = {}
Reader.__index = Reader

local function bad(why)
  error(errors.BadRequest("the form is malformed: " .. why), 0)
end

--- What is in quotes, and where it ends; nothing: the closing quote is missing.
local function unquote(value, at)
  local i = at + 1
  repeat
    i = value:find('["\\]', i)
    if not i then
      return nil
    end
    local escape = value:sub(i, i) == "\\"
    i = escape and i + 2 or i
  until not escape
  return value:sub(at + 1, i - 1):gsub('\\(["\\])', "%1"), i + 1
end

--- A parameter of a header's value: `; name=token` or `; name="quoted"`.
local function parameter(value, wanted)
  local at = value:find(";", 1, true)
  while at do
    local name, text
    name, at = value:match('^;%s*([^%s=;"]+)%s*=%s*()', at)
    if not name then
      return nil
    elseif value:sub(at, at) == '"' then
      text, at = unquote(value, at)
    else
      text, at = value:match("^([^;%s]*)()", at)
    end
    if name:lower() == wanted then
      return text
    end
    at = at and value:find(";", at, true)
  end
  return nil
end

--- The boundary that a content-type names.
---@param content_type string
---@return string? boundary  nil: this is no form of this kind
function multipart.boundary(content_type)
  if not content_type:lower():find("^multipart/form%-data%s*;") then
    return nil
  end
  local boundary = parameter(content_type, "boundary")
  return boundary and #boundary >= 1 and #boundary <= MAX_BOUNDARY and boundary or nil
end

---@async
local function more(self)
  local piece = self.source()
  if not piece then
    bad("it ends before its last boundary")
  end
  self.rest = self.rest .. piece
end

--- What stands behind a boundary: where a part begins, "end", "more" (to be read to know), or
--- nothing: it is no boundary, but looks like one.
local function behind(text, at)
  local padding, line = text:match("^([ \t]*)\r\n()", at)
  if padding then
    return line
  elseif text:find("^%-%-", at) then
    return "end"
  elseif text:find("^%-?$", at) or (#text - at < MAX_PADDING and text:find("^[ \t]*\r?$", at)) then
    return "more"
  end
  return nil
end

--- Without the line end that `apart` left in front.
local function trimmed(self, content)
  local n = math.min(self.lead, #content)
  self.lead = self.lead - n
  return content:sub(n + 1)
end

--- Content of the part at hand, up to the next boundary, at which `part` becomes nil.
---@async
---@return string
function Reader:acontent()
  local from = 1
  while true do
    local first, last = self.rest:find(self.delimiter, from, true)
    local next_part = first and behind(self.rest, last + 1)
    if type(next_part) == "number" or next_part == "end" then
      local content = trimmed(self, self.rest:sub(1, first - 1))
      self.over = next_part == "end"
      self.rest = self.over and "" or self.rest:sub(next_part)
      self.part = nil
      return content
    elseif first and not next_part then
      from = first + 1
    else
      -- All but what may be the beginning of a boundary.
      local safe = first and first - 1 or #self.rest - #self.delimiter
      if safe > 0 then
        local content = trimmed(self, self.rest:sub(1, safe))
        self.rest = self.rest:sub(safe + 1)
        return content
      end
      from = 1
      more(self)
    end
  end
end

local function fields_of(head)
  local headers = {}
  for line in head:gmatch("([^\r\n]+)\r\n") do
    local name, value = line:match("^([^%s:]+):%s*(.-)%s*$")
    if not name then
      bad("a part's header has a line that is none")
    end
    headers[name:lower()] = value
  end
  return headers
end

local function part_of(reader, headers)
  local disposition = headers["content-disposition"] or ""
  local name = parameter(disposition, "name")
  if not disposition:lower():find("^form%-data%s*;") or not name then
    bad("a part has no name")
  end
  local filename = parameter(disposition, "filename")
  return setmetatable({
    name = name,
    filename = filename and filename:match("[^/\\]*$"),
    type = headers["content-type"],
    headers = headers,
    _reader = reader,
  }, Part)
end

--- The next part; what is left of the one before is passed over.
---@async
---@return rille.FormPart?
function Reader:apart()
  while self.part do
    self:acontent()
  end
  if self.over then
    return nil
  end
  self.count = self.count + 1
  if self.count > MAX_PARTS then
    bad("it has more than " .. MAX_PARTS .. " parts")
  end
  local stop
  repeat
    stop = select(2, self.rest:find("\r\n\r\n", 1, true)) or (self.rest:find("^\r\n") and 2)
    if not stop then
      if #self.rest > MAX_HEAD then
        bad("a part's header is too long")
      end
      more(self)
    end
  until stop
  local part = part_of(self, fields_of(self.rest:sub(1, stop)))
  -- Its last line end may be the first of a boundary, when there is no content.
  self.rest = self.rest:sub(stop - 1)
  self.part, self.lead = part, 2
  return part
end

--- The content of a part, piece by piece; nothing once the next part was asked for.
---@async
---@return fun(): string?
function Part:achunks()
  return function()
    local reader = self._reader
    while reader.part == self do
      local content = reader:acontent()
      if content ~= "" then
        return content
      end
    end
    return nil
  end
end

--- The content of a part as a whole: no more than the route's `max_body`.
---@async
---@return string
function Part:aread()
  local pieces = {}
  for chunk in self:achunks() do
    pieces[#pieces + 1] = chunk
  end
  return table.concat(pieces)
end

--- The parts of a form, in order.
---@async
---@param source async fun(): string?  the next piece of the body; nil at its end
---@param boundary string
---@return async fun(): rille.FormPart?
function multipart.parts(source, boundary)
  local reader = setmetatable({
    source = source,
    rest = "\r\n", -- the first boundary has no line end in front of it
    delimiter = "\r\n--" .. boundary,
    lead = 0,
    count = 0,
    over = false,
    part = true, -- what stands in front of the first boundary is nobody's
  }, Reader)
  return function()
    return reader:apart()
  end
end

return multipart
