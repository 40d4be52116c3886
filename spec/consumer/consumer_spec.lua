--- What a consumer is without a connection: its class, and which messages it answers. What it does
--- to a connection is told in spec/server.

local Consumer = require("rille.consumer")
local raised = require("spec.support.raised")
local Scope = require("rille.scope")
local errors = require("rille.errors")
local http = require("rille.consumer.http")
local task = require("rille.task")
local websocket = require("rille.consumer.websocket")

local raised_by = raised.by

--- An instance for a connection that is gone.
local function open(cls)
  return cls:open(Scope.new(0, "websocket", "GET", ":target\0/\0"))
end

describe("a consumer", function()
  it("answers a message by the method its type names", function()
    local Room = Consumer:extend("Room")
    function Room:chat_message(message)
      return self, message.text
    end
    function Room.chat_user_joined()
      return "joined"
    end
    local room = open(Room)
    assert.same({ room, "hi" }, { room:dispatch({ type = "chat.message", text = "hi" }) })
    assert.equal("joined", room:dispatch({ type = "chat.user.joined" }))
  end)

  it("makes its scope and its channel's name when they are asked for, once", function()
    local Room = websocket.WebsocketConsumer:extend("Room")
    local fields = ":target\0/a%20b?x=1\0host\0example.com\0"
    local room = Room:open(Scope.new(7, "websocket", "GET", fields), true)
    assert.is_nil(rawget(room, "scope"))
    assert.is_nil(rawget(room, "channel_name"))
    local at = room.scope
    assert.same({ "/a b", "1", "example.com" }, { at.path, at.query.x, at.headers.host })
    at.user = "ann"
    assert.equal("ann", room.scope.user)
    assert.matches("^specific%.%x+!7$", room.channel_name)
    assert.equal(room.channel_name, rawget(room, "channel_name"))
    assert.is_nil(room.groups)
    room.scope = nil
    assert.equal("/a b", room.scope.path)
  end)

  it("keeps a scope to which something was added", function()
    local Room = websocket.WebsocketConsumer:extend("Room")
    local scope = Scope.new(7, "websocket", "GET", ":target\0/\0")
    assert.is_true(Scope.is_bare(scope))
    scope.url_route = { kwargs = { id = 7 } }
    assert.is_false(Scope.is_bare(scope))
    assert.is_false(Scope.is_bare(Scope.new(7, "websocket", "GET", ":target\0/\0", "/app")))
    assert.is_false(Scope.is_bare(Scope.new(7, "http", "GET", ":target\0/\0")))
    assert.equal(scope, Room:open(scope).scope)
  end)

  it("answers by methods that its class inherits from the script's own", function()
    local Base = websocket.WebsocketConsumer:extend("Base")
    function Base.ping()
      return "pong"
    end
    assert.equal("pong", open(Base:extend("Room")):dispatch({ type = "ping" }))
  end)

  for what, kind in pairs {
    ["that nobody handles"] = "chat.shout",
    ["that name a private method"] = "_private",
    ["that name a private method by a dot"] = ".private",
    ["that name a method of the library"] = "close",
    ["that name a waiting method of the library"] = "asend",
    ["that name what every class has"] = "extend",
    ["that name a field"] = "groups",
    ["that name a metamethod"] = "__index",
  } do
    it(("raises for messages %s"):format(what), function()
      local Room = websocket.WebsocketConsumer:extend("Room")
      Room.groups = { "a" }
      function Room._private() end
      local err = raised_by(Room.dispatch, open(Room), { type = kind })
      local told = ("no handler for message type %q in Room"):format(kind)
      assert.equal(told, err.message)
    end)
  end

  it("answers no message by a method that the library calls, even the script's own", function()
    local Room = websocket.WebsocketConsumer:extend("Room")
    function Room.receive()
      return "as if a client had sent it"
    end
    local err = raised_by(Room.dispatch, open(Room), { type = "receive" })
    assert.equal('no handler for message type "receive" in Room', err.message)
  end)

  it("is initialised without arguments, with its scope and channel", function()
    local Room = Consumer:extend("Room")
    function Room:init(...)
      self.seen = { self.scope.path, type(self.channel_name), select("#", ...) }
    end
    assert.same({ "/", "string", 0 }, open(Room).seen)
  end)

  it("knows what the script's classes define, and not what the library does", function()
    local Base = websocket.WebsocketConsumer:extend("Base")
    function Base.websocket_send() end
    assert.is_true(Base:extend("Room"):defines("websocket_send"))
    assert.is_false(websocket.WebsocketConsumer:extend("Plain"):defines("websocket_send"))
    assert.is_false(websocket.WebsocketConsumer:extend("Plain"):defines("connect"))
  end)

  it("raises Closed for what needs a connection that is gone", function()
    local room, page = open(websocket.WebsocketConsumer:extend("Room")), open(http.HttpConsumer)
    for _, act in ipairs {
      function()
        room:accept()
      end,
      function()
        room:asend { text_data = "x" }
      end,
      function()
        room:asend { bytes_data = "\255" }
      end,
      function()
        room:deny(403)
      end,
      function()
        page:asend_headers(200)
      end,
      function()
        page:asend_body("x")
      end,
      function()
        page:asend_response(200, "x")
      end,
    } do
      local err = raised_by(act)
      assert.is_true(errors.is_error(err, errors.Closed), tostring(err))
    end
    room:close() -- twice is harmless, and so is late
    room:close(4000, "late")
  end)

  it("sends text or bytes, and nothing else", function()
    local room = open(websocket.WebsocketConsumer:extend("Room"))
    for _, message in ipairs { "x", 5, {} } do
      local err = raised_by(function()
        room:asend(message)
      end)
      assert.truthy(err:find("consumer_spec.lua:%d+: asend needs { text_data = … }"), err)
    end
  end)

  it("closes with no code that is none", function()
    local room = open(websocket.WebsocketConsumer:extend("Room"))
    for _, code in ipairs { 0, 999, 1005, 1006, 1015, 2999, 5000, -1 } do
      raised_by(room.close, room, code)
    end
    raised_by(room.close, room, 1000, ("x"):rep(124))
    raised_by(room.close, room, 1000, "\255")
  end)

  it("spawns functions only", function()
    local room = open(websocket.WebsocketConsumer:extend("Room"))
    local err = raised_by(room.spawn, room, "fn")
    assert.truthy(err:find("spawn needs a function, got string", 1, true), err)
  end)
end)

describe("a JSON consumer", function()
  local Echo = websocket.JsonWebsocketConsumer:extend("Echo")
  function Echo:receive_json(content)
    task.asleep(0)
    self.got = content
  end

  it("receives what the text says", function()
    local echo = open(Echo)
    echo:receive('{"a":[1,null]}')
    assert.equal(1, echo.got.a[1])
  end)

  it("takes everything else for the client's mistake", function()
    for _, case in ipairs { { "" }, { nil, "bytes" }, { "{" }, { '"\255"' } } do
      local err = raised_by(Echo.receive, open(Echo), case[1], case[2])
      assert.is_true(errors.is_error(err, errors.BadRequest), tostring(err))
    end
  end)
end)
