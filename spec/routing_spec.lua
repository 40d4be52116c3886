local App = require("rille.app")
local Consumer = require("rille.consumer")
local errors = require("rille.errors")
local http = require("rille.consumer.http")
local raised = require("spec.support.raised")
local routing = require("rille.routing")
local websocket = require("rille.consumer.websocket")

local UUID = "123e4567-e89b-12d3-a456-426614174000"

local function page() end

local function router(...)
  return routing.Router { ... }
end

--- What a pattern captures of a path, or nil when it does not match.
local function captures(pattern, path)
  local route, kwargs = router(routing.http(pattern, page)):match("http", path, "GET")
  return route and (kwargs or {})
end

local function refusal(fn, ...)
  return raised.is(errors.ConfigurationError, raised.by(fn, ...))
end

local function says(text, fn, ...)
  raised.says(text, refusal(fn, ...))
end

describe("a route's pattern", function()
  it("without captures is a path, character by character", function()
    assert.same({}, captures("/a.b-c/%d+", "/a.b-c/%d+"))
    assert.is_nil(captures("/a.b", "/axb"))
    assert.is_nil(captures("/a", "/a/"))
    assert.is_nil(captures("/a/", "/a"))
    assert.is_nil(captures("/a", "/b/a"))
  end)

  it("with captures takes the rest literally, too", function()
    assert.same({ x = "1" }, captures("/a.b+(%d)/<x>.json", "/a.b+(%d)/1.json"))
    assert.is_nil(captures("/a.b/<x>", "/a-b/1"))
    assert.is_nil(captures("/<x>.json", "/1xjson"))
  end)

  it("captures a str up to the next slash, and never nothing", function()
    assert.same({ name = "é b" }, captures("/x/<name>", "/x/é b"))
    assert.same({ name = "a" }, captures("/x/<str:name>/", "/x/a/"))
    assert.is_nil(captures("/x/<name>", "/x/a/b"))
    assert.is_nil(captures("/x/<name>", "/x/"))
  end)

  it("captures an int as a number", function()
    assert.same({ id = 7 }, captures("/x/<int:id>", "/x/007"))
    assert.same({ id = 9007199254740992 }, captures("/x/<int:id>", "/x/9007199254740992"))
    for _, path in ipairs { "/x/-7", "/x/7.5", "/x/0x7", "/x/", "/x/7e1", "/x/ 7" } do
      assert.is_nil(captures("/x/<int:id>", path), path)
    end
  end)

  it("does not match an int that a number cannot hold: it would be another one", function()
    assert.is_nil(captures("/x/<int:id>", "/x/9007199254740993"))
    assert.is_nil(captures("/x/<int:id>", "/x/" .. ("9"):rep(400)))
  end)

  it("captures a slug of letters, digits, hyphens and underscores", function()
    assert.same({ room = "a-B_9" }, captures("/x/<slug:room>", "/x/a-B_9"))
    assert.is_nil(captures("/x/<slug:room>", "/x/a.b"))
    assert.is_nil(captures("/x/<slug:room>", "/x/é"))
  end)

  it("captures a UUID, in lower case", function()
    assert.same({ id = UUID }, captures("/x/<uuid:id>", "/x/" .. UUID))
    assert.same({ id = UUID }, captures("/x/<uuid:id>", "/x/" .. UUID:upper()))
    for _, text in ipairs { UUID .. "0", (UUID:gsub("%-", "")), "g" .. UUID:sub(2) } do
      assert.is_nil(captures("/x/<uuid:id>", "/x/" .. text), text)
    end
  end)

  it("captures a path with its slashes", function()
    assert.same({ file = "a/b.css" }, captures("/x/<path:file>", "/x/a/b.css"))
    assert.is_nil(captures("/x/<path:file>", "/x/"))
  end)

  it("captures several, each by its own type", function()
    assert.same(
      { room = "lobby", id = 12, rest = "a/b" },
      captures("/rooms/<slug:room>/<int:id>/<path:rest>", "/rooms/lobby/12/a/b")
    )
  end)

  for text, pattern in pairs {
    ["begins with a slash"] = "rooms",
    ["no type"] = "/<float:x>",
    ["without its counterpart"] = "/<int:id",
    ["neither <name> nor <type:name>"] = "/<int:>",
    ["<id> twice"] = "/<id>/<int:id>",
    ["a route's pattern is a string"] = 5,
  } do
    it(("is refused when wrong: %s"):format(text), function()
      says(text, routing.http, pattern, page)
    end)
  end
end)

