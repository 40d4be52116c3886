--- What Channels' and Daphne's own suites promise and no other spec here does, said again with
--- communicators.

local rille = require("rille")
local testing = require("rille.testing")

local function websocket(methods, options)
  local Class = rille.WebsocketConsumer:extend("Case")
  for name, method in pairs(methods) do
    Class[name] = method
  end
  local one = testing.WebsocketCommunicator(Class, options and options.path or "/", options)
  return one, Class
end

local function get(handler, path, options)
  return testing.HttpCommunicator(handler, options and options.method or "GET", path, options)
end

describe("a connection's scope", function()
  for url, expected in pairs {
    ["/user/%E4%BD%A0%E5%A5%BD/?test=value"] = { "/user/你好/", "test=value" },
    ["/foo%2Fbar?a=%20b&a=c"] = { "/foo/bar", "a=%20b&a=c" },
    ["/"] = { "/", "" },
  } do
    it("has path and query of " .. url, function()
      local ann = websocket({
        connect = function(self)
          self:accept()
          local s = self.scope
          self:asend { text_data = ("%s %s %s"):format(s.path, s.query_string, s.raw_path) }
        end,
      }, { path = url })
      assert.is_true(ann:aconnect())
      local raw = url:match("^[^?]*")
      assert.equal(("%s %s %s"):format(expected[1], expected[2], raw), ann:areceive_from())
      ann:adisconnect()
    end)
  end

  it("is each connection's own, and so is what a handler puts into it", function()
    local ann, Class = websocket({
      receive = function(self, text)
        self.scope.user = self.scope.user or text
        self:asend { text_data = self.scope.user .. self.scope.path }
      end,
    }, { path = "/a" })
    local bob = testing.WebsocketCommunicator(Class, "/b")
    for _, one in ipairs { ann, bob } do
      assert.is_true(one:aconnect())
    end
    ann:asend_to { text_data = "ann" }
    bob:asend_to { text_data = "bob" }
    bob:asend_to { text_data = "eve" }
    assert.equal("bob/b", bob:areceive_from())
    assert.equal("ann/a", ann:areceive_from())
    assert.equal("bob/b", bob:areceive_from())
    ann:adisconnect()
    bob:adisconnect()
  end)

  it("has the subprotocols that were offered, of which none need be chosen", function()
    local ann = websocket({
      connect = function(self)
        self:accept()
        self:asend { text_data = table.concat(self.scope.subprotocols, " ") }
      end,
    }, { subprotocols = { "proto1", "proto2" } })
    assert.same({ true }, { ann:aconnect() })
    assert.equal("proto1 proto2", ann:areceive_from())
    ann:adisconnect()
  end)
end)

describe("a WebSocket", function()
  it("carries an empty message as one", function()
    local ann = websocket {
      receive = function(self, text, bytes)
        self:asend { text_data = text, bytes_data = bytes }
      end,
    }
    assert.is_true(ann:aconnect())
    ann:asend_to { text_data = "" }
    assert.equal("", ann:areceive_from())
    ann:asend_to { bytes_data = "" }
    assert.equal("", ann:areceive_from())
    ann:adisconnect()
  end)

  it("joins its groups before connect, and has left them after disconnect", function()
    local ann, Class = websocket {
      connect = function(self)
        self:accept()
        self:agroup_send("case", { type = "case.hello" })
      end,
      case_hello = function(self)
        self:asend { text_data = "heard" }
      end,
    }
    Class.groups = { "case" }
    assert.is_true(ann:aconnect())
    assert.equal("heard", ann:areceive_from())
    assert.equal(1, rille.channel_layer:agroup_count("case"))
    ann:adisconnect()
    assert.equal(0, rille.channel_layer:agroup_count("case"))
  end)

  for _, kind in ipairs { "_my_private_handler", ".my_private_handler", "connect", "unheard.of" } do
    it("answers no message of the layer of type " .. kind, function()
      local ann, Class = websocket {
        _my_private_handler = function() end,
      }
      Class.groups = { "case" }
      assert.is_true(ann:aconnect())
      rille.channel_layer:agroup_send("case", { type = kind })
      local ok, err = pcall(ann.areceive_from, ann)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(kind, 1, true), tostring(err))
      assert.equal(1011, (ann:areceive_close()))
      ann:adisconnect()
    end)
  end

  it("whose handler never ends is not waited for", function()
    local cancelled
    local ann = websocket {
      receive = function()
        local ok, err = pcall(rille.asleep, 1e6)
        cancelled = not ok and rille.is_error(err, rille.Cancelled)
        error(err, 0)
      end,
    }
    assert.is_true(ann:aconnect())
    ann:asend_to { text_data = "go" }
    local ok, err = pcall(ann.adisconnect, ann, 1000, 0.2)
    assert.is_false(ok)
    assert.truthy(err.message:find("the consumer of / did not end within 0.2 seconds", 1, true))
    testing.clock:advance(10)
    ann:adisconnect()
    assert.is_true(cancelled)
  end)

  it("gets no answer's body on its way when it refuses", function()
    local ann = websocket {
      connect = function(self)
        self:deny(302, { location = "/elsewhere" })
      end,
    }
    assert.same({ false, 302 }, { ann:aconnect() })
    assert.equal("/elsewhere", ann.response.headers.location)
  end)
end)

