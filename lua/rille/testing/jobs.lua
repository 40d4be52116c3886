--- Specs in several processes, each with databases of its own; and over again when a file changes.

local core = require("rille.core")
local errors = require("rille.errors")
local coverage = require("rille.testing.coverage")
local task = require("rille.task")

local M = {}

M.INTERRUPTED = 130 -- the exit status of who was ended by ^C, as shells have it

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function read_command(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- How this program is started; asked of a child, which knows its parent.
local function own_path()
  return read_command("readlink /proc/$PPID/exe"):match("^[^\n]+")
end

--- A command line that runs specs.
local function command_of(arguments, environment)
  local words = {}
  for i, argument in ipairs(arguments) do
    words[i] = quote(argument)
  end
  return ("%s %s test %s"):format(environment or "", quote(own_path()), table.concat(words, " "))
end

--- Spec files below these, and those that are named, the largest first, with their sizes.
local function find_specs(roots)
  local specs, known = {}, {}
  for _, root in ipairs(roots[1] and roots or { "spec" }) do
    local find = "find %s -type f \\( -name '*_spec.lua' -o -path %s \\) -printf '%%s %%p\\n'"
    local found = read_command(find:format(quote(root), quote(root)))
    for size, path in found:gmatch("(%d+) ([^\n]+)") do
      local plain = path:gsub("^%./", "")
      if not known[plain] then
        known[plain] = true
        specs[#specs + 1] = { path = path, size = tonumber(size) }
      end
    end
  end
  table.sort(specs, function(a, b)
    return a.size > b.size or (a.size == b.size and a.path < b.path)
  end)
  return specs
end

--- The specs of each job, about as much for one as for another.
local function share_out(specs, count)
  local shares = {}
  for i = 1, math.min(count, #specs) do
    shares[i] = { size = 0 }
  end
  for _, spec in ipairs(specs) do
    local least = shares[1]
    for _, share in ipairs(shares) do
      least = share.size < least.size and share or least
    end
    least.size = least.size + spec.size
    least[#least + 1] = spec.path
  end
  return shares
end

--- What busted counts in its last line, added up.
local function add_counts(totals, output)
  local line = "(%d+) success%a* / (%d+) failures? / (%d+) errors? / (%d+) pending"
  local good, bad, errs, pending = output:match(line)
  if good then
    totals.good, totals.bad = totals.good + good, totals.bad + bad
    totals.errors, totals.pending = totals.errors + errs, totals.pending + pending
    totals.counted = true
  end
end

--- Where each job's output handler writes a file, it has one of its own: report.xml is report.2.xml
--- of the second.
local function own_options(options, job)
  local own = {}
  for i, word in ipairs(options) do
    local name, extension = word:match("^([%w_./-]+)(%.%w+)$")
    own[i] = options[i - 1] == "-Xoutput" and name and ("%s.%d%s"):format(name, job, extension)
      or word
  end
  return own
end

--- Run specs in so many processes. What each says comes when it has ended.
---@param count integer
---@param roots string[]      files and folders
---@param options string[]    for each
---@param cover string?       where coverage is written
---@return integer status
function M.run(count, roots, options, cover)
  local running, totals = {}, { good = 0, bad = 0, errors = 0, pending = 0 }
  for i, share in ipairs(share_out(find_specs(roots), count)) do
    local arguments = own_options(options, i)
    local counted = cover and os.tmpname()
    if cover then
      arguments[#arguments + 1] = "--coverage=" .. counted
    end
    for _, path in ipairs(share) do
      arguments[#arguments + 1] = path
    end
    local command = command_of(arguments, "RILLE_TEST_JOB=" .. i)
    running[i] = { counted = counted, pipe = assert(io.popen(command .. ' 2>&1; echo "$?"')) }
  end
  local status = 0
  for _, job in ipairs(running) do
    local output, code = job.pipe:read("*a"):match("^(.-)(%d+)\n$")
    job.pipe:close()
    status = math.min(status + tonumber(code or 1), 255)
    add_counts(totals, output or "")
    io.write(output or "")
    if job.counted then
      coverage.add(job.counted)
      os.remove(job.counted)
    end
  end
  if totals.counted then
    local told = "\n%d successes / %d failures / %d errors / %d pending in %d jobs\n"
    local n = totals
    io.write(told:format(n.good, n.bad, n.errors, n.pending, #running))
  end
  if cover then
    io.write(table.concat(coverage.finish(cover), "\n"), "\n")
  end
  return status
end

local LOOK = 1 -- seconds from one look for files that are new to the next

--- Wait for the end of a task, but no longer than that.
local function awithin(seconds, one)
  local ok, err = pcall(task.atimeout, seconds, function()
    one:ajoin()
  end)
  if not ok and not errors.is_error(err, errors.Timeout) then
    error(err, 0)
  end
end

--- Run a command. Has ^C ended it, or the shell around it?
local function is_interrupted(command)
  local status = os.execute(command) -- as of wait(2)
  return status % 128 == 2 or math.floor(status / 256) == M.INTERRUPTED
end

--- Run specs, and again whenever a Lua file below this folder changes, comes or goes, until
--- somebody stops us.
---@async
---@param arguments string[]
---@return integer status
function M.awatch(arguments)
  local list = "find . -name '.?*' -prune -o -name node_modules -prune"
    .. " -o -name '*.lua' -printf '%T@ %p\\n'"
  while true do
    local before = read_command(list)
    if is_interrupted(command_of(arguments)) then
      return M.INTERRUPTED
    end
    local files = {}
    for path in before:gmatch("%S+ ([^\n]+)") do
      files[#files + 1] = path
    end
    local change = task.spawn(function()
      errors.check(core.testing.changed(files))
    end)
    task.asleep(0) -- it looks from here on
    io.write(("\nwatching %d files; ^C ends\n"):format(#files))
    io.flush()
    while not change:is_done() and read_command(list) == before do
      awithin(LOOK, change)
    end
    change:cancel()
  end
end

return M
