--- Which loads of the script serve on this worker.
---
--- Each load is a generation, with a number and a hash of what was read. One serves; the last one
--- of other code is kept in memory, so that a rollback needs no file. Of a change
---
---     load       another generation serves, the one that did is kept
---     rollback   the one that is kept serves again, the other is forgotten
---     promote    a trial ends well
---     replace    another one is all there is; for tests
---
--- all workers make the same one at once (src/host/workers.h), or none.
---
--- A generation with a canary among its routes is on **trial** until it is promoted: of the new
--- connections to such a route only a part get it, the others, and those that were there, stay with
--- the one before. A load during a trial takes the place of the one on trial. What is no
--- connection (timers, background consumers, settings) follows the newest code at once, as do the
--- routes without a canary.

local core = require("rille.core")
local errors = require("rille.errors")

local M = {}

---@type rille.Generation?  the newest, and all there is but during a trial
M.serving = nil
---@type rille.Generation?  what a rollback returns to
M.previous = nil
--- Do both serve?
M.trial = false

---@alias rille.Change "load"|"rollback"|"promote"|"replace"

local newest = 0
---@type table<integer, true>  numbers of the routes with a canary, while there is a trial
local held = {}

--- What the next load is to be called.
---@return integer
function M.next_number()
  return newest + 1
end

--- The generation that will serve after a change that loads nothing. Raises when there is none.
---@param change "rollback"|"promote"
---@return rille.Generation
function M.after(change)
  if change == "rollback" and not M.previous then
    error(errors.ConfigurationError("there is no code to return to"), 0)
  elseif change == "promote" and not M.trial then
    error(errors.ConfigurationError("no code is on trial"), 0)
  end
  return change == "rollback" and M.previous or M.serving
end

--- Numbers under which routes are counted, and where their limits are: the same for as long as the
--- generation serves, whatever is loaded later.
local function number_routes(generation)
  local router, places = generation.app.router, core.worker.places()
  generation.numbers = {}
  for _, route in ipairs(router.routes) do
    local target = route.target
    local name = type(target) == "table" and rawget(target, "__name") or ""
    local what = route.pattern or route.channel or route.name
    generation.numbers[route] = core.worker.route(route.kind, what, name)
    route.place = route.limits_set and places[route.limits_set]
  end
end

local function find_canaries(generation)
  local numbers = {}
  for _, route in ipairs(generation.app.router.routes) do
    if route.canary then
      numbers[generation.numbers[route]] = true
    end
  end
  return numbers
end

--- Make a change. The limits of the generation must be the core's already.
---@param change rille.Change
---@param generation rille.Generation
function M.make(change, generation)
  local same = false
  if change == "rollback" then
    M.serving, M.previous, M.trial = generation, nil, false
  elseif change == "promote" then
    M.trial = false
  else
    -- The same once more is nothing to return to, and on trial only if it is already.
    same = M.serving ~= nil and M.serving.hash == generation.hash
    if change == "replace" then
      M.previous, M.trial = nil, false
    elseif not M.trial and not same then
      M.previous = M.serving
    end
    M.serving = generation
    newest = math.max(newest, generation.number)
  end
  number_routes(generation)
  held = find_canaries(generation)
  if change == "load" and not same then
    M.trial = next(held) ~= nil and M.previous ~= nil
  end
  if not M.trial then
    held = {}
  end
  core.worker.generation(M.serving.number, M.previous and M.previous.number)
end

--- During a trial: who serves a new connection? One that the code before knows no route for gets
--- the new code.
---@param kind "http"|"websocket"
---@param path string
---@param method string
---@return rille.Generation
function M.choose(kind, path, method)
  local route = M.serving.app.router:match(kind, path, method)
  local share = route and route.canary
  if not share or core.random() * 100 < share then
    return M.serving
  end
  local known = M.previous.app.router:match(kind, path, method)
  return known and M.previous or M.serving
end

--- Whose class a consumer is to have; nil: it has it.
---@param number integer  of the generation that it runs
---@param route integer   the number of its route
---@return rille.Generation?
function M.destination(number, route)
  if number == M.serving.number or (M.trial and number == M.previous.number and held[route]) then
    return nil
  end
  return M.serving
end

local function describe(generation)
  return generation and { number = generation.number, hash = generation.hash }
end

--- For people.
---@return { serving: table, previous: table?, trial: boolean, alive: rille.core.Generation[] }
function M.status()
  return {
    serving = describe(M.serving),
    previous = describe(M.previous),
    trial = M.trial,
    alive = core.worker.generations(),
  }
end

return M
