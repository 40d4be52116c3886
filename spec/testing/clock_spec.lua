--- Time in tests: it passes when it is told to.

local databases = require("spec.support.databases")
local models = require("rille.models")
local rille = require("rille")
local testing = require("rille.testing")

local clock = testing.clock

local Visit = models.define("kit_visit", {
  id = models.auto(),
  at = models.timestamp { auto_now = true },
})

testing.load(rille.app { models = { Visit } })

describe("the clock of a test", function()
  it("ends sleeps and deadlines at once, in the order of their times", function()
    local order = {}
    local function after(seconds)
      return rille.spawn(function()
        rille.asleep(seconds)
        order[#order + 1] = seconds
      end)
    end
    local tasks = { after(3000), after(1000), after(2000), after(4000) }
    local ok, err
    local late = rille.spawn(function()
      ok, err = pcall(rille.atimeout, 3600, function()
        rille.asleep(1e6)
      end)
    end)
    rille.asleep(0)
    clock:advance(3600)
    late:ajoin()
    assert.is_false(ok)
    assert.is_true(rille.is_error(err, rille.Timeout))
    assert.same({ 1000, 2000, 3000 }, order)
    clock:advance(400)
    tasks[4]:ajoin()
  end)

  it("takes date and durations along, and gives the date back", function()
    local now, core_now = clock:now(), require("rille.core").now()
    clock:advance(86400)
    assert.near(86400, clock:now() - now, 5)
    assert.near(86400, require("rille.core").now() - core_now, 5)
  end)

  it("has the date of the machine again in the next test", function()
    assert.near(os.time(), clock:now(), 5)
  end)

  it("runs timers in their own time", function()
    local ticks, times = 0, {}
    local app = testing.load(function()
      rille.every(600, function()
        ticks = ticks + 1
        rille.asleep(1)
      end)
      rille.cron("0 4 * * *", function(event)
        times[#times + 1] = os.date("!%H:%M", event.due)
      end)
      rille.after(90, function()
        times[#times + 1] = "after"
      end)
      return rille.app {}
    end)
    testing.astart(app)
    clock:aadvance(3601)
    assert.equal(6, ticks)
    clock:advance(24 * 3600)
    clock:aadvance(1)
    assert.equal(7, ticks) -- those that it was late for are skipped
    table.sort(times)
    assert.same({ "04:00", "after" }, times)
  end)

  it("closes what idles", function()
    local Quiet = rille.WebsocketConsumer:extend("Quiet")
    local app = rille.app { routes = { rille.websocket("/", Quiet, { idle_timeout = 600 }) } }
    local ann = testing.WebsocketCommunicator(app, "/")
    assert.is_true(ann:aconnect())
    clock:aadvance(500)
    assert.is_true(ann:areceive_nothing(0.01))
    clock:aadvance(200)
    assert.same({ 1001, "idle" }, { ann:areceive_close() })
    ann:await()
  end)

  it("lets messages of the layer expire", function()
    local heard, go_on = {}, rille.event()
    local Slow = rille.WebsocketConsumer:extend("Slow")
    Slow.groups = { "all" }
    function Slow:chat_message(event)
      heard[#heard + 1] = event.n
      go_on:await()
    end
    local app = rille.app {
      limits = { mailbox_expiry = 60 },
      routes = { rille.websocket("/", Slow) },
    }
    local ann = testing.WebsocketCommunicator(app, "/")
    assert.is_true(ann:aconnect())
    for n = 1, 2 do
      rille.channel_layer:agroup_send("all", { type = "chat.message", n = n })
    end
    rille.asleep(0)
    clock:advance(61)
    rille.channel_layer:agroup_send("all", { type = "chat.message", n = 3 })
    go_on:set()
    ann:adisconnect()
    assert.same({ 1, 3 }, heard)
  end)

  it("ages connections of databases", function()
    local url = assert(os.getenv("RILLE_TEST_POSTGRES"), "RILLE_TEST_POSTGRES is not set")
    local db = databases.open("aging", { url = url, conn_max_age = 3600, idle_timeout = 1e6 })
    db:aquery("SELECT 1 AS one")
    for _, case in ipairs { { 3000, 1 }, { 700, 2 }, { 700, 2 } } do
      clock:advance(case[1])
      db:close_old_connections()
      db:aquery("SELECT 1 AS one")
      assert.equal(case[2], db:stats().opened)
    end
    databases.close_all()
  end)

  it("is what auto_now reads", function()
    clock:advance(400 * 86400)
    local visit = Visit.objects:acreate {}
    local year = os.date("!%Y", os.time() + 400 * 86400)
    assert.equal(year, tostring(visit.at):sub(1, 4))
  end)
end)
