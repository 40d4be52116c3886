-- Tells what it saw, for spec/server/http_corpus_spec.lua.
local rille = require("rille")

local function saw(request, body)
  local words = { request.method, request.raw_path }
  if request.query_string ~= "" then
    words[2] = words[2] .. "?" .. request.query_string
  end
  words[3] = body ~= "" and body or nil
  local trailers = {}
  for name, value in pairs(request.trailers or {}) do
    trailers[#trailers + 1] = name .. "=" .. value
  end
  table.sort(trailers)
  words[#words + 1] = trailers[1] and table.concat(trailers, " ")
  local text = table.concat(words, " "):gsub("%c", ".")
  return 200, text, { ["x-saw"] = text }
end

local function read(request)
  return saw(request, request:abody())
end

local function unread(request)
  return saw(request, "")
end

return rille.app {
  limits = { max_body = 1000 },
  routes = {
    rille.http("/none", function(request)
      return 404, "none\n", { ["x-saw"] = request.method }
    end),
    rille.http("/unread", unread),
    rille.get("/get/only", read),
    rille.http("/", read),
    rille.http("/<any>", read),
    rille.http("//b/x", read),
  },
}
