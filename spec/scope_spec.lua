local Scope = require("rille.scope")
local errors = require("rille.errors")

local function scope(target, fields, kind)
  local block = table.concat(fields or {}, "\0") .. (fields and "\0" or "")
  return Scope.new(0, kind or "http", "GET", (":target\0%s\0"):format(target or "/") .. block)
end

describe("a scope", function()
  it("has the path decoded and as it came", function()
    local at = scope("/a%20b/%C3%A9?x=1")
    assert.equal("/a b/é", at.path)
    assert.equal("/a%20b/%C3%A9", at.raw_path)
    assert.equal("x=1", at.query_string)
    assert.equal("", scope("/a").query_string)
    assert.equal("/a+b", scope("/a+b").path)
  end)

  it("has the first value of each name in the query, and all of them besides", function()
    local at = scope("/?x=1&y=%C3%A9&x=2&empty=&bare&a+b=c+d")
    assert.same({ x = "1", y = "é", empty = "", bare = "", ["a b"] = "c d" }, at.query)
    assert.same({ "1", "2" }, at.query_lists.x)
    assert.same({ "é" }, at.query_lists.y)
    assert.same({}, scope("/").query)
  end)

  it("refuses a query that cannot be decoded", function()
    for _, target in ipairs { "/?x=%zz", "/?x=%ff" } do
      local ok, err = pcall(function()
        return scope(target).query
      end)
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.BadRequest), tostring(err))
    end
  end)

  it("has headers by name, repeated ones joined", function()
    local at = scope("/", { "host", "a.test", "accept", "a", "x", "", "accept", "b" })
    assert.same({ host = "a.test", accept = "a, b", x = "" }, at.headers)
    assert.is_nil(at.headers.origin)
    assert.same({}, scope("/").headers)
  end)

  it("joins cookies of several headers, and takes them apart", function()
    local at = scope("/", { "cookie", 'a=1; b="two words"', "cookie", "c=x=y;d;  e = 5 ;f=" })
    assert.equal('a=1; b="two words"; c=x=y;d;  e = 5 ;f=', at.headers.cookie)
    assert.same({ a = "1", b = "two words", c = "x=y", e = "5", f = "" }, at.cookies)
  end)

  it("takes the first of two cookies with one name, the one of the nearer path", function()
    assert.equal("near", scope("/", { "cookie", "a=near; a=far" }).cookies.a)
  end)

  it("has no cookies without the header", function()
    assert.same({}, scope("/").cookies)
  end)

  it("lists the subprotocols that are offered, in order", function()
    local offer = { "sec-websocket-protocol", "chat.v2, chat", "sec-websocket-protocol", "x" }
    assert.same({ "chat.v2", "chat", "x" }, scope("/", offer, "websocket").subprotocols)
    assert.same({}, scope("/", nil, "websocket").subprotocols)
  end)

  it("says what it is", function()
    local request, socket = scope("/"), scope("/", nil, "websocket")
    assert.same({ "http", "http", "GET" }, { request.type, request.scheme, request.method })
    assert.same({ "websocket", "ws" }, { socket.type, socket.scheme })
    assert.is_nil(socket.method)
  end)

  it("is a request only for HTTP", function()
    assert.is_function(scope("/").abody)
    assert.is_function(scope("/").ajson)
    assert.is_nil(scope("/", nil, "websocket").abody)
  end)

  it("has room for captures before there are any", function()
    assert.same({ kwargs = {} }, scope("/").url_route)
    assert.are_not.equal(scope("/").url_route, scope("/").url_route)
  end)

  it("knows no addresses once the connection is gone", function()
    assert.is_nil(scope("/").client)
    assert.is_nil(scope("/").server)
  end)

  it("makes a field when it is asked for, and keeps it", function()
    local at = scope("/?x=1", { "cookie", "a=1" })
    for _, name in ipairs { "path", "query", "headers", "cookies", "url_route" } do
      assert.is_nil(rawget(at, name), name)
      local value = at[name]
      assert.truthy(value, name)
      assert.equal(value, rawget(at, name))
    end
    at.query.x = "changed"
    assert.equal("changed", at.query.x)
  end)

  it("keeps what middleware puts into it, also over a field", function()
    local at = scope("/old")
    at.user, at.path, at.cookies = "ann", "/new", { a = "own" }
    assert.equal("ann", at.user)
    assert.equal("/new", at.path)
    assert.equal("own", at.cookies.a)
    assert.equal("/old", at.raw_path)
    assert.equal("/new", at.path)
  end)

  it("does not know what nobody said", function()
    assert.is_nil(scope("/").user)
    assert.is_nil(scope("/").nonsense)
  end)

  it("has no path when the target cannot be decoded", function()
    for _, target in ipairs { "/%zz", "/%ff", "/%00" } do
      local at = scope(target)
      assert.is_nil(at.path, target)
      assert.is_nil(at.raw_path, target)
      assert.is_nil(at.query_string, target)
    end
  end)
end)
