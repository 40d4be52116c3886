--- Loading a script, as a generation: its modules, its classes, its files.
---
--- Everything a script brings lives in one generation: modules found in its folder are loaded anew
--- for each, never through `package.loaded`. So loading the next generation changes nothing that
--- runs, and a generation that fails to load is simply forgotten. Functions keep their own
--- generation's `require`, so code that runs on after a reload still finds its own modules.

local core = require("rille.core")
local errors = require("rille.errors")

local M = {}

---@class rille.Generation
---@field number integer
---@field hash string               of all that was read, the same for the same files
---@field folder string             where the script lives
---@field modules table<string, any>
---@field classes table<string, rille.Class>   "module:name" to class, also by former names
---@field files string[]            all it depends on, there or not: to be watched
---@field uses table<string, boolean>  the same, by path
---@field digests table<string, string>  what modules held, by path
---@field timers rille.Timer[]      in the order in which they were made
---@field app rille.App?
---@field layer rille.layer.Options?
---@field mqtt rille.core.MqttConfig?  its broker
---@field databases table<string, string|table>?  of a test: their settings, by name
---@field keeps_classes boolean?    of a test: what is connected stays with its own class

---@type rille.Generation?  the one being loaded
local loading
---@type string?            the module being loaded,
local module_name
---@type { path: string, text: string }?  and where it is from
local module_source

--- Remember a class under its module and name, and tell it both. Called by Consumer.extend.
---@param cls rille.Class
function M.register_class(cls)
  cls.module = module_name or "?"
  if loading then
    loading.classes[cls.module .. ":" .. cls.__name] = cls
  end
end

--- The timers of the script that is being loaded, to be added to; nil when none is. A module that
--- is loaded later, in a handler, comes too late.
---@return rille.Timer[]?
function M.timers()
  return loading and not loading.app and loading.timers or nil
end

--- The generation that is being loaded; nil when none is.
---@return rille.Generation?
function M.current()
  return loading
end

--- Where the module that is being loaded says `word =`, or else `rille.app`: "app.lua:12".
---@param word string?
---@return string?
function M.locate(word)
  if not module_source then
    return nil
  end
  local patterns = { "rille%.app" }
  if type(word) == "string" then
    table.insert(patterns, 1, "%f[%w_]" .. word:gsub("%p", "%%%0") .. "%s*=")
  end
  for _, pattern in ipairs(patterns) do
    local line = 0
    for text in (module_source.text .. "\n"):gmatch("([^\n]*)\n") do
      line = line + 1
      if text:find(pattern) then
        return ("%s:%d"):format(module_source.path, line)
      end
    end
  end
  return module_source.path
end

--- A path of the script's own, made absolute by its folder.
---@param path string
---@return string
function M.resolve(path)
  if path:sub(1, 1) == "/" or not loading then
    return path
  end
  return loading.folder .. "/" .. path
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, why
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- Files that the script writes: its own doing, whatever it reads there later. Of all generations.
---@type table<string, boolean>
local written = {}

