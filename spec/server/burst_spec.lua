-- Messages that come with one read: their handlers may share a coroutine, and nothing else.
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = [[
local core = require("rille.core")
local rille = require("rille")
local left, refused

local function burn(seconds)
  local till = os.clock() + seconds
  while os.clock() < till do end
end

local function sorted(self)
  return tostring(pcall(table.sort, { 1, 2 }, function()
    self:asend { text_data = "from inside sort" }
  end))
end

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text, bytes)
  if text == "wait" then
    rille.asleep(0.01)
  elseif text == "raise" then
    error("on purpose")
  elseif text == "close" then
    self:close(4001, "enough")
  elseif text == "burn" then
    burn(0.08)
  elseif text == "for ever" then
    burn(1e9)
  elseif text == "open" then
    left = self.channel_layer:new_channel()
  elseif text == "look" then
    text = tostring(pcall(self.channel_layer.areceive, self.channel_layer, left))
  elseif text == "sort" then
    text = sorted(self)
  elseif text == "sort, inside" then
    text = coroutine.wrap(sorted)(self)
  elseif text == "invalid" then
    text = tostring(pcall(self.asend, self, { text_data = "\255" }))
  elseif text == "refuse" then
    jit.off() -- a compiler would be refused, too
    refused = core.testing.refuse(0, 1)
    return
  elseif text and text:byte() == 35 then
    return -- having asked for nothing
  elseif text == "grant" then
    refused = core.testing.refuse(0, 0) - refused
    jit.on()
    text = tostring(refused)
  elseif text == "big" then
    text = ("x"):rep(40000)
  end
  self:asend { text_data = text, bytes_data = bytes }
end

function Echo:disconnect(code)
  io.stderr:write("noted: ", code, "\n")
end

return rille.app {
  limits = { handler_cpu_limit = 0.5 },
  routes = { rille.websocket("/", Echo) },
}
]]

describe("messages that come at once", function()
  local it_runs

  setup(function()
    local path = server.scratch() .. "/app.lua"
    server.write(path, APP)
    it_runs = server.start { "run", path, "--workers", "1", "--admin", "127.0.0.1:0" }
  end)

  teardown(function()
    assert.equal(0, it_runs:stop())
    server.clean()
  end)

  local HANDSHAKE = "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    .. "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

  --- A frame with a mask of zeroes; first: FIN and opcode, default text.
  local function frame(text, first)
    local head = { first or 0x81, 128 + #text, 0, 0, 0, 0 }
    return string.char(unpack(head)) .. text
  end

  local GOODBYE = frame("\3\232", 0x88)

  --- Send frames with one write; what is answered.
  local function talk(frames, ...)
    local said = clients.raw(it_runs.port, {
      { "send", HANDSHAKE },
      { "until", "\r\n\r\n" },
      { "send", table.concat(frames) },
      ...
    })
    return said.received:match("\r\n\r\n(.*)$")
  end

  --- The frames that a server sends.
  local function answers(bytes)
    local found, at = {}, 1
    while at <= #bytes do
      local first, n = bytes:byte(at, at + 1)
      at = at + 2
      if n == 126 then
        n = bytes:byte(at) * 256 + bytes:byte(at + 1)
        at = at + 2
      end
      local kind = ({ [0x81] = "", [0x82] = "bytes ", [0x88] = "close ", [0x8a] = "pong " })[first]
      local payload = bytes:sub(at, at + n - 1)
      if first == 0x88 then
        payload = payload:byte(1) * 256 + payload:byte(2) .. payload:sub(3)
      end
      found[#found + 1] = kind .. payload
      at = at + n
    end
    return found
  end

  --- What is answered to texts, and then to a close frame.
  local function echo(...)
    local frames = {}
    for i, text in ipairs { ... } do
      frames[i] = frame(text)
    end
    frames[#frames + 1] = GOODBYE
    return answers(talk(frames))
  end

  it("are answered in order, whatever else stands between them", function()
    local said = talk {
      frame("1"),
      frame("2", 0x82),
      frame("ping", 0x89),
      frame("3"),
      frame("fo", 0x01),
      frame("ping", 0x89),
      frame("ur", 0x80),
      frame(""),
      frame("f\195\188nf"),
      frame(("6"):rep(125)),
      GOODBYE,
    }
    assert.same({
      "1",
      "bytes 2",
      "pong ping",
      "3",
      "pong ping",
      "four",
      "",
      "f\195\188nf",
      ("6"):rep(125),
      "close 1000",
    }, answers(said))
  end)

  it("wait for one that waits", function()
    local frames = { frame("1"), frame("wait"), frame("2"), frame("wait"), frame("3") }
    local said = talk(frames, { "until", "\129\0013" }, { "send", GOODBYE })
    assert.same({ "1", "wait", "2", "wait", "3", "close 1000" }, answers(said))
  end)

  it("come to an end with one that raises, and are answered up to there", function()
    local said = echo("1", "2", "raise", "3")
    assert.same({ "1", "2", "close 1011error in a handler" }, said)
    assert.is_true(it_runs:says("Echo on / failed in receive for 127.0.0.1"))
    assert.is_true(it_runs:says("app.lua:22: on purpose"))
    assert.is_true(it_runs:says("noted: 1011"))
  end)

  it("come to an end with one that closes, or is not what it should be", function()
    assert.same({ "1", "close 4001enough" }, echo("1", "close", "2"))
    assert.same({ "1", "close 1007a text message is not UTF-8" }, echo("1", "\255", "2"))
  end)

  it("each have the CPU time of an event", function()
    local texts = {}
    for i = 1, 10 do
      texts[i] = "burn"
    end
    assert.equal(11, #echo(unpack(texts)))
    assert.same({ "1", "close 1011error in a handler" }, echo("1", "for ever", "2"))
    assert.is_true(it_runs:says("interrupted: it took 0.5 s of CPU time"))
  end)

  it("leave each other nothing", function()
    assert.same({ "open", "false", "1", "close 1000" }, echo("open", "look", "1"))
  end)

  it("meet the same errors as others do", function()
    local said = echo("1", "sort", "sort, inside", "invalid", "2")
    assert.same({ "1", "false", "false", "false", "2", "close 1000" }, said)
  end)

  it("cost a handler no memory that it could be refused", function()
    assert.same({ "1", "0", "2", "close 1000" }, echo("1", "refuse", "#1", "#2", "grant", "2"))
  end)

  it("may be answered with more than leaves at once", function()
    local said = echo("1", "big", "big", "2", "big")
    local sizes = {}
    for i, text in ipairs(said) do
      sizes[i] = #text
    end
    assert.same({ 1, 40000, 40000, 1, 40000, #"close 1000" }, sizes)
  end)

  it("are counted one by one", function()
    local function counted()
      local admin = it_runs:stderr():match("rille: admin on (%S+)")
      local body = clients.fetch(admin .. "/metrics").body
      return tonumber(body:match('rille_events_total{[^}]*event="receive"[^}]*} (%d+)'))
    end
    local before, frames = counted() or 0, {}
    for i = 1, 200 do
      frames[i] = frame(tostring(i))
    end
    frames[201] = GOODBYE
    assert.equal(201, #answers(talk(frames)))
    assert.equal(before + 200, counted())
  end)
end)
