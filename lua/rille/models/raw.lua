--- Raw queries: SQL of one's own, and its rows as instances.
---
---     Book.objects:raw("SELECT * FROM book WHERE pages > $1", 100):alist()
---
--- Columns are taken by name, of the column or of the attribute. The key must be among them; fields
--- that are not are deferred, and columns that are no fields become attributes.

local errors = require("rille.errors")
local db = require("rille.db")
local queries = require("rille.models.query")
local reading = require("rille.models.reading")

local Query = queries.Query

---@class rille.models.RawQuery
---@field model rille.models.Model
---@field sql string
---@field n integer
---@field database any
---@field cached rille.models.Instance[]?
---@field prefetches rille.models.Prefetch[]?
local Raw = {}
Raw.__index = Raw

function Raw:__tostring()
  return self.sql
end

--- Call columns by the names of their attributes; which attributes any row has. NULL leaves no
--- trace in a row.
local function rename(model, rows)
  local there = {}
  for _, field in ipairs(model._meta.fields) do
    local column, attr = field.column, field.attr
    for _, row in ipairs(rows) do
      if column ~= attr and row[column] ~= nil then
        row[attr], row[column] = row[column], nil
      end
      there[attr] = there[attr] or row[attr] ~= nil
    end
  end
  return there
end

--- The attributes that rows without them have to be asked for.
local function left_out(model, there)
  local deferred
  for _, field in ipairs(model._meta.fields) do
    if not there[field.attr] and not field.null then
      deferred = deferred or {}
      deferred[field.attr] = true
    end
  end
  return deferred
end

--- The objects, fetched once.
---@async
---@return rille.models.Instance[]
function Raw:alist()
  if self.cached then
    return self.cached
  end
  local database, meta = db.get(self.database), self.model._meta
  local rows = database:aquery(self.sql, unpack(self, 1, self.n))
  local there = rename(self.model, rows)
  if #rows > 0 and not there[meta.pk.attr] then
    error(errors.FieldError("Raw query must include the primary key"), 0)
  end
  local query = queries.new(self.model):_with({ database = self.database })
  query.deferred, query.prefetches = left_out(self.model, there), self.prefetches
  rows = reading.adopt.instances(query, rows, database.dialect, self.database)
  if self.prefetches then
    query:_prefetch(rows)
  end
  self.cached = rows
  return rows
end

--- Go through the objects.
---@async
---@return fun(): rille.models.Instance?
function Raw:aiterator()
  local rows, i = nil, 0
  return function()
    rows = rows or self:alist()
    i = i + 1
    return rows[i]
  end
end

--- Fetch related objects afterwards: see `Query:prefetch_related`.
---@param ... string|rille.models.Prefetch
---@return rille.models.RawQuery
function Raw:prefetch_related(...)
  local copy = {}
  for key, value in pairs(self) do
    copy[key] = value
  end
  copy.cached = nil
  copy.prefetches = queries.new(self.model):prefetch_related(...).prefetches
  return setmetatable(copy, Raw)
end

--- Instances from SQL of one's own, with `$1` parameters. Nothing is sent before `alist`.
---@param sql string
---@param ... rille.db.Value
---@return rille.models.RawQuery
function Query:raw(sql, ...)
  if type(sql) ~= "string" then
    error(("raw needs SQL text, not a %s"):format(type(sql)), 2)
  end
  local raw = { model = self.model, sql = sql, n = select("#", ...), database = self.database, ... }
  return setmetatable(raw, Raw)
end

return Query
