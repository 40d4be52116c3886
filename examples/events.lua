-- An event stream that misses nothing: whoever comes back is first told what was said meanwhile.
-- Run:  ./rille run examples/events.lua       Try:  open http://127.0.0.1:8000/ in two windows,
--       or listen with  curl -N http://127.0.0.1:8000/news
local models = require("rille.models")
local rille = require("rille")

local News = models.define("events_news", { id = models.auto(), text = models.text() })

local Stream = rille.EventStreamConsumer:extend("Stream")

Stream.groups = { "news" } -- joined before connect: what comes meanwhile waits

function Stream:atell(id, text)
  if id > self.told then
    self.told = id
    self:asend_event { id = id, data = text }
  end
end

function Stream:connect()
  self.told = tonumber(self.last_event_id) or 0
  self:accept()
  if self.last_event_id then -- a browser says it when it comes back
    local missed = News.objects:filter { id__gt = self.told }
    for item in missed:order_by("id"):aiterator() do
      self:atell(item.id, item.text)
    end
  end
end

function Stream:news_item(message)
  self:atell(message.id, message.text)
end

local function say(request)
  local item = News.objects:acreate { text = request:abody() }
  local message = { type = "news.item", id = item.id, text = item.text }
  rille.channel_layer:agroup_send("news", message)
  return 204
end

local PAGE = [[
<!doctype html><meta charset="utf-8"><title>News</title>
<form><input autofocus> <button>say</button></form><ul></ul>
<script>
  const [form, input, list] = ["form", "input", "ul"].map((name) => document.querySelector(name));
  new EventSource("/news").onmessage = (event) => {
    list.append(Object.assign(document.createElement("li"), { textContent: event.data }));
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    fetch("/news", { method: "POST", body: input.value });
    form.reset();
  };
</script>
]]

return rille.app {
  models = { News },
  routes = {
    rille.get("/", function()
      return 200, PAGE, { ["content-type"] = "text/html; charset=utf-8" }
    end),
    rille.get("/news", Stream),
    rille.post("/news", say),
  },
}
