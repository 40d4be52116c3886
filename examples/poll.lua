-- Long polling, for clients that know plain HTTP alone: a request waits for what comes next.
-- Run:  ./rille run examples/poll.lua       Try:  curl "http://127.0.0.1:8000/news?after=0"
--       and meanwhile  curl -d hello http://127.0.0.1:8000/news
local models = require("rille.models")
local rille = require("rille")

local News = models.define("poll_news", { id = models.auto(), text = models.text() })

local layer = rille.channel_layer

--- What has come since `after`; at once if there is something, else as soon as there is, but within
--- 25 seconds, or what the client says: proxies grow impatient after 30 or so.
local function poll(request)
  local after = tonumber(request.query.after) or 0
  local patience = math.min(tonumber(request.query.wait) or 25, 25)
  local channel = layer:new_channel() -- it goes with this request, also if the client leaves
  layer:agroup_add("poll", channel) -- before looking, so that nothing falls between

  local function since()
    local news = {}
    for item in News.objects:filter({ id__gt = after }):order_by("id"):aiterator() do
      news[#news + 1] = { id = item.id, text = item.text }
    end
    return news
  end

  local news = since()
  while #news == 0 do
    local ok, err = pcall(rille.atimeout, patience, function()
      layer:areceive(channel)
    end)
    if not ok and rille.is_error(err, rille.Timeout) then
      return 204
    elseif not ok then
      error(err, 0)
    end
    news = since()
  end
  return 200, news
end

local function say(request)
  local item = News.objects:acreate { text = request:abody() }
  layer:agroup_send("poll", { type = "news.item", id = item.id })
  return 201, { id = item.id }
end

return rille.app {
  models = { News },
  routes = { rille.get("/news", poll), rille.post("/news", say) },
}
