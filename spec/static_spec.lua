local errors = require("rille.errors")
local fs = require("rille.core").fs
local script = require("spec.support.script")
local preconditions = require("rille.static.preconditions")
local ranges = require("rille.static.ranges")
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
      raw_path = "/" .. (file or ""),
      query_string = "",
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
    ["that are folders without index"] = "empty",
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

  it("are redirected to their folder, to nobody else's", function()
    local status, _, headers = get("sub")
    assert.same({ 301, "./sub/" }, { status, headers.location })
    status, _, headers = get("//sub")
    assert.same({ 301, "./sub/" }, { status, headers.location })
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
    assert.is_true(free_descriptor() <= before)
  end)
end)

describe("requests for static files", function()
  describe("are conditional:", function()
    local ETAG, AT = '"5-18bcf2"', 1700000000
    local LATER, SAME = "Wed, 15 Nov 2023 00:00:00 GMT", "Tue, 14 Nov 2023 22:13:20 GMT"
    local EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"

    for _, case in ipairs {
      { nil, {} },
      { 304, { ["if-none-match"] = ETAG } },
      { 304, { ["if-none-match"] = "W/" .. ETAG } },
      { 304, { ["if-none-match"] = '"a", W/"b,c" , ' .. ETAG } },
      { 304, { ["if-none-match"] = "*" } },
      { nil, { ["if-none-match"] = '"a"' } },
      { nil, { ["if-none-match"] = ETAG:gsub('"', "") } },
      { nil, { ["if-none-match"] = '"a"', ["if-modified-since"] = LATER } },
      { 304, { ["if-modified-since"] = SAME } },
      { 304, { ["if-modified-since"] = LATER } },
      { nil, { ["if-modified-since"] = EARLIER } },
      { nil, { ["if-modified-since"] = "yesterday" } },
      { nil, { ["if-match"] = ETAG } },
      { nil, { ["if-match"] = "*" } },
      { nil, { ["if-match"] = '"a", ' .. ETAG } },
      { 412, { ["if-match"] = "W/" .. ETAG } },
      { 412, { ["if-match"] = '"a"' } },
      { 412, { ["if-match"] = '"a"', ["if-none-match"] = ETAG } },
      { 304, { ["if-match"] = ETAG, ["if-none-match"] = ETAG } },
      { nil, { ["if-match"] = ETAG, ["if-unmodified-since"] = EARLIER } },
      { 412, { ["if-unmodified-since"] = EARLIER } },
      { nil, { ["if-unmodified-since"] = SAME } },
      { nil, { ["if-unmodified-since"] = "yesterday" } },
    } do
      it(require("cjson").encode(case[2]) .. " comes to " .. tostring(case[1]), function()
        local status = preconditions.check(case[2], ETAG, AT)
        assert.equal(case[1], status)
      end)
    end

    it("dates are read in the three forms there are", function()
      for _, text in ipairs {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
      } do
        assert.equal(784111777, preconditions.parse_date(text))
      end
      assert.equal(951782400, preconditions.parse_date("Tue, 29 Feb 2000 00:00:00 GMT"))
      assert.equal(0, preconditions.parse_date("Thu, 01 Jan 1970 00:00:00 GMT"))
      for _, text in ipairs { "", "Sun, 06 Nov 1994 08:49:37", "Sun, 32 Nov 1994 08:49:37 GMT" } do
        local time = preconditions.parse_date(text)
        assert.is_nil(time)
      end
    end)

    it("a range only of what the client has", function()
      assert.is_true(preconditions.allows_range(nil, ETAG, AT))
      assert.is_true(preconditions.allows_range(ETAG, ETAG, AT))
      assert.is_true(preconditions.allows_range(SAME, ETAG, AT))
      assert.is_false(preconditions.allows_range("W/" .. ETAG, ETAG, AT))
      assert.is_false(preconditions.allows_range(LATER, ETAG, AT))
    end)
  end)

  describe("have ranges:", function()
    for field, want in pairs {
      ["bytes=0-3"] = { { 0, 3 } },
      ["bytes=3-"] = { { 3, 9 } },
      ["bytes=-3"] = { { 7, 9 } },
      ["bytes=-30"] = { { 0, 9 } },
      ["bytes=8-99"] = { { 8, 9 } },
      ["Bytes=0-0,-1"] = { { 0, 0 }, { 9, 9 } },
      ["bytes= 0-1 , 4-5 ,, 20-"] = { { 0, 1 }, { 4, 5 } },
      ["bytes=10-"] = {},
      ["bytes=-0"] = {},
      ["bytes=99999999999999999999-"] = {},
      ["bytes=0-7,3-9"] = "nothing of it", -- more than the whole
      ["bytes=3-1"] = "nothing of it",
      ["bytes=a-b"] = "nothing of it",
      ["bytes=-"] = "nothing of it",
      ["bytes="] = "nothing of it",
      ["bytes=0x1-2"] = "nothing of it",
      ["lines=0-1"] = "nothing of it",
      ["bytes=" .. ("0-0,"):rep(17)] = "nothing of it",
    } do
      it(field:sub(1, 40), function()
        local got = {}
        for i, range in ipairs(ranges.parse(field, 10) or {}) do
          got[i] = { range.from, range.to }
        end
        assert.same(want, ranges.parse(field, 10) and got or "nothing of it")
      end)
    end

    it("none of an empty file", function()
      assert.same({}, ranges.parse("bytes=0-", 0))
      assert.same({}, ranges.parse("bytes=-5", 0))
    end)
  end)
end)
