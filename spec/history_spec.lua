--- Groups that keep their history, in one process: offsets, and coming back.
local background = require("spec.support.background")
local core = require("rille.core")
local groups = require("rille.groups")
local json = require("rille.json")
local layer = require("rille.layer")
local rille = require("rille")

describe("a group with a history", function()
  setup(function()
    core.layer.rules(groups.compile {
      ["kept.*"] = { history = { size = 20 } },
      ["kept.brief"] = { history = { ttl = 0.05 } },
      ["kept.plain"] = { history = { stamp = false } },
    })
  end)

  teardown(function()
    core.layer.rules {}
  end)

  --- A test that ends its consumers.
  local function rule(name, fn)
    it(name, function()
      fn()
      background.clean()
    end)
  end

  --- The mark of the last of so many messages.
  local function say(group, times, text)
    local mark = { group = group }
    for i = 1, times do
      local message = { type = "chat.message", text = text or tostring(i) }
      local _, _, offset, epoch = layer:agroup_send(group, message)
      mark.offset, mark.epoch = offset, epoch
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

  --- Come back with this mark: what was missed, and what the group said of it.
  local function come_back(group, since, options)
    local one = background.open()
    local result = one:run(function(self)
      return self:arecover(group, since, options)
    end)
    return texts(one:heard()), result, one
  end

  rule("counts its messages from 1, for who sends and for who hears", function()
    local one = background.open()
    one:run(function(self)
      self:agroup_add("kept.count")
    end)
    local delivered, dropped, offset, epoch =
      layer:agroup_send("kept.count", { type = "chat.message", text = "a" })
    assert.same({ 1, 0, 1 }, { delivered, dropped, offset })
    assert.truthy(epoch:find("^%x+$"))
    assert.equal(16, #epoch)
    assert.equal(2, say("kept.count", 1).offset)
    local heard = one:heard()
    assert.same({ "a@1", "1@2" }, texts(heard))
    assert.same({ group = "kept.count", epoch = epoch, offset = 1 }, heard[1].history)
    assert.is_nil((select(3, layer:agroup_send("other", { type = "chat.message" }))))
  end)

  rule("gives who comes back what was missed, in order, then what comes", function()
    local mark = say("kept.back", 3)
    say("kept.back", 2)
    local missed, result, one = come_back("kept.back", mark)
    assert.same({ "1@4", "2@5" }, missed)
    assert.same({
      group = "kept.back",
      epoch = mark.epoch,
      offset = 5,
      recovered = true,
      gap = false,
      missed = 2,
    }, result)
    say("kept.back", 1, "live")
    assert.same({ "live@6" }, texts(one:heard()))
    missed, result = come_back("kept.back", ("%s:%d"):format(mark.epoch, 6))
    assert.same({ {}, true, 0 }, { missed, result.recovered, result.missed })
  end)

  rule("gives all of a history that is longer than a step", function()
    core.layer.rules(groups.compile { ["kept.*"] = { history = { size = 1000 } } })
    local mark = say("kept.long", 1)
    say("kept.long", 200)
    local missed = come_back("kept.long", mark)
    assert.equal(200, #missed)
    for i = 1, 200 do
      assert.equal(("%d@%d"):format(i, i + 1), missed[i])
    end
    core.layer.rules(groups.compile {
      ["kept.*"] = { history = { size = 20 } },
      ["kept.brief"] = { history = { ttl = 0.05 } },
      ["kept.plain"] = { history = { stamp = false } },
    })
  end)

  rule("loses nothing between what was missed and what comes, whenever it is said", function()
    local Slow = background.Background:extend("Slow")
    function Slow:chat_message(event)
      background.Background.chat_message(self, event)
      if event.text == "2" then
        say("kept.between", 3, "meanwhile")
        rille.asleep(0.01)
        say("kept.between", 1, "later")
      end
    end
    local mark = say("kept.between", 1)
    say("kept.between", 2)
    local one = background.open(Slow)
    local result = one:run(function(self)
      return self:arecover("kept.between", mark)
    end)
    say("kept.between", 1, "live")
    assert.same({
      "1@2",
      "2@3",
      "meanwhile@4",
      "meanwhile@5",
      "meanwhile@6",
      "later@7",
      "live@8",
    }, texts(one:heard()))
    assert.equal(6, result.missed)
  end)

  rule("does not give twice what waits in the mailbox already", function()
    local mark = say("kept.twice", 1)
    local one = background.open()
    one:run(function(self)
      self:agroup_add("kept.twice")
    end)
    one:run(function(self)
      say("kept.twice", 2, "x") -- queued behind this event,
      self:arecover("kept.twice", mark) -- which delivers it, too
      say("kept.twice", 1, "y")
    end)
    assert.same({ "x@2", "x@3", "y@4" }, texts(one:heard()))
  end)

  for what, since in pairs {
    ["an epoch of another life"] = { epoch = "fffffffffffffff0", offset = 1 },
    ["an epoch that is none"] = { epoch = ("0"):rep(16), offset = 1 },
    ["an offset that never was"] = { offset = 1000 },
    ["an offset below 0"] = { offset = -1 },
    ["half an offset"] = { offset = 1.5 },
    ["no number"] = { offset = 0 / 0 },
    ["more than there can be"] = { offset = math.huge },
    ["a number as epoch"] = { epoch = 7, offset = 1 },
    ["words"] = "since yesterday",
    ["a number"] = 5,
    ["nothing in it"] = {},
    ["what is too old"] = { offset = 1 },
  } do
    rule("has a gap for who comes back with " .. what, function()
      local mark = say("kept.gap", 25)
      if type(since) == "table" and next(since) then
        since = { epoch = since.epoch or mark.epoch, offset = since.offset }
      end
      local missed, result, one = come_back("kept.gap", since)
      assert.same({}, missed)
      assert.same({ false, true, 0 }, { result.recovered, result.gap, result.missed })
      assert.same({ mark.offset, mark.epoch }, { result.offset, result.epoch })
      say("kept.gap", 1, "live")
      assert.same({ ("live@%d"):format(mark.offset + 1) }, texts(one:heard()))
    end)
  end

  rule("forgets messages after their time, but not where it is", function()
    local mark = say("kept.brief", 2)
    rille.asleep(0.1)
    local missed, result = come_back("kept.brief", { epoch = mark.epoch, offset = 1 })
    assert.same({ {}, true }, { missed, result.gap })
    missed, result = come_back("kept.brief", mark)
    assert.same({ {}, true }, { missed, result.recovered })
    assert.same({ mark.epoch, 3 }, { say("kept.brief", 1).epoch, mark.offset + 1 })
  end)

  rule("begins for a newcomer at the end, or so many messages before it", function()
    say("kept.new", 30)
    assert.same({}, (come_back("kept.new", nil)))
    assert.same({}, (come_back("kept.new", json.null)))
    local missed, result = come_back("kept.new", { last = 2 })
    assert.same({ "29@29", "30@30" }, missed)
    assert.same({ false, false }, { result.recovered, result.gap })
    assert.equal(20, #come_back("kept.new", { last = 1000 }))
    assert.same({}, (come_back("kept.new", { last = "many" })))
  end)

  rule("lets a snapshot close the gap: what is said meanwhile comes behind it", function()
    local mark = say("kept.snapshot", 25)
    for _, since in ipairs { { epoch = mark.epoch, offset = 1 }, false } do
      local at
      local missed, result = come_back("kept.snapshot", since or nil, {
        snapshot = function(here)
          at = here
          say("kept.snapshot", 1, "meanwhile")
          rille.asleep(0.01)
        end,
      })
      assert.same({ group = "kept.snapshot", epoch = mark.epoch, offset = mark.offset }, at)
      mark.offset = mark.offset + 1
      assert.same({ "meanwhile@" .. mark.offset }, missed)
      assert.equal(since and true or false, result.gap)
    end
    local called = false
    come_back("kept.snapshot", mark, {
      snapshot = function()
        called = true
      end,
    })
    assert.is_false(called)
  end)

  rule("keeps nothing that is only passing, or rolled back", function()
    local one = background.open()
    one:run(function(self)
      self:agroup_add("kept.passing")
    end)
    local message = { type = "chat.message", text = "gone" }
    local receipt = { layer:agroup_send("kept.passing", message, { history = false }) }
    assert.same({ 1, 0 }, receipt)
    local database = require("rille.db").Database("test", { url = "sqlite::memory:" })
    pcall(database.atomic, database, function()
      layer:agroup_send("kept.passing", message)
      error("x")
    end)
    assert.same({ n = 2, 0, 0 }, {
      n = select(
        "#",
        database:atomic(function()
          return layer:agroup_send("kept.passing", { type = "chat.message", text = "stays" })
        end)
      ),
      0,
      0,
    })
    database:aclose()
    local heard = one:heard()
    assert.same({ "gone", "stays" }, { heard[1].text, heard[2].text })
    assert.is_nil(heard[1].history)
    assert.equal(1, heard[2].history.offset)
  end)

  rule("sends to sockets what can say where it stands, and refuses the rest", function()
    local function send(group, text)
      return pcall(layer.agroup_send, layer, group, { type = "websocket.send", text = text })
    end
    for _, text in ipairs { "[1]", "hello", "", "{" } do
      local ok, err = send("kept.stamp", text)
      assert.is_false(ok)
      assert.truthy(tostring(err):find("is a JSON object", 1, true), tostring(err))
      assert.is_true(send("kept.plain", text))
    end
    assert.is_true(send("kept.stamp", ' {"a":1} '))
    local bytes = { type = "websocket.send", bytes = "{}" }
    assert.is_false((pcall(layer.agroup_send, layer, "kept.stamp", bytes)))
    assert.is_true((pcall(layer.agroup_send, layer, "kept.plain", bytes)))
  end)

  rule("has its recovery refused where it makes no sense", function()
    local one = background.open()
    local function refuses(text, ...)
      local arguments, n = { ... }, select("#", ...)
      local ok, err = pcall(one.run, one, function(self)
        return self:arecover(unpack(arguments, 1, n))
      end)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
    refuses("keeps no history", "other")
    refuses("a group's name has", "no name")
    refuses("has the option snapshot", "kept.a", nil, { snapshot = 5 })
    refuses("has the option snapshot", "kept.a", nil, { snapshots = print })
  end)

  rule("goes on with the later of two recoveries at once", function()
    local mark = say("kept.both", 2)
    local one = background.open()
    local first
    one:run(function(self)
      first = core.task.serve(function()
        self:arecover("kept.both", nil, {
          snapshot = function()
            rille.asleep(0.05)
          end,
        })
      end)
      rille.asleep(0.01)
      self:arecover("kept.both", { epoch = mark.epoch, offset = 1 })
    end)
    local ok, err = pcall(first.ajoin, first)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("another recovery", 1, true), tostring(err))
    say("kept.both", 1, "live")
    assert.same({ "2@2", "live@3" }, texts(one:heard()))
  end)

  rule("is left by a consumer that ends, also in the middle of a recovery", function()
    local one = background.open()
    one:start(function(self)
      self:arecover("kept.end", nil, {
        snapshot = function()
          rille.asleep(60)
        end,
      })
    end)
    local other = background.open()
    other:run(function(self)
      self:arecover("kept.end")
    end)
    assert.equal(1, layer:agroup_count("kept.end"))
    other:close()
    one:close()
    require("spec.support.eventually")(function()
      return layer:agroup_count("kept.end") == 0
    end)
  end)
end)
