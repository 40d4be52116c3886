--- Which lines of the scripts ran.
---
--- Lines are counted by a hook, which LuaJIT calls in what it interprets alone: so what is loaded
--- from a file of scripts or specs is kept from its compiler. The library is not, and does not
--- count.

local jutil = require("jit.util")
local tables = require("rille.tables")

local M = {}

---@type table<string, table<integer, integer>>  source to line to how often
local hits = {}

local function is_ours(source)
  return source:sub(1, 1) == "@"
    and source:find("%.lua$")
    and not source:find("^@/usr/")
    and not source:find("^@rille/")
end

--- Note the lines that a function, and those in it, have code on.
local function note_lines(fn, lines)
  local pc = 1
  while jutil.funcbc(fn, pc) do
    local line = jutil.funcinfo(fn, pc).currentline
    lines[line] = lines[line] or 0
    pc = pc + 1
  end
  local info = jutil.funcinfo(fn)
  for i = -1, -(info.gcconsts or 0), -1 do
    local constant = jutil.funck(fn, i)
    if type(constant) == "proto" then
      note_lines(constant, lines)
    end
  end
end

local function watch(chunk)
  local source = debug.getinfo(chunk, "S").source
  if not is_ours(source) then
    return
  end
  jit.off(chunk, true)
  if not source:find("_spec%.lua$") then
    hits[source] = hits[source] or {}
    note_lines(chunk, hits[source])
  end
end

local function on_line(_, line)
  local lines = hits[debug.getinfo(2, "S").source]
  if lines then
    lines[line] = (lines[line] or 0) + 1
  end
end

--- As Lua's own searcher of modules, which loads them unseen.
local function find_module(name)
  local path = package.searchpath(name, package.path)
  if not path then
    return nil -- Lua's own, behind us, says where it looked
  end
  local chunk, why = loadfile(path)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, why), 0)
  end
  return chunk
end

local function dofile(path)
  local chunk, why = loadfile(path)
  if not chunk then
    error(why, 0)
  end
  return chunk()
end

--- From now on, what is loaded counts.
function M.start()
  for _, name in ipairs { "loadstring", "loadfile", "load" } do
    local compile = _G[name]
    _G[name] = function(...)
      local chunk, why = compile(...)
      if chunk then
        watch(chunk)
      end
      return chunk, why
    end
  end
  _G.dofile = dofile
  table.insert(package.loaders, 3, find_module) -- behind those of preloaded modules and of rille
  debug.sethook(on_line, "l")
end

--- Add what somebody else has counted, in LCOV's format, to ours.
---@param path string
function M.add(path)
  local file = io.open(path)
  local lines
  for text in file and file:lines() or function() end do
    local source = text:match("^SF:(.*)$")
    local line, count = text:match("^DA:(%d+),(%d+)")
    if source then
      lines = hits["@" .. source] or {}
      hits["@" .. source] = lines
    elseif line then
      lines[tonumber(line)] = (lines[tonumber(line)] or 0) + tonumber(count)
    end
  end
  if file then
    file:close()
  end
end

--- "3-5, 9"
local function ranges(lines)
  local out = {}
  local i = 1
  while lines[i] do
    local from = lines[i]
    while lines[i + 1] == lines[i] + 1 do
      i = i + 1
    end
    out[#out + 1] = from == lines[i] and tostring(from) or ("%d-%d"):format(from, lines[i])
    i = i + 1
  end
  return table.concat(out, ", ")
end

--- Stop, and write what was counted, in LCOV's format.
---@param path string
---@return string[] summary  a line for each file
function M.finish(path)
  debug.sethook()
  local out, summary = {}, {}
  for _, source in ipairs(tables.sorted_keys(hits)) do
    local lines, hit, missed = hits[source], 0, {}
    local name = source:sub(2):gsub("^%./", "")
    out[#out + 1] = "SF:" .. name
    local numbers = tables.sorted_keys(lines)
    for _, line in ipairs(numbers) do
      out[#out + 1] = ("DA:%d,%d"):format(line, lines[line])
      if lines[line] > 0 then
        hit = hit + 1
      else
        missed[#missed + 1] = line
      end
    end
    out[#out + 1] = ("LF:%d\nLH:%d\nend_of_record"):format(#numbers, hit)
    local told = ("%5.1f %%  %s"):format(100 * hit / math.max(#numbers, 1), name)
    summary[#summary + 1] = told .. (missed[1] and "  not run: " .. ranges(missed) or "")
  end
  local file = assert(io.open(path, "w"))
  file:write(table.concat(out, "\n"), #out > 0 and "\n" or "")
  file:close()
  return summary
end

return M
