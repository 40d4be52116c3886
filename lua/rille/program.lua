--- The program behind the commands: load, start, reload, stop. Called by the core, in order.
---
--- What may suspend runs as a task; loading and switching do not.

local background = require("rille.background")
local channels = require("rille.channels")
local core = require("rille.core")
local coroutines = require("rille.coroutine")
local db = require("rille.db")
local dispatch = require("rille.dispatch")
local errors = require("rille.errors")
local fixed = require("rille.fixed")
local generations = require("rille.generations")
local layer = require("rille.layer")
local limits = require("rille.limits")
local loader = require("rille.loader")
local mqtt = require("rille.mqtt")
local outside = require("rille.layer.outside")
local json = require("rille.json")
local proxies = require("rille.proxies")
local publish = require("rille.publish")
local timers = require("rille.timers")
local tls = require("rille.tls")

coroutines.install()

local M = {}

---@class rille.ProgramOptions
---@field app string?         path of the script
---@field database string?    URL of the default database, from the command line or DATABASE_URL
---@field layer string?       URL of the layer, from the command line or RILLE_LAYER
---@field mqtt string?        URL of the broker, likewise, or RILLE_MQTT
---@field trusted string?     proxies, from the command line or the environment
---@field root_path string?   likewise
---@field shell boolean?     rille shell: nothing is served
---@field dev boolean         rille dev: bring tables up to date on every backend
---@field limits string[]?     "NAME=VALUE,…", from RILLE_LIMITS and --limit
---@field only_channels string?  receive from these channels, and do nothing else
---@field no_channels boolean?   receive from none
---@field fixed table<string, boolean>  settings that the command line or the environment has said
---@field migrate boolean     --migrate: bring tables up to date on every backend, or do not start
---@field apply? fun(limits: { limits: table[], trusted: string })  rille test: have these limits

---@class rille.Staged
---@field listen string[]
---@field admin string?    where to tell how it goes
---@field control string?  where the control socket is to be, or "off"
---@field trusted string  whose word on others it takes
---@field tls string[]  what it wants of it, in words of the command line
---@field workers integer?
---@field probation rille.Probation?
---@field limits table<string, number>
---@field files string[]
---@field digests string[]  of each file; "" when it was not read as a module, or does not matter
---@field hash string
---@field folder string

---@type rille.ProgramOptions
local options
---@type { change: rille.Change, generation: rille.Generation }?
local staged
---@type string[]  databases that were opened for it
local opened = {}
---@type rille.db.Change[]  and those that are to have other settings
local changes = {}
local started = false

--- The databases of an application: the strongest word on the default one wins.
local function database_settings(generation)
  local given = generation.app.settings.databases
  local settings = {}
  if type(given) == "string" then
    settings.default = given
  else
    for name, value in pairs(given or {}) do
      settings[name] = value
    end
  end
  if options.database then
    local default = type(settings.default) == "table" and settings.default or {}
    local merged = {}
    for key, value in pairs(default) do
      merged[key] = value
    end
    merged.url = options.database
    settings.default = merged
  end
  settings.default = settings.default or ("sqlite:" .. generation.folder .. "/rille.db")
  return settings
end

--- A URL or a setting that makes no sense is somebody's slip, told in a sentence.
local function configure_databases(generation)
  local ok, result, others = pcall(db.configure, database_settings(generation))
  if not ok then
    error(errors.is_error(result) and errors.ConfigurationError(result.message) or result, 0)
  end
  opened, changes = result, others
end

--- What joins the layers of processes; checked again, since the command line may have another word.
local function layer_options(generation)
  local parsed = outside.parse(options.layer or generation.app.settings.layer or "memory:")
  outside.check_histories(parsed, generation.app.histories)
  return parsed
end

