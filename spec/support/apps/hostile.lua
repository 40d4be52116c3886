-- Handlers that do what they should not, for spec/server/hostile_spec.lua.
local rille = require("rille")
local core = require("rille.core")

local function note(...)
  io.stderr:write("noted: ", table.concat({ ... }, " "), "\n")
end

local Quiet = rille.WebsocketConsumer:extend("Quiet")

function Quiet:disconnect(code)
  note("disconnect", self.scope.path, tostring(code))
end

--- Every path below is one of these: what `receive` does.
local habits = {}

function habits.echo(self, text)
  self:asend { text_data = text }
end

function habits.slow(self, text)
  rille.asleep(0.002)
  self:asend { text_data = text }
end

function habits.counting(self, text) -- answers, heard or not
  rille.asleep(0)
  note("counted", text)
  self:asend { text_data = text }
end

function habits.asleep_long(_, text)
  rille.asleep(tonumber(text) or 3600)
end

function habits.pour(self, text) -- as much as it takes, in pieces of 64 KiB
  local piece = ("x"):rep(65536)
  for i = 1, tonumber(text) do
    self:asend { text_data = piece }
    note("poured", tostring(i))
  end
  note("poured all")
end

function habits.close_early(self, text)
  if text == "close" then
    self:close(4002, "because")
  else
    note("after close", text, tostring(pcall(self.asend, self, { text_data = text })))
  end
end

function habits.accept_twice(self)
  self:asend { text_data = tostring(select(2, pcall(self.accept, self))) }
end

function habits.recursion()
  local function deeper(n)
    return 1 + deeper(n + 1)
  end
  deeper(1)
end

