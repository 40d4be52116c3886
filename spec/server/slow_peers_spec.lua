--- slowhttptest's four modes, all at once: a head, a body or an answer at a few bytes a second, and
--- a range in a thousand pieces. The service is there all the time, and none of them for long.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local CONNECTIONS = 100

-- What each mode is aimed at, and how it is to end.
local NOBODY_LEFT, TIME_IS_UP = "No open connections left", "Hit test time limit"
local MODES = {
  { "slow heads", "-H -i 1", "/fine", NOBODY_LEFT },
  { "slow bodies", "-B -i 1 -s 8192 -x 10 -t POST", "/sink", NOBODY_LEFT },
  { "ranges", "-R -a 5 -b 2000 -t HEAD", "/files/hostile.lua", NOBODY_LEFT },
  -- Its connections count as open for as long as they have read nothing that tells otherwise.
  { "slow readers", "-X -n 1 -z 5 -w 10 -y 20", "/much", TIME_IS_UP },
}

describe("slowhttptest #slow", function()
  after_each(server.clean)

  --- All modes side by side, each writing what it says, and a line for every second.
  local function besiege(it_runs)
    local line = {}
    for i, mode in ipairs(MODES) do
      line[#line + 1] = ("slowhttptest %s -c %d -r %d -l 5 -p 4 -v 1"):format(
        mode[2],
        CONNECTIONS,
        CONNECTIONS
      )
      line[#line + 1] = ("-u %s -g -o %s >%s 2>&1 &"):format(
        it_runs.url .. mode[3],
        it_runs.folder .. "/mode" .. i,
        it_runs.folder .. "/said" .. i
      )
    end
    server.shell(table.concat(line, " ") .. " wait")
  end

  it("takes nothing from anybody else", function()
    local it_runs = server.start {
      "run",
      "spec/support/apps/crowd.lua",
      "--no-access-log",
      "--admin=127.0.0.1:0",
      "--limit=request_timeout=1",
      "--limit=body_timeout=1",
      "--limit=send_timeout=1",
    }
    local admin = it_runs:stderr():match("rille: admin on (%S+)")
    besiege(it_runs)
    for i, mode in ipairs(MODES) do
      local said = server.read_file(it_runs.folder .. "/said" .. i):gsub("\27%[[%d;]*m", "")
      assert.equal(mode[4], said:match("Exit status:%s*([^\n]-)%s*\n"), mode[1] .. said)
      local seconds = 0
      local rows = server.read_file(("%s/mode%d.csv"):format(it_runs.folder, i))
      for row in rows:gmatch("\n(%d[%d,]*)") do
        assert.is_nil(row:find(",0$"), mode[1] .. ": the service was away: " .. row)
        seconds = seconds + 1
      end
      assert.is_true(seconds > 0, mode[1])
    end

    local page
    local function metric(pattern)
      local total = 0
      for value in page:gmatch("\n" .. pattern .. " (%d+)") do
        total = total + tonumber(value)
      end
      return total
    end
    local function hits(limit)
      return metric("rille_limit_hits_total{[^\n]*limit=\"" .. limit .. '"}')
    end
    server.eventually(5, function()
      page = server.shell("curl -s " .. admin .. "/metrics")
      return metric("rille_connections{[^\n]*}") == 0
    end)
    assert.equal(0, metric("rille_connections{[^\n]*}"))
    assert.equal(0, metric("rille_unsent_bytes{[^\n]*}"))
    assert.same(
      { CONNECTIONS, CONNECTIONS, CONNECTIONS },
      { hits("request_timeouts"), hits("body_timeouts"), hits("stalled") }
    )
    assert.equal("fine", clients.fetch(it_runs.url .. "/fine").body)
    assert.equal(0, it_runs:stop())
  end)
end)
