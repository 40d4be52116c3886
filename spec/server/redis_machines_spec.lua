--- Two rille processes on one Redis are one, whatever dies: each message is heard by all who were
--- there, or refused to who sent it, or the layer has told that something may be missing.

local clients = require("spec.support.clients")
local rooms = require("spec.support.rooms")
local server = require("spec.support.server")
local servers = require("spec.support.redis")

for _, mode in ipairs { "core", "pubsub" } do
  for _, workers in ipairs { 1, 2 } do
    describe(("two machines with %d workers each, %s #slow"):format(workers, mode), function()
      local redis, folder

      before_each(function()
        redis, folder = servers.start(), server.scratch()
      end)

      after_each(function()
        server.clean()
        servers.clean()
      end)

      local function start()
        local url = ("%s?mode=%s&capacity=1000"):format(redis.url, mode)
        return rooms.start(url, { "--workers", tostring(workers) })
      end

      --- Each worker has connections of its own, and comes back by itself.
      local function is_back(running)
        local all = server.eventually(20, function()
          return server.count(running:stderr(), "back after") == workers
        end)
        assert.is_true(all, running:stderr())
      end

      it("account for every message", function()
        local one, other = start(), start()
        local crowd = clients.open("machines.py", {
          servers = { one = one.port, other = other.port },
          path = "/rooms/",
          members = 4,
          every = 0.002,
          folder = folder,
        })
        crowd:wait("ready")
        server.sleep(0.3)
        other:signal("KILL")
        server.sleep(0.3)
        other = start()
        server.write(folder .. "/other.port", tostring(other.port))
        server.sleep(0.3)
        redis:restart()
        is_back(one)
        is_back(other)
        server.sleep(0.5)
        server.write(folder .. "/end", "")
        local done = crowd:wait("done")
        assert.same({}, done.wrong)
        assert.same({}, done.silently)
        assert.equal(done.here, done.told)
        assert.same({ done.here, done.here }, done.last)
        assert.is_true(done.sent > 100, done.sent)
        assert.is_true(done.unanswered <= 1, done.unanswered) -- of who was killed
        assert.equal(0, one:stop())
        assert.equal(0, other:stop())
        assert.same({}, redis:keys())
      end)
    end)
  end
end
