--- What editors and luacheck are told, in this repository and in a project that `rille new` writes,
--- which has to run.

local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local BINARY = server.shell("readlink -f " .. (os.getenv("RILLE_BIN") or ".build/src/rille"))
BINARY = BINARY:gsub("%s+$", "")

--- Run a shell command in a folder: its output, and its status.
local function inside(folder, command)
  local line = "cd %s && env -u DATABASE_URL sh -c %s 2>&1; echo $?"
  local out = server.shell(line:format(server.quote(folder), server.quote(command)))
  return out, tonumber(out:match("(%d+)\n$"))
end

describe("rille new #slow", function()
  local folder

  setup(function()
    folder = server.scratch() .. "/inner/notes-2"
    local status, err, out = server.run({ "new", folder })
    assert(status == 0, err)
    assert.truthy(out:find("Now: cd " .. folder, 1, true))
  end)
  teardown(server.clean)

  it("writes a project that passes its own tests", function()
    local out, status = inside(folder, server.quote(BINARY) .. " test")
    assert.equal(0, status, out)
    assert.truthy(out:find("2 successes / 0 failures", 1, true), out)
  end)

  it("writes one that makes sense, and serves", function()
    local status, _, out = server.run({ "check", folder })
    assert.equal(0, status)
    assert.truthy(out:find("ok (2 routes, 1 model)", 1, true), out)
    local it_runs = server.start({ "run", folder })
    assert.equal('{"messages":0}', clients.fetch(it_runs.url .. "/").body)
    it_runs:stop()
  end)

  it("writes one that luacheck finds nothing in", function()
    local out, status = inside(folder, "luacheck -q .")
    assert.equal(0, status, out)
  end)

  it("tells the editor where everything is", function()
    local settings = json.decode(server.read_file(folder .. "/.luarc.json"))
    assert.same({ ".rille" }, settings["workspace.library"])
    local library = folder .. "/.rille/library/rille/"
    assert.truthy(server.read_file(library .. "init.lua"):find("---@class rille.Module", 1, true))
    assert.truthy(server.read_file(library .. "_meta/task.lua"):find("---@meta", 1, true))
    local models = server.read_file(folder .. "/.rille/models.lua")
    assert.truthy(models:find("---@class models.Message : rille.models.Instance", 1, true))
    server.write(folder .. "/models.lua", server.read_file(folder .. "/models.lua"):gsub(
      "said =",
      "tone = models.text { null = true }, said ="
    ))
    assert.equal(0, (server.run({ "types", folder })))
    models = server.read_file(folder .. "/.rille/models.lua")
    assert.truthy(models:find("---@field tone string?", 1, true))
  end)

  it("names the project in its unit for systemd", function()
    local unit = server.read_file(folder .. "/notes-2.service")
    assert.truthy(unit:find("ExecStart=/usr/local/bin/rille run /srv/notes-2 ", 1, true))
    assert.is_nil(unit:find("@", 1, true))
  end)

  it("takes the name of the folder that one is in", function()
    local here = server.scratch() .. "/here"
    server.shell("mkdir " .. here)
    local out, status = inside(here, server.quote(BINARY) .. " new .")
    assert.equal(0, status, out)
    assert.truthy(server.read_file(here .. "/here.service"))
  end)

  it("overwrites nothing, and wants a name", function()
    local status, err = server.run({ "new", folder })
    assert.equal(1, status)
    assert.truthy(err:find("is there already, and not empty", 1, true))
    status, err = server.run({ "new", server.scratch() .. "/a b" })
    assert.equal(1, status)
    assert.truthy(err:find("'a b' cannot be the name of a project", 1, true))
  end)
end)

describe("this repository", function()
  it("tells the editor where everything is", function()
    local settings = json.decode(server.read_file("lua/.luarc.json"))
    assert.equal("LuaJIT", settings["runtime.version"])
    for _, path in ipairs(settings["workspace.library"]) do
      assert.truthy(server.read_file("lua/" .. path .. "/rille/_meta/core.lua"))
    end
  end)
end)
