--- What Daphne's suite promises and no other spec here does: frames, time-outs, the scope of what
--- is under way at once.

local rille = require("rille")
local testing = require("rille.testing")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text, bytes)
  self:asend { text_data = text, bytes_data = bytes }
end

local function connected(app, path)
  local ann = testing.WebsocketCommunicator(app, path or "/")
  assert.is_true(ann:aconnect())
  return ann
end

describe("a WebSocket", function()
  it("carries text of any language, and bytes that are no text", function()
    local ann = connected(Echo)
    for _, text in ipairs { "What is here? 🌍", "\0", "é\u{10FFFF}" } do
      ann:asend_to { text_data = text }
      assert.equal(text, ann:areceive_from())
    end
    for _, bytes in ipairs { "what is here? \226", "\0\255\254", ("\128"):rep(70000) } do
      ann:asend_to { bytes_data = bytes }
      assert.equal(bytes, ann:areceive_from())
    end
    ann:adisconnect()
  end)

  it("is none of the business of HTTP's time-outs", function()
    local app = rille.app {
      limits = {
        request_timeout = 1,
        answer_timeout = 1,
        keepalive_timeout = 1,
        body_timeout = 1,
        handshake_timeout = 1,
        ping_interval = false,
      },
      routes = { rille.websocket("/", Echo) },
    }
    local ann = connected(app)
    for _ = 1, 3 do
      testing.clock:advance(1000)
      ann:asend_to { text_data = "still here" }
      assert.equal("still here", ann:areceive_from())
    end
    ann:adisconnect()
  end)

  it("that asks for too much in one message never has it delivered", function()
    local events = {}
    local Noted = Echo:extend("Noted")
    function Noted:connect()
      events[#events + 1] = "connect"
    end
    function Noted:receive(text)
      events[#events + 1] = text
      self:asend { text_data = text }
    end
    function Noted:disconnect(code)
      events[#events + 1] = "disconnect " .. code
    end
    local app = rille.app {
      limits = { max_message = 8 },
      routes = { rille.websocket("/", Noted) },
    }
    local ann = connected(app)
    ann:asend_to { text_data = "12345678" }
    assert.equal("12345678", ann:areceive_from())
    ann:asend_to { text_data = ("x"):rep(16) }
    assert.equal(1009, (ann:areceive_close()))
    ann:await()
    assert.same({ "connect", "12345678", "disconnect 1009" }, events)
  end)

  it("has its captures typed, those of the routes around it, too", function()
    local Teller = rille.WebsocketConsumer:extend("Teller")
    function Teller:connect()
      self:accept()
      self:asend { text_data = rille.json.encode(self.scope.url_route.kwargs) }
    end
    local pages = { rille.websocket("/<int:year>/<str:page>", Teller) }
    local ann = connected(rille.app {
      routes = rille.include("/books/<slug:book>", pages),
    }, "/books/moby-dick/1851/%C3%A9")
    assert.same({ book = "moby-dick", year = 1851, page = "é" }, ann:areceive_json_from())
    ann:adisconnect()
  end)
end)

describe("requests that are under way at once", function()
  it("keep their own scopes, in whatever order they end", function()
    local app = rille.app {
      routes = {
        rille.get("/<int:n>", function(request)
          local n = request.url_route.kwargs.n
          request.user = "user " .. n
          rille.asleep(n)
          return 200, ("%s %d %s"):format(request.user, request.url_route.kwargs.n, request.path)
        end),
      },
    }
    local asking, answers = {}, {}
    for i, n in ipairs { 30, 10, 20 } do
      asking[i] = rille.spawn(function()
        local request = testing.HttpCommunicator(app, "GET", "/" .. n)
        local body = request:aget_response(1000).body
        answers[#answers + 1] = body
      end)
    end
    rille.asleep(0.01)
    testing.clock:aadvance(40)
    for _, one in ipairs(asking) do
      one:ajoin()
    end
    assert.same({ "user 10 10 /10", "user 20 20 /20", "user 30 30 /30" }, answers)
  end)
end)

describe("a route that has others below it", function()
  it("is passed by when none of them matches, for the next one", function()
    local function saying(text)
      return function()
        return 200, text
      end
    end
    local app = rille.app {
      routes = {
        rille.include("/shop", { rille.get("/cart", saying("inner")) }),
        rille.get("/shop/<path:rest>", saying("outer")),
      },
    }
    local function body(path)
      return testing.HttpCommunicator(app, "GET", path):aget_response().body
    end
    assert.equal("inner", body("/shop/cart"))
    assert.equal("outer", body("/shop/carts"))
    assert.equal("outer", body("/shop/cart/1"))
  end)
end)
