--- `:consumers` and `:consumer ID`: who is connected to this worker, and what each waits in.

local core = require("rille.core")
local show = require("rille.shell.show")

local look, ids = core.consumer.look, core.consumer.ids

local M = {}

local function age_of(seconds)
  if seconds >= 3600 then
    return ("%dh%02dm"):format(seconds / 3600, seconds % 3600 / 60)
  elseif seconds >= 60 then
    return ("%dm%02ds"):format(seconds / 60, seconds % 60)
  end
  return ("%ds"):format(seconds)
end

--- The function of rille's that a script called last, and from where.
local function place_of(thread)
  local name
  for level = 0, 100 do
    local info = debug.getinfo(thread, level, "nSl")
    if not info then
      break
    elseif info.currentline > 0 and not info.source:find("^@rille/") then
      local place = ("%s:%d"):format(info.short_src, info.currentline)
      return name and ("%s at %s"):format(name, place) or place
    end
    name = info.name or name
  end
  return name or "rille"
end

local function waits_in(one)
  if one.thread then
    return ("%s: %s"):format(one.event, place_of(one.thread))
  end
  return one.queued > 0 and "to begin an event" or "for an event"
end

local function class_of(one)
  local cls = one.self and getmetatable(one.self)
  return type(cls) == "table" and rawget(cls, "__name") or "-"
end

---@return string
function M.list()
  local lines = { ("%-16s %-20s %-24s %4s %7s  %s"):format("id", "class", "route", "gen", "age",
    "waits in") }
  for _, id in ipairs(ids()) do
    local one = look(id)
    lines[#lines + 1] = ("%-16.0f %-20s %-24s %4d %7s  %s"):format(
      id,
      class_of(one),
      one.route ~= "" and one.route or one.kind,
      one.generation,
      age_of(one.age),
      waits_in(one)
    )
  end
  lines[#lines + 1] = ("%d in all"):format(#lines - 1)
  return table.concat(lines, "\n")
end

---@param word string
---@return string?  nil: there is none
function M.describe(word)
  local one = tonumber(word) and look(tonumber(word))
  if not one then
    return nil
  end
  local lines = {
    ("%s %s, route %s"):format(one.kind, class_of(one), one.route ~= "" and one.route or "none"),
    ("%s since %s, generation %d, %d events wait, %d tasks"):format(
      one.state,
      age_of(one.age),
      one.generation,
      one.queued,
      one.tasks
    ),
    "waits " .. waits_in(one),
  }
  if one.self then
    lines[#lines + 1] = "self = " .. show.whole(one.self)
  end
  if one.thread then
    lines[#lines + 1] = debug.traceback(one.thread)
  end
  return table.concat(lines, "\n")
end

return M