describe("a router", function()
  it("takes the first route that matches", function()
    local first, second = routing.get("/x/<a>", page), routing.get("/x/new", page)
    assert.equal(first, (router(first, second):match("http", "/x/new", "GET")))
    assert.equal(second, (router(second, first):match("http", "/x/new", "GET")))
  end)

  it("goes on to the next when only the method differs", function()
    local get, post = routing.get("/x", page), routing.post("/x", page)
    assert.equal(post, (router(get, post):match("http", "/x", "POST")))
  end)

  it("says which methods there are when none of them is meant", function()
    local get, put = routing.get("/x", page), routing.put("/x", page)
    local route, methods = router(get, put, routing.post("/y", page)):match("http", "/x", "DELETE")
    assert.is_nil(route)
    assert.same({ "GET", "PUT" }, methods)
  end)

  it("says nothing of a path it does not know", function()
    assert.same({}, { router(routing.get("/x", page)):match("http", "/y", "GET") })
  end)

  it("answers HEAD with the route for GET, and with no other", function()
    local get, post = routing.get("/x", page), routing.post("/x", page)
    assert.equal(get, (router(post, get):match("http", "/x", "HEAD")))
    assert.is_nil((router(post):match("http", "/x", "HEAD")))
  end)

  it("answers every method with a route made by rille.http", function()
    local any = routing.http("/x", page)
    for _, method in ipairs { "GET", "POST", "PROPFIND" } do
      assert.equal(any, (router(any):match("http", "/x", method)))
    end
  end)

  it("keeps WebSockets and requests apart", function()
    local Chat = websocket.WebsocketConsumer:extend("Chat")
    local socket, request = routing.websocket("/x", Chat), routing.get("/x", page)
    local routes = router(socket, request)
    assert.equal(socket, (routes:match("websocket", "/x", "GET")))
    assert.equal(request, (routes:match("http", "/x", "GET")))
    assert.is_nil((router(request):match("websocket", "/x", "GET")))
  end)

  it("gives a route without captures no arguments", function()
    local _, kwargs = router(routing.get("/x", page)):match("http", "/x", "GET")
    assert.is_nil(kwargs)
  end)
end)

describe("routes", function()
  it("lead to functions and to classes of their own kind only", function()
    local Page = http.HttpConsumer:extend("Page")
    local Chat = websocket.JsonWebsocketConsumer:extend("Chat")
    assert.equal(Page, routing.get("/x", Page).target)
    assert.equal(Chat, routing.websocket("/x", Chat).target)
    local told = "a function or a class that extends HttpConsumer or EventStreamConsumer expected, "
    says(told .. "got Chat, which extends JsonWebsocketConsumer", routing.get, "/x", Chat)
    says(told .. "got nil: nothing of that name is known there", routing.post, "/x", nil)
    says(told .. "got a table", routing.http, "/x", {})
    told = 'route "/x": a class that extends WebsocketConsumer expected, '
    says(told .. "got nil: nothing of that name", routing.websocket, "/x", nil)
    says(told .. "got Page, which extends HttpConsumer", routing.websocket, "/x", Page)
    says("extends WebsocketConsumer", routing.websocket, "/x", page)
    says("extends WebsocketConsumer", routing.websocket, "/x", Consumer:extend("Worker"))
  end)

  it("may be lists of lists", function()
    local a, b, c = routing.get("/a", page), routing.get("/b", page), routing.get("/c", page)
    assert.same({ a, b, c }, router(a, { b, { c } }, {}).routes)
  end)

  it("are refused when they are something else", function()
    says("got a string", router, "/x")
    says("got a function", router, page)
  end)

  it("are refused when one of them is nil, rather than cut off there", function()
    local a = routing.get("/a", page)
    says("route 1 is nil", router, nil, a)
    says("route 2 is nil", router, a, nil, a)
  end)

  it("are refused under a name, rather than forgotten", function()
    says('"chat"', routing.Router, { chat = routing.get("/a", page) })
  end)

  it("can be included under a prefix, without changing what was included", function()
    local inner = { routing.get("/", page), { routing.post("/<int:id>", page) } }
    local outer = routing.include("/api", inner)
    assert.same({ "/api/", "/api/<int:id>" }, { outer[1].pattern, outer[2].pattern })
    assert.equal("POST", outer[2].method)
    assert.equal("/", inner[1].pattern)
    local nested = routing.include("/v1/", outer)
    assert.equal("/v1/api/", nested[1].pattern)
  end)

  it("can be included under a prefix with captures", function()
    local routes = router(routing.include("/<slug:room>", { routing.get("/<int:id>", page) }))
    local _, kwargs = routes:match("http", "/lobby/3", "GET")
    assert.same({ room = "lobby", id = 3 }, kwargs)
  end)

  it("are refused under a bad prefix", function()
    says("begins with a slash", routing.include, "api", {})
    says("is a string", routing.include, nil, {})
    says("is a string", routing.include, {})
  end)

  it("of files answer for the folder and for what is in it", function()
    local routes = router(routing.static("/static/", "page"))
    local route, kwargs = routes:match("http", "/static/css/a.css", "GET")
    assert.equal("GET", route.method)
    assert.same({ file = "css/a.css" }, kwargs)
    assert.truthy((routes:match("http", "/static/", "HEAD")))
    assert.is_nil((routes:match("http", "/static/a.css", "POST")))
    assert.is_nil((routes:match("http", "/other/a.css", "GET")))
    says("the name of a folder", routing.static, "/static/", "")
    says("the name of a folder", routing.static, "/static/")
  end)

  it("of an application are described with kind, method, pattern and target", function()
    local Chat = websocket.WebsocketConsumer:extend("Chat")
    local lines = App({
      routes = { routing.get("/a", page), routing.websocket("/b", Chat), routing.http("/c", page) },
    }):describe_routes()
    assert.same({ "websocket", "*", "/b", "Chat" }, lines[2])
    assert.same({ "http", "*", "/c" }, { unpack(lines[3], 1, 3) })
    assert.truthy(lines[1][4]:find("^routing_spec%.lua:%d+$"))
  end)
end)

