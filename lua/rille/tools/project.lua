--- The files of a new project, as text. `@NAME@` stands for its name.

local project = {}

project["app.lua"] = [[
-- @NAME@: what is said is kept, and told to everybody who is there.
-- Run:  rille dev .          Try:  npx wscat -c ws://127.0.0.1:8000/talk
local rille = require("rille")
local Message = require("models")

local Talk = rille.WebsocketConsumer:extend("Talk")
Talk.groups = { "talk" }

-- Whoever comes is told the last fifty.
function Talk:connect()
  self:accept()
  local last = Message.objects:order_by("-id"):limit(50):alist()
  for i = #last, 1, -1 do
    self:asend { text_data = last[i].text }
  end
end

function Talk:receive(text_data)
  if not text_data then
    return self:close(1003, "text only")
  end
  local message = Message.objects:acreate { text = text_data }
  self:agroup_send("talk", { type = "websocket.send", text = message.text })
end

return rille.app {
  models = { Message },
  routes = {
    rille.get("/", function()
      return 200, { messages = Message.objects:acount() }
    end),
    rille.websocket("/talk", Talk),
  },
}
]]

project["models.lua"] = [[
local models = require("rille.models")

local Message = models.define("message", {
  text = models.text { max_length = 500 },
  said = models.timestamp { auto_now_add = true },
})

return Message
]]

project["spec/app_spec.lua"] = [[
-- Run:  rille test
local testing = require("rille.testing")

local app = testing.load("app.lua")

describe("@NAME@", function()
  it("tells everybody what is said, and later those who come", function()
    local ann = testing.WebsocketCommunicator(app, "/talk")
    local bob = testing.WebsocketCommunicator(app, "/talk")
    assert.is_true(ann:aconnect())
    assert.is_true(bob:aconnect())
    ann:asend_to { text_data = "hello" }
    assert.equal("hello", ann:areceive_from())
    assert.equal("hello", bob:areceive_from())
    local eve = testing.WebsocketCommunicator(app, "/talk")
    assert.is_true(eve:aconnect())
    assert.equal("hello", eve:areceive_from())
    for _, one in ipairs { ann, bob, eve } do
      one:adisconnect()
    end
  end)

  it("counts what has been said", function()
    local answer = testing.HttpCommunicator(app, "GET", "/"):aget_response()
    assert.equal(200, answer.status)
    assert.equal('{"messages":0}', answer.body)
  end)
end)
]]

project["README.md"] = [[
# @NAME@

Messages that are kept, and told to everybody who is connected to `/talk`.

    rille dev .               # serve it, reloading as you write
    rille test                # run its tests
    rille check .             # load it and see that it makes sense
    rille types .             # tell the editor about the models (again, when they change)
    rille makemigrations .    # once there is data that must stay: what changed in the models,
    rille migrate .           # and bringing a database there

`app.lua` has the routes and the consumers, `models.lua` the tables, `spec` the tests. Without
`DATABASE_URL` the data is in `rille.db` beside the script. `@NAME@.service` is a unit for systemd.
]]

project[".luarc.json"] = [[
{
  "runtime.version": "LuaJIT",
  "workspace.library": [".rille"],
  "workspace.checkThirdParty": false,
  "diagnostics.globals": [
    "describe", "it", "setup", "teardown", "before_each", "after_each", "pending"
  ]
}
]]

project[".luacheckrc"] = [[
std = "luajit"
ignore = { "212/self" }
exclude_files = { ".rille" }
files["spec"] = { std = "+busted" }
]]

project[".gitignore"] = [[
/.rille/
/rille.db*
]]

project["@NAME@.service"] = [[
# Copy the project to /srv/@NAME@ and this file to /etc/systemd/system, then:
#   systemctl enable --now @NAME@.service
[Unit]
Description=@NAME@
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=/usr/local/bin/rille run /srv/@NAME@ --listen 127.0.0.1:8000
ExecReload=kill -HUP $MAINPID
# A stop drains; give it longer than --drain-timeout.
TimeoutStopSec=30
WatchdogSec=10
Restart=on-failure
LimitNOFILE=262144

DynamicUser=yes
StateDirectory=@NAME@
Environment=DATABASE_URL=sqlite:/var/lib/@NAME@/rille.db
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
]]

return project