--- Remember that a generation depends on a file.
local function use(generation, path)
  if not generation.uses[path] and not written[path] then
    generation.uses[path] = true
    generation.files[#generation.files + 1] = path
    core.worker.uses(path)
  end
end

local run_module

--- What is not there counts, too: if it comes, it is loaded instead of what was found later.
local function find_module(generation, name)
  local base = generation.folder .. "/" .. name:gsub("%.", "/")
  for _, path in ipairs { base .. ".lua", base .. "/init.lua" } do
    use(generation, path)
    local text = read_file(path)
    if text then
      return path, text
    end
  end
end

local function require_in(generation, name)
  local loaded = generation.modules[name]
  if loaded ~= nil then
    return loaded
  end
  local path, text = find_module(generation, name)
  if not path then
    return require(name)
  end
  return run_module(generation, name, path, text)
end

--- Is it likely the script's own? Others change for reasons of theirs.
local function is_near(generation, path)
  if path:sub(1, 1) ~= "/" then
    return path:sub(1, 3) ~= "../"
  end
  local folder = generation.folder .. "/"
  return path:sub(1, #folder) == folder
end

--- `io` as a script has it: what it reads there, a template perhaps, is a file of the script. What
--- it writes is not.
local function new_io(generation)
  local mine = {}

  local function note(path, mode)
    if type(path) ~= "string" or type(mode) ~= "string" then
      return
    elseif mode:find("[wa+]") then
      written[path] = true
    elseif is_near(generation, path) then
      use(generation, path)
    end
  end

  function mine.open(path, mode)
    note(path, mode or "r")
    return io.open(path, mode)
  end

  function mine.lines(path)
    note(path, "r")
    return io.lines(path)
  end

  return setmetatable(mine, { __index = io })
end

--- The globals of a generation: those of Lua to read, an error to write. A global that a handler
--- makes by accident would be shared by every connection.
local function new_environment(generation)
  local env = {
    require = function(name)
      return require_in(generation, name)
    end,
  }
  env.io = new_io(generation)
  env._G = env
  return setmetatable(env, {
    __index = _G,
    __newindex = function(_, name)
      local told = "global %q: declare it with local (a global would be shared by all connections)"
      error(told:format(tostring(name)), 2)
    end,
  })
end

--- The traceback of the innermost module says it all.
local function with_traceback(err)
  if type(err) == "string" and not err:find("\nstack traceback:", 1, true) then
    return debug.traceback(err, 2)
  end
  return err
end

--- Run a module inside a function of C, so that it cannot wait: others would run meanwhile, and
--- take it for loaded.
local function run_chunk(chunk, name)
  local ok, value
  (" "):gsub(" ", function()
    ok, value = xpcall(chunk, with_traceback, name)
  end)
  return ok, value
end

--- What files compile to, those of the last load: most are the same in the next one, and parsing
--- takes most of its time.
---@type table<string, { digest: string, code: string }>
local compiled = {}

local function compile(generation, path, text)
  local digest = core.sum(text)
  generation.digests[path] = digest
  local known = compiled[path]
  if known and known.digest == digest then
    return loadstring(known.code)
  end
  local chunk, why = loadstring(text, "@" .. path)
  compiled[path] = chunk and { digest = digest, code = string.dump(chunk) }
  return chunk, why
end

function run_module(generation, name, path, text)
  use(generation, path)
  local chunk, why = compile(generation, path, text)
  if not chunk then
    error(errors.ConfigurationError(why), 0)
  end
  setfenv(chunk, generation.environment)
  generation.modules[name] = true -- a cycle gets what there is
  local outer_generation, outer_module, outer_source = loading, module_name, module_source
  loading, module_name, module_source = generation, name, { path = path, text = text }
  local ok, value = run_chunk(chunk, name)
  loading, module_name, module_source = outer_generation, outer_module, outer_source
  if not ok then
    generation.modules[name] = nil
    error(value, 0)
  end
  generation.modules[name] = value == nil and true or value
  return generation.modules[name]
end

--- Of names below the script's folder and contents, in an order that does not depend on who
--- requires whom first.
local function hash_of(generation)
  local lines = {}
  for path, digest in pairs(generation.digests) do
    lines[#lines + 1] = ("%s %s\n"):format(digest, path:sub(#generation.folder + 2))
  end
  table.sort(lines)
  return core.sum(table.concat(lines)):sub(1, 12)
end

local function misnamed(cls, why)
  local told = ("%s:%s.formerly: %s"):format(cls.module, cls.__name, why)
  error(errors.ConfigurationError(told), 0)
end

--- Where a class is, and where it was: "module:name".
---@param cls rille.Class
---@return string own
---@return string[] former
local function places_of(cls)
  local names, former = rawget(cls, "formerly"), {}
  for i, name in ipairs(type(names) == "table" and names or { names }) do
    if type(name) ~= "string" then
      misnamed(cls, "names expected")
    end
    former[i] = name:find(":", 1, true) and name or cls.module .. ":" .. name
  end
  return cls.module .. ":" .. cls.__name, former
end

--- Classes are found under their former names, too, so that the connections of one that was
--- renamed or moved go over to it.
local function add_former_names(generation)
  local heirs = {}
  for _, cls in pairs(generation.classes) do
    local _, former = places_of(cls)
    for _, place in ipairs(former) do
      if generation.classes[place] or heirs[place] then
        misnamed(cls, ("there is a class %s"):format(place))
      end
      heirs[place] = cls
    end
  end
  for place, cls in pairs(heirs) do
    generation.classes[place] = cls
  end
end

--- What a script returned, if it is an application.
local function check_app(app, where)
  if type(app) ~= "table" or getmetatable(app) ~= require("rille.app") then
    local got = app == true and "nothing" or "a " .. type(app)
    local told = "%s does not return rille.app { … }, but %s"
    error(errors.ConfigurationError(told:format(where, got)), 0)
  end
  return app
end

--- Load a script as generation `number`. Raises what is wrong with it, with file and line.
---@param path string   a .lua file, or a folder with app.lua
---@param number integer
---@return rille.Generation
function M.load(path, number)
  local file = path
  if not path:find("%.lua$") then
    file = path:gsub("/+$", "") .. "/app.lua"
  end
  local folder = file:match("^(.*)/[^/]*$") or "."
  local generation = { number = number, folder = folder, modules = {}, classes = {}, files = {} }
  generation.uses = {}
  use(generation, file)
  local text, why = read_file(file)
  if not text then
    error(errors.ConfigurationError("cannot read the script: " .. why), 0)
  end
  generation.digests, generation.timers = {}, {}
  generation.environment = new_environment(generation)
  generation.app = check_app(run_module(generation, file:match("([^/]*)%.lua$"), file, text), file)
  add_former_names(generation)
  generation.hash = hash_of(generation)
  for name in pairs(compiled) do
    compiled[name] = generation.digests[name] and compiled[name]
  end
  return generation
end

--- Likewise of an application that a function returns, for tests: what it makes belongs to the
--- generation as a script's does, but nothing is read.
---@param fn fun(): rille.App
---@param number integer
---@return rille.Generation
function M.run(fn, number)
  local generation = { number = number, folder = ".", modules = {}, classes = {}, files = {} }
  generation.uses, generation.timers = {}, {}
  local outer_generation, outer_module = loading, module_name
  loading, module_name = generation, "?"
  local ok, app = run_chunk(fn, "?")
  loading, module_name = outer_generation, outer_module
  if not ok then
    error(app, 0)
  end
  generation.app = check_app(app, "the function")
  return generation
end

--- What a class is at bottom: the library's class for one kind of peer, or for none.
local function kind_of(cls)
  local kind
  repeat
    local base = rawget(cls, "super")
    if rawget(cls, "library") and base and rawget(base, "library") then
      kind = cls
    end
    cls = base
  until not cls
  return kind
end

--- Where the migrations of a script are: in `migrations` beside `app.lua`, in `tree_migrations`
--- beside `tree.lua`, since several scripts may share a folder.
---@param generation rille.Generation
---@return string
function M.migrations(generation)
  local script = (generation.files[1] or "app.lua"):match("([^/]*)%.lua$")
  return generation.folder .. "/" .. (script == "app" and "" or script .. "_") .. "migrations"
end

--- The class that takes over from `cls` in a generation, or nil when it is gone, or has become
--- one for another kind of peer.
---@param generation rille.Generation
---@param cls rille.Class
---@return rille.Class?
function M.successor(generation, cls)
  if generation.keeps_classes then
    return cls
  end
  local own, former = places_of(cls)
  local heir = generation.classes[own]
  for _, place in ipairs(former) do -- one that knows nothing of the new name: a rollback
    heir = heir or generation.classes[place]
  end
  return heir and kind_of(heir) == kind_of(cls) and heir or nil
end

return M
