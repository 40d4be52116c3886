--- The worker's end of `rille shell` and `rille attach`: code is run, a word is completed.
---
--- Each input is a chunk of its own, run as a task, so it may call any `a` function. Globals that
--- it sets are the session's alone. It sees the models and consumers of the app by their names,
--- `app`, `db`, `_` (the last value), and whatever the app's own modules see, `require` included.
---
---     > Folder.objects:filter { name = "a" }:alist()
---     { Folder { id = 1, name = "a" } }

local consumers = require("rille.shell.consumers")
local core = require("rille.core")
local db = require("rille.db")
local errors = require("rille.errors")
local generations = require("rille.generations")
local show = require("rille.shell.show")

local M = {}

--- Outcomes, as src/proto/control.h has them.
local OK, FAILED, MORE = "0", "1", "2"

local MOST = 512 * 1024 -- bytes of output
local MOST_WORDS = 200

---@class rille.ShellSession
---@field environment table
---@field output string[]
---@field bytes integer

---@type table<number, rille.ShellSession>
local sessions = {}

local function write(session, text)
  session.bytes = session.bytes + #text
  if session.bytes <= MOST then
    session.output[#session.output + 1] = text
  end
end

--- What the app has of a name: the newest code's.
local function find(name)
  local generation = generations.serving
  for _, model in ipairs(generation.app.models) do
    if model.__name == name then
      return model
    end
  end
  for _, cls in pairs(generation.classes) do
    if cls.__name == name then
      return cls
    end
  end
  if name == "app" then
    return generation.app
  elseif name == "db" then
    return db.databases.default
  elseif name == "rille" then
    return require("rille")
  end
  return generation.environment[name]
end

local function new_session()
  local session = { output = {}, bytes = 0 }
  local own = {}
  function own.print(...)
    local words = {}
    for i = 1, select("#", ...) do
      words[i] = tostring((select(i, ...)))
    end
    write(session, table.concat(words, "\t") .. "\n")
  end
  session.environment = setmetatable(own, {
    __index = function(_, name)
      return find(name)
    end,
  })
  return session
end

--- The chunk; or nil and why not, and whether it could go on in another line.
local function compile(code)
  local chunk, why = loadstring("return " .. code, "=console")
  if chunk then
    return chunk
  end
  local goes_on = why:find("near '<eof>'", 1, true) ~= nil
  chunk, why = loadstring(code, "=console")
  if chunk then
    return chunk
  end
  return nil, why, goes_on or why:find("near '<eof>'", 1, true) ~= nil
end

local function with_trace(err)
  return { err = err, trace = debug.traceback("", 2) }
end

--- The traceback without what is ours of it.
local function explain(failure)
  local err = failure.err
  if errors.is_error(err, errors.Cancelled) then
    return "interrupted"
  end
  local text = type(err) == "table" and not errors.is_error(err) and show(err) or core.describe(err)
  local trace = failure.trace:gsub("\n\t%[C%]: in function 'xpcall'.*", "")
  return text .. trace
end

local function take_results(session, ok, ...)
  if not ok then
    write(session, explain((...)) .. "\n")
    return FAILED
  end
  local n = select("#", ...)
  if n > 0 then
    session.environment._ = (...)
  end
  for i = 1, n do
    write(session, show((select(i, ...))) .. "\n")
  end
  return OK
end

local HELP = [[
An expression prints its values, a statement runs; both may call `a` functions. An input that is
not complete goes on in the next line. Names: the models and consumers of the app, app, db, rille,
_ (the last value), and what the app's own modules see.
  :consumers      who is connected to this worker
  :consumer ID    its state, and where it waits
  :help           this
Ctrl-C interrupts what runs; Ctrl-D leaves.]]

local COMMANDS = {
  [":help"] = function()
    return HELP
  end,
  [":consumers"] = consumers.list,
  [":consumer"] = function(word)
    return consumers.describe(word)
  end,
}

local function command(session, text)
  local name, word = text:match("^(:%a*)%s*(.-)%s*$")
  local run = name and COMMANDS[name]
  local told = run and run(word)
  if told then
    write(session, told .. "\n")
    return OK
  end
  local why = run and ("no consumer of this worker has the id %q\n"):format(word)
  write(session, why or ("%s is no command: see :help\n"):format(text))
  return FAILED
end

local function run(session, code)
  if code:find("^%s*:") then
    return command(session, code:match("^%s*(.-)%s*$"))
  end
  local chunk, why, goes_on = compile(code)
  if not chunk then
    if goes_on then
      return MORE
    end
    write(session, why .. "\n")
    return FAILED
  end
  setfenv(chunk, session.environment)
  return take_results(session, xpcall(chunk, with_trace))
end

-- Completion

local function add_words(words, from, prefix, only_functions)
  for key, value in next, from do
    local fits = type(key) == "string" and key:find("^[%a_][%w_]*$") and key:sub(1, 2) ~= "__"
    if fits and key:sub(1, #prefix) == prefix then
      if not only_functions or type(value) == "function" then
        words[key] = true
      end
    end
  end
end

--- The names in a table, and in those that its metatables lead to.
local function add_members(words, value, prefix, only_functions)
  for _ = 1, 10 do
    if type(value) == "table" then
      add_words(words, value, prefix, only_functions)
    end
    local mt = debug.getmetatable(value)
    if type(mt) ~= "table" then
      return
    end
    value = rawget(mt, "__index")
    if type(value) == "function" then -- managers and instances of models say what is behind it
      value = rawget(mt, "members") or rawget(mt, "model")
    end
  end
end

local function add_names(words, session, prefix)
  local generation = generations.serving
  add_words(words, session.environment, prefix)
  add_words(words, generation.environment, prefix)
  add_words(words, _G, prefix)
  local names = { app = true, db = true, rille = true }
  for _, model in ipairs(generation.app.models) do
    names[model.__name] = true
  end
  for _, cls in pairs(generation.classes) do
    names[cls.__name] = true
  end
  add_words(words, names, prefix)
end

local function walk(session, path)
  local value = session.environment
  for name in path:gmatch("[%w_]+") do
    value = value[name]
  end
  return value
end

--- Words that could stand for the last one of `text`, a line each.
local function complete(session, text)
  local words = {}
  local path, mark, prefix = text:match("([%a_][%w_%.]*)([%.:])([%w_]*)$")
  if text:find("^:%a*$") then
    for name in pairs(COMMANDS) do
      if name:sub(1, #text) == text then
        words[name:sub(2)] = true
      end
    end
  elseif path then
    local ok, value = pcall(walk, session, path)
    if ok then
      add_members(words, value, prefix, mark == ":")
    end
  else
    add_names(words, session, text:match("[%w_]*$"))
  end
  local list = {}
  for word in pairs(words) do
    list[#list + 1] = word
  end
  table.sort(list)
  return table.concat(list, "\n", 1, math.min(#list, MOST_WORDS))
end

--- What the other end asks for.
---@async
---@param id number  the session's
---@param what "eval"|"complete"|"leave"
---@param text string
---@return string outcome
---@return string output
function M.answer(id, what, text)
  if what == "leave" then
    sessions[id] = nil
    return OK, ""
  end
  local session = sessions[id] or new_session()
  sessions[id] = session
  if what == "complete" then
    return OK, complete(session, text)
  end
  local outcome = run(session, text)
  if session.bytes > MOST then
    session.output[#session.output + 1] = ("\n… (%d bytes)\n"):format(session.bytes)
  end
  local output = table.concat(session.output)
  session.output, session.bytes = {}, 0
  return outcome, output
end

return M
