--- Communicators: the real way of a consumer's events, from the other end of its connection.

local rille = require("rille")
local testing = require("rille.testing")

local Echo = rille.JsonWebsocketConsumer:extend("Echo")

function Echo:connect()
  self:accept {
    subprotocol = self.scope.subprotocols[1],
    headers = { ["x-kind"] = "echo" },
  }
end

function Echo:receive(text_data, bytes_data)
  if bytes_data then
    self:asend { bytes_data = bytes_data }
  else
    rille.JsonWebsocketConsumer.receive(self, text_data)
  end
end

function Echo:receive_json(content)
  if content.fail then
    error(content.fail)
  elseif content.raise then
    error(rille.DataError(content.raise), 0)
  elseif content.close then
    self:close(content.close, "test reason")
  elseif content.spawn then
    self:spawn(function()
      error("it failed")
    end)
  elseif content.disconnect then
    self.fails = true
  else
    self:asend_json(content)
  end
end

function Echo:disconnect()
  if self.fails then
    error("disconnect failed")
  end
end

local function connected(options)
  local ann = testing.WebsocketCommunicator(Echo, "/room?as=ann", options)
  assert.is_true(ann:aconnect())
  return ann
end

describe("a WebSocket communicator", function()
  it("carries text, bytes and JSON there and back", function()
    local ann = connected()
    local long = ("x"):rep(70000)
    for _, bytes in ipairs { "\255\0", ("y"):rep(200), long } do
      ann:asend_to { bytes_data = bytes }
      assert.equal(bytes, ann:areceive_from())
    end
    ann:asend_json_to { text = "grüße" }
    assert.same({ text = "grüße" }, ann:areceive_json_from())
    ann:adisconnect()
  end)

  it("tells what the handshake was answered with", function()
    local ann = testing.WebsocketCommunicator(Echo, "/", { subprotocols = { "v2", "v1" } })
    local accepted, subprotocol = ann:aconnect()
    assert.is_true(accepted)
    assert.equal("v2", subprotocol)
    assert.equal("echo", ann.response.headers["x-kind"])
    ann:adisconnect()
  end)

  it("tells of a refusal by its status", function()
    local Wall = rille.WebsocketConsumer:extend("Wall")
    function Wall:connect()
      if self.scope.path == "/denied" then
        self:deny(404, { ["x-why"] = "no" }, "nothing here")
      else
        self:close()
      end
    end
    local ann = testing.WebsocketCommunicator(Wall, "/")
    assert.same({ false, 403 }, { ann:aconnect() })
    local bob = testing.WebsocketCommunicator(Wall, "/denied")
    assert.same({ false, 404 }, { bob:aconnect() })
    assert.equal("nothing here", bob.response.body)
    assert.equal("no", bob.response.headers["x-why"])
  end)

  it("raises what the consumer raises, with its traceback", function()
    local ann = connected()
    ann:asend_json_to { fail = "boom" }
    local ok, err = pcall(ann.areceive_from, ann)
    assert.is_false(ok)
    assert.truthy(err:find("Echo .- failed in receive .-communicators_spec.lua:%d+: boom"), err)
    assert.truthy(err:find("stack traceback:.*communicators_spec.lua:%d+: in function"), err)
    ann:adisconnect()
  end)

  it("raises an error object as it was", function()
    local ann = connected()
    ann:asend_json_to { raise = "bad data" }
    local ok, err = pcall(ann.areceive_from, ann)
    assert.is_false(ok)
    assert.is_true(rille.is_error(err, rille.DataError))
    ann:adisconnect()
  end)

  it("hands out what was sent before the error, then the error", function()
    local ann = connected()
    ann:asend_json_to { n = 1 }
    ann:asend_json_to { fail = "boom" }
    assert.same({ n = 1 }, ann:areceive_json_from())
    assert.error_matches(function()
      ann:areceive_from()
    end, "boom")
    ann:adisconnect()
  end)

  it("raises what connect, disconnect and a spawned task raise", function()
    local Broken = rille.WebsocketConsumer:extend("Broken")
    function Broken:connect()
      error("no " .. self.scope.path)
    end
    local ann = testing.WebsocketCommunicator(Broken, "/way")
    assert.error_matches(function()
      ann:aconnect()
    end, "no /way")

    local bob = connected()
    bob:asend_json_to { disconnect = true }
    assert.error_matches(function()
      bob:adisconnect()
    end, "disconnect failed")

    local cat = connected()
    cat:asend_json_to { spawn = true }
    local ok, err = pcall(cat.areceive_from, cat)
    assert.is_false(ok)
    assert.truthy(err:find("a task spawned at .-communicators_spec.lua:%d+ failed: .*it failed"))
    cat:adisconnect()
  end)

  it("says so when the server closes instead", function()
    local ann = connected()
    ann:asend_json_to { close = 4007 }
    assert.error_matches(function()
      ann:areceive_from()
    end, "the server has closed: 4007 test reason")
    ann:await()
    local bob = connected()
    bob:asend_json_to { close = 4008 }
    assert.same({ 4008, "test reason" }, { bob:areceive_close() })
    bob:await()
  end)

  it("gives up waiting after its time, and tells what for", function()
    local ann = connected()
    assert.is_true(ann:areceive_nothing(0.01))
    local ok, err = pcall(ann.areceive_from, ann, 0.01)
    assert.is_false(ok)
    assert.is_true(rille.is_error(err, rille.Timeout))
    assert.truthy(err.message:find("no message from /room?as=ann within 0.01 seconds", 1, true))
    ann:asend_json_to { n = 1 }
    assert.is_false(ann:areceive_nothing(5))
    assert.same({ n = 1 }, ann:areceive_json_from())
    ann:adisconnect()
  end)

  it("is held to the limits of its route", function()
    local app = rille.app {
      routes = { rille.websocket("/", Echo, { max_message = 8 }) },
    }
    local ann = testing.WebsocketCommunicator(app, "/")
    assert.is_true(ann:aconnect())
    ann:asend_to { text_data = ("x"):rep(9) }
    assert.equal(1009, (ann:areceive_close()))
    ann:await()
  end)
end)

