--- Presence in one process: who is there, who is told, and what lingers.
local background = require("spec.support.background")
local core = require("rille.core")
local eventually = require("spec.support.eventually")
local errors = require("rille.errors")
local groups = require("rille.groups")
local presence = require("rille.presence")
local rille = require("rille")

local Presence = rille.presence

--- Hears of changes.
local Watcher = background.Background:extend("Watcher")

local function record(self, event)
  for _, change in ipairs(event.changes) do
    assert(event.type == "presence." .. change.event)
    self.heard[#self.heard + 1] = change
  end
end

Watcher.presence_join, Watcher.presence_update, Watcher.presence_leave = record, record, record

describe("presence", function()
  setup(function()
    local _, rules = groups.compile {
      ["brief.*"] = { presence = { linger = 0.05 } },
      ["long.*"] = { presence = { linger = 0.2 } },
      ["hard.*"] = { presence = { linger = 0 } },
      ["quiet.*"] = { presence = { linger = 0, events = false } },
    }
    presence.rules = rules
  end)

  teardown(function()
    presence.rules = {}
  end)

  --- A test that ends its consumers, and what lingers of them.
  local function rule(name, fn)
    it(name, function()
      fn()
      background.clean()
      eventually(function()
        return core.worker.census().tasks <= 1
      end)
    end)
  end

  local function open_tracked(group, key, meta)
    local one = background.open()
    one:run(function()
      Presence:atrack(group, key, meta)
    end)
    return one
  end

  local function open_watcher(group)
    local one = background.open(Watcher)
    one:run(function(self)
      self:agroup_add(group)
    end)
    return one
  end

  --- What a watcher hears, at least so many changes: "join ann 1", and the metas.
  local function changes(watcher, n)
    local all = {}
    eventually(function()
      for _, change in ipairs(watcher:heard()) do
        all[#all + 1] = change
      end
      return #all >= n
    end)
    local words = {}
    for i, change in ipairs(all) do
      words[i] = ("%s %s %d"):format(change.event, change.key, #change.metas)
    end
    return words, all
  end

  rule("lists keys and what each of their connections says", function()
    open_tracked("hard.list", "ann", { at = "home" })
    open_tracked("hard.list", "ann", { at = "work" })
    open_tracked("hard.list", "bob")
    open_tracked("hard.list", "a\0b é", "text")
    open_tracked("hard.other", "eve")
    local people = Presence:alist("hard.list")
    table.sort(people.ann, function(a, b)
      return a.at < b.at
    end)
    assert.same({
      ann = { { at = "home" }, { at = "work" } },
      bob = { {} },
      ["a\0b é"] = { "text" },
    }, people)
    assert.same({}, (Presence:alist("hard.nobody")))
  end)

  rule("tells members who joins, changes and leaves, with all there is of the key", function()
    local watcher = open_watcher("hard.tell")
    local first = open_tracked("hard.tell", "ann", 1)
    local words, all = changes(watcher, 1)
    assert.same({ "join ann 1" }, words)
    assert.same({ 1 }, all[1].metas)
    local second = open_tracked("hard.tell", "ann", 2)
    words, all = changes(watcher, 1)
    assert.same({ "update ann 2" }, words)
    table.sort(all[1].metas)
    assert.same({ 1, 2 }, all[1].metas)
    second:run(function()
      Presence:aupdate("hard.tell", "ann", 3)
      Presence:aupdate("hard.tell", "ann", 3) -- nothing new
    end)
    assert.same({ "update ann 2" }, (changes(watcher, 1)))
    first:close()
    assert.same({ "update ann 1" }, (changes(watcher, 1)))
    second:run(function()
      Presence:auntrack("hard.tell", "ann")
      Presence:auntrack("hard.tell", "ann")
    end)
    assert.same({ "leave ann 0" }, (changes(watcher, 1)))
  end)

  rule("tells the changes of a turn together, and numbers them all", function()
    local watcher = open_watcher("hard.turn")
    local sent, real = 0, core.layer.group_send
    core.layer.group_send = function(...)
      sent = sent + 1
      return real(...)
    end
    local one = background.open()
    one:run(function()
      for i = 1, 50 do
        Presence:atrack("hard.turn", "key " .. i)
      end
    end)
    local words, all = changes(watcher, 50)
    core.layer.group_send = real
    assert.equal(50, #words)
    assert.equal(1, sent)
    for i = 2, 50 do
      assert.is_true(all[i].seq > all[i - 1].seq)
    end
    local _, seq = Presence:alist("hard.turn")
    assert.equal(all[50].seq, seq)
  end)

  rule("lets who comes back in time have been there all along", function()
    local watcher = open_watcher("long.away")
    local one = open_tracked("long.away", "ann", "same")
    assert.same({ "join ann 1" }, (changes(watcher, 1)))
    for _ = 1, 3 do
      one:close()
      assert.same({ ann = { "same" } }, (Presence:alist("long.away")))
      one = open_tracked("long.away", "ann", "same")
    end
    one:close()
    open_tracked("long.away", "ann", "another")
    assert.same({ "update ann 1" }, (changes(watcher, 1)))
    rille.asleep(0.3) -- nothing that lingered is left to lapse
    assert.same({ ann = { "another" } }, (Presence:alist("long.away")))
    assert.same({}, watcher:heard())
  end)

  rule("ends behind its time for who does not come back", function()
    local watcher = open_watcher("brief.gone")
    open_tracked("brief.gone", "ann", 1):close()
    assert.same({ "join ann 1", "leave ann 0" }, (changes(watcher, 2)))
    assert.same({}, (Presence:alist("brief.gone")))
  end)

  rule("is silent where events are off", function()
    local watcher = open_watcher("quiet.room")
    open_tracked("quiet.room", "ann"):close()
    open_tracked("quiet.room", "bob")
    rille.asleep(0.02)
    assert.same({}, watcher:heard())
    assert.same({ bob = { {} } }, (Presence:alist("quiet.room")))
  end)

  rule("does not disturb members that do not ask for it", function()
    local member = open_watcher("hard.plain")
    local plain = background.open()
    plain:run(function(self)
      self:agroup_add("hard.plain")
    end)
    open_tracked("hard.plain", "ann")
    changes(member, 1)
    assert.same({}, plain:heard())
  end)

  rule("follows tasks of the consumer, and belongs to nobody else", function()
    local one = background.open()
    one:run(function()
      rille.agather {
        function()
          Presence:atrack("hard.task", "ann")
        end,
      }
    end)
    assert.same({ ann = { {} } }, (Presence:alist("hard.task")))
    local ok, err = pcall(Presence.atrack, Presence, "hard.task", "bob")
    assert.is_false(ok)
    assert.truthy(tostring(err):find("a presence is a consumer's", 1, true), tostring(err))
  end)

  rule("refuses what makes no sense", function()
    local one = background.open()
    local function refuses(text, method, ...)
      local arguments, n = { ... }, select("#", ...)
      local ok, err = pcall(one.run, one, function()
        return Presence[method](Presence, unpack(arguments, 1, n))
      end)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
    refuses("a group's name", "atrack", "no name", "ann")
    refuses("a key has", "atrack", "hard.a", "")
    refuses("a key has", "atrack", "hard.a", ("k"):rep(256))
    refuses("holds only data", "atrack", "hard.a", "ann", print)
    refuses("too long", "atrack", "hard.a", "ann", ("m"):rep(5000))
    refuses("is not tracked", "aupdate", "hard.a", "ann", 1)
    local ok, err = pcall(Presence.alist, Presence, "no name")
    assert.is_false(ok)
    assert.truthy(tostring(err):find("a group's name", 1, true))
  end)

  rule("is over for a consumer that has ended", function()
    local one = background.open()
    local said
    one:start(function()
      rille.asleep(0.01)
      said = { pcall(Presence.atrack, Presence, "hard.over", "ann") }
    end)
    local Late = background.Background:extend("Late")
    local late
    function Late:disconnect()
      late = { pcall(Presence.atrack, Presence, "hard.over", "bob") }
    end
    background.open(Late):close()
    eventually(function()
      return said and late
    end)
    assert.is_true(said[1])
    assert.is_false(late[1])
    assert.is_true(errors.is_error(late[2], errors.Closed))
  end)
end)

describe("presence in an app", function()
  it("is declared with its groups", function()
    local _, rules = groups.compile {
      ["a.*"] = { presence = {} },
      ["a.b*"] = { presence = { linger = 0, events = false } },
      ["a.bc"] = { presence = { linger = 7 }, history = true },
    }
    local function find(name)
      local found = groups.find(rules, name)
      return found and { found.linger, found.events }
    end
    assert.is_nil(find("b"))
    assert.same({ 10, true }, find("a.x"))
    assert.same({ 0, false }, find("a.bcd"))
    assert.same({ 7, true }, find("a.bc"))
    for text, given in pairs {
      ["presence: a table"] = true,
      ["linger: seconds"] = { linger = -1 },
      ["events: true or false"] = { events = 1 },
      ['presence has no "lingers"'] = { lingers = 1 },
    } do
      local ok, err = pcall(groups.compile, { x = { presence = given } })
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
  end)
end)
