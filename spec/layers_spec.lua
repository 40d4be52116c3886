--- The architecture, as a table: who may include whom, and who sees which library.
---
--- The order of the folders is that of their floors; a folder includes itself and what its row
--- names. Headers of libraries are held where they are included by name: what sees `vm/vm.h`
--- sees Lua, but only `vm` brings it in.

local FLOORS = {
  base = {},
  proto = { "base" },
  io = { "base", "proto" },
  db = { "base", "proto", "io" },
  net = { "base", "proto", "io" },
  layer = { "base", "proto", "io" },
  mqtt = { "base", "io" },
  vm = { "base", "io" },
  core = { "base", "proto", "io", "db", "net", "layer", "mqtt", "vm" },
  bind = { "base", "proto", "io", "db", "net", "layer", "mqtt", "vm", "core" },
  host = { "base", "proto", "io", "db", "net", "layer", "mqtt", "vm", "core", "bind" },
  admin = { "base", "io", "net", "core", "host" },
  control = { "base", "proto", "io", "vm", "core", "host", "admin" },
  app = { "base", "io", "db", "host", "admin", "control" },
  main = { "base", "host", "control", "app" }, -- src/main.c
}

--- A folder, or one module of it.
local LIBRARIES = {
  lua = { "vm", "core", "bind", "host/runner", "host/library" },
  ["libpq-fe.h"] = { "db" },
  ["sqlite3.h"] = { "db" },
  ["mosquitto.h"] = { "mqtt" },
  ["uv.h"] = { "io", "db", "bind" },
  llhttp = { "proto" },
  openssl = { "proto", "io" },
  hiredis = { "proto" },
  msgpack = { "proto" },
}

local FAMILIES = {
  ["lua.h"] = "lua",
  ["lauxlib.h"] = "lua",
  ["lualib.h"] = "lua",
  ["luajit.h"] = "lua",
  ["llhttp.h"] = "llhttp",
}

local function has(list, ...)
  for _, item in ipairs(list) do
    for _, wanted in ipairs { ... } do
      if item == wanted then
        return true
      end
    end
  end
  return false
end

--- What one line includes: the header, and its folder when it is one of ours.
local function included(line)
  local header = line:match('^%s*#%s*include%s*["<]([^">]+)[">]')
  return header, header and header:match("^(%w+)/")
end

--- Why this line of this file is against the table, or nil.
---@param path string  below src, "net/server.c"
local function objection(path, line)
  local header, floor = included(line)
  if not header then
    return nil
  end
  local module = path:match("^(.*)%.[ch]$")
  local folder = path:match("^(%w+)/") or module
  local library = FAMILIES[header] or (LIBRARIES[floor] and floor) or header
  if LIBRARIES[library] then
    if not has(LIBRARIES[library], folder, module) then
      return ("src/%s includes %s"):format(path, header)
    end
  elseif FLOORS[floor] then
    if floor ~= folder and not has(FLOORS[folder], floor) then
      return ("src/%s includes %s"):format(path, header)
    end
  end
  return nil
end

--- Every source below src, and its lines.
local function read_sources()
  local files = {}
  local listing = assert(io.popen("find src -name '*.[ch]' | sort"))
  for path in listing:lines() do
    local lines = {}
    for line in io.lines(path) do
      lines[#lines + 1] = line
    end
    path = path:match("^src/(.*)$")
    files[#files + 1] = { path = path, folder = path:match("^%w+"), lines = lines }
  end
  listing:close()
  return files
end

describe("the floors of src", function()
  local files = read_sources()

  it("have a row for every folder, and a folder for every row", function()
    local found = {}
    for _, file in ipairs(files) do
      found[file.folder] = true
      assert.truthy(FLOORS[file.folder], "no row for src/" .. file.path)
    end
    for folder in pairs(FLOORS) do
      assert.is_true(found[folder], "no sources in src/" .. folder)
    end
  end)

  for folder in pairs(FLOORS) do
    it(("let %s include only what lies beneath it"):format(folder), function()
      for _, file in ipairs(files) do
        for _, line in ipairs(file.folder == folder and file.lines or {}) do
          assert.is_nil(objection(file.path, line))
        end
      end
    end)
  end

  it("name headers of ours by their path below src, so that the table can see them", function()
    for _, file in ipairs(files) do
      for _, line in ipairs(file.lines) do
        local quoted = line:match('^%s*#%s*include%s*"')
        local _, floor = included(line)
        assert.is_true(not quoted or FLOORS[floor] ~= nil, file.path .. ": " .. line)
      end
    end
  end)

  it("never lead round in a circle", function()
    local function reaches(from, to, seen)
      for _, floor in ipairs(FLOORS[from]) do
        if floor == to or (not seen[floor] and reaches(floor, to, seen)) then
          return true
        end
        seen[floor] = true
      end
      return false
    end
    for folder in pairs(FLOORS) do
      assert.is_false(reaches(folder, folder, {}), folder)
    end
  end)

  for what, case in pairs {
    ["a floor above"] = { "base/buf.c", '#include "io/loop.h"' },
    ["a neighbour"] = { "net/server.c", '#include "db/db.h"' },
    ["another neighbour"] = { "layer/layer.c", '#include "net/server.h"' },
    ["Lua below vm"] = { "db/pool.h", "#include <lua.h>" },
    ["Lua's other headers"] = { "net/ws_conn.c", "#include <lauxlib.h>" },
    ["Lua in the rest of host"] = { "host/settings.c", "#include <luajit.h>" },
    ["libpq outside db"] = { "bind/bind_db.c", "#include <libpq-fe.h>" },
    ["SQLite outside db"] = { "core/worker.c", "#include <sqlite3.h>" },
    ["libuv in proto"] = { "proto/ws.c", "#include <uv.h>" },
    ["llhttp outside proto"] = { "net/http_conn.h", "#include <llhttp.h>" },
    ["hiredis above proto"] = { "layer/redis.c", "#include <hiredis/hiredis.h>" },
    ["msgpack-c above proto"] = { "bind/bind_msgpack.c", "#include <msgpack/pack.h>" },
    ["OpenSSL above io"] = { "net/server.c", "#include <openssl/ssl.h>" },
    ["odd spacing"] = { "base/buf.c", '  #  include  "vm/vm.h"' },
    ["control in what it steers"] = { "host/workers.c", '#include "control/upgrade.h"' },
    ["Lua at the admin address"] = { "admin/metrics.h", "#include <lua.h>" },
    ["the core in main.c"] = { "main.c", '#include "core/worker.h"' },
  } do
    it("would be broken by " .. what, function()
      assert.truthy(objection(case[1], case[2]))
    end)
  end

  for what, case in pairs {
    ["libc"] = { "base/buf.c", "#include <string.h>" },
    ["its own folder"] = { "net/server.c", '#include "net/server.h"' },
    ["a floor beneath"] = { "net/server.c", '#include "proto/http.h"' },
    ["Lua in vm"] = { "vm/vm.h", "#include <lua.h>" },
    ["Lua in the runner"] = { "host/runner.h", "#include <lua.h>" },
    ["a comment about an include"] = { "base/buf.c", '/* #include "vm/vm.h" */' },
  } do
    it("stand with " .. what, function()
      assert.is_nil(objection(case[1], case[2]))
    end)
  end
end)