describe("disconnect", function()
  local models = require("rille.models")
  local Note = models.define("kit_case", {
    id = models.auto(),
    text = models.text { unique = true },
  })
  local ends = {}

  function ends.error()
    error("no")
  end

  function ends.database_error()
    Note.objects:acreate { text = "twice" }
    Note.objects:acreate { text = "twice" }
  end

  function ends.broken_transaction()
    rille.atomic(ends.database_error)
  end

  function ends.closed(self)
    self:close(4000)
  end

  function ends.timeout()
    rille.atimeout(0.01, function()
      rille.asleep(60)
    end)
  end

  function ends.transaction_left()
    rille.db:apinned(function(conn)
      conn:aexecute("BEGIN")
      error("no")
    end)
  end

  for how, fail in pairs(ends) do
    for _, event in ipairs { "connect", "receive", "case_event" } do
      it(("runs once when %s ends with %s, and holds nothing"):format(event, how), function()
        local count = 0
        local methods = {
          disconnect = function()
            count = count + 1
            Note.objects:acount()
          end,
          [event] = fail,
        }
        local Class = rille.WebsocketConsumer:extend("Ending")
        for name, method in pairs(methods) do
          Class[name] = method
        end
        Class.groups = { "case" }
        local app = rille.app { models = { Note }, routes = { rille.websocket("/", Class) } }
        local ann = testing.WebsocketCommunicator(app, "/")
        pcall(ann.aconnect, ann)
        if event == "receive" then
          ann:asend_to { text_data = "go" }
        elseif event == "case_event" then
          rille.channel_layer:agroup_send("case", { type = "case.event" })
        end
        if event ~= "connect" then
          pcall(ann.areceive_from, ann)
        end
        pcall(ann.await, ann)
        assert.equal(1, count)
        local stats = rille.db:stats()
        assert.same({ 0, 0 }, { stats.leased, stats.waiting })
        ann:drop()
      end)
    end
  end
end)

describe("a request", function()
  it("has an instance of its own", function()
    local Counter = rille.HttpConsumer:extend("Counter")
    function Counter:handle()
      self.count = (self.count or 0) + 1
      self:asend_response(200, tostring(self.count))
    end
    for _ = 1, 2 do
      assert.equal("1", get(Counter, "/"):aget_response().body)
    end
  end)

  it("has its queries in the test's transaction, whose connection nothing closes", function()
    local models = require("rille.models")
    local Note = models.define("kit_request", { id = models.auto(), text = models.text() })
    local app = testing.load(rille.app {
      databases = { default = { url = "sqlite:never_made.db", conn_max_age = 0 } },
      models = { Note },
      routes = {
        rille.post("/", function(request)
          Note.objects:acreate { text = request:abody() }
          return 200, tostring(Note.objects:acount())
        end),
      },
    })
    for i = 1, 2 do
      local one = get(app, "/", { method = "POST", body = "a note" })
      assert.equal(tostring(i), one:aget_response().body)
    end
    assert.equal(2, Note.objects:acount())
    assert.equal(1, rille.db:stats().opened)
  end)

  it("has its JSON, and its handler's status, headers and body exactly", function()
    local function handler(request)
      local got = request:ajson()
      return 222, "answer: " .. got.value, { ["content-type"] = "text/plain", ["x-a"] = "b" }
    end
    local response = get(handler, "/", { method = "POST", body = '{"value": 42}' }):aget_response()
    assert.equal(222, response.status)
    assert.equal("answer: 42", response.body)
    assert.equal("text/plain", response.headers["content-type"])
    assert.equal("b", response.headers["x-a"])
  end)

  it("has repeated headers joined, in order, by lower-case names", function()
    local response = get(function(request)
      return 200, request.headers["x-many"]
    end, "/", { headers = { ["X-Many"] = { " one ", "two" } } }):aget_response()
    assert.equal("one, two", response.body)
  end)

  it("has a body of many pieces whole", function()
    local pieces = {}
    for i = 1, 50 do
      pieces[i] = ("%d"):format(i):rep(1000)
    end
    local function handler(request)
      return 200, request:abody()
    end
    local answer = get(handler, "/", { method = "POST", body = pieces }):aget_response(5)
    assert.equal(table.concat(pieces), answer.body)
  end)

  it("may be answered in pieces, the last of them empty", function()
    local Stream = rille.HttpConsumer:extend("Stream")
    function Stream:handle()
      self:asend_headers(200, {})
      for _, piece in ipairs { "some ", "pieces" } do
        self:asend_body(piece, { more_body = true })
      end
      self:asend_body("")
    end
    assert.equal("some pieces", get(Stream, "/"):aget_response().body)
  end)

  for what, handler in pairs {
    ["without a status"] = function()
      return nil, "a body"
    end,
    ["with a header that breaks the line"] = function()
      return 200, "", { ["x-a"] = "b\r\nset-cookie: evil=1" }
    end,
    ["with a header that is no text"] = function()
      return 200, "", { ["x-a"] = true }
    end,
  } do
    it("is answered 500 when its handler answers " .. what, function()
      local one = get(handler, "/")
      pcall(one.aget_response, one)
      assert.equal(500, one.response.status)
      assert.is_nil(one.response.headers["set-cookie"])
      one:drop()
    end)
  end

  it("has its handler cancelled when the client has left", function()
    local cancelled
    local one = get(function()
      local ok, err = pcall(rille.asleep, 1e6)
      cancelled = not ok and rille.is_error(err, rille.Cancelled)
      error(err, 0)
    end, "/")
    assert.is_false((pcall(one.aget_response, one, 0.05)))
    local ended = rille.spawn(function()
      one:adisconnect()
    end)
    testing.clock:aadvance(0.5) -- of the abandon_grace that the handler has
    assert.is_nil(cancelled)
    testing.clock:aadvance(10)
    ended:ajoin()
    assert.is_true(cancelled)
  end)
end)
