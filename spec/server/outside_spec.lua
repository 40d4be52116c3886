local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

--- Two processes on one layer, whose backend (spec/support/apps/files_backend.lua) is a file.
describe("a layer of several processes", function()
  local folder, first, second

  local function start(query, env)
    local layer = "files:" .. folder .. (query or "")
    return server.start({ "run", "spec/support/apps/outside.lua", "--layer", layer }, { env = env })
  end

  before_each(function()
    folder = server.scratch()
  end)

  after_each(function()
    server.clean()
  end)

  local function get(process, path)
    local answer = clients.fetch(process.url .. path)
    return answer.status == 200 and answer.body ~= "" and json.decode(answer.body) or answer
  end

  local function open(process, path, ...)
    return clients.open("ws.js", process.ws .. path, { ... })
  end

  --- A member that has joined, and goes on until it was told `last`; and its name.
  local function member(process, last)
    local client = open(process, "/member", { "until", last }, { "close", 1000, "" })
    return client, client:wait("message").data
  end

  local function heard(client)
    client:finish()
    local texts = {}
    for i, event in ipairs(client:all("message")) do
      texts[i] = event.data
    end
    table.remove(texts, 1)
    return texts
  end

  --- The processes are told of a connection that is lost, or there again.
  local function set_down(down)
    if down then
      server.write(folder .. "/down", "")
    else
      os.remove(folder .. "/down")
    end
    for _, process in ipairs { first, second } do
      assert.truthy(server.eventually(5, function()
        return get(process, "/state").up == not down
      end))
    end
  end

  it("delivers to members wherever they are, once, in order", function()
    first, second = start(), start("", { RILLE_WORKERS = "2" })
    local here, there = member(first, "last"), member(second, "last")
    for i = 1, 5 do
      assert.same({ 1, 0 }, get(first, "/send?text=" .. i))
    end
    get(first, "/transaction?text=last")
    assert.same({ "1", "2", "3", "4", "5", "last" }, heard(here))
    assert.same({ "1", "2", "3", "4", "5", "last" }, heard(there))
  end)

  it("reaches a channel of another process by its name", function()
    first, second = start(), start()
    local there, name = member(second, "just you")
    assert.same({ 1, 0 }, get(first, "/send?text=just+you&channel=" .. name))
    assert.same({ "just you" }, heard(there))
  end)

  it("takes a member in only when others reach it, and forgets whoever has stopped", function()
    first, second = start(), start()
    local there = member(second, "farewell")
    local before = get(first, "/state")
    local careless = open(second, "/careless", { "text", "in" }, { "receive" })
    careless:wait("message")
    local traces = server.shell("cat " .. folder .. "/specific.*")
    assert.truthy(traces:find("careless\nroom", 1, true), traces)
    assert.equal(0, first:stop()) -- its on_stop still sends
    assert.same({ "farewell" }, heard(there))
    assert.equal(0, second:stop())
    assert.equal("", server.shell("ls " .. folder .. " | grep specific"))
    assert.equal(0, before.malformed)
  end)

  it("refuses sends while the connection is lost, and tells members when it is back", function()
    local admin = "unix:" .. folder .. "/admin"
    first, second = start("", { RILLE_ADMIN = admin }), start()
    local there = member(second, "after")
    local careless = open(second, "/careless", { "text", "in" }, { "until", "over" })
    careless:wait("message")
    set_down(true)
    local refused = get(first, "/send?text=lost")
    assert.equal(503, refused.status)
    assert.truthy(refused.body:find("^LayerError: the layer files:.* cannot be"), refused.body)
    get(first, "/transaction?text=lost") -- committed: nobody is left to tell
    assert.truthy(first:says("a message could not be sent after its commit: LayerError"))
    set_down(false)
    assert.truthy(second:says("back after"))
    get(first, "/send?text=after")
    assert.same({ "reconnected", "after" }, heard(there))
    assert.equal(1, #careless:all("message"))
    local state = get(first, "/state")
    assert.same({ 1, 2 }, { state.outages, state.refused })
    local page = clients.at(admin, { path = "/metrics" }).body
    for figure, value in pairs {
      ['up{worker="0"}'] = 1,
      ['outages_total{worker="0"}'] = 1,
      ['messages_total{worker="0",outcome="refused"}'] = 2,
      ['messages_total{worker="0",outcome="sent"}'] = 1,
    } do
      local line = ("\nrille_layer_backend_%s %d\n"):format(figure, value)
      assert.truthy(page:find(line, 1, true), line)
    end
    careless.pipe:close()
  end)

  it("has sends wait for the connection when it is told so", function()
    first = start("?outage=wait&outage_timeout=20")
    second = first
    local here = member(first, "late")
    set_down(true)
    local sending = clients.open("fetch.py", first.url .. "/send?text=late", {})
    server.sleep(0.1)
    assert.same({ 0, 0 }, { get(first, "/state").sent, get(first, "/state").refused })
    os.remove(folder .. "/down")
    assert.equal("[1,0]", sending:next().body)
    here:finish()
    assert.equal(1, get(first, "/state").sent)
  end)

  it("lives on with what a reload brings, and says what a reload cannot change", function()
    first = start()
    first:signal("HUP")
    assert.truthy(first:says("generation 2"))
    second = start()
    local there = member(second, "from the second generation")
    assert.same({ 0, 0 }, get(first, "/send?text=from+the+second+generation"))
    heard(there)
  end)

  for given, told in pairs {
    ["nowhere://x"] = "this version has no layer nowhere:; there are files:, memory:",
    ["files:x?outage=maybe"] = "outage is fail or wait, not 'maybe'",
    ["files:x?outage_timeout=never"] = "outage_timeout is seconds",
  } do
    it("is refused when it makes no sense: " .. given, function()
      local arguments = { "check", "spec/support/apps/outside.lua", "--layer", given }
      local status, said = server.run(arguments)
      assert.equal(1, status)
      assert.truthy(said:find(told, 1, true), said)
    end)
  end
end)
