--- Jobs that say in the log what happens to them, for spec/server/channels_spec.lua.

local rille = require("rille")
local json = require("rille.json")

local Jobs = rille.Consumer:extend("Jobs")

function Jobs:init()
  self.n = 0
end

local function say(text, ...)
  rille.log(("%s;"):format(text:format(...)))
end

function Jobs:note(event)
  self.n = self.n + 1
  say("note %d on %d", event.n, rille.worker.id)
  rille.asleep(event.seconds or 0.005)
end

function Jobs:long(event)
  say("long begins")
  local ok, err = pcall(rille.asleep, event.seconds)
  say("long ends %s", ok and "whole" or tostring(err))
  if not ok then
    error(err, 0)
  end
end

local tries = 0
function Jobs:shaky(event)
  tries = tries + 1
  say("try %d", tries)
  if tries <= event.fails then
    error("as it was told")
  end
  say("it holds")
end

local Dead = rille.Consumer:extend("Dead")

function Dead:dead_letter(event)
  say("dead %s %s %d", event.channel, event.message.type, event.attempts)
end

return rille.app {
  routes = {
    rille.post("/send/<slug:channel>", function(request)
      local name, delivered, dropped = request.url_route.kwargs.channel, 0, 0
      for _, message in ipairs(json.decode(request:abody())) do
        local ok, bad = rille.channel_layer:asend(name, message)
        delivered, dropped = delivered + ok, dropped + bad
      end
      return 200, { delivered, dropped }
    end),
    rille.channel("newest", Jobs, {
      concurrency = 1,
      capacity = 3,
      policy = "drop_oldest",
      timeout = 1,
    }),
    rille.channel("jobs", Jobs, {
      concurrency = tonumber(os.getenv("CONCURRENCY") or 4),
      capacity = tonumber(os.getenv("CAPACITY") or 1000),
      retry = { times = 2, delay = 0.02, factor = 1 },
      dead_letter = "dead",
    }),
    rille.channel("dead", Dead),
  },
}
