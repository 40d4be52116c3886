--- MessagePack and Fernet, as channels_redis has them: vectors that Python's msgpack 1.0.3 and
--- cryptography 38.0.4 made, and both packages at the other end of a pipe.

local core = require("rille.core")
local errors = require("rille.errors")
local json = require("rille.json")
local server = require("spec.support.server")

local msgpack, fernet = core.msgpack, core.fernet
local null = core.null

local function hex(bytes)
  return (bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

local function unhex(digits)
  return (digits:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local PEER = [[
import base64, hashlib, sys
import msgpack
from cryptography.fernet import Fernet, MultiFernet
def key(s): return Fernet(base64.urlsafe_b64encode(hashlib.sha256(s.encode()).digest()))
keys = MultiFernet([key("hunter2"), key("older")])
for line in sys.stdin:
    what, data = line.split()
    data = bytes.fromhex(data)
    if what == "seal":
        print(keys.encrypt(data).hex())
    elif what == "open":
        print(keys.decrypt(data, 60).hex())
    else:
        print(msgpack.packb(msgpack.unpackb(data, raw=False)).hex())
]]

--- What Python makes of each, in hexadecimal.
local function ask_python(lines)
  local folder = server.scratch()
  server.write(folder .. "/peer.py", PEER)
  server.write(folder .. "/lines", table.concat(lines, "\n") .. "\n")
  local command = ("/usr/bin/python3 %s/peer.py <%s/lines 2>&1"):format(folder, folder)
  local answers = {}
  for line in server.shell(command):gmatch("[^\n]+") do
    answers[#answers + 1] = line
  end
  return answers
end

describe("MessagePack", function()
  after_each(server.clean)

  local BOTH_WAYS = {
    { null, "c0" },
    { true, "c3" },
    { false, "c2" },
    { 0, "00" },
    { 127, "7f" },
    { 128, "cc80" },
    { -1, "ff" },
    { -32, "e0" },
    { -33, "d0df" },
    { 255, "ccff" },
    { 256, "cd0100" },
    { 65535, "cdffff" },
    { 65536, "ce00010000" },
    { 2 ^ 32, "cf0000000100000000" },
    { -2 ^ 31, "d280000000" },
    { 2 ^ 53, "cf0020000000000000" },
    { 1.5, "cb3ff8000000000000" },
    { 1e300, "cb7e37e43c8800759c" },
    { 1 / 0, "cb7ff0000000000000" },
    { "", "a0" },
    { ("a"):rep(31), "bf" .. ("61"):rep(31) },
    { ("a"):rep(32), "d920" .. ("61"):rep(32) },
    { "é☃", "a5c3a9e29883" },
    { "\255", "c401ff" },
    { json.array {}, "90" },
    { { 1, { 2, { 3 } } }, "920192029103" },
    { {}, "80" },
    { { a = { d = json.array {} } }, "81a16181a16490" },
  }

  for _, case in ipairs(BOTH_WAYS) do
    it(("has %s for a %s"):format(case[2]:sub(1, 24), type(case[1])), function()
      assert.equal(case[2], hex(msgpack.encode(case[1])))
      assert.same(case[1], msgpack.decode(unhex(case[2])))
    end)
  end

  it("writes what Python reads, and reads what it writes, both as one value", function()
    local values = {
      { a = true, b = null, c = { d = json.array {} } },
      { type = "chat.message", text = "hi", __asgi_channel__ = "specific.ab!cd" },
      { __asgi_channel__ = { "specific.ab!cd", "specific.ab!ef" }, bytes = msgpack.bytes("abc") },
      { n = { 0, -1, 1e15, -2 ^ 53, 0.1, -0.5, 2 ^ 60 }, deep = { { { { { "x" } } } } } },
      { long = ("é"):rep(40000), many = { unpack({}, 1, 0) } },
    }
    local lines = {}
    for i, value in ipairs(values) do
      lines[i] = "msgpack " .. hex(msgpack.encode(value))
    end
    local answers = ask_python(lines)
    assert.equal(#values, #answers)
    for i in ipairs(values) do
      local ours = unhex(lines[i]:sub(9))
      assert.equal(#ours, #unhex(answers[i]))
      assert.same(msgpack.decode(ours), msgpack.decode(unhex(answers[i])))
    end
  end)

  it("writes bytes as bytes when it is told so, and gives them back as a string", function()
    assert.equal("c403616263", hex(msgpack.encode(msgpack.bytes("abc"))))
    assert.equal("c400", hex(msgpack.encode(msgpack.bytes(""))))
    assert.equal("abc", msgpack.decode(unhex("c403616263")))
    assert.equal("abc", tostring(msgpack.bytes("abc")))
  end)

  it("has digits for whole numbers that a double cannot hold", function()
    assert.equal("9007199254740993", msgpack.decode(unhex("cf0020000000000001")))
    assert.equal("-9007199254740993", msgpack.decode(unhex("d3ffdfffffffffffff")))
    assert.equal("18446744073709551615", msgpack.decode(unhex("cfffffffffffffffff")))
  end)

  it("takes nil for null, numbers as keys for strings, the last of equal keys, and NaN", function()
    assert.equal("c0", hex(msgpack.encode(nil)))
    assert.equal("81a13701", hex(msgpack.encode { [7] = 1 }))
    assert.same({ a = 2 }, msgpack.decode(unhex("82a16101a16102")))
    local nan = msgpack.decode(msgpack.encode(0 / 0))
    assert.is_true(nan ~= nan)
    assert.equal(1.5, msgpack.decode(unhex("ca3fc00000")))
    assert.equal("cb8000000000000000", hex(msgpack.encode(-0.0)))
  end)

  it("goes 200 deep and no deeper", function()
    local value = 1
    for _ = 1, 200 do
      value = { value }
    end
    local bytes = msgpack.encode(value)
    assert.equal(("91"):rep(200) .. "01", hex(bytes))
    assert.same(value, msgpack.decode(bytes))
    assert.has_error(function()
      msgpack.encode { value }
    end, "cannot encode as MessagePack: tables nested too deep (a cycle?)")
    local _, err = msgpack.decode("\145" .. bytes)
    assert.matches("nested too deep", err.message)
  end)

  for what, digits in pairs {
    ["nothing at all"] = "",
    ["something behind the end"] = "c0c0",
    ["a string that is cut off"] = "a361",
    ["an array that is cut off"] = "9201",
    ["an array that claims billions"] = "ddffffffff01",
    ["a map that claims billions"] = "dfffffffffa161",
    ["text that is not UTF-8"] = "a1ff",
    ["an extension type"] = "d40100",
    ["a time"] = "d6ff00000000",
    ["a byte that means nothing"] = "c1",
    ["a number as a key"] = "8101c0",
    ["an array as a key"] = "8190c0",
    ["null as a key"] = "81c0c0",
  } do
    it("refuses " .. what, function()
      local value, err = msgpack.decode(unhex(digits))
      assert.is_nil(value)
      assert.is_true(errors.is_error(err, errors.BadRequest))
      assert.matches("^not MessagePack that is taken here: ", err.message)
    end)
  end

  for what, value in pairs {
    ["a function"] = print,
    ["a thread"] = coroutine.create(print),
    ["a table with holes"] = { 1, nil, 3 },
    ["an array that is a map, too"] = { 1, a = 2 },
    ["a table as a key"] = { [{}] = 1 },
    ["other userdata"] = io.stdout,
  } do
    it("does not write " .. what, function()
      assert.is_false((pcall(msgpack.encode, { value })))
    end)
  end
end)

describe("Fernet", function()
  after_each(server.clean)

  local keys = fernet.keys { "hunter2", "older" }
  local HELLO = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD4dMy0llmTSvdbTrBH174HqSybjlGr-JuQKe3stA1QT6-"
    .. "4vfcK6yycmM4Q4GTt7YMw=="
  local EMPTY = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD2Vfn5azkD2ds9amVobGiH7-2Fh9s-oGvv0"
    .. "8MCM9xcUO7Y9BNGeNfNxzD-sqzRJ9dQ=="

  local function refused(token, ttl)
    local plain, err = fernet.open(keys, token, ttl)
    assert.is_nil(plain)
    assert.matches("cannot be decrypted", err.message)
  end

  it("opens what Python sealed, by any of the keys", function()
    assert.equal("hello", fernet.open(keys, HELLO))
    assert.equal("", fernet.open(keys, EMPTY))
    refused((EMPTY:gsub("^gA", "gQ")))
    local other = fernet.keys { "neither" }
    assert.is_nil((fernet.open(other, HELLO)))
  end)

  it("refuses what is too old", function()
    refused(HELLO, 60)
    assert.equal("now", fernet.open(keys, fernet.seal(keys, "now"), 60))
  end)

  it("seals with the first key, never twice the same", function()
    local one, two = fernet.seal(keys, "plain"), fernet.seal(keys, "plain")
    assert.not_equal(one, two)
    assert.equal("plain", fernet.open(fernet.keys { "hunter2" }, one))
    assert.is_nil((fernet.open(fernet.keys { "older" }, one)))
  end)

  it("refuses a token in which any byte was changed, or is missing", function()
    for i = 1, #HELLO do
      local c = HELLO:sub(i, i)
      local other = c == "A" and "B" or "A"
      -- The last letter in front of the padding has bits that say nothing.
      if i ~= #HELLO - 2 then
        refused(HELLO:sub(1, i - 1) .. other .. HELLO:sub(i + 1))
      end
      refused(HELLO:sub(1, i - 1) .. HELLO:sub(i + 1))
    end
    refused("")
    refused("====")
    refused(HELLO .. HELLO)
    refused((HELLO:gsub("-", "+"):gsub("_", "/")))
  end)

  it("is read by Python, and reads what it writes now", function()
    local plain = { "hello", ("\0\255"):rep(5000), "sixteen bytes...", "15 bytes here.." }
    local lines = {}
    for i, text in ipairs(plain) do
      lines[2 * i - 1] = "open " .. hex(fernet.seal(keys, text))
      lines[2 * i] = "seal " .. hex(text)
    end
    local answers = ask_python(lines)
    for i, text in ipairs(plain) do
      assert.equal(hex(text), answers[2 * i - 1])
      assert.equal(text, fernet.open(keys, unhex(answers[2 * i]), 60))
    end
  end)

  it("wants passphrases", function()
    assert.is_false((pcall(fernet.keys, {})))
    assert.is_false((pcall(fernet.keys, { 1 })))
    assert.is_false((pcall(fernet.keys, "hunter2")))
  end)
end)
