--- What a client of a TLS port may ask for: who it is, its bytes back, many bytes, an answer in
--- its own time.
local rille = require("rille")

local Echo = rille.WebsocketConsumer:extend("Echo")

function Echo:receive(text_data, bytes_data)
  if text_data == "scope" then
    local tls = self.scope.tls
    text_data = ("%s %s"):format(self.scope.scheme, tls and tls.version or "plain")
  end
  self:asend { text_data = text_data, bytes_data = bytes_data }
end

local Big = rille.HttpConsumer:extend("Big")

function Big:handle(request)
  self:asend_headers(200, { ["content-type"] = "application/octet-stream" })
  local piece = ("0123456789abcdef"):rep(4096)
  for _ = 1, tonumber(request.query.mib) * 16 do
    self:asend_body(piece, { more_body = true })
  end
  self:asend_body("")
end

return rille.app {
  limits = { max_body = 2 ^ 25, request_timeout = tonumber(os.getenv("REQUEST_TIMEOUT")) },
  routes = {
    rille.websocket("/echo", Echo),
    rille.get("/", function(request)
      return 200, { scheme = request.scheme, tls = request.tls }
    end),
    rille.get("/late/<int:ms>", function(request)
      rille.asleep(request.url_route.kwargs.ms / 1000)
      return 200, "late"
    end),
    rille.get("/big", Big),
    rille.post("/echo", function(request)
      return 200, request:abody()
    end),
  },
}
