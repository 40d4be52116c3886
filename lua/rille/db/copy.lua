--- COPY: rows in bulk, out of the database and into it, as text that PostgreSQL defines.
---
--- Both ways one connection is pinned and one chunk is under way, so memory stays what a chunk
--- needs, however many rows there are: out of the database nothing is read while the sink is busy,
--- and into it the source is asked for more when the last chunk has left.

local errors = require("rille.errors")
local transaction = require("rille.db.transaction")

local copy = {}

local CHUNK = 64 * 1024

--- What the core said, raised if it is an error.
local function check(more, count)
  if more == nil then
    error(count, 0)
  end
  return more, count
end

--- Run `go(driver, handle)`, which speaks with a COPY, on a pinned connection. However it fails,
--- the COPY is given up, and the transaction around it with it.
---@async
local function run(db, where, go)
  if not db.dialect.copy then
    error(errors.NotSupportedError("SQLite has no COPY", { sqlstate = "0A000" }), 0)
  end
  local driver, handle = db.driver, db.handle
  local results = transaction.with_pin(db, where, function(state)
    transaction.check(state, db)
    if state.copying then
      error(errors.ProgrammingError("another COPY is under way on this connection"), 0)
    end
    state.copying = true
    local results = transaction.collect(pcall(go, driver, handle))
    state.copying = nil
    if not results.ok then
      pcall(driver.copy_abort, handle) -- when it was closed meanwhile, there is nothing to give up
      transaction.mark(state, results[1])
    end
    return results
  end)
  if not results.ok then
    error(results[1], 0)
  end
  return results[1]
end

--- See `Database:acopy_to`.
---@async
---@param db rille.db.Database
---@param sql string
---@param sink async fun(rows: string)
---@return integer rows
function copy.to(db, sql, sink)
  return run(db, transaction.place_of(sink), function(driver, handle)
    local rows, count = check(driver.copy_open(handle, sql, "out"))
    while rows do
      sink(rows)
      rows, count = check(driver.copy_next(handle))
    end
    return count
  end)
end

--- A function that gives the pieces of a source one after the other, then nil.
local function pieces_of(source)
  if type(source) == "function" then
    return source
  end
  local list, i = type(source) == "string" and { source } or source, 0
  return function()
    i = i + 1
    return list[i]
  end
end

--- Put all that the source has, small pieces together, large ones cut.
---@async
---@return boolean more  false: the server has ended it already
---@return integer? count
local function feed(put, next_piece)
  local parts, size = {}, 0
  for piece in next_piece do
    if type(piece) ~= "string" then
      error(("acopy_from: its source must give strings, not a %s"):format(type(piece)), 0)
    end
    parts[#parts + 1], size = piece, size + #piece
    if size >= CHUNK then
      local rows = table.concat(parts)
      parts, size = {}, 0
      for from = 1, #rows, CHUNK do
        local more, count = put(rows:sub(from, from + CHUNK - 1))
        if not more then
          return false, count
        end
      end
    end
  end
  if size > 0 then
    return put(table.concat(parts))
  end
  return true
end

--- See `Database:acopy_from`.
---@async
---@param db rille.db.Database
---@param sql string
---@param source string|string[]|async fun(): string?
---@return integer rows
function copy.from(db, sql, source)
  local next_piece = pieces_of(source)
  local where = next_piece == source and transaction.place_of(source) or "acopy_from"
  return run(db, where, function(driver, handle)
    local more, count = check(driver.copy_open(handle, sql, "in"))
    if more then
      more, count = feed(function(rows)
        return check(driver.copy_put(handle, rows))
      end, next_piece)
    end
    if more then
      count = select(2, check(driver.copy_end(handle)))
    end
    return count
  end)
end

return copy
