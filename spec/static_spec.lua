local errors = require("rille.errors")
local fs = require("rille.core").fs
local script = require("spec.support.script")
local static = require("rille.static")

local NOT_FOUND = { 404, "Not Found\n" }

describe("static files", function()
  local outer, root, serve

  before_each(function()
    outer = script.folder {
      ["secret.txt"] = "secret",
      ["root/a.txt"] = "hello",
      ["root/index.html"] = "<p>",
      ["root/sub/index.html"] = "<p>",
      ["root/.hidden"] = "secret",
      ["root/.git/config"] = "secret",
      ["root/sub/.env"] = "secret",
      ["root/..b"] = "secret",
      ["root/back\\slash"] = "secret",
      ["root/empty/.keep"] = "",
    }
    root = outer .. "/root"
    serve = static.new(root)
    os.execute(("touch -d @1700000000.25 '%s/a.txt'"):format(root))
  end)

  after_each(script.clean)

  --- A request from nobody: what would be sent raises Closed.
  local function get(file, headers)
    return serve {
      _id = 0,
      method = "GET",
      headers = headers or {},
      url_route = { kwargs = { file = file } },
    }
  end

  local function sends(file)
    local ok, err = pcall(get, file)
    return not ok and errors.is_error(err, errors.Closed)
  end

  it("are sent when they are there", function()
    assert.is_true(sends("a.txt"))
    assert.is_true(sends("sub/index.html"))
    assert.is_true(sends("sub//index.html"))
  end)

  it("answer for a folder with its index", function()
    assert.is_true(sends(nil))
    assert.is_true(sends("sub/"))
  end)

  for what, name in pairs {
    ["that are not there"] = "b.txt",
    ["above the folder"] = "../secret.txt",
    ["above the folder, by a detour"] = "sub/../../secret.txt",
    ["reached by a dot"] = "./a.txt",
    ["that are hidden"] = ".hidden",
    ["in hidden folders"] = ".git/config",
    ["hidden in folders"] = "sub/.env",
    ["that only begin with two dots"] = "..b",
    ["with a backslash"] = "back\\slash",
    ["with a backslash for a slash"] = "..\\secret.txt",
    ["with a NUL"] = "a.txt\0.png",
    ["that are folders"] = "sub",
    ["in a folder without index"] = "empty/",
    ["below a file"] = "a.txt/",
  } do
    it(("are not found %s"):format(what), function()
      assert.same(NOT_FOUND, { get(name) })
    end)
  end

  it("are looked for below the root also when the name begins with a slash", function()
    assert.is_true(sends("/a.txt"))
    assert.same(NOT_FOUND, { get("/etc/hostname") })
  end)

  it("are not sent again when they have not changed", function()
    local etag = ('"5-%x"'):format(1700000000250)
    local status, body, headers = get("a.txt", { ["if-none-match"] = etag })
    assert.equal(304, status)
    assert.is_nil(body)
    assert.equal(etag, headers.etag)
    assert.equal("text/plain; charset=utf-8", headers["content-type"])
    assert.equal("Tue, 14 Nov 2023 22:13:20 GMT", headers["last-modified"])
    assert.equal("nosniff", headers["x-content-type-options"])
    assert.is_false((pcall(get, "a.txt", { ["if-none-match"] = '"5-0"' })))
  end)

  it("have their type by their name, and else none in particular", function()
    for name, kind in pairs {
      ["x.CSS"] = "text/css; charset=utf-8",
      ["x.min.js"] = "text/javascript; charset=utf-8",
      ["x.svg"] = "image/svg+xml",
      ["x.unknown"] = "application/octet-stream",
      ["png"] = "application/octet-stream",
    } do
      script.write(root, name, "")
      os.execute(("touch -d @1700000000 '%s/%s'"):format(root, name))
      local _, _, headers = get(name, { ["if-none-match"] = ('"0-%x"'):format(1700000000000) })
      assert.equal(kind, headers["content-type"])
    end
  end)

  it("leave no descriptor open, however it ends", function()
    --- The lowest number that is free.
    local function free_descriptor()
      local fd = assert(fs.open(root .. "/a.txt"))
      fs.close(fd)
      return fd
    end
    local before = free_descriptor()
    for _ = 1, 5 do
      get("sub")
      get("b.txt")
      sends("a.txt")
      get("a.txt", { ["if-none-match"] = ('"5-%x"'):format(1700000000250) })
    end
    assert.equal(before, free_descriptor())
  end)
end)
