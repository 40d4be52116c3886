--- What `spec/support/contain`, in which `spec/run` runs, leaves behind: nothing, however it ends.
--- Contained is a Redis, which is a daemon, and a shell that waits beside it.

local server = require("spec.support.server")

local LINE = [[
sh -c 'echo $PPID >AT/group; echo $$ >AT/front
exec spec/support/contain sh AT/script' >AT/out 2>&1 </dev/null
echo $? >AT/status]]
local SCRIPT = [[
trap 'echo cleaned; exit 3' TERM
spec/support/redis start AT/redis
sleep 1000 &
echo $! >AT/waits
]]

describe("what a contained command started", function()
  local folder

  before_each(function()
    folder = server.scratch()
  end)
  after_each(server.clean)

  local function number_in(name)
    return server.eventually(20, function()
      return tonumber(server.read_file(folder .. "/" .. name) or "")
    end)
  end

  --- Contain SCRIPT with another last line, and return when all stands.
  ---@return integer front  the process to be killed
  ---@return integer[] all  that must not outlive it
  local function contain(last)
    server.write(folder .. "/script", ((SCRIPT .. last):gsub("AT", folder)))
    os.execute(("setsid sh -c %s &"):format(server.quote((LINE:gsub("AT", folder)))))
    assert(number_in("waits"), server.read_file(folder .. "/out"))
    return number_in("front"), { number_in("waits"), number_in("redis/pid") }
  end

  local function all_end(pids)
    for _, pid in ipairs(pids) do
      local stat
      local gone = server.eventually(20, function()
        stat = server.read_file(("/proc/%d/stat"):format(pid))
        return not stat or stat:find(") Z", 1, true) ~= nil
      end)
      assert.truthy(gone, stat)
    end
  end

  it("ends with it, whose status is told", function()
    local _, all = contain("exit 7")
    assert.equal(7, number_in("status"))
    all_end(all)
  end)

  it("ends after it, when that has cleaned up because it was asked to end", function()
    local front, all = contain("wait")
    server.shell("kill -TERM " .. front)
    assert.equal(3, number_in("status"))
    assert.truthy(server.read_file(folder .. "/out"):find("cleaned", 1, true))
    all_end(all)
  end)

  it("ends when its whole group is killed, though it is stopped", function()
    local front, all = contain("wait")
    server.shell("spec/support/redis signal " .. folder .. "/redis STOP")
    server.shell(("kill -KILL -%d %d"):format(number_in("group"), front))
    all_end(all)
    assert.truthy(server.read_file(folder .. "/out"):find("cleaned", 1, true))
  end)
end)
