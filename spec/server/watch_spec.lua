--- Which changes of real files start a reload, and how many.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = [[
local rille = require("rille")
local word = require("lib.words")
local here = debug.getinfo(1, "S").source:match("^@(.*)/")

local function read(name)
  local file = assert(io.open(here .. "/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

local page = read("page.html")

return rille.app {
  routes = {
    rille.get("/page", function() return 200, page .. word end),
    rille.get("/lazy", function() return 200, require("lazy") end),
    rille.get("/log", function()
      local log = assert(io.open(here .. "/log.txt", "a"))
      log:write("one more\n")
      log:close()
      return 200, read("log.txt")
    end),
    rille.static("/static/", here .. "/static"),
  },
}
]]

describe("watching #slow", function()
  local folder, it_runs

  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end

  local function sh(command)
    local done = server.shell(("cd %s && (%s) 2>&1 && echo done"):format(folder, command))
    assert.truthy(done:find("done\n$"), done)
  end

  local function get(path)
    return clients.fetch(it_runs.url .. path).body
  end

  local function reloads()
    return server.count(it_runs:stderr(), "reloaded: generation")
  end

  --- The change starts one reload, after which `path` answers with `text`.
  local function reloads_once(path, text, change)
    local before = reloads()
    change()
    assert.is_truthy(server.eventually(8, function()
      return reloads() > before
    end), "no reload: " .. it_runs:stderr())
    assert.equal(text, get(path))
    server.sleep(0.2)
    assert.equal(before + 1, reloads())
  end

  local function reloads_never(change)
    local before = reloads()
    change()
    server.sleep(0.35)
    assert.equal(before, reloads(), it_runs:stderr())
  end

  setup(function()
    folder = server.scratch()
    sh("mkdir -p shared real/lib real/static current; rmdir current; ln -s real current")
    folder = folder .. "/real"
    write("app.lua", APP)
    write("lib/words.lua", 'return "one"')
    write("page.html", "page ")
    write("lazy.lua", 'return "lazy"')
    write("static/site.css", "a {}")
    write("never.lua", "")
    folder = folder:gsub("/real$", "")
    it_runs = server.start { "dev", folder .. "/current" }
  end)

  teardown(server.clean)

  it("takes a save however it is written", function()
    reloads_once("/page", "page two", function()
      write("real/lib/words.lua", 'return "two"') -- in place
    end)
    reloads_once("/page", "page three", function()
      server.write(folder .. "/real/lib/words.lua", 'return "three"') -- renamed over it
    end)
    reloads_once("/page", "page four", function() -- as vim does with a backup
      sh([[cd real/lib && mv words.lua words.lua~ && echo 'return "four"' >words.lua]])
    end)
  end)

  it("counts what the script reads as it loads, and what it never loaded does not", function()
    reloads_once("/page", "Page four", function()
      write("real/page.html", "Page ")
    end)
    reloads_never(function()
      write("real/never.lua", "return 1")
      write("real/lib/new.lua", "return 1")
      write("real/lazy.lua", 'return "other"')
      write("real/static/site.css", "b {}")
      sh("touch real/app.lua real/page.html")
      get("/log")
      get("/log")
    end)
  end)

  it("counts what is loaded later from then on", function()
    assert.equal("other", get("/lazy"))
    reloads_once("/lazy", "third", function()
      write("real/lazy.lua", 'return "third"')
    end)
    assert.equal("b {}", get("/static/site.css"))
    reloads_once("/static/site.css", "c {}", function()
      write("real/static/site.css", "c {}")
    end)
  end)

  it("follows links, to files and to folders, when they are turned", function()
    reloads_once("/page", "Page linked", function()
      sh([[echo 'return "linked"' >shared/words.lua && ln -sf ../../shared/words.lua real/lib/]])
    end)
    reloads_once("/page", "Page behind", function()
      write("shared/words.lua", 'return "behind"')
    end)
    reloads_once("/page", "Page deployed", function()
      sh([[cp -r real next && rm next/lib/words.lua && echo 'return "deployed"' \
        >next/lib/words.lua && ln -s next turned && mv -T turned current]])
    end)
    reloads_once("/page", "Page there", function()
      write("next/lib/words.lua", 'return "there"')
    end)
    reloads_never(function()
      write("real/page.html", "no longer served")
    end)
  end)

  it("waits for a folder that was deleted", function()
    reloads_never(function()
      sh("rm -r next/lib")
    end)
    reloads_once("/page", "Page back", function()
      sh([[mkdir next/lib && echo 'return "back"' >next/lib/words.lua]])
    end)
    reloads_once("/page", "Page anew", function()
      sh([[mv next gone && cp -r gone next && echo 'return "anew"' >next/lib/words.lua]])
    end)
  end)

  it("takes a checkout of many files for one change", function()
    sh([[cd next && git init -q && git config user.email a@b && git config user.name a &&
      mkdir many && for i in $(seq 200); do echo "return $i" >many/m$i.lua; done &&
      git add . && git commit -qm one && git checkout -qb other &&
      for i in $(seq 200); do echo "return -$i" >many/m$i.lua; done &&
      echo "Paper " >page.html && rm lazy.lua && sed -i 's/anew/branch/' lib/words.lua &&
      git add . && git commit -qm two && git checkout -q master]])
    server.sleep(0.6)
    reloads_once("/page", "Paper \nbranch", function()
      sh("cd next && git checkout -q other")
    end)
  end)

  it("hears of what a failed reload would need", function()
    write("next/lib/words.lua", 'return require("lib.more")')
    assert.is_true(it_runs:says("module 'lib.more' not found", 8), it_runs:stderr())
    reloads_once("/page", "Paper \nmore", function()
      write("next/lib/more.lua", 'return "more"')
    end)
    assert.equal(0, it_runs:stop())
  end)
end)
