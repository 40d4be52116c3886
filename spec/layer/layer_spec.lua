local core = require("rille.core")
local errors = require("rille.errors")
local layer = require("rille.layer")
local raised = require("spec.support.raised")
local task = require("rille.task")
local Database = require("rille.db").Database

local PLAIN = { type = "chat.message", text = "hi" }

local function refuses(text, method, ...)
  raised.says(text, raised.by(layer[method], layer, ...))
end

describe("the channel layer", function()
  it("delivers to nobody where nobody is, and says so", function()
    assert.same({ 0, 0 }, { layer:agroup_send("nobody", PLAIN) })
    assert.same({ 0, 0 }, { layer:agroup_send("nobody", { type = "websocket.send", text = "x" }) })
    assert.equal(0, layer:agroup_count("nobody"))
  end)

  it("drops what is for a channel that is gone", function()
    local delivered = layer:asend(core.layer.prefix .. "999999", PLAIN)
    assert.equal(0, delivered)
  end)

  it("lets only a channel that is there into a group", function()
    local ok, err = pcall(layer.agroup_add, layer, "room", core.layer.prefix .. "999999")
    assert.is_false(ok)
    assert.is_true(errors.is_error(err, errors.Closed))
    assert.equal(0, layer:agroup_count("room"))
    layer:agroup_discard("room", core.layer.prefix .. "999999")
  end)

  describe("names of groups", function()
    local LONGEST = ("g"):rep(99)

    for _, name in ipairs { "a", "room-1_B.x", LONGEST } do
      it(("may be %s"):format(name:sub(1, 12)), function()
        assert.equal(0, layer:agroup_count(name))
        assert.equal(0, (layer:agroup_send(name, PLAIN)))
      end)
    end

    local odd = { "a\0b", "a\n", "a\217\161" } -- the last one ends with a digit, of Arabic
    for _, name in ipairs { "", LONGEST .. "g", "a room", "é", "a!b", "a/b", unpack(odd) } do
      it(("may not be %q"):format(name:sub(1, 12)), function()
        local wanted = "a group's name has 1 to 99"
        refuses(wanted, "agroup_send", name, PLAIN)
        refuses(wanted, "agroup_add", name, "c")
        refuses(wanted, "agroup_discard", name, "c")
        refuses(wanted, "agroup_count", name)
      end)
    end

    it("are text", function()
      refuses("string expected", "agroup_send", nil, PLAIN)
      refuses("string expected", "agroup_add", {}, "c")
    end)
  end)

  it("says what is wrong with a name", function()
    refuses("dots; this one has 100", "agroup_count", ("g"):rep(100))
    refuses("dots; this one has 0", "agroup_count", "")
    refuses("dots; not the byte 32 (at 2)", "agroup_count", "a room")
    refuses("dots; not '!' (at 3)", "agroup_count", "ab!c")
    refuses("dots; not '/' (at 2)", "agroup_count", "a/!")
    refuses("not in front; not '!' (at 4)", "asend", "a!b!", PLAIN)
    refuses("not in front; not '!' (at 1)", "asend", "!b", PLAIN)
    refuses("not in front; not the byte 195 (at 4)", "asend", "a!b\195\169", PLAIN)
  end)

  it("refuses a name that no channel has", function()
    for _, name in ipairs { "", "a b", "a!b!c", ("c"):rep(100) } do
      refuses("a channel's name has 1 to 99", "asend", name, PLAIN)
      refuses("a channel's name has 1 to 99", "agroup_add", "room", name)
    end
  end)

  describe("a message", function()
    it("comes out as it went in", function()
      local message = {
        type = "a",
        n = 0.1,
        flag = false,
        null = core.null,
        list = { 1, { "x\0y" } },
        [5] = "number",
      }
      assert.same(message, layer.decode(require("string.buffer").encode(message)))
    end)

    for what, message in pairs {
      ["without a type"] = { text = "x" },
      ["whose type is no string"] = { type = 5 },
      ["that is no table"] = "chat.message",
    } do
      it(("is refused %s"):format(what), function()
        refuses("a message is a table with a type", "agroup_send", "room", message)
        refuses("a message is a table with a type", "asend", "c", message)
      end)
    end

    it("is refused when it holds more than data", function()
      local cycle = { type = "a" }
      cycle.again = cycle
      local wanted = "a message holds only data"
      refuses(wanted, "agroup_send", "room", { type = "a", fn = print })
      refuses(wanted, "agroup_send", "room", { type = "a", { io.stdout } })
      refuses(wanted, "agroup_send", "room", cycle)
    end)

    it("for sockets needs text or bytes, and text that is text", function()
      refuses("needs text or bytes", "agroup_send", "room", { type = "websocket.send" })
      local wrong = { type = "websocket.send", text = "\255" }
      refuses("text is not UTF-8", "agroup_send", "room", wrong)
      refuses("string", "agroup_send", "room", { type = "websocket.send", text = {} })
      assert.equal(0, (layer:agroup_send("room", { type = "websocket.send", bytes = "\255" })))
    end)

    it("is refused at the line that sent it", function()
      local err = raised.by(function()
        local delivered = layer:agroup_send("room", {})
        return delivered
      end)
      assert.truthy(err:find("layer_spec.lua:%d+: a message"), err)
    end)
  end)

  describe("a channel of a task's", function()
    --- Receive so many messages, and say what is in them.
    local function texts(channel, n)
      local said = {}
      for i = 1, n do
        said[i] = layer:areceive(channel).text
      end
      return table.concat(said, " ")
    end

    local function say(channel, ...)
      local delivered = 0
      for _, text in ipairs { ... } do
        delivered = delivered + layer:asend(channel, { type = "said", text = text })
      end
      return delivered
    end

    it("has a name of its own, and gives what is sent there, in order", function()
      local channel, other = layer:new_channel(), layer:new_channel()
      assert.are_not.equal(channel, other)
      assert.equal(1, channel:find(core.layer.prefix, 1, true))
      assert.equal(3, say(channel, "one", "two", "three"))
      assert.equal("one two three", texts(channel, 3))
    end)

    it("is waited for, also by another task, and by several", function()
      local channel, got = layer:new_channel(), {}
      for i = 1, 2 do
        task.spawn(function()
          got[i] = texts(channel, 1)
        end)
      end
      task.asleep(0)
      say(channel, "one", "two")
      task.asleep(0)
      table.sort(got)
      assert.same({ "one", "two" }, got)
      local ok, err = pcall(task.atimeout, 0.01, function()
        layer:areceive(channel)
      end)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.Timeout))
      assert.equal(1, say(channel, "three")) -- whoever gave up takes nothing
      assert.equal("three", texts(channel, 1))
    end)

    it("is a member like any other", function()
      local channel = layer:new_channel()
      layer:agroup_add("tasks", channel)
      assert.same({ channel }, layer:agroup_members("tasks"))
      assert.same({ 1, 0 }, { layer:agroup_send("tasks", { type = "said", text = "all" }) })
      assert.equal("all", texts(channel, 1))
      layer:agroup_discard("tasks", channel)
      assert.same({}, layer:agroup_members("tasks"))
    end)

    it("holds what a mailbox holds", function()
      local before = core.worker.counters().mailbox_dropped_newest
      local channel, dropped = layer:new_channel(), 0
      for i = 1, 102 do
        local _, not_taken = layer:asend(channel, { type = "said", text = i })
        dropped = dropped + not_taken
      end
      assert.equal(2, dropped)
      assert.equal(before + 2, core.worker.counters().mailbox_dropped_newest)
      assert.truthy(texts(channel, 100):find("^1 2 3 .* 99 100$"))
    end)

    it("ends with its task, and whoever waits is told", function()
      local before = core.worker.counters().mailbox_abandoned
      local channel
      local owner = task.spawn(function()
        channel = layer:new_channel()
        layer:agroup_add("tasks", channel)
        task.asleep(1000)
      end)
      task.asleep(0)
      local waiting = task.spawn(function()
        return pcall(layer.areceive, layer, channel)
      end)
      task.asleep(0)
      owner:cancel()
      local ok, err = waiting:ajoin()
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.Closed))
      assert.equal(0, say(channel, "too late"))
      assert.equal(0, layer:agroup_count("tasks"))
      refuses("no task of this worker has the channel", "areceive", channel)
      refuses("no task of this worker has the channel", "areceive", core.layer.prefix .. "1")
      task
        .spawn(function()
          say(layer:new_channel(), "nobody takes it")
        end)
        :ajoin()
      assert.equal(before + 1, core.worker.counters().mailbox_abandoned)
    end)

    it("is one of a hundred at most", function()
      local made = 0
      task
        .spawn(function()
          pcall(function()
            while true do
              layer:new_channel()
              made = made + 1
            end
          end)
        end)
        :ajoin()
      assert.equal(100, made)
    end)
  end)

  it("counts what is for nobody", function()
    local before = core.worker.counters().messages_astray
    layer:asend("nobody.has.this", PLAIN)
    assert.equal(before + 1, core.worker.counters().messages_astray)
  end)

  describe("inside a transaction", function()
    local real, sent, database, other

    before_each(function()
      database = Database("test", { url = "sqlite::memory:" })
      other = Database("other", { url = "sqlite::memory:" })
      real, sent = core.layer.group_send, {}
      core.layer.group_send = function(_, encoded)
        sent[#sent + 1] = layer.decode(encoded).text
        return 0, 0
      end
    end)

    after_each(function()
      core.layer.group_send = real
      database:aclose()
      other:aclose()
    end)

    local function send(text, options)
      return layer:agroup_send("room", { type = "chat.message", text = text }, options)
    end

    it("sends after the commit, in order, what the message was when it was sent", function()
      database:atomic(function()
        local message = { type = "chat.message", text = "first" }
        assert.same({ 0, 0 }, { layer:agroup_send("room", message) })
        message.text = "changed"
        database:atomic(function()
          send("second")
        end)
        database:on_commit(function()
          sent[#sent + 1] = "a hook"
        end)
        send("third")
        assert.same({}, sent)
      end)
      assert.same({ "first", "second", "a hook", "third" }, sent)
      send("fourth")
      assert.equal("fourth", sent[5])
    end)

    it("forgets what was sent in a block that is rolled back", function()
      database:atomic(function()
        send("kept")
        pcall(database.atomic, database, function()
          send("lost with its savepoint")
          error("x")
        end)
      end)
      assert.same({ "kept" }, sent)
      pcall(database.atomic, database, function()
        send("lost with the whole")
        error("x")
      end)
      database:atomic(function()
        send("lost with a block that only ends well")
        pcall(database.aquery, database, "SELEC")
      end)
      assert.same({ "kept" }, sent)
    end)

    it("waits for the commits of all databases that have a transaction around it", function()
      database:atomic(function()
        other:atomic(function()
          send("both")
        end)
        assert.same({}, sent)
      end)
      assert.same({ "both" }, sent)
      pcall(database.atomic, database, function()
        other:atomic(function()
          send("lost with the outer one")
        end)
        error("x")
      end)
      database:atomic(function()
        pcall(other.atomic, other, function()
          send("lost with the inner one")
          error("x")
        end)
      end)
      assert.same({ "both" }, sent)
    end)

    it("also from the tasks that the block gathers, but not from those it spawns", function()
      database:atomic(function()
        task.agather {
          function()
            send("gathered")
          end,
        }
        task
          .spawn(function()
            send("spawned")
          end)
          :ajoin()
        assert.same({ "spawned" }, sent)
      end)
      assert.same({ "spawned", "gathered" }, sent)
    end)

    it("does not wait when told so, nor without a transaction on a pinned connection", function()
      database:apinned(function()
        send("pinned")
        database:atomic(function()
          send("now", { now = true })
          assert.same({ "pinned", "now" }, sent)
        end)
      end)
    end)

    it("refuses at once what it could not send after the commit", function()
      local wrong = { type = "websocket.send", text = "\255" }
      database:atomic(function()
        refuses("a group's name has 1 to 99", "agroup_send", "no room", PLAIN)
        refuses("a channel's name has 1 to 99", "asend", "no channel", PLAIN)
        refuses("text is not UTF-8", "agroup_send", "room", wrong)
        refuses("a message is a table with a type", "asend", "channel", {})
      end)
      assert.same({}, sent)
    end)
  end)
end)

describe("a message of another process", function()
  local outside = require("rille.layer.outside")
  local real, dropped

  before_each(function()
    real, dropped = outside.drop, {}
    function outside.drop(n, reason, why)
      dropped[#dropped + 1] = ("%d %s: %s"):format(n, reason, why)
    end
  end)

  after_each(function()
    outside.drop = real
  end)

  it("reaches the channel, or is dropped, which is counted and told", function()
    local channel = layer:new_channel()
    outside.deliver_or_drop(channel, { type = "said", text = "hello" })
    assert.equal("hello", layer:areceive(channel).text)
    assert.same({}, dropped)
    outside.deliver_or_drop(core.layer.prefix .. "t0", { type = "said" })
    assert.equal(1, #dropped)
    assert.truthy(dropped[1]:find("^1 unheard: nobody has the channel specific%."), dropped[1])
  end)
end)
