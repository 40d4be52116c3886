--- Iteration: going through many rows while holding neither them nor a connection.

local conditions = require("rille.models.conditions")

local Query = require("rille.models.query").Query

-- What the database sorts by and `>` compares in another way, or not at all.
local UNORDERED = { bytes = true, boolean = true, json = true }

--- The columns that a query is ordered by, down to its key, if a page can begin behind the values
--- of the last row: own columns, fetched, of comparable values, and never NULL. Else nil.
---@return { attr: string, descending: boolean }[]?
local function columns_of(query)
  if query.shape ~= "instances" or query.distinct_on or query.combined then
    return nil
  end
  for _, annotation in ipairs(query.annotations or {}) do
    if annotation.node.windowed then
      return nil -- the rows around would be fewer with each page
    end
  end
  local columns, pk = {}, query.model._meta.pk
  local order = { unpack(query.order) }
  order[#order + 1] = query:_key_term()
  for i, by in ipairs(order) do
    local path = by.node and by.node.path
    local field = path and path.field
    if
      not field
      or #path.joins > 0
      or path.nullable
      or UNORDERED[field:storage().kind]
      or query.deferred and query.deferred[field.attr]
    then
      return nil
    end
    columns[i] = { attr = field.attr, descending = by.descending ~= query.reversed }
    if field == pk then
      break -- nothing behind it decides
    end
  end
  return columns
end

--- Rows that come behind these values: beyond them in the first column, or level in it and beyond
--- in the next, and so on. The first test alone is what an index can begin at.
local function behind(model, columns, values)
  local choices, level = {}, {}
  for i, column in ipairs(columns) do
    local beyond = column.attr .. (column.descending and "__lt" or "__gt")
    local tests = { unpack(level) }
    tests[#tests + 1] = conditions.build({ model = model }, { [beyond] = values[i] })
    choices[i] = conditions.all_of(tests)
    level[i] = conditions.build({ model = model }, { [column.attr] = values[i] })
  end
  if #columns == 1 then
    return choices[1]
  end
  local first = columns[1].attr .. (columns[1].descending and "__lte" or "__gte")
  return conditions.all_of({
    conditions.build({ model = model }, { [first] = values[1] }),
    conditions.any_of(choices),
  })
end

--- Pages by value: each asks for what comes behind the last row seen. Nothing is skipped or seen
--- twice, unless a row moves meanwhile.
local function pages_by_value(query, columns, chunk)
  local base, left = query:_by_key(), query.limit_to
  if #query.order > 0 then
    local order = { unpack(query.order, 1, #columns) }
    if #order < #columns then
      order[#order + 1] = query:_key_term()
    end
    base = query:_with({ order = order })
  end
  local page = base
  return function()
    local size = left and math.min(left, chunk) or chunk
    local rows = page:_with({ limit_to = size }):_afetch()
    left = left and left - #rows
    local last = rows[#rows]
    if last then
      local values = {}
      for i, column in ipairs(columns) do
        values[i] = rawget(last, column.attr)
      end
      local where = conditions.all_of({ base.where, behind(query.model, columns, values) })
      page = base:_with({ where = where, skip = 0 })
    end
    return rows, #rows < size or left == 0
  end
end

--- Pages by position, ordered to the last place so that pages do not overlap.
local function pages_by_position(query, chunk)
  local order = { unpack(query.order) }
  if query.combined or query.distinct_on or query.group and query.group ~= "pk" then
    if #order == 0 then
      local _, selected = query:_select_fields({})
      for i, one in ipairs(query.selected or selected) do
        order[i] = { node = one.node, position = i, descending = false }
      end
    end
  else
    order[#order + 1] = query:_key_term()
  end
  local base, seen = query:_with({ order = order }), 0
  return function()
    local size = chunk
    if query.limit_to then
      size = math.min(chunk, query.limit_to - seen)
    end
    local rows = base:_with({ skip = query.skip + seen, limit_to = size }):_afetch()
    seen = seen + #rows
    return rows, #rows < size or seen == query.limit_to
  end
end

--- Go through the rows, a chunk at a time, keeping none:
---
---     for book in Book.objects:aiterator { chunk_size = 500 } do … end
---
--- No connection is held between chunks, so the loop may wait, send and break off. The whole
--- is not one snapshot. An unordered query pages by key, one that is ordered by its own columns
--- which cannot be NULL by these and the key: rows that stay where they are come exactly once. Any
--- other order, `distinct` and `values` page by position, which gets slower towards the end, and a
--- change in the part already seen can shift a row past it. Inside `atomic` with REPEATABLE READ it
--- cannot.
---@async
---@param opts { chunk_size: integer? }?  default 2000
---@return fun(): any
function Query:aiterator(opts)
  local chunk = opts and opts.chunk_size or 2000
  if type(chunk) ~= "number" or chunk < 1 or chunk % 1 ~= 0 then
    error("Chunk size must be strictly positive.", 2)
  end
  local columns = columns_of(self)
  local next_page = columns and pages_by_value(self, columns, chunk)
    or pages_by_position(self, chunk)
  local rows, i, done = {}, 0, self.where == false or self.limit_to == 0
  return function()
    i = i + 1
    if i > #rows and not done then
      rows, done = next_page()
      i = 1
    end
    return rows[i]
  end
end

return Query