describe("communicators of two applications", function()
  it("may be open at once: each consumer stays with its class", function()
    local Shout = rille.WebsocketConsumer:extend("Echo") -- the same name, another class
    function Shout:receive(text)
      self:asend { text_data = text:upper() }
    end
    local ann = connected()
    local bob = testing.WebsocketCommunicator(Shout, "/")
    assert.is_true(bob:aconnect())
    for _ = 1, 2 do
      bob:asend_to { text_data = "hello" }
      assert.equal("HELLO", bob:areceive_from())
      ann:asend_json_to { n = 1 }
      assert.same({ n = 1 }, ann:areceive_json_from())
    end
    ann:adisconnect()
    bob:adisconnect()
  end)
end)

describe("an HTTP communicator", function()
  it("gets status, headers and body", function()
    local function handler(request)
      return 201, { got = request:abody(), q = request.query.q }, { ["x-a"] = { "1", "2" } }
    end
    for _, body in ipairs { "whole", { "in ", "pieces" } } do
      local post = testing.HttpCommunicator(handler, "POST", "/a?q=7", { body = body })
      local response = post:aget_response()
      assert.equal(201, response.status)
      assert.equal("1, 2", response.headers["x-a"])
      assert.same({
        got = type(body) == "table" and table.concat(body) or body,
        q = "7",
      }, rille.json.decode(response.body))
    end
  end)

  it("raises what the handler raises", function()
    local get = testing.HttpCommunicator(function()
      error("out of order")
    end, "GET", "/")
    local ok, err = pcall(get.aget_response, get)
    assert.is_false(ok)
    assert.truthy(err:find("failed in handle.*out of order.*stack traceback"), err)
    assert.equal(500, get.response.status)
  end)

  it("gets a streamed body piece by piece", function()
    local Stream = rille.HttpConsumer:extend("Stream")
    local go_on = rille.queue()
    function Stream:handle()
      self:asend_headers(200, {})
      for _ = 1, 3 do
        self:asend_body(go_on:aget(), { more_body = true })
      end
      self:asend_body("end")
    end
    local get = testing.HttpCommunicator(Stream, "GET", "/")
    for i = 1, 3 do
      go_on:aput("piece " .. i)
      assert.equal("piece " .. i, get:achunk())
    end
    assert.equal("end", get:achunk())
    assert.is_nil(get:achunk())
  end)

  it("reads an event stream", function()
    local Ticker = rille.EventStreamConsumer:extend("Ticker")
    function Ticker:connect()
      self:asend_event { data = "one\ntwo", event = "tick", id = "7" }
      self:asend_event { data = "three" }
    end
    local get = testing.HttpCommunicator(Ticker, "GET", "/")
    assert.equal(200, get:aget_response().status)
    assert.same({ event = "tick", data = "one\ntwo", id = "7" }, get:aevent())
    assert.same({ event = "message", data = "three" }, get:aevent())
    get:adisconnect()
  end)
end)

describe("a channel communicator", function()
  local made = {}
  local Thumbnails = rille.Consumer:extend("Thumbnails")
  function Thumbnails:make(event)
    assert(event.photo ~= 13, "no such photo")
    made[#made + 1] = event.photo
  end
  local app = rille.app {
    routes = {
      rille.channel("thumbnails", Thumbnails),
      rille.post("/photos/<int:id>", function(request)
        local photo = request.url_route.kwargs.id
        rille.channel_layer:asend("thumbnails", { type = "make", photo = photo })
        return 202
      end),
    },
  }

  it("has the consumer handle a message, and raises what that raises", function()
    local worker = testing.ChannelCommunicator(app, "thumbnails")
    worker:asend { type = "make", photo = 7 }
    assert.same({ 7 }, made)
    assert.error_matches(function()
      worker:asend { type = "make", photo = 13 }
    end, "no such photo")
    worker:asend { type = "make", photo = 8 }
    assert.same({ 7, 8 }, made)
    worker:adisconnect()
  end)

  it("takes what the application has sent to the channel", function()
    local worker = testing.ChannelCommunicator(app, "thumbnails")
    assert.equal(202, testing.HttpCommunicator(app, "POST", "/photos/9"):aget_response().status)
    assert.same({ type = "make", photo = 9 }, worker:ahandle())
    assert.equal(9, made[#made])
    worker:adisconnect()
  end)

  it("knows the application's channels", function()
    assert.error_matches(function()
      testing.ChannelCommunicator(app, "thumbs")
    end, 'no channel "thumbs"; there are: thumbnails')
  end)
end)
