--- Presence on Redis: this process, one beside it, and one that dies.
local Presences = require("rille.layer.presences")
local background = require("spec.support.background")
local core = require("rille.core")
local eventually = require("spec.support.eventually")
local groups = require("rille.groups")
local presence = require("rille.presence")
local redis = require("rille.redis")
local rille = require("rille")
local servers = require("spec.support.redis")

local LEASE = 0.5

local Watcher = background.Background:extend("RedisWatcher")

local function record(self, event)
  for _, change in ipairs(event.changes) do
    self.heard[#self.heard + 1] = ("%s %s %d"):format(change.event, change.key, #change.metas)
  end
end

Watcher.presence_join, Watcher.presence_update, Watcher.presence_leave = record, record, record

describe("presence on Redis", function()
  local server, memory, other

  lazy_setup(function()
    server = servers.start()
    memory = presence.store
    local _, rules = groups.compile {
      ["hard.*"] = { presence = { linger = 0 } },
      ["brief.*"] = { presence = { linger = 0.2 } },
    }
    presence.rules = rules
  end)

  lazy_teardown(function()
    presence.rules = {}
    servers.clean()
  end)

  local function rule(name, fn)
    it(name, function()
      local settings = redis.parse(server.url)
      presence.share(settings, "spec", LEASE)
      other = Presences(settings, "spec", function() end, LEASE)
      local ok, err = pcall(fn)
      background.clean()
      eventually(function()
        return core.worker.census().consumers == 0
      end)
      presence.close()
      other:close()
      presence.store = memory
      eventually(function()
        return core.worker.census().tasks <= 1
      end)
      server:cli("FLUSHALL")
      if not ok then
        error(err, 0)
      end
    end)
  end

  local function open_tracked(group, key, meta)
    local one = background.open()
    one:run(function()
      rille.presence:atrack(group, key, meta)
    end)
    return one
  end

  --- One that hears of changes, and is there itself, so that this worker looks after the group.
  local function open_watcher(group)
    local one = background.open(Watcher)
    one:run(function(self)
      rille.presence:atrack(group, "watcher")
      self:agroup_add(group)
    end)
    return one
  end

  --- Every change until this one.
  local function heard_until(watcher, last)
    local all = {}
    eventually(function()
      for _, change in ipairs(watcher:heard()) do
        all[#all + 1] = change ~= "join watcher 1" and change or nil
      end
      return all[#all] == last
    end)
    return all
  end

  rule("is one answer for all processes", function()
    open_tracked("hard.one", "ann", { at = "a\0é" })
    other:track("hard.one", "ann", "elsewhere!1", Presences.encode("there"))
    other:track("hard.one", "bob", "elsewhere!2", Presences.encode {})
    local people, seq = rille.presence:alist("hard.one")
    assert.same({ ann = { { at = "a\0é" }, "there" }, bob = { {} } }, people)
    assert.equal(3, seq)
    assert.same({}, (rille.presence:alist("hard.other")))
  end)

  rule("numbers and tells changes as memory does", function()
    local watcher = open_watcher("hard.tell")
    local first = open_tracked("hard.tell", "ann", 1)
    heard_until(watcher, "join ann 1")
    local second = open_tracked("hard.tell", "ann", 2)
    heard_until(watcher, "update ann 2")
    second:run(function()
      rille.presence:aupdate("hard.tell", "ann", 3)
    end)
    heard_until(watcher, "update ann 2")
    first:close()
    heard_until(watcher, "update ann 1")
    second:run(function()
      rille.presence:auntrack("hard.tell", "ann")
    end)
    heard_until(watcher, "leave ann 0")
  end)

  rule("lets who comes back to another process have been there all along", function()
    local watcher = open_watcher("brief.back")
    local one = open_tracked("brief.back", "ann", "same")
    heard_until(watcher, "join ann 1")
    one:close()
    eventually(function()
      return core.worker.census().consumers == 1
    end)
    local change = other:track("brief.back", "ann", "elsewhere!1", Presences.encode("same"))
    assert.is_nil(change)
    rille.asleep(0.3)
    assert.same({}, watcher:heard())
    other:untrack("brief.back", "ann", "elsewhere!1")
    open_tracked("brief.back", "bob"):close()
    assert.same({ "join bob 1", "leave bob 0" }, heard_until(watcher, "leave bob 0"))
  end)

  rule("ends for a process that died when its lease does, and somebody tells", function()
    local watcher = open_watcher("hard.died")
    other:track("hard.died", "ann", "elsewhere!1", Presences.encode(1))
    other:close() -- it says no more
    assert.same({ "leave ann 0" }, heard_until(watcher, "leave ann 0"))
    assert.same({ watcher = { {} } }, (rille.presence:alist("hard.died")))
  end)

  rule("holds for longer than a lease, and over a Redis that has forgotten it", function()
    local watcher = open_watcher("hard.holds")
    open_tracked("hard.holds", "ann", 1)
    heard_until(watcher, "join ann 1")
    rille.asleep(LEASE * 1.5)
    assert.same({ 1 }, rille.presence:alist("hard.holds").ann)
    assert.same({}, watcher:heard())
    server:cli("FLUSHALL")
    heard_until(watcher, "join ann 1")
    assert.same({ 1 }, rille.presence:alist("hard.holds").ann)
  end)
end)
