local errors = require("rille.errors")
local json = require("rille.json")
local raised = require("spec.support.raised")

local encode, decode = json.encode, json.decode

local function fails(text, fn, ...)
  raised.says(text, raised.by(fn, ...))
end

describe("encoding JSON", function()
  it("writes integers without an exponent, up to 2^53", function()
    assert.equal("0", encode(0))
    assert.equal("100000000000000", encode(1e14))
    assert.equal("9007199254740992", encode(2 ^ 53))
    assert.equal("-9007199254740992", encode(-2 ^ 53))
    assert.equal("-0", encode(-0.0))
  end)

  it("writes every other number so that it reads back the same", function()
    assert.equal("0.1", encode(0.1))
    assert.equal("0.30000000000000004", encode(0.1 + 0.2))
    for _, number in ipairs { 1 / 3, 1e300, 5e-324, 1.7976931348623157e308, 2 ^ 53 + 2, -1.5e-7 } do
      assert.equal(number, decode(encode(number)))
    end
  end)

  it("refuses numbers that JSON has not", function()
    for _, number in ipairs { 0 / 0, math.huge, -math.huge } do
      fails("not finite", encode, number)
    end
  end)

  it("writes text as it is, but for what must be escaped", function()
    assert.equal([["é 😀 /"]], encode("é 😀 /"))
    assert.equal([["\"\\\n\r\t\u0000\u0008\u001f\u007f"]], encode('"\\\n\r\t\0\8\31\127'))
    assert.equal([[""]], encode(""))
  end)

  it("refuses text that is not UTF-8", function()
    for _, text in ipairs { "\255", "a\192\175", "\237\160\128", "\244\144\128\128", "é\195" } do
      fails("not UTF-8", encode, text)
      fails("not UTF-8", encode, { [text] = 1 })
    end
  end)

  it("writes true, false and null", function()
    assert.equal('[true,false,null]', encode { true, false, json.null })
    assert.equal("null", encode(nil))
    assert.equal('{"a":null}', encode { a = json.null })
  end)

  it("writes 1 to n as an array, names as an object", function()
    assert.equal("[1,[2,[]]]", encode { 1, { 2, json.array {} } })
    assert.equal('{"a":{"b":[{"c":1}]}}', encode { a = { b = { { c = 1 } } } })
    assert.equal('{"5":"x"}', encode { [5] = "x" })
  end)

  it("takes an empty table for an object unless it is marked", function()
    assert.equal("{}", encode {})
    assert.equal("[]", encode(json.array {}))
    assert.equal('[1,"a"]', encode(json.array { 1, "a" }))
  end)

  it("refuses what is half array, half object", function()
    fails("neither an array without holes nor an object", encode, { 1, a = 2 })
    fails("neither an array without holes nor an object", encode, { 1, 2, [5] = 3 })
    fails("neither string nor number", encode, { [true] = 1 })
  end)

  it("refuses what is no data", function()
    fails("a function", encode, print)
    fails("a thread", encode, { coroutine.create(print) })
    fails("a userdata", encode, { x = io.stdout })
    fails("bad argument", encode)
  end)

  it("refuses a cycle, and stops at 200 levels", function()
    local cycle = {}
    cycle.again = { cycle }
    fails("nested too deep", encode, cycle)
    local deep = 1
    for _ = 1, 200 do
      deep = { deep }
    end
    assert.equal(("["):rep(200) .. "1" .. ("]"):rep(200), encode(deep))
    fails("nested too deep", encode, { { deep } })
  end)

  it("does not change what it writes", function()
    local value = { [7] = 1, a = { 1, 2 } }
    encode(value)
    assert.same({ [7] = 1, a = { 1, 2 } }, value)
  end)
end)

describe("decoding JSON", function()
  it("reads what was written", function()
    local value = { a = { 1, 2.5, "x", false }, b = { c = {} }, ["é"] = "😀\n\0" }
    assert.same(value, decode(encode(value)))
  end)

  it("gives null as json.null, which is true and equal to itself only", function()
    local value = decode("[null]")
    assert.equal(json.null, value[1])
    assert.is_true(value[1] and true)
    assert.equal(json.null, decode(" null "))
  end)

  it("reads integers exactly up to 2^53", function()
    assert.equal(9007199254740992, decode("9007199254740992"))
    assert.equal(1e14, decode("100000000000000"))
    assert.equal(-math.huge, 1 / decode("-0.0"))
  end)

  it("reads escapes, also beyond the first plane", function()
    assert.equal("é😀/\n", decode([["\u00e9\ud83d\ude00\/\n"]]))
  end)

  for _, text in ipairs {
    "",
    " ",
    "{",
    "[1,]",
    "{a:1}",
    "{'a':1}",
    "[1] 2",
    "nul",
    "NaN",
    "Infinity",
    "0x10",
    "01",
    '"\\ud83d"',
    '"\255"',
    '{"\255":1}',
    ("["):rep(201) .. ("]"):rep(201),
    ("["):rep(100000),
  } do
    it(("raises BadRequest for %q"):format(text:sub(1, 12)), function()
      local ok, err = pcall(decode, text)
      assert.is_false(ok, "decoded")
      assert.is_true(errors.is_error(err, errors.BadRequest), tostring(err))
    end)
  end

  it("raises BadRequest for what is no text", function()
    for _, value in ipairs { {}, true, print } do
      local ok, err = pcall(decode, value)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.BadRequest))
    end
  end)
end)