describe("a notify route", function()
  local Listener = Consumer:extend("Listener")
  function Listener.notify() end

  it("has a channel and a database instead of a path", function()
    local route = routing.notify('Odd "name"', Listener)
    assert.same({ 'Odd "name"', "default" }, { route.channel, route.database })
    assert.equal("reports", routing.notify("a", Listener, { database = "reports" }).database)
    local both = router(routing.http("/a", page), route)
    assert.same({ route }, both.background)
    assert.equal(2, #both.routes)
    assert.is_nil((both:match("http", 'Odd "name"', "GET")))
  end)

  it("is the same behind any prefix", function()
    local included = routing.include("/x", { routing.notify("a", Listener) })[1]
    assert.equal("a", included.channel)
    assert.is_nil(included.pattern)
  end)

  it("needs a class that extends Consumer itself, and defines notify", function()
    local Silent = Consumer:extend("Silent")
    says('route notify "a": Silent has no method notify(event)', routing.notify, "a", Silent)
    for _, target in ipairs { page, Consumer.extend, "Listener", {} } do
      says('route notify "a": a class that extends Consumer itself', routing.notify, "a", target)
    end
    local Socket = websocket.WebsocketConsumer:extend("Socket")
    local Request = http.HttpConsumer:extend("Request")
    for _, cls in ipairs { Socket, Request } do
      function cls.notify() end
      says("a class that extends Consumer itself", routing.notify, "a", cls)
    end
    local Heir = Listener:extend("Heir")
    assert.equal(Heir, routing.notify("a", Heir).target)
  end)

  it("refuses a channel that PostgreSQL would cut or could not have", function()
    routing.notify(("x"):rep(63), Listener)
    for _, channel in ipairs { ("x"):rep(64), "", "a\0b" } do
      says("a channel's name has 1 to 63 bytes", routing.notify, channel, Listener)
    end
    says("channel is a string, got nil", routing.notify, nil, Listener)
  end)

  it("has one option, the database's name", function()
    for _, options in ipairs { { "reports" }, { database = 5 }, { databse = "x" }, "reports" } do
      says("the only option is { database = name }", routing.notify, "a", Listener, options)
    end
    says("the only option", routing.notify, "a", Listener, { database = "x", more = 1 })
  end)

  it("may be there twice for a channel, but not for the same class", function()
    local Other = Consumer:extend("Other")
    function Other.notify() end
    local first = routing.notify("a", Listener)
    assert.equal(2, #router(first, routing.notify("a", Other)).background)
    assert.equal(2, #router(first, routing.notify("b", Listener)).background)
    local reports = { database = "reports" }
    assert.equal(2, #router(first, routing.notify("a", Listener, reports)).background)
    says('route notify "a": twice for Listener', router, first, routing.notify("a", Listener))
  end)
end)
