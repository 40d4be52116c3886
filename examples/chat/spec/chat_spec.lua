--- What the chat promises, asked by visitors of this very process.
-- Run:  ./rille test examples/chat/spec

local testing = require("rille.testing")

local app, require_of_chat = testing.load("..")
local Message = require_of_chat("messages")

--- A visitor who has read what there was and who is there.
local function enter(name, path)
  local visitor = testing.WebsocketCommunicator(app, (path or "/ws/chat/lobby?name=") .. name)
  assert.is_true(visitor:aconnect())
  local history = visitor:areceive_json_from()
  assert.equal("people", visitor:areceive_json_from().type)
  return visitor, history
end

local function say(visitor, text, ref)
  visitor:asend_json_to { type = "say", ref = ref or text, text = text }
end

describe("a visitor of the chat", function()
  it("is heard by everybody in the room, and by nobody else", function()
    local ann = enter("Ann")
    local bob = enter("Bob")
    local cat = enter("Cat", "/ws/chat/kitchen?name=")
    assert.same({ "Ann", "Bob" }, ann:areceive_json_from().names)
    say(ann, "hello")
    for _, visitor in ipairs { ann, bob } do
      local message = visitor:areceive_json_from()
      assert.same({ "Ann", "hello" }, { message.name, message.text })
    end
    assert.is_true(cat:areceive_nothing(0.01))
    cat:adisconnect()
    bob:adisconnect()
    assert.same({ "Ann" }, ann:areceive_json_from().names)
    ann:adisconnect()
  end)

  it("is told what was said before", function()
    Message.objects:acreate { room = "lobby", ref = "1", name = "Zoe", text = "long ago" }
    Message.objects:acreate { room = "attic", ref = "2", name = "Zoe", text = "elsewhere" }
    local ann, history = enter("Ann")
    assert.equal(1, #history.messages)
    assert.equal("long ago", history.messages[1].text)
    ann:adisconnect()
  end)

  it("says a thing once, however often it is sent", function()
    local ann = enter("Ann")
    say(ann, "hello", "ref 1")
    say(ann, "hello", "ref 1")
    assert.equal(ann:areceive_json_from().id, ann:areceive_json_from().id)
    assert.equal(1, Message.objects:acount())
    ann:adisconnect()
  end)

  it("needs a name", function()
    local nobody = testing.WebsocketCommunicator(app, "/ws/chat/lobby")
    assert.same({ false, 403 }, { nobody:aconnect() })
  end)
end)
