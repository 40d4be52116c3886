--- Forms with files: what browsers send, what nobody should, and every place where it may be cut.
local errors = require("rille.errors")
local multipart = require("rille.multipart")

local BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"

--- A form as a browser writes it: each part a header and a content.
local function form(...)
  local out = {}
  for _, part in ipairs { ... } do
    out[#out + 1] = ("--%s\r\n%s\r\n\r\n%s\r\n"):format(BOUNDARY, part[1], part[2])
  end
  return table.concat(out) .. "--" .. BOUNDARY .. "--\r\n"
end

local function named(name, more)
  return ('Content-Disposition: form-data; name="%s"%s'):format(name, more or "")
end

--- What comes out, the body cut into pieces of so many bytes.
local function read(body, size, boundary)
  local at = 1
  local function source()
    local piece = body:sub(at, at + (size or #body) - 1)
    at = at + #piece
    return piece ~= "" and piece or nil
  end
  local all = {}
  for part in multipart.parts(source, boundary or BOUNDARY) do
    all[#all + 1] = {
      name = part.name,
      filename = part.filename,
      type = part.type,
      content = part:aread(),
    }
  end
  return all
end

describe("a form with files", function()
  local FILE = ("\r\n--%s \r\n--\r\n-"):format(BOUNDARY:sub(1, 20)):rep(20) .. "\0\255\r\n"

  it("is read the same wherever it is cut", function()
    local body = "preamble\r\n"
      .. form(
        { named("text"), "value" },
        { named("empty"), "" },
        { named("file", '; filename="a.bin"') .. "\r\nContent-Type: application/x-a", FILE },
        { named("lines"), "\r\n\r\n" }
      )
      .. "epilogue"
    local wanted = {
      { name = "text", content = "value" },
      { name = "empty", content = "" },
      { name = "file", filename = "a.bin", type = "application/x-a", content = FILE },
      { name = "lines", content = "\r\n\r\n" },
    }
    for size = 1, 200 do
      assert.same(wanted, read(body, size), "pieces of " .. size)
    end
    assert.same(wanted, read(body))
  end)

  it("may have no parts", function()
    assert.same({}, read("--" .. BOUNDARY .. "--\r\n"))
    assert.same({}, read("--" .. BOUNDARY .. "--", 1))
  end)

  it("takes for content what only begins like a boundary, or has more behind it", function()
    local content = ("a\r\n--%sX\r\nb\r\n--%s-\r\nc\r\n--%s\t \rd"):format(
      BOUNDARY,
      BOUNDARY,
      BOUNDARY
    )
    for size = 1, 60 do
      assert.equal(content, read(form { named("x"), content }, size)[1].content)
    end
  end)

  it("passes over what nobody reads", function()
    local body = form({ named("big"), ("x"):rep(1e5) }, { named("last"), "z" })
    local names, at = {}, 1
    local function source()
      local piece = body:sub(at, at + 999)
      at = at + 1000
      return piece ~= "" and piece or nil
    end
    local before
    for part in multipart.parts(source, BOUNDARY) do
      assert.is_nil(before and before:achunks()())
      before = part
      part:achunks()()
      names[#names + 1] = part.name
    end
    assert.same({ "big", "last" }, names)
  end)

  it("has names as clients write them", function()
    local function name_of(disposition)
      local part = read(form { "content-disposition: " .. disposition, "" })[1]
      return { part.name, part.filename }
    end
    assert.same({ "a", "b.txt" }, name_of("form-data; name=a; filename=b.txt"))
    assert.same({ "a", "b.txt" }, name_of('Form-Data ; NAME="a" ;filename="C:\\dir\\b.txt"'))
    assert.same({ "a", "passwd" }, name_of('form-data; name="a"; filename="../../etc/passwd"'))
    local sly = 'form-data; name="a; filename=\\"x"; filename=y'
    assert.same({ 'a; filename="x', "y" }, name_of(sly))
    assert.same({ "", "" }, name_of('form-data; name=""; filename=""'))
    assert.same({ "ü" }, name_of('form-data; name="ü"'))
  end)

  it("is refused when it is none", function()
    local function why(body, boundary)
      local ok, err = pcall(read, body, 7, boundary)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.BadRequest), tostring(err))
      return err.message
    end
    local good = form { named("x"), "y" }
    assert.truthy(why(""):find("ends before", 1, true))
    assert.truthy(why(good, "other"):find("ends before", 1, true))
    for cut = 1, #good - 4 do
      assert.truthy(why(good:sub(1, cut)):find("ends before", 1, true))
    end
    assert.truthy(why(form { "x: y", "" }):find("no name", 1, true))
    local unquoted = 'content-disposition: form-data; name="a'
    assert.truthy(why(form { unquoted, "" }):find("no name", 1, true))
    assert.truthy(why(form { "nothing", "" }):find("a line that is none", 1, true))
    assert.truthy(why(form { "x: " .. ("y"):rep(20000), "" }):find("too long", 1, true))
    local many = {}
    for i = 1, 1001 do
      many[i] = { named("x"), "" }
    end
    assert.truthy(why(form(unpack(many))):find("1000 parts", 1, true))
  end)

  it("is told by its content-type", function()
    assert.equal("a b", multipart.boundary('multipart/form-data; boundary="a b"'))
    assert.equal("ab", multipart.boundary("Multipart/Form-Data; charset=x; BOUNDARY=ab; x=y"))
    assert.is_nil(multipart.boundary("multipart/form-data"))
    assert.is_nil(multipart.boundary("multipart/form-data; boundary="))
    assert.is_nil(multipart.boundary("multipart/form-data; boundary=" .. ("x"):rep(71)))
    assert.is_nil(multipart.boundary("multipart/mixed; boundary=ab"))
    assert.is_nil(multipart.boundary(""))
  end)
end)
