-- HTTP: a text, a typed path, JSON.
-- Run:  ./rille run examples/hello.lua      Try:  curl http://127.0.0.1:8000/hello/Ann
local rille = require("rille")

local function index()
  return 200, "hello, moon\n"
end

local function greet(request)
  return 200, "hello, " .. request.url_route.kwargs.name .. "\n"
end

local function add(request)
  local numbers = request.url_route.kwargs
  return 200, { a = numbers.a, b = numbers.b, sum = numbers.a + numbers.b }
end

return rille.app {
  routes = {
    rille.get("/", index),
    rille.get("/hello/<str:name>", greet),
    rille.get("/add/<int:a>/<int:b>", add),
  },
}
