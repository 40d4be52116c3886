local errors = require("rille.errors")
local origins = require("rille.origins")

local function allows(list, origin, host)
  return origins.allow(list and origins.new(list), origin, host)
end

describe("origins", function()
  -- The cases of Channels' test_origin_validator; without an Origin header rille lets in, since
  -- only browsers send one, and only they can be misused.
  for what, case in pairs {
    ["lets in the host that is listed"] = { true, { "allowed.test" }, "http://allowed.test" },
    ["keeps out a host that is not"] = { false, { "allowed.test" }, "http://bad.test" },
    ["lets in what is below a domain"] = { true, { ".allowed.test" }, "http://www.allowed.test" },
    ["compares scheme and port where given"] = {
      true,
      { "http://.allowed.test:8000" },
      "http://allowed.test:8000",
    },
    ["keeps out another scheme and port"] = {
      false,
      { "https://.allowed.test:443" },
      "http://allowed.test",
    },
    ["lets in what has no Origin"] = { true, { "*" }, nil },
    ["lets in nobody else's page with an empty list"] = { false, {}, "http://allowed.test" },
    ["keeps out an empty Origin"] = { false, { "allowed.test" }, "" },
    ["keeps out garbage"] = { false, { "allowed.test" }, "\255\0 //:" },
  } do
    it(what, function()
      assert.equal(case[1], allows(case[2], case[3], "server.test"))
    end)
  end

  it("lets clients without Origin in, whatever the list", function()
    for _, list in ipairs { {}, { "allowed.test" }, { "https://allowed.test" } } do
      assert.is_true(allows(list, nil, "server.test"))
    end
    assert.is_true(allows(nil, nil, nil))
  end)

  it("let everybody in with a star", function()
    for _, origin in ipairs { "http://bad.test", "null", "" } do
      assert.is_true(allows({ "*" }, origin, "server.test"))
    end
  end)

  describe("without a list", function()
    it("let in the request's own host", function()
      assert.is_true(allows(nil, "http://server.test", "server.test"))
      assert.is_true(allows(nil, "http://server.test:8000", "server.test:8000"))
      assert.is_true(allows(nil, "HTTP://Server.Test", "server.test"))
      assert.is_true(allows(nil, "https://server.test", "server.test")) -- TLS ends before us
      assert.is_true(allows(nil, "http://[::1]:8000", "[::1]:8000"))
    end)

    it("know the default port of a scheme", function()
      assert.is_true(allows(nil, "http://server.test", "server.test:80"))
      assert.is_true(allows(nil, "https://server.test:443", "server.test"))
      assert.is_false(allows(nil, "http://server.test", "server.test:443"))
    end)

    it("keep out every other", function()
      for _, origin in ipairs {
        "http://bad.test",
        "http://server.test:81",
        "http://www.server.test",
        "http://server.test.bad.test",
        "http://server.test@bad.test",
        "http://xserver.test",
        "null",
        "file://",
        "",
      } do
        assert.is_false(allows(nil, origin, "server.test"), origin)
      end
    end)

    it("keep out a page when the request names no host", function()
      assert.is_false(allows(nil, "http://server.test", nil))
      assert.is_false(allows(nil, "http://", ""))
    end)
  end)

  describe("with a list", function()
    it("do not ask for the request's own host", function()
      assert.is_false(allows({ "allowed.test" }, "http://server.test", "server.test"))
    end)

    it("compare names without case, and whole", function()
      assert.is_true(allows({ "Allowed.Test" }, "http://allowed.TEST"))
      assert.is_false(allows({ "allowed.test" }, "http://www.allowed.test"))
      assert.is_false(allows({ ".allowed.test" }, "http://notallowed.test"))
      assert.is_false(allows({ ".allowed.test" }, "http://allowed.test.bad.test"))
      assert.is_false(allows({ "allowed.test" }, "http://allowedxtest"))
    end)

    it("take a host without scheme with any scheme and port", function()
      assert.is_true(allows({ "allowed.test" }, "https://allowed.test:8443"))
    end)

    it("compare a port that is given without a scheme", function()
      assert.is_true(allows({ "allowed.test:8443" }, "https://allowed.test:8443"))
      assert.is_false(allows({ "allowed.test:8443" }, "https://allowed.test"))
    end)

    it("take a scheme without port for its default port", function()
      assert.is_true(allows({ "https://allowed.test" }, "https://allowed.test:443"))
      assert.is_false(allows({ "https://allowed.test" }, "https://allowed.test:8443"))
      assert.is_false(allows({ "https://allowed.test" }, "http://allowed.test"))
    end)

    it("look at every entry", function()
      assert.is_true(allows({ "a.test", "b.test", ".c.test" }, "http://x.c.test"))
    end)
  end)

  -- Pairs of an Origin and the Host it was sent to, without a list.
  for _, case in ipairs {
    { true, "http://server.test.", "server.test" },
    { true, "http://server.test", "server.test." },
    { true, "http://SERVER.test:80", "Server.Test" },
    { true, "http://127.0.0.1:8000", "127.0.0.1:8000" },
    { true, "https://[2001:DB8::1]", "[2001:db8::1]" },
    { false, "http://[2001:db8::2]", "[2001:db8::1]" },
    { false, "http://[::1]:80x", "[::1]:80" },
    { false, "http://server.test:", "server.test" },
    { false, "http://server.test:99999", "server.test:99999" },
    { false, "http://server.test/", "server.test" },
    { false, "http://user@server.test", "server.test" },
    { false, "http://server.test@server.test", "server.test" },
    { false, "http://server.test#", "server.test" },
    { false, "http://server.test, http://server.test", "server.test" }, -- two headers
    { false, "http://bad.test, http://server.test", "server.test" },
    { false, "http://server.test http://bad.test", "server.test" },
    { false, "http://server.test\\@bad.test", "server.test" },
    { false, "server.test", "server.test" }, -- no scheme
    { false, "//server.test", "server.test" },
    { false, "null", "null" },
    { false, "http://.", "." },
    { false, "http://server.test..", "server.test" },
    { false, "https://server.test", "server.test:80" },
    { true, "https://server.test", "server.test", true },
    { false, "http://server.test", "server.test", true }, -- a page without TLS
    { true, "https://server.test:8443", "server.test:8443", true },
  } do
    local said = ("%s to %s%s"):format(case[2], case[3], case[4] and " by TLS" or "")
    it((case[1] and "let in " or "keep out ") .. said, function()
      assert.equal(case[1], origins.allow(nil, case[2], case[3], case[4]))
    end)
  end

  it("let in null only when it is named", function()
    assert.is_true(allows({ "null" }, "null", "server.test"))
    assert.is_false(allows({ "server.test" }, "null", "server.test"))
  end)

  it("refuse a list with something that is no origin", function()
    for _, item in ipairs { "", "http://", "a b", "a.test/path", 5, {}, "*.a.test", "a@b" } do
      local ok, err = pcall(origins.new, { "a.test", item })
      assert.is_false(ok, tostring(item))
      assert.is_true(errors.is_error(err, errors.ConfigurationError))
      assert.truthy(err.message:find("is not an origin", 1, true))
    end
  end)
end)
