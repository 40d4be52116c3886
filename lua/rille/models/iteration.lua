--- Iteration: going through many rows while holding neither them nor a connection.

local conditions = require("rille.models.conditions")

local Query = require("rille.models.query").Query

-- Keys of these kinds cannot be paged by.
local UNORDERED = { bytes = true, boolean = true, json = true }

--- Pages by key: each asks for the keys after the last one seen. Nothing is skipped or seen
--- twice, whatever changes meanwhile.
local function pages_by_key(query, chunk)
  local meta = query.model._meta
  local last, left = nil, query.limit_to
  local base = query:_by_key()
  return function()
    local page = base
    if last ~= nil then
      page = base:_with({
        where = conditions.all_of({
          base.where,
          conditions.build(query.model, { pk__gt = last }),
        }),
        skip = 0,
      })
    end
    local size = left and math.min(left, chunk) or chunk
    local rows = page:_with({ limit_to = size }):_afetch()
    left = left and left - #rows
    if #rows > 0 then
      last = rawget(rows[#rows], meta.pk.attr)
    end
    return rows, #rows < size or left == 0
  end
end

--- Pages by position, ordered to the last place so that pages do not overlap.
local function pages_by_position(query, chunk)
  local order = { unpack(query.order) }
  if not query.distinct_on then
    order[#order + 1] = { path = query.model._meta.pk_path, descending = false }
  elseif #order == 0 then
    for i, selected in ipairs(query.selected or query:_select_fields()) do
      order[i] = { path = selected.path, descending = false }
    end
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
--- is not one snapshot: an unordered query pages by key and sees each row at most once; an
--- ordered one pages by position, and a change in the part already seen can shift a row past
--- it. Inside `atomic` with REPEATABLE READ neither can happen.
---@async
---@param opts { chunk_size: integer? }?  default 2000
---@return fun(): any
function Query:aiterator(opts)
  local chunk = opts and opts.chunk_size or 2000
  if type(chunk) ~= "number" or chunk < 1 or chunk % 1 ~= 0 then
    error("Chunk size must be strictly positive.", 2)
  end
  local keyed = self.shape == "instances"
    and #self.order == 0
    and not self.distinct_on
    and UNORDERED[self.model._meta.pk:storage().kind] == nil
  local next_page = (keyed and pages_by_key or pages_by_position)(self, chunk)
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
