--- The real binary as a child process, and the programs that talk to it.
---
---     local it_runs = server.start { "run", "examples/hello.lua" }
---     local answer = client.fetch(it_runs.url .. "/")
---     assert.equal(0, it_runs:stop())
---
--- Everything here blocks, which a spec may. Each wait has a deadline, and `server.clean` ends
--- whatever a spec left running: call it in `after_each`.

local server = {}

local BINARY = os.getenv("RILLE_BIN") or ".build/src/rille"
local LEAST_TRIES = 20 -- however slow the machine
local START_WITHIN, STOP_WITHIN = 10, 15 -- seconds

local running, folders = {}, {}

---@param word string
---@return string  the word as the shell reads it back
function server.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- What a shell command prints.
local function shell(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

---@param seconds number
function server.sleep(seconds)
  os.execute("sleep " .. seconds)
end

--- Ask every few milliseconds until `question` answers with something true, and return that;
--- nil when the seconds are over (a little later when the question itself takes long).
---@generic T
---@param seconds number
---@param question fun(): T?
---@return T?
function server.eventually(seconds, question)
  local tries, over = math.ceil(seconds / 0.02), os.time() + seconds + 1
  for i = 1, tries do
    local answer = question()
    if answer then
      return answer
    elseif i >= LEAST_TRIES and os.time() > over then
      return nil
    end
    server.sleep(0.02)
  end
  return question()
end

--- A fresh folder, gone after `server.clean`.
---@return string path
function server.scratch()
  local path = shell("mktemp -d"):gsub("%s+$", "")
  folders[#folders + 1] = path
  return path
end

--- Write a file as an editor does: whole, by renaming.
---@param path string
---@param text string
function server.write(path, text)
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

--- How often `needle`, taken literally, occurs.
---@param text string
---@param needle string
---@return integer
function server.count(text, needle)
  local n, at = 0, 1
  while true do
    local first, last = text:find(needle, at, true)
    if not first then
      return n
    end
    n, at = n + 1, last + 1
  end
end

---@class spec.Server
---@field pid integer
---@field url string   http://127.0.0.1:PORT, or https
---@field ws string    ws://127.0.0.1:PORT, or wss
---@field port integer
---@field folder string  where its log is
local Server = {}
Server.__index = Server

local function command_line(arguments, env, through)
  local words = { "env", "-u", "DATABASE_URL", "-u", "RILLE_LAYER" }
  words[#words + 1] = "RILLE_WORKERS=" .. (os.getenv("RILLE_TEST_WORKERS") or "1")
  for name, value in pairs(env or {}) do
    words[#words + 1] = server.quote(name .. "=" .. value)
  end
  for _, word in ipairs(through or {}) do
    words[#words + 1] = server.quote(word)
  end
  words[#words + 1] = server.quote(BINARY)
  for _, argument in ipairs(arguments) do
    words[#words + 1] = server.quote(argument)
  end
  return table.concat(words, " ")
end

--- Run the binary to its end, for at most ten seconds.
---@param arguments string[]
---@param env table<string, string>?
---@return integer status  124: it had to be stopped
---@return string stderr
---@return string stdout
function server.run(arguments, env)
  local folder = server.scratch()
  local line = ("timeout -k 2 10 %s >%s/out 2>%s/err </dev/null; echo $?"):format(
    command_line(arguments, env),
    folder,
    folder
  )
  local status = tonumber(shell(line))
  return status, read_file(folder .. "/err"), read_file(folder .. "/out")
end

---@class spec.ServerOptions
---@field env table<string, string>?
---@field listen string|false|nil
---@field database string?
---@field through string[]?

--- Start the binary and wait for its ready line. Unless the arguments say otherwise it has one
--- worker (RILLE_TEST_WORKERS: as many as that says), picks a port, and keeps its database in a
--- scratch folder. `listen = false`: it takes what it is passed; `through`: the words of a command
--- that becomes it.
---@param arguments string[]
---@param options spec.ServerOptions?
---@return spec.Server
function server.start(arguments, options)
  options = options or {}
  local self = setmetatable({ folder = server.scratch() }, Server)
  local all = { unpack(arguments) }
  if options.listen ~= false then
    all[#all + 1] = "--listen"
    all[#all + 1] = options.listen or "127.0.0.1:0"
  end
  all[#all + 1] = "--database"
  all[#all + 1] = options.database or ("sqlite:" .. self.folder .. "/spec.db")
  -- The shell outlives its caller, to note how the program ended.
  local line = ("at=%s; %s >$at/out 2>$at/err </dev/null & echo $! >$at/pid"):format(
    self.folder,
    command_line(all, options.env, options.through)
  )
  line = line .. "; wait $!; echo $? >$at/status"
  os.execute(("sh -c %s >/dev/null 2>&1 &"):format(server.quote(line)))
  self.pid = assert(server.eventually(2, function()
    return tonumber(read_file(self.folder .. "/pid") or "")
  end), "the shell did not start the server")
  running[#running + 1] = self
  local ready = server.eventually(START_WITHIN, function()
    return self:stderr():match("rille: listening on (https?://[%d.]+:%d+)") or self:status()
  end)
  if type(ready) ~= "string" then
    error(("no ready line (exit status %s):\n%s"):format(tostring(ready), self:stderr()), 2)
  end
  self.url = ready
  self.port = tonumber(ready:match("%d+$"))
  self.ws = ready:gsub("^http", "ws")
  return self
end

--- All it has written so far.
---@return string
function Server:stderr()
  return read_file(self.folder .. "/err") or ""
end

--- How it ended; nil while it runs. Ended by a signal: 128 and its number.
---@return integer?
function Server:status()
  return tonumber(read_file(self.folder .. "/status") or "")
end

--- Wait until stderr contains `text`, taken literally.
---@param text string
---@param seconds number?  default 5
---@return boolean
function Server:says(text, seconds)
  return server.eventually(seconds or 5, function()
    return self:stderr():find(text, 1, true) ~= nil
  end)
end

---@param signal string  "TERM", "HUP", …
function Server:signal(signal)
  if not self:status() then
    shell(("kill -%s %d 2>&1"):format(signal, self.pid))
  end
end

--- Ask it to stop, and wait.
---@return integer status
function Server:stop()
  self:signal("TERM")
  local status = server.eventually(STOP_WITHIN, function()
    return self:status()
  end)
  if not status then
    self:signal("KILL")
    error("it did not stop within " .. STOP_WITHIN .. " s:\n" .. self:stderr(), 2)
  end
  return status
end

--- Ask it to stop: it does, with status 0, and no sanitizer that it was built with complains.
function Server:ends_well()
  local status, said = self:stop(), self:stderr()
  assert(status == 0, said)
  for _, word in ipairs { "Sanitizer", "runtime error:", "check failed", "bytes were lost" } do
    assert(not said:find(word, 1, true), said)
  end
end

--- End what is still running and remove the scratch folders.
function server.clean()
  for i = #running, 1, -1 do
    local one = running[i]
    one:signal("KILL")
    server.eventually(2, function()
      return one:status()
    end)
    running[i] = nil
  end
  for i = #folders, 1, -1 do
    shell("rm -rf " .. server.quote(folders[i]))
    folders[i] = nil
  end
end

server.shell = shell
server.read_file = read_file

return server
