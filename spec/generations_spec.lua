local background = require("spec.support.background")
local core = require("rille.core")
local dispatch = require("rille.dispatch")
local errors = require("rille.errors")
local eventually = require("spec.support.eventually")
local generations = require("rille.generations")
local loader = require("rille.loader")
local raised = require("spec.support.raised")
local routing = require("rille.routing")
local script = require("spec.support.script")

local APP = [[
local rille = require("rille")
local function page() return 200, "%s" end
return rille.app { routes = { rille.get("/always", page), %s } }
]]

local TRIED = 'rille.get("/tried", page, { reload = { canary = %s } })'

local function load(word, routes, number)
  local folder = script.folder { ["app.lua"] = APP:format(word, routes or "") }
  return loader.load(folder, number or generations.next_number())
end

--- Load code and have it serve.
local function serve(...)
  local generation = load(...)
  dispatch.switch(generation, "load")
  return generation
end

--- How many of `n` new requests each gets.
local function share(path, n)
  local counts = {}
  for _ = 1, n do
    local number = generations.choose("http", path, "GET").number
    counts[number] = (counts[number] or 0) + 1
  end
  return counts
end

local function refusal(fn, ...)
  return raised.is(errors.ConfigurationError, raised.by(fn, ...))
end

describe("generations", function()
  local first

  before_each(function()
    first = load("first")
    dispatch.switch(first) -- all there is
  end)

  after_each(script.clean)

  it("have a hash of what was read: names below the folder and contents", function()
    local files = { ["a.lua"] = "", ["b.lua"] = "-- b" }
    files["app.lua"] = 'require "a" require "b" ' .. APP:format("x", "")
    local one = loader.load(script.folder(files), 1)
    assert.truthy(one.hash:find("^%x%x%x%x%x%x%x%x%x%x%x%x$"))
    files["unused.lua"] = ""
    assert.equal(one.hash, loader.load(script.folder(files), 2).hash)
    files["a.lua"] = "-- a"
    assert.are_not.equal(one.hash, loader.load(script.folder(files), 3).hash)
    files["a.lua"], files["b.lua"] = "-- b", ""
    assert.are_not.equal(one.hash, loader.load(script.folder(files), 4).hash)
  end)

  it("keep the one before, and only that, until it is returned to", function()
    local second = serve("second")
    assert.same({ second, first }, { generations.serving, generations.previous })
    local third = serve("third")
    assert.same({ third, second }, { generations.serving, generations.previous })
    assert.equal(second, generations.after("rollback"))
    dispatch.switch(second, "rollback")
    assert.equal(second, dispatch.current())
    assert.is_nil(generations.previous)
    assert.equal("there is no code to return to", refusal(generations.after, "rollback"))
    assert.equal(third.number + 1, generations.next_number()) -- a number names one load
    assert.equal(second.number, core.worker.generation())
  end)

  it("of the same code are nothing to return to", function()
    local second = serve("second")
    local again = serve("second")
    assert.equal(second.hash, again.hash)
    assert.same({ again, first }, { generations.serving, generations.previous })

    local tried = serve("tried", TRIED:format(5))
    local retried = serve("tried", TRIED:format(5))
    assert.equal(tried.hash, retried.hash)
    assert.is_true(generations.trial)
    assert.equal(again, generations.previous)
    dispatch.switch(generations.after("promote"), "promote")
    serve("tried", TRIED:format(5))
    assert.is_false(generations.trial)
  end)

  it("are what everybody is to have, at once, without a canary", function()
    local second = serve("second")
    assert.is_false(generations.trial)
    assert.equal(second, generations.destination(first.number, 0))
    assert.is_nil(generations.destination(second.number, 0))
    assert.equal("no code is on trial", refusal(generations.after, "promote"))
  end)

  it("on trial get a part of the new connections to the routes with a canary", function()
    local stable = serve("stable", TRIED:format(10))
    assert.is_true(generations.trial)
    dispatch.switch(stable, "promote")
    local tried = serve("tried", TRIED:format(10))
    local counts = share("/tried", 2000)
    assert.is_true(counts[tried.number] > 100 and counts[tried.number] < 350)
    assert.equal(2000, counts[tried.number] + counts[stable.number])
    assert.same({ [tried.number] = 50 }, share("/always", 50))
    local route = tried.numbers[tried.app.router:match("http", "/tried", "GET")]
    assert.is_nil(generations.destination(stable.number, route)) -- stays
    assert.equal(tried, generations.destination(stable.number, route + 1000))
    dispatch.switch(generations.after("promote"), "promote")
    assert.is_false(generations.trial)
    assert.equal(tried, generations.destination(stable.number, route))
    assert.equal(stable, generations.after("rollback"))
  end)

  it("on trial are left by a rollback, and replaced by another load", function()
    local tried = serve("tried", TRIED:format(50))
    local again = serve("again", TRIED:format(50))
    assert.is_true(generations.trial)
    assert.equal(first, generations.previous) -- what is tried is nothing to return to
    assert.equal(again, generations.destination(tried.number, 0))
    dispatch.switch(generations.after("rollback"), "rollback")
    assert.is_false(generations.trial)
    assert.equal(first, generations.destination(again.number, 0))
    serve("tried", TRIED:format(50))
    local whole = serve("whole")
    assert.is_false(generations.trial)
    assert.same({ whole, first }, { generations.serving, generations.previous })
  end)

  it("with a canary of all, or with nothing before them, are on no trial", function()
    serve("all", TRIED:format(100))
    assert.is_false(generations.trial)
    dispatch.switch(load("alone", TRIED:format(5)))
    assert.is_false(generations.trial)
  end)

  it("get whoever the code before knows no route for", function()
    local second = serve("second", TRIED:format(0.001))
    assert.same({ [second.number] = 50 }, share("/tried", 50))
  end)

  it("say what they are", function()
    local second = serve("second", TRIED:format(50))
    local status = generations.status()
    assert.same({ number = second.number, hash = second.hash }, status.serving)
    assert.same({ number = first.number, hash = first.hash }, status.previous)
    assert.is_true(status.trial)
    assert.is_true(#status.alive >= 2)
  end)
end)

describe("a consumer whose code changes", function()
  local ROOM = [[
local rille = require("rille")
local out = require("spec.out")
local Room = require("spec.support.background").Background:extend("%s")
function Room:word() return "%s" end
function Room:disconnect() out.gone = (out.gone or "") .. self:word() end
out.Room = Room
%s
return rille.app {}
]]

  local out

  --- Load a room as a class of that name, and have it serve.
  local function serve_room(name, word, code)
    local folder = script.folder { ["app.lua"] = ROOM:format(name, word, code or "") }
    local generation = loader.load(folder, generations.next_number())
    dispatch.switch(generation, "load")
    return generation
  end

  before_each(function()
    out = {}
    package.loaded["spec.out"] = out
    serve_room("Room", "one")
  end)

  after_each(function()
    background.clean()
    package.loaded["spec.out"] = nil
    script.clean()
  end)

  local function word(self)
    return self:word(), self.scope.generation
  end

  it("has the new class from its next event on, and on_reload before it, once", function()
    local room = background.open(out.Room)
    room:run(function(self)
      self.kept = 5
    end)
    local first = generations.serving.number
    local count = "function Room:on_reload(old) self.told = (self.told or 0) + 1 self.old = old end"
    local second = serve_room("Room", "two", count)
    assert.same({ "two", second.number }, { room:run(word) })
    assert.same({ "two", second.number }, { room:run(word) })
    assert.same({ 5, 1, first }, { room.self.kept, room.self.told, room.self.old })
    background.clean()
  end)

  it("is adopted without an event when nothing happens", function()
    local room = background.open(out.Room)
    serve_room("Room", "two", "function Room:on_reload() out.told = self:word() end")
    dispatch.adopt_all()
    eventually(function()
      return out.told == "two"
    end)
    local quiet = serve_room("Room", "three")
    dispatch.adopt_all()
    assert.equal(quiet.classes["app:Room"], getmetatable(room.self)) -- no event was needed
    background.clean()
  end)

  it("says goodbye in the new class, though its on_reload raises", function()
    local room = background.open(out.Room)
    serve_room("Room", "two", 'function Room:on_reload() error("not this one") end')
    room:close()
    eventually(function()
      return out.gone
    end)
    assert.equal("two", out.gone)
  end)

  it("that is gone says goodbye in the class it had", function()
    background.open(out.Room)
    serve_room("Other", "two")
    dispatch.adopt_all()
    eventually(function()
      return out.gone
    end)
    assert.equal("one", out.gone)
  end)

  it("finds the class that was renamed, back and forth", function()
    local room = background.open(out.Room)
    local before = generations.serving
    local renamed = serve_room("Hall", "two", 'Room.formerly = "Room"')
    assert.same({ "two", renamed.number }, { room:run(word) })
    assert.equal("Hall", getmetatable(room.self).__name)
    dispatch.switch(generations.after("rollback"), "rollback")
    assert.same({ "one", before.number }, { room:run(word) })
    background.clean()
  end)
end)

describe("a route's word on reloads", function()
  local function page() end

  it("is swap, pin or a canary", function()
    local function made(policy)
      local route = routing.get("/", page, { reload = policy })
      return { route.pinned or false, route.canary or false, route.limits }
    end
    assert.same({ false, false }, made(nil))
    assert.same({ false, false }, made("swap"))
    assert.same({ true, false }, made("pin"))
    assert.same({ false, 0.5 }, made { canary = 0.5 })
    local both = routing.get("/", page, { reload = "pin", max_body = 5 })
    assert.same({ max_body = 5 }, both.limits)
  end)

  it("is nothing else", function()
    local odd = { "stay", true, 5, {}, { canary = 0 }, { canary = 101 }, { canary = "5" } }
    odd[#odd + 1] = { canary = 0 / 0 }
    odd[#odd + 1] = { canary = 5, pin = true }
    for _, policy in ipairs(odd) do
      local message = refusal(routing.get, "/x", page, { reload = policy })
      assert.truthy(message:find('route "/x": reload is "swap", "pin" or', 1, true), message)
    end
  end)
end)
