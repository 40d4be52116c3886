--- The guide on the database: each of its programs is loaded, and passes the spec that stands
--- beside it, with the real binary.

local script = require("spec.support.script")
local server = require("spec.support.server")

local BINARY = server.shell("readlink -f " .. (os.getenv("RILLE_BIN") or ".build/src/rille"))
BINARY = BINARY:gsub("%s+$", "")

--- The programs of a page: lists of files, each begun by an `app.lua`.
local function programs_of(text)
  local programs = {}
  for block in text:gmatch("\n```lua\n(.-)\n```") do
    local name, body = block:match("^%-%- ([%w_/.]+%.lua)\n(.*)$")
    if name == "app.lua" then
      programs[#programs + 1] = {}
    end
    if name then
      programs[#programs][name] = body .. "\n"
    end
  end
  return programs
end

describe("the guide on the database #slow", function()
  local programs = programs_of(server.read_file("lua/rille/db/README.md"))

  after_each(function()
    script.clean()
    server.clean()
  end)

  it("has programs, each with its spec", function()
    assert.equal(4, #programs)
    for _, program in ipairs(programs) do
      assert.truthy(program["spec/app_spec.lua"])
    end
  end)

  for i, program in ipairs(programs) do
    it("has a program that does what is said of it: " .. i, function()
      local folder = script.folder(program)
      local line = "cd %s && env -u DATABASE_URL %s test 2>&1; echo $?"
      local out = server.shell(line:format(server.quote(folder), server.quote(BINARY)))
      assert.truthy(out:find("1 success / 0 failures / 0 errors.*\n0\n$"), out)
    end)
  end

  it("numbers the lines of the consumer that was ported alike", function()
    local text = server.read_file("lua/rille/db/README.md")
    local python, lua = text:match("```python\n(.-)```\n\n```lua\n(.-)```")
    for i = 1, 13 do
      assert.truthy(python:find("# " .. i .. "%f[%D]"), i)
      assert.truthy(lua:find("-- " .. i .. "\n", 1, true), i)
      assert.truthy(text:find("\n" .. i .. ". ", 1, true), i)
    end
  end)
end)
