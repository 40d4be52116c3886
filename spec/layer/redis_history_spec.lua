--- Histories on Redis: two workers' worth of it in one process, and a Redis that is hurt.
local Histories = require("rille.layer.histories")
local Log = require("rille.layer.redis.log")
local background = require("spec.support.background")
local core = require("rille.core")
local eventually = require("spec.support.eventually")
local groups = require("rille.groups")
local layer = require("rille.layer")
local outside = require("rille.layer.outside")
local redis = require("rille.redis")
local rille = require("rille")
local servers = require("spec.support.redis")

describe("a history on Redis", function()
  local server, mine, other

  local RULES = groups.compile {
    ["kept.*"] = { history = { size = 20 } },
    ["kept.long"] = { history = { size = 1000 } },
    ["kept.brief"] = { history = { ttl = 0.05 } },
  }

  lazy_setup(function()
    server = servers.start()
  end)

  lazy_teardown(servers.clean)

  --- A test with the histories of this worker, and those of one of another process.
  local function rule(name, fn)
    it(name, function()
      local settings = redis.parse(server.url)
      mine, other = Histories(Log(settings, "spec"), RULES), Histories(Log(settings, "spec"), RULES)
      outside.histories = mine
      local ok, err = pcall(fn)
      background.clean()
      outside.histories = nil
      mine:close()
      other:close()
      eventually(function()
        return core.worker.census().tasks <= 1
      end)
      server:cli("FLUSHALL")
      if not ok then
        error(err, 0)
      end
    end)
  end

  local function message(text)
    return { type = "chat.message", text = text }
  end

  --- From the other process.
  local function say(group, times, text)
    local mark = {}
    for i = 1, times do
      mark.offset, mark.epoch = other:aadd(group, message(text or tostring(i)))
    end
    return mark
  end

  local function texts(events)
    local said = {}
    for i, event in ipairs(events) do
      said[i] = ("%s@%d"):format(event.text, event.history.offset)
    end
    return said
  end

  --- What somebody hears until this was the last.
  local function heard_until(one, last)
    local all = {}
    eventually(function()
      for _, event in ipairs(one:heard()) do
        all[#all + 1] = event
      end
      return all[1] and all[#all].text == last
    end)
    return texts(all)
  end

  local function come_back(group, since, options)
    local one = background.open()
    local result = one:run(function(self)
      return self:arecover(group, since, options)
    end)
    return texts(one:heard()), result, one
  end

  rule("counts the messages of all processes, and brings them to all", function()
    local one = background.open()
    one:run(function(self)
      self:arecover("kept.count")
    end)
    local _, _, offset, epoch = layer:agroup_send("kept.count", message("mine"))
    assert.equal(1, offset)
    local mark = say("kept.count", 2, "theirs")
    assert.same({ 3, epoch }, { mark.offset, mark.epoch })
    layer:agroup_send("kept.count", message("last"))
    assert.same({ "mine@1", "theirs@2", "theirs@3", "last@4" }, heard_until(one, "last"))
  end)

  rule("gives who comes back what was missed, then what comes", function()
    local mark = say("kept.back", 3)
    say("kept.back", 2)
    local missed, result, one = come_back("kept.back", mark)
    assert.same({ "1@4", "2@5" }, missed)
    assert.same({ true, false, 2, 5 }, {
      result.recovered,
      result.gap,
      result.missed,
      result.offset,
    })
    say("kept.back", 1, "live")
    assert.same({ "live@6" }, heard_until(one, "live"))
  end)

  rule("loses nothing between the two, whatever is said meanwhile", function()
    local mark = say("kept.long", 1)
    local talking = true
    local speaker = rille.spawn(function()
      for i = 1, 300 do
        other:aadd("kept.long", message(tostring(i)))
      end
      talking = false
    end)
    local all = {}
    for _ = 1, 8 do
      local one = background.open()
      local result = one:run(function(self)
        return self:arecover("kept.long", mark)
      end)
      assert.is_false(result.gap)
      rille.asleep(0.01)
      one:run(function(self)
        self:agroup_discard("kept.long")
      end)
      for _, event in ipairs(one:heard()) do
        all[#all + 1] = event
        mark = event.history
      end
      one:close()
    end
    speaker:ajoin()
    assert.is_false(talking)
    for _, text in ipairs((come_back("kept.long", mark))) do
      all[#all + 1] = { text = text:match("^%d+"), history = { offset = #all + 2 } }
    end
    assert.equal(300, #all)
    for i = 1, 300 do
      assert.equal(("%d@%d"):format(i, i + 1), texts({ all[i] })[1])
    end
  end)

  rule("has a gap for who was away too long, or comes from elsewhere", function()
    local mark = say("kept.gap", 25)
    for _, since in ipairs {
      { epoch = mark.epoch, offset = 2 },
      { epoch = mark.epoch, offset = 26 },
      { epoch = "fffffffffffffff0", offset = 25 },
      "nonsense",
    } do
      local missed, result = come_back("kept.gap", since)
      assert.same({ {}, true, 25 }, { missed, result.gap, result.offset })
    end
    assert.equal(20, #(come_back("kept.gap", { epoch = mark.epoch, offset = 5 })))
    assert.equal(20, #(come_back("kept.gap", { last = 100 })))
    assert.same({ "24@24", "25@25" }, (come_back("kept.gap", { last = 2 })))
    local at
    local missed = come_back("kept.gap", nil, {
      snapshot = function(here)
        at = here.offset
        say("kept.gap", 1, "meanwhile")
      end,
    })
    assert.same({ 25, { "meanwhile@26" } }, { at, missed })
  end)

  rule("forgets messages after their time, but not where it is", function()
    local mark = say("kept.brief", 2)
    rille.asleep(0.1)
    local _, result = come_back("kept.brief", { epoch = mark.epoch, offset = 1 })
    assert.is_true(result.gap)
    _, result = come_back("kept.brief", mark)
    assert.is_true(result.recovered)
    assert.same({ mark.epoch, 3 }, { say("kept.brief", 1).epoch, 3 })
  end)

  rule("stamps texts for sockets, and refuses what it cannot stamp", function()
    local heard = {}
    local real = core.layer.send_placed
    core.layer.send_placed = function(_, _, _, _, text, bytes)
      heard[#heard + 1] = text or bytes
      return 1, 0
    end
    local one = background.open()
    one:run(function(self)
      self:arecover("kept.stamp")
    end)
    local send = { type = "websocket.send", text = '{"a":1}' }
    local _, _, offset, epoch = layer:agroup_send("kept.stamp", send)
    eventually(function()
      return heard[1]
    end)
    core.layer.send_placed = real
    local wanted = '{"a":1,"history":{"group":"kept.stamp","epoch":"%s","offset":%d}}'
    assert.equal(wanted:format(epoch, offset), heard[1])
    send.text = "x"
    local ok, err = pcall(layer.agroup_send, layer, "kept.stamp", send)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("is a JSON object", 1, true))
  end)

  rule("goes on where it was when a connection was lost", function()
    local one = background.open()
    one:run(function(self)
      self:arecover("kept.lost")
    end)
    say("kept.lost", 1, "before")
    heard_until(one, "before")
    server:cli("CLIENT", "KILL", "TYPE", "pubsub")
    say("kept.lost", 3, "meanwhile")
    say("kept.lost", 1, "last")
    local all = heard_until(one, "last")
    assert.same({ "meanwhile@2", "meanwhile@3", "meanwhile@4", "last@5" }, all)
  end)

  rule("begins anew on a Redis that has forgotten everything, and says so", function()
    local mark = say("kept.anew", 3)
    local _, _, one = come_back("kept.anew", mark)
    server:cli("FLUSHALL")
    local fresh = say("kept.anew", 1, "anew")
    assert.are_not.equal(mark.epoch, fresh.epoch)
    assert.same({ "anew@1" }, heard_until(one, "anew"))
    local _, result = come_back("kept.anew", mark)
    assert.is_true(result.gap)
  end)
end)
