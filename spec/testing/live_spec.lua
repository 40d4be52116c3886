--- A live server: the application served for clients that come over a socket.

local models = require("rille.models")
local rille = require("rille")
local testing = require("rille.testing")

local Note = models.define("kit_live_note", { id = models.auto(), text = models.text() })

local Writer = rille.WebsocketConsumer:extend("Writer")

function Writer:receive(text)
  Note.objects:acreate { text = text }
  self:asend { text_data = tostring(Note.objects:acount()) }
end

local app = testing.load(rille.app {
  models = { Note },
  on_start = function()
    Note.objects:acreate { text = "of on_start" }
  end,
  routes = {
    rille.websocket("/notes", Writer),
    rille.get("/notes", function(request)
      return 200, { host = request.headers.host, notes = Note.objects:acount() }
    end),
  },
})

describe("a live server", function()
  for _ = 1, 2 do
    it("answers over a socket, within the test's transaction", function()
      local live = testing.alive_server(app)
      assert.equal(("http://127.0.0.1:%d"):format(live.port), live.url)
      local response = testing.HttpCommunicator(live, "GET", "/notes"):aget_response()
      local expected = { host = live.url:match("//(.*)"), notes = 1 }
      assert.same(expected, rille.json.decode(response.body))
      local ann = testing.WebsocketCommunicator(live, "/notes")
      assert.is_true(ann:aconnect())
      ann:asend_to { text_data = "hi" }
      assert.equal("2", ann:areceive_from())
      ann:adisconnect()
      assert.equal(2, Note.objects:acount())
    end)
  end

  it("is seen by a browser #slow", function()
    local live = testing.alive_server("examples/chat")
    local ann = testing.abrowser()
    ann:aget(live.url .. "/#lobby")
    ann:afind("#name"):atype("Ann\n")
    ann:asee("#state[data-state=open]", "")
    local bob = testing.WebsocketCommunicator(live, "/ws/chat/lobby?name=Bob")
    assert.is_true(bob:aconnect())
    bob:asend_json_to { type = "say", ref = "1", text = "hello, Ann" }
    ann:asee(".message:not(.pending) .text", "hello, Ann")
    ann:aquit()
    while not bob:areceive_nothing() do
      bob:areceive_from()
    end
    bob:adisconnect()
  end)

  it("is gone after aclose", function()
    local live = testing.alive_server(app)
    live:aclose()
    assert.is_false((pcall(function()
      testing.HttpCommunicator(live, "GET", "/notes"):aget_response()
    end)))
  end)
end)
