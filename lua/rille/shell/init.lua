--- The worker's end of `rille shell` and `rille attach`: code is run, a word is completed.
---
--- Each input is a chunk of its own, run as a task, so it may call any `a` function. Globals that
--- it sets are the session's alone. It sees the models and consumers of the app by their names,
--- `models`, `app`, `db`, `_` (the last value), and whatever the app's own modules see, `require`
--- included. What it prints is shown as it is made.
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

local MOST_LATE = 64 * 1024 -- bytes
local MOST_WORDS = 200

---@class rille.ShellSession
---@field environment table
---@field say? fun(text: string): integer  nil: nothing is asked, so nobody listens
---@field late string[]  what tasks have printed meanwhile, for the next time
---@field late_bytes integer
---@field left_out integer  bytes for which there was no room

---@type table<number, rille.ShellSession>
local sessions = {}

local function keep_for_later(session, text)
  session.late_bytes = session.late_bytes + #text
  if session.late_bytes <= MOST_LATE then
    session.late[#session.late + 1] = text
  else
    session.left_out = session.left_out + #text
  end
end

--- Of what was left out, if anything was.
local function note(session)
  local n = session.left_out
  return n > 0 and ("\n… (%d bytes more)\n"):format(n) or ""
end

--- Whoever reads slower than is printed misses some of it, and is told how much.
local function write(session, text)
  if not session.say then
    keep_for_later(session, text)
    return
  end
  local told = note(session)
  local room = session.say(told .. text)
  if room < #told then
    session.left_out = session.left_out + #text
  else
    session.left_out = #told + #text - room
  end
end

--- The models of the newest code, by name.
local function models_of(generation)
  local models = {}
  for _, model in ipairs(generation.app.models) do
    models[model.__name] = model
  end
  return models
end

--- What the app has of a name: the newest code's.
local function find(name)
  local generation = generations.serving
  local models = models_of(generation)
  if models[name] then
    return models[name]
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
  elseif name == "models" then
    return models
  elseif name == "rille" then
    return require("rille")
  end
  return generation.environment[name]
end

local function new_session()
  local session = { late = {}, late_bytes = 0, left_out = 0 }
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
  code = code:gsub("^%s*=", "", 1) -- `=expr`, as in lua's own prompt
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
  local text = core.describe(err)
  if type(err) == "table" and not errors.is_error(err) then
    text = show.level(err)
  end
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
    write(session, show.level((select(i, ...))) .. "\n")
  end
  return OK
end

local HELP = [[
An expression prints its values, a statement runs; both may call `a` functions. An input that is
not complete goes on in the next line. Names: the models and consumers of the app, models, app, db,
rille, _ (the last value), and what the app's own modules see.
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
  local names = { app = true, db = true, models = true, rille = true }
  add_words(words, models_of(generation), prefix)
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

local function show_late(session)
  local late = table.concat(session.late)
  session.late, session.late_bytes = {}, 0
  if late ~= "" then
    write(session, late)
  end
end

--- What the other end asks for.
---@async
---@param id number  the session's
---@param what "eval"|"complete"|"leave"
---@param text string
---@param say fun(text: string): integer  shows it there at once; how many bytes there was room for
---@return string outcome
---@return string output  behind what was said
function M.answer(id, what, text, say)
  if what == "leave" then
    sessions[id] = nil
    return OK, ""
  end
  local session = sessions[id] or new_session()
  sessions[id] = session
  if what == "complete" then
    return OK, complete(session, text)
  end
  session.say = say
  show_late(session)
  local outcome = run(session, text)
  session.say = nil
  local output = note(session)
  session.left_out = 0
  return outcome, output
end

return M
