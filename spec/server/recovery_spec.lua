--- Clients that come back: examples/client, by itself and against the room example.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

describe("the JavaScript client", function()
  after_each(server.clean)

  it("keeps its promises towards a server that is played", function()
    local client = clients.run("rille_client.js")
    assert.same({}, client:all("failed"))
    assert.equal(11, #client:all("holds"))
  end)

  --- The figure of issue 5, a tenth as long: 13 percent of the clients are away at any time.
  it("hears all of a group, in order and once, however often it is away #slow", function()
    local room = server.start { "run", "examples/room", "--workers", "2", "--no-access-log" }
    local heard = clients
      .run("blink.js", room.ws .. "/ws", {
        group = "room.blink",
        clients = 100,
        seconds = 8,
        every = 1.5,
        off = 0.2,
        rate = 40,
      })
      :get("heard")
    assert.equal(0, room:stop())
    assert.is_true(heard.said >= 300)
    assert.is_true(heard.returns >= 200)
    assert.same(
      { 100, heard.wanted, 0, 0, 0 },
      { heard.joined, heard.heard, heard.doubled, heard.disordered, heard.gaps }
    )
  end)
end)