function habits.memory()
  local all = {}
  while true do
    all[#all + 1] = ("y"):rep(100000) .. #all
  end
end

function habits.rep()
  return #("z"):rep(1e9)
end

function habits.garbage() -- much of it, little alive
  for i = 1, 3000 do
    local s = ("g"):rep(100000) .. i
    assert(#s > 100000)
  end
end

--- Until no memory is left for another piece of this size, or for a small table.
local function fill(all, size)
  pcall(function()
    while true do
      all[#all + 1] = size and ("y"):rep(size) .. #all or { #all }
    end
  end)
end

function habits.spawns_in_need()
  local all = {}
  fill(all, 10000)
  fill(all)
  for _ = 1, 1000 do
    pcall(rille.spawn, function() end)
  end
  assert(#all > 0) -- it has been there until now
end

function habits.pushes_in_need() -- what C has made ready does not fit into Lua any more
  local big = { ("b"):rep(3e6) }
  local all = {}
  fill(all, 100000)
  for _ = 1, 20 do
    pcall(rille.json.encode, big)
    pcall(core.http.split, "/" .. ("p"):rep(20000))
    pcall(core.describe, big[1])
  end
  assert(#all > 0)
end

function habits.cancels_in_need(self)
  local handles = {}
  for i = 1, 300 do
    handles[i] = self:spawn(function()
      rille.asleep(100)
    end)
  end
  rille.asleep(0.05)
  local all = {}
  fill(all, 10000)
  fill(all)
  for i = 1, 300 do
    handles[i]:cancel()
  end
  assert(#all > 0)
  self:asend { text_data = "cancelled" }
end

local weird = {
  none = function()
    error(nil)
  end,
  number = function()
    error(42)
  end,
  boolean = function()
    error(false)
  end,
  raising = function()
    error(setmetatable({}, {
      __tostring = function()
        error("no")
      end,
      __index = function()
        error("not even that")
      end,
    }))
  end,
  userdata = function()
    error(newproxy(true))
  end,
  thread = function()
    error(coroutine.create(print))
  end,
  pretender = function()
    error(setmetatable({ message = {} }, { __name = "BadRequest" }))
  end,
  long = function()
    error(("e"):rep(1e6))
  end,
  zero = function()
    error("before\0after")
  end,
  name = function()
    error(setmetatable({ message = "m" }, { __name = 7 }))
  end,
  protected = function()
    error(setmetatable({ message = "m" }, { __metatable = "no", __name = {} }))
  end,
}

function habits.weird(_, text)
  weird[text]()
end

function habits.bare_yield()
  coroutine.yield(1, 2, 3)
end

function habits.sentinel_yield()
  coroutine.yield(core.sentinel)
end

function habits.in_sort(self)
  local ok, err = pcall(table.sort, { 3, 2, 1 }, function(a, b)
    rille.asleep(0.01)
    return a < b
  end)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
end

function habits.in_gsub(self)
  local ok, err = pcall(string.gsub, "abc", ".", function()
    rille.asleep(0.01)
  end)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
end

function habits.wrap_in_sort(self)
  local ok, err = pcall(table.sort, { 3, 2, 1 }, function(a, b)
    coroutine.wrap(function()
      rille.asleep(0.05)
    end)()
    return a < b
  end)
  rille.asleep(0.1)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
  local t = self:spawn(function()
    rille.asleep(0.02)
    return "joined"
  end)
  pcall(table.sort, { 3, 2, 1 }, function(a, b)
    coroutine.wrap(function()
      t:ajoin()
    end)()
    return a < b
  end)
  self:asend { text_data = t:ajoin() }
end

function habits.in_handler(self)
  local ok, err = xpcall(function()
    error("first")
  end, function(e)
    rille.asleep(0.01)
    return e .. " handled"
  end)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
end

function habits.finalizer(self)
  for _ = 1, 1000 do
    local p = newproxy(true)
    getmetatable(p).__gc = function()
      rille.asleep(0.01)
    end
  end
  self:asend { text_data = "made" }
end

function habits.finalizer_error(self)
  for _ = 1, 1000 do
    local p = newproxy(true)
    getmetatable(p).__gc = function()
      error("in a finalizer")
    end
  end
  self:asend { text_data = "made" }
end

function habits.finalizer_spawn(self)
  for _ = 1, 10 do
    local p = newproxy(true)
    getmetatable(p).__gc = function()
      rille.spawn(function()
        rille.asleep(0.01)
      end)
    end
  end
  self:asend { text_data = "made" }
end

function habits.collect(self)
  collectgarbage()
  collectgarbage()
  self:asend { text_data = "collected" }
end

function habits.stop_collector(self)
  collectgarbage("stop")
  self:asend { text_data = "stopped" }
end

function habits.many_results(self)
  local t = {}
  for i = 1, 7990 do
    t[i] = i
  end
  local function results()
    return 1, 2, 3, 4, 5, unpack(t, 1, 7980)
  end
  local task = rille.spawn(results)
  rille.asleep(0.01)
  local ok, err = pcall(task.ajoin, task)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
  task = rille.spawn(function()
    rille.asleep(0.01)
    return results()
  end)
  ok, err = pcall(task.ajoin, task)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
end

function habits.timeouts(self)
  local ok, err = pcall(rille.atimeout, 0.02, function()
    rille.atimeout(5, function()
      rille.asleep(10)
    end)
  end)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
  ok, err = pcall(rille.atimeout, 0.02, function()
    pcall(rille.asleep, 10)
    pcall(rille.asleep, 10)
    return "swallowed"
  end)
  self:asend { text_data = tostring(ok) .. " " .. tostring(err) }
  rille.asleep(0.01)
  self:asend { text_data = "after" }
end

function habits.timeout_pour(self)
  local ok, err = pcall(rille.atimeout, 0.3, function()
    while true do
      self:asend { text_data = ("x"):rep(65536) }
    end
  end)
  note("timeout_pour", tostring(ok), tostring(err))
end

function habits.swallow(self)
  self:spawn(function()
    for _ = 1, 1000 do
      pcall(rille.asleep, 1)
    end
    note("swallowed a thousand")
  end)
  self:asend { text_data = "spawned" }
end

function habits.cancel_everywhere(self)
  local fresh = rille.spawn(function()
    return "ran"
  end)
  fresh:cancel()
  local a, b = pcall(fresh.ajoin, fresh)
  local parked = rille.spawn(function()
    rille.asleep(100)
  end)
  rille.asleep(0.01)
  parked:cancel()
  parked:cancel()
  local c, d = pcall(parked.ajoin, parked)
  local joined = rille.spawn(function()
    rille.asleep(100)
  end)
  local joiner = rille.spawn(function()
    joined:ajoin()
  end)
  rille.asleep(0.01)
  joiner:cancel()
  rille.asleep(0.01)
  joined:cancel()
  rille.asleep(0.01)
  local e, f = pcall(joined.ajoin, joined)
  local me
  me = rille.spawn(function()
    me:cancel()
    rille.asleep(1)
  end)
  local g, h = pcall(me.ajoin, me)
  local i, j = pcall(me.ajoin, me)
  local all = { a, b, c, d, e, f, g, h, i, j }
  for n = 1, #all do
    all[n] = tostring(all[n])
  end
  self:asend { text_data = table.concat(all, "|") }
end

local stale

function habits.keep(self)
  stale = self
  self:asend { text_data = "kept" }
end

function habits.use_stale(self)
  local ok, err = pcall(stale.asend, stale, { text_data = "to nobody" })
  local ok2, err2 = pcall(stale.spawn, stale, function() end)
  local ok3 = pcall(stale.close, stale)
  local ok4 = pcall(stale.agroup_add, stale, "g")
  self:asend {
    text_data = table.concat({
      tostring(ok),
      tostring(err),
      tostring(ok2),
      tostring(err2),
      tostring(ok3),
      tostring(ok4),
    }, "|"),
  }
end

function habits.early_timeout_generator(self)
  local gen = coroutine.wrap(function()
    rille.atimeout(0.02, function()
      coroutine.yield(1)
    end)
  end)
  gen()
  rille.asleep(0.05)
  self:asend { text_data = "still here" }
end

local Habit = Quiet:extend("Habit")

function Habit:connect()
  if self.scope.query.group then
    self:agroup_add("all")
  end
  self:accept()
end

function Habit:receive(text)
  local name = self.scope.url_route.kwargs.name
  habits[name](self, text)
end

local Member = Quiet:extend("Member")
Member.groups = { "members" }

function Member:receive(text)
  local delivered, dropped = self:agroup_send("members", { type = "websocket.send", text = text })
  note("sent", tostring(delivered), tostring(dropped))
end

local Openings = Quiet:extend("Openings")

local openings = {}

function openings.close_before_accept(self)
  self:close()
end

function openings.send_before_accept(self)
  self:asend { text_data = "early" }
end

function openings.accept_then_fail(self)
  self:accept()
  error("after accept")
end

function openings.slow_accept(self)
  rille.asleep(0.3)
  self:accept()
end

function openings.never()
  rille.asleep(3600)
end

function openings.deny_then_accept(self)
  self:deny(402)
  note("second", tostring(pcall(self.accept, self)))
end

function openings.inject(self)
  note("inject", tostring(pcall(self.accept, self, { headers = { ["x-a"] = "b\r\nx-c: d" } })))
  note("inject", tostring(pcall(self.accept, self, { subprotocol = "b\r\nx-c: d" })))
  self:accept()
end

function openings.spawn_in_disconnect(self)
  self:accept()
end

function Openings:connect()
  return openings[self.scope.url_route.kwargs.name](self)
end

function Openings:disconnect(code)
  Quiet.disconnect(self, code)
  if self.scope.url_route.kwargs.name == "spawn_in_disconnect" then
    self:spawn(function()
      note("spawned runs")
      rille.asleep(1)
      note("never")
    end)
    rille.asleep(0.05)
  end
end

local Http = rille.HttpConsumer:extend("Http")

function Http:disconnect()
  note("http disconnect", self.scope.path)
end

local answers = {}

function answers.fail_after_head(self)
  self:asend_headers(200, {})
  self:asend_body("part", { more_body = true })
  error("after the head")
end

function answers.fail_after_head_waiting(self)
  self:asend_headers(200, {})
  self:asend_body("part", { more_body = true })
  rille.asleep(0.05)
  error("after the head")
end

function answers.twice(self)
  self:asend_response(200, "one")
  note("twice", tostring(pcall(self.asend_response, self, 200, "two")))
  note("twice", tostring(pcall(self.asend_body, self, "two")))
  note("twice", tostring(pcall(self.asend_headers, self, 200)))
end

function answers.never()
  rille.asleep(3600)
end

function answers.silent() end

function answers.stream(self)
  self:asend_headers(200, { ["content-type"] = "text/plain" })
  for i = 1, 10 do
    self:asend_body(i .. "\n", { more_body = true })
    rille.asleep(0.01)
  end
  self:asend_body("end\n")
end

function answers.stream_long(self)
  self:asend_headers(200, {})
  while true do
    self:asend_body(("x"):rep(10000), { more_body = true })
    note("streamed")
    rille.asleep(0.01)
  end
end

function answers.echo(self, request) -- each piece goes back as it comes
  self:asend_headers(200, {})
  for chunk in request:achunks() do
    self:asend_body(chunk, { more_body = true })
  end
  self:asend_body("")
end

function answers.too_long(self)
  self:asend_headers(200, { ["content-length"] = "3" })
  note("too_long", tostring(pcall(self.asend_body, self, "abcdef")))
end

function answers.too_short(self)
  self:asend_headers(200, { ["content-length"] = "10" })
  self:asend_body("abc")
end

function answers.two_lengths(self)
  self:asend_response(200, "abc", { ["content-length"] = "10" })
end

function answers.two_tasks(self)
  self:asend_headers(200, {})
  self:spawn(function()
    rille.asleep(0.2)
    self:asend_body("last")
    note("two_tasks: the last is out")
  end)
  for _ = 1, 1000 do
    self:asend_body(("x"):rep(100000), { more_body = true })
  end
end

function answers.sleep_then_write(self)
  rille.asleep(0.3)
  local ok, err = pcall(self.asend_response, self, 200, "late")
  note("late", tostring(ok), tostring(err))
end

function Http:handle(request)
  return answers[self.scope.url_route.kwargs.name](self, request)
end

return rille.app {
  middleware = {
    function(scope, next)
      if scope.path == "/mid/fail" then
        error("middleware broke")
      elseif scope.path == "/mid/twice" then
        local a = { next(scope) }
        next(scope)
        return unpack(a)
      elseif scope.path == "/mid/slow" then
        rille.asleep(0.3)
      end
      return next(scope)
    end,
  },
  limits = { mailbox = 100, close_timeout = 2, abandon_grace = 0.5, keepalive_timeout = 20 },
  routes = {
    rille.websocket("/ws/member", Member),
    rille.websocket("/open/<name>", Openings),
    rille.websocket("/ws/<name>", Habit),
    rille.http("/http/<name>", Http),
    rille.get("/fine", function()
      return 200, "fine"
    end),
    rille.get("/mid/<name>", function()
      return 200, "mid"
    end),
    rille.get("/census", function()
      collectgarbage()
      return 200, core.worker.census()
    end),
    rille.http("/length", function(request)
      return 200, tostring(#request:abody())
    end),
    rille.http("/late/<int:ms>", function(request)
      rille.asleep(request.url_route.kwargs.ms / 1000)
      return 200, request.path
    end),
    rille.http("/unread", function()
      return 200, "unread"
    end),
    rille.get("/headers/<name>", function(request)
      local name = request.url_route.kwargs.name
      if name == "huge" then
        return 200, "", { ["x-huge"] = ("h"):rep(1e6) }
      elseif name == "crlf" then
        return 200, "", { ["x-a"] = "b\r\nx-c: d" }
      elseif name == "name" then
        return 200, "", { ["x-a\r\nx-c"] = "d" }
      elseif name == "te" then
        return 200, "abc", { ["transfer-encoding"] = "chunked" }
      elseif name == "cl" then
        return 200, "abc", { ["content-length"] = "10" }
      end
      return 200, "", { connection = "upgrade" }
    end),
  },
}