--- What the command line and the environment say about limits, and what that makes of the script's.
local function limit_sets(app)
  local words = {}
  for _, text in ipairs(options.limits or {}) do
    for word in text:gmatch("[^,]+") do
      words[#words + 1] = word
    end
  end
  return limits.sets(app.settings.limits or {}, limits.parse(words), app.router.routes)
end

--- Set once, before anything else.
---@param given rille.ProgramOptions
function M.configure(given)
  options = given
  if given.dev then
    dispatch.pages = require("rille.dev")
  end
end

--- What workers must have read alike when they load. (What handlers required later each worker has
--- read at its own time.)
local function digests_of(change, generation)
  local digests = {}
  for i, path in ipairs(generation.files) do
    digests[i] = change == "load" and generation.digests[path] or ""
  end
  return digests
end

--- Where the control socket is to be; what is not absolute begins at the script's folder.
local function control_place(generation)
  local place = generation.app.settings.control
  if place and place ~= "off" and place:sub(1, 1) ~= "/" then
    return generation.folder .. "/" .. place
  end
  return place
end

--- Make ready for a change, completely, and change nothing; `load` reads the script as the next
--- generation. Raises what is wrong.
---@param change rille.Change
---@return rille.Staged
function M.stage(change)
  M.discard()
  local generation
  if change == "load" then
    generation = loader.load(options.app, generations.next_number())
  else
    generation = generations.after(change)
  end
  configure_databases(generation)
  generation.layer = layer_options(generation)
  background.check(generation.app.router.background)
  channels.choose(generation.app.router.channels, options.only_channels)
  generation.mqtt = mqtt.stage(generation.app, options.mqtt, generation.folder)
  generation.app.root_path = proxies.root_path(generation.app.settings, options.root_path)
  staged = { change = change, generation = generation }
  local listen = generation.app.settings.listen or {}
  return {
    listen = type(listen) == "string" and { listen } or listen,
    admin = generation.app.settings.admin,
    control = control_place(generation),
    workers = generation.app.settings.workers,
    probation = generation.app.probation,
    limits = limit_sets(generation.app),
    trusted = proxies.trusted(generation.app.settings, options.trusted),
    tls = tls.words(generation.app.settings.tls, generation.folder),
    files = generation.files,
    digests = digests_of(change, generation),
    hash = generation.hash,
    folder = generation.folder,
  }
end

--- Forget what was staged: it does not fit, here or on another worker.
function M.discard()
  staged = nil
  db.discard(opened, changes)
  opened, changes = {}, {}
end

--- What lives in the background, and the tables, are one worker's business.
local function is_first()
  return core.worker.place() == 0
end

--- Have what lives without a peer be what the code wants.
local function follow(generation)
  local router = generation.app.router
  if not options.no_channels then
    channels.follow(channels.choose(router.channels, options.only_channels))
  end
  if options.only_channels then
    return
  end
  if is_first() then
    background.follow(router.background)
  end
  timers.follow(generation.timers)
end

--- Serve with what was staged. Cannot fail.
---@return { number: integer, hash: string, previous: integer?, trial: boolean }
function M.commit()
  local generation = staged.generation
  local settings = generation.app.settings
  dispatch.switch(generation, staged.change)
  db.commit(changes)
  for _, change in ipairs(is_first() and changes or {}) do
    core.log("info", ("database '%s': new connections have its new settings"):format(
      change.database.name))
  end
  publish.configure(settings.publish_token)
  if not started then
    fixed.note(settings)
  elseif is_first() then
    fixed.tell(settings, options.fixed)
  end
  mqtt.switch(generation.mqtt)
  if started then
    follow(generation)
  end
  mqtt.settle()
  if dispatch.pages and staged.change == "load" then
    dispatch.pages.trouble(nil)
  end
  staged, opened, changes = nil, {}, {}
  jit.flush()
  return {
    number = generation.number,
    hash = generation.hash,
    previous = generations.previous and generations.previous.number,
    trial = generations.trial,
  }
end

--- The last load failed, on whichever worker; told to all under rille dev.
---@param text string
function M.trouble(text)
  if dispatch.pages then
    dispatch.pages.trouble(text)
  end
end

local function abring_tables(required)
  local default = db.databases.default
  if not (default.backend == "sqlite" or options.dev or options.migrate) then
    return
  end
  local generation = dispatch.current()
  if not generation.app.models[1] and not core.fs.list(loader.migrations(generation)) then
    return -- and what reads migrations is not even loaded
  end
  local abring = require("rille.migrations.app").abring
  local ok, err = pcall(abring, generation, default, function(text)
    core.log("info", text)
  end)
  if not ok and (required or not errors.is_error(err, errors.OperationalError)) then
    error(err, 0)
  elseif not ok then
    local told = "tables not checked, the database cannot be reached: %s"
    core.log("warn", told:format(err.message))
  end
end

--- Before any worker starts; one worker does it for all.
---@async
function M.prepare()
  abring_tables(options.migrate)
end

--- Before the first connection is accepted.
---@async
function M.start()
  outside.start(dispatch.current().layer, dispatch.current().app.histories)
  if options.shell then
    return
  end
  local on_start = dispatch.current().app.settings.on_start
  if on_start then
    on_start()
  end
  started = true
  follow(dispatch.current())
end

--- After a change: everybody gets their class, and a new model may need its table.
---@async
function M.after_reload()
  dispatch.adopt_all()
  if is_first() then
    abring_tables(false)
  end
end

--- After the last connection is gone: the last that the script, and the layer, have to say.
---@async
function M.stop()
  local on_stop = not options.shell and dispatch.current().app.settings.on_stop
  local ok, err = xpcall(on_stop or function() end, debug.traceback)
  outside.stop()
  if not ok then
    error(err, 0)
  end
end

--- rille routes.
---@return string
function M.routes()
  local generation = dispatch.current()
  local lines, widths = generation.app:describe_routes(generation.timers), { 1, 1, 1 }
  for _, line in ipairs(lines) do
    for i = 1, 3 do
      widths[i] = math.max(widths[i], #line[i])
    end
  end
  local columns = ("%%-%ds  %%-%ds  %%-%ds  %%s"):format(unpack(widths))
  for i, line in ipairs(lines) do
    lines[i] = columns:format(unpack(line))
  end
  return table.concat(lines, "\n")
end

local function count(n, what)
  return ("%d %s%s"):format(n, what, n == 1 and "" or "s")
end

--- rille check.
---@return string
function M.check()
  local app = dispatch.current().app
  local routes, models = count(#app.router.routes, "route"), count(#app.models, "model")
  return ("%s: ok (%s, %s)"):format(options.app, routes, models)
end

--- POST /publish at the admin address.
---@async
---@param authorization string
---@param text string
---@return integer status
---@return string body
function M.publish(authorization, text)
  local status, answer = publish.answer(authorization, text)
  return status, json.encode(answer) .. "\n"
end

--- What the prompt of rille shell, or attach, asks for.
---@async
---@param session number
---@param what "eval"|"complete"|"leave"
---@param text string
---@param say fun(text: string): integer  shows it there at once; how many bytes there was room for
---@return string outcome
---@return string output  behind what was said
function M.console(session, what, text, say)
  return require("rille.shell").answer(session, what, text, say)
end

--- rille send, through what joins the layers of processes.
---@async
---@param arguments string[]  group, message
---@return string
function M.send(arguments)
  local parsed = outside.parse(options.layer)
  if not parsed then
    local told = "memory: is one process's own; want --admin ADDR of a running server"
    error(errors.ConfigurationError(told), 0)
  end
  local message = json.decode(arguments[2])
  outside.start(parsed)
  layer:agroup_send(arguments[1], message)
  outside.stop()
  return "sent"
end

--- The commands of `rille.tools`. They load an application by themselves, if they need one.
---@async
---@param arguments string[]  the command's name and its words
---@return integer  exit status
function M.tool(arguments)
  return require("rille.tools").run(arguments, function(app, database)
    options.app, options.database = app, database or options.database
    M.stage("load")
    M.commit()
    return dispatch.current()
  end, options.database)
end

--- rille test: make a generation ready to be switched to, and have its limits.
---@param generation rille.Generation
function M.try(generation)
  local app = generation.app
  app.root_path = proxies.root_path(app.settings, options.root_path)
  generation.layer = layer_options(generation)
  generation.databases = database_settings(generation)
  options.apply {
    limits = limit_sets(app),
    trusted = proxies.trusted(app.settings, options.trusted),
  }
end

--- rille test: busted as a task, so that specs may wait.
---@async
---@param arguments string[]
---@return integer  exit status
function M.test(arguments)
  return require("rille.testing.runner").run(arguments)
end

return M
