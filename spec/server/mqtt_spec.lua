--- MQTT at a real mosquitto, with Mosquitto's own clients.

local brokers = require("spec.support.broker")
local clients = require("spec.support.clients")
local server = require("spec.support.server")

local APP = "spec/support/apps/mqtt.lua"

describe("MQTT", function()
  if not brokers.is_there() then
    pending("needs mosquitto and mosquitto-clients")
    return
  end

  local broker, running

  after_each(function()
    brokers.clean()
    server.clean()
  end)

  --- Start the app for the broker, subscribed. `login`: in front of the host, `query` behind it.
  local function start(options)
    options = options or {}
    local host = (options.login or "") .. (options.host or "127.0.0.1") .. ":" .. broker.port
    local url = (options.scheme or "mqtt") .. "://" .. host .. "/?keepalive=10"
    local line = { "run", options.app or APP, "--mqtt", url .. (options.query or "") }
    for _, word in ipairs(options.words or {}) do
      line[#line + 1] = word
    end
    local subscribed = server.count(broker:log(), "Sending SUBACK")
    running = server.start(line, { env = options.env })
    if options.waits ~= false then
      assert.truthy(server.eventually(5, function()
        return server.count(broker:log(), "Sending SUBACK") >= subscribed + (options.filters or 4)
      end), broker:log())
    end
    return running
  end

  local function says(text, seconds)
    assert.truthy(running:says(text, seconds), text .. " is missing in\n" .. running:stderr())
  end

  local function count(text)
    return server.count(running:stderr(), text)
  end

  --- What curl gets: the body and, behind it, the status.
  local function get(path)
    local line = "curl -sS -w ' %%{http_code}' %s 2>&1"
    return server.shell(line:format(server.quote(running.url .. path)))
  end

  local function publish(query)
    return get("/publish?" .. query)
  end

  local function counters()
    return require("cjson").decode((get("/count"):gsub(" %d+$", "")))
  end

  --- What the silent counter has, once it has counted so many.
  local function counted(n, seconds)
    local last
    local done = server.eventually(seconds or 10, function()
      last = counters()
      return last.total - last.twice >= n and last.missing == 0
    end)
    assert.truthy(done, ("counted %d, %d missing"):format(last.total, last.missing))
    return last
  end

  it("is heard at QoS 0, 1 and 2, with what the wildcards stand for", function()
    broker = brokers.start()
    broker:publish("sensors/old/x", "kept", { qos = 1, retain = true })
    start()
    says('sensors/+/# #1: sensors/old/x q1 [retained] [old,x] "kept";')
    broker:publish("sensors/a/b/c", "zero")
    says('#2: sensors/a/b/c q0 [fresh] [a,b/c] "zero";')
    broker:publish("sensors/a", "one", { qos = 1 })
    says('#3: sensors/a q1 [fresh] [a,] "one";')
    broker:publish("sensors/a/b", "\0\255\n", { qos = 2 })
    says('#4: sensors/a/b q2 [fresh] [a,b] "\\0\\xff')
    broker:publish("plain", "", { qos = 2 })
    says('plain #1: plain q0 [fresh] [] "";')
    broker:publish("shared", "with others", { qos = 2 })
    says('$share/crew/shared #1: shared q1 [fresh] [] "with others";')
    broker:publish("sensors/a/raise", "raise", { qos = 1 })
    says("Sensor on mqtt sensors/+/# failed in mqtt.message: ")
    broker:publish("sensors/a/b", "goes on", { qos = 1 })
    says('#5: sensors/a/b q1 [fresh] [a,b] "goes on";')
    assert.equal(0, running:stop())
    assert.equal(3, count("left 1001;"))
    assert.is_nil(broker:log():find("rille-%S+ already connected"))
  end)

  it("is published to at QoS 0, 1 and 2, from any consumer", function()
    broker = brokers.start()
    start()
    local ear = broker:subscribe("#")
    for qos = 0, 2 do
      assert.equal("ok 200", publish(("topic=a/%d&payload=p%d&qos=%d"):format(qos, qos, qos)))
      assert.truthy(ear:says(("a/%d %d 0 p%d\n"):format(qos, qos, qos)), ear:text())
    end
    publish("topic=kept&payload=for+later&qos=1&retain=1")
    assert.truthy(broker:subscribe("kept"):says("kept 1 1 for later"))
    broker:publish("sensors/x", "answer", { qos = 2 })
    assert.truthy(ear:says("answer 2 0 answer\n"), ear:text())
    assert.truthy(publish("topic=a/%2B&payload=x"):find(" 500$"))
    says("a topic to publish to has no + and no #")
  end)

  it("carries a MiB, and bytes of any kind, both ways", function()
    broker = brokers.start()
    start()
    local bytes = {}
    for i = 0, 255 do
      bytes[i + 1] = string.char(i)
    end
    local payload = table.concat(bytes):rep(4096)
    broker:publish("sensors/big", payload, { qos = 1 })
    says("sensors/big q1 [fresh] [big,] 1048576 bytes;")
    local ear = broker:subscribe("big", 1, "-C 1 -N")
    local line = "curl -sS --data-binary @%s/payload '%s/publish?topic=big&qos=1' 2>&1"
    assert.equal("ok", server.shell(line:format(broker.folder, running.url)))
    assert.truthy(server.eventually(5, function()
      return #ear:text() == #"big 1 0 " + #payload
    end), #ear:text())
    assert.equal("big 1 0 " .. payload, ear:text())
  end)

  it("tells the properties of MQTT 5, and takes them", function()
    broker = brokers.start()
    start { query = "&version=5" }
    local ear = broker:subscribe("reply", 2, "-V 5 -F '%C %D %P %p'")
    broker:publish("sensors/x", "answer", {
      qos = 1,
      more = "-V 5 -D publish content-type text/plain -D publish response-topic reply "
        .. "-D publish correlation-data c1 -D publish user-property key value "
        .. "-D publish message-expiry-interval 60",
    })
    assert.truthy(ear:says("text/plain c1 key:value answer"), ear:text())
    says(" content_type=text/plain")
    says(" user_properties=value")
    says(" message_expiry_interval=60")
  end)

  it("tells the will when it is killed, and none when it stops", function()
    broker = brokers.start()
    local ear = broker:subscribe("will/#")
    start { env = { WILL = "will/a" } }
    broker:publish("sensors/a", "sleep", { qos = 1 })
    says("begins: sensors/a")
    assert.equal(0, running:stop()) -- a handler that does not end keeps it from nothing
    start { env = { WILL = "will/b" } }
    running:signal("KILL")
    assert.truthy(ear:says("will/b 1 0 lost"), ear:text())
    assert.is_nil(ear:text():find("will/a", 1, true))
  end)

  it("shows who it is, and never tells the password", function()
    local folder = server.scratch()
    server.shell(("mosquitto_passwd -b -c %s/users ann s3cret 2>&1; chmod 600 %s/users"):format(
      folder,
      folder
    ))
    broker = brokers.start({ "password_file FOLDER/users" }, { users = folder .. "/users" })
    broker.options = "-u ann -P s3cret"
    start { login = "ann:s3cret@" }
    broker:publish("plain", "in")
    says('plain q0 [fresh] [] "in";')
    assert.equal(0, running:stop())
    for _, login in ipairs { "ann:wr0ng@", "" } do
      start { login = login, waits = false }
      says("not authorised")
      assert.truthy(publish("topic=a&payload=b&timeout=0.05"):find(" 500$"))
      says("no answer within 0.05 s")
      assert.is_nil(running:stderr():find("wr0ng", 1, true))
      assert.equal(0, running:stop())
    end
  end)

  describe("over TLS", function()
    local folder

    before_each(function()
      folder = server.scratch()
      server.shell("spec/support/certificates " .. folder)
    end)

    local function serve(name, lines)
      local files = { ["server.pem"] = name .. ".pem", ["server.key"] = name .. ".key" }
      files.ca = "ca.pem"
      for file, from in pairs(files) do
        files[file] = folder .. "/" .. from
      end
      broker = brokers.start(lines, files)
      broker.options = ("--cafile %s/ca.pem --insecure"):format(folder)
    end

    it("asks for the host's name, and shows a certificate of its own", function()
      serve("localhost", { "cafile FOLDER/ca", "require_certificate true",
        "use_identity_as_username true" })
      broker.options = broker.options
        .. (" --cert %s/client.pem --key %s/client.key"):format(folder, folder)
      local query = ("&ca=%s/ca.pem&cert=%s/client.pem&key=%s/client.key"):format(
        folder,
        folder,
        folder
      )
      start { scheme = "mqtts", host = "localhost", query = query }
      broker:publish("sensors/big", ("x"):rep(1e6), { qos = 2 })
      says("1000000 bytes;")
      assert.equal("ok 200", publish("topic=a&payload=b&qos=2"))
      assert.equal(0, running:stop())
      assert.truthy(broker:says("Received DISCONNECT from rille-"))
    end)

    it("does not believe a stranger, nor another name", function()
      serve("localhost")
      start {
        scheme = "mqtts",
        query = ("&ca=%s/other.pem"):format(folder),
        waits = false,
      }
      says("TLS: certificate verify failed")
      assert.equal(0, running:stop())
      brokers.clean()
      serve("a")
      start { scheme = "mqtts", query = ("&ca=%s/ca.pem"):format(folder), waits = false }
      says("TLS: certificate verify failed")
    end)

    it("wants files that are there", function()
      serve("localhost")
      local line = { "check", APP, "--mqtt", "mqtts://127.0.0.1?ca=/no/such/file" }
      local status, stderr = server.run(line)
      assert.equal(1, status)
      assert.truthy(stderr:find("cannot use the authorities in /no/such/file", 1, true), stderr)
    end)
  end)

  it("serves while the broker is down, and finds it when it is there #slow", function()
    broker = brokers.start()
    broker:stop()
    start { waits = false }
    says("Connection refused; trying again")
    assert.truthy(publish("topic=a&payload=b&timeout=0.05"):find(" 500$"))
    broker:again()
    assert.truthy(broker:says("Sending SUBACK", 10))
    broker:publish("plain", "there")
    says('plain q0 [fresh] [] "there";')
    broker:stop("KILL")
    broker:again()
    says("connected again", 10)
    says("reconnected false;")
    assert.equal("ok 200", publish("topic=a&payload=b&qos=1"))
    broker:publish("plain", "again")
    says('plain q0 [fresh] [] "again";')
  end)

  it("delivers everything though the broker restarts #slow", function()
    for qos = 1, 2 do
      broker = brokers.start { "persistence", "max_queued_messages 0", "quiet" }
      start { query = "&client_id=spec&session=3600", waits = false }
      assert.truthy(broker:says("spec 2 count"))
      broker:publish_numbers("count", 1500, qos, "-i numbers -c")
      server.eventually(5, function()
        return counters().total > 100
      end)
      broker:stop()
      broker:again()
      -- At QoS 2 Mosquitto 2.0 publishes again what it was told the receipt of before it stopped,
      -- to its own client, too; so here nobody counts what came twice.
      counted(1500, 60)
      says("reconnected true;")
      assert.equal(0, running:stop())
      brokers.clean()
    end
  end)

  it("delivers everything though connections are cut, at QoS 2 once and in order #slow", function()
    for _, query in ipairs { "&version=3.1.1", "&version=5" } do
      broker = brokers.start { "max_queued_messages 0", "quiet" }
      local door = clients.open("cutting_door.py", broker.port, "5", "9000")
      local open = door:wait("open")
      local url = ("mqtt://127.0.0.1:%d/?client_id=spec&session=3600"):format(open.port) .. query
      running = server.start { "run", APP, "--mqtt", url }
      assert.truthy(broker:says("spec 2 count"))
      broker:publish_numbers("count", 1500, 2, "-i numbers -c")
      local got = counted(1500, 60)
      assert.same({ 1500, 0, 0 }, { got.total, got.twice, got.disorder })
      says("reconnected true;")
      assert.equal(0, running:stop())
      server.shell("kill " .. open.pid)
      door:finish()
      brokers.clean()
    end
  end)

  it("publishes over a restart of the broker what it was asked to #slow", function()
    broker = brokers.start { "persistence" }
    start { query = "&client_id=spec&session=3600" }
    local ear = broker:subscribe("#", 2, "-i ear -c")
    assert.equal("ok 200", publish("topic=a&payload=first&qos=2"))
    broker:stop("STOP")
    local line = ("curl -s '%s/publish?topic=a&payload=second&qos=2' >%s/curl &"):format(
      running.url,
      running.folder
    )
    os.execute(line)
    server.sleep(0.1)
    server.shell("kill -CONT $(cat " .. broker.folder .. "/pid)")
    broker:stop()
    broker:again()
    assert.truthy(server.eventually(10, function()
      return server.read_file(running.folder .. "/curl") == "ok"
    end))
    assert.truthy(ear:says("a 2 0 second", 10), ear:text())
    assert.equal(1, server.count(ear:text(), "second"))
  end)

  it("acknowledges when the handler has ended: a crash costs no message of QoS 1", function()
    broker = brokers.start { "persistence" }
    local query = "&client_id=spec&session=3600"
    start { query = query }
    broker:publish("sensors/a", "done", { qos = 1 })
    says('"done";')
    assert.truthy(broker:says("Received PUBACK from spec"))
    broker:publish("sensors/a", "sleep", { qos = 1 })
    broker:publish("sensors/b", "behind", { qos = 1 })
    says("begins: sensors/a q1")
    running:signal("KILL")
    assert.truthy(broker:says("Client spec closed its connection"))
    start { query = query }
    says('begins: sensors/a q1 [fresh] [a,] "sleep";')
    assert.is_nil(running:stderr():find('"done"', 1, true))
    assert.equal(0, running:stop()) -- the same without a crash
    start { query = query }
    says('begins: sensors/a q1 [fresh] [a,] "sleep";')
  end)

  it("does not wait for a handler for ever", function()
    broker = brokers.start()
    start { env = { ACK_TIMEOUT = "0.2" } }
    broker:publish("sensors/a", "sleep", { qos = 1 })
    says("1 message acknowledged before the handler has ended: ack_timeout")
    assert.truthy(broker:says("Received PUBACK from rille"))
    broker:publish("shared", "others go on", { qos = 1 })
    says('"others go on";')
  end)

  it("stays with a broker that it does not read from", function()
    broker = brokers.start()
    start { query = "&keepalive=5" }
    broker:publish("plain", "sleep")
    says("begins: plain")
    broker:publish_numbers("plain", 3000, 0)
    -- Ten may wait; the rest is in the kernel, and at the broker.
    server.sleep(0.3)
    assert.equal(0, counters().total)
    assert.is_nil(running:stderr():find("dropped", 1, true), running:stderr())
    assert.is_nil(broker:log():find("exceeded timeout", 1, true))
  end)

  describe("follows a reload:", function()
    local path

    before_each(function()
      path = server.scratch() .. "/app.lua"
      broker = brokers.start()
    end)

    local SCRIPT = [[
      local rille = require("rille")
      local First = rille.Consumer:extend("First")
      function First:mqtt_message(event)
        self.n = (self.n or 0) + 1
        rille.log(("%%s #%%d %s %%s;"):format(self.scope.filter, self.n, event.payload))
      end
      function First:disconnect(code) rille.log(self.scope.filter .. " left " .. code .. ";") end
      return rille.app { routes = { %s }, %s }]]

    local function write(word, routes, more)
      server.write(path, SCRIPT:format(word, routes, more or ""))
    end

    local function reload(text)
      running:signal("HUP")
      says(text)
    end

    it("filters come and go, and who stays keeps its self", function()
      write("old", 'rille.mqtt("a", First), rille.mqtt("b", First)')
      start { app = path, filters = 2 }
      broker:publish("a", "1")
      says("a #1 old 1;")
      write("new", 'rille.mqtt("a", First), rille.mqtt("c/+", First, { qos = 1 })')
      reload("b left 1012;")
      assert.truthy(broker:says("Received UNSUBSCRIBE from rille"))
      assert.truthy(broker:says("c/+ (QoS 1)"))
      broker:publish("c/1", "2", { qos = 1 })
      says("c/+ #1 new 2;")
      broker:publish("a", "3")
      says("a #2 new 3;")
      broker:publish("b", "4")
      write("last", "")
      reload("c/+ left 1012;")
      assert.truthy(broker:says("Received DISCONNECT from rille"))
      assert.is_nil(running:stderr():find(" 4;", 1, true))
    end)

    it("a script that fails changes nothing", function()
      write("old", 'rille.mqtt("a", First)')
      start { app = path, filters = 1 }
      write("new", 'rille.mqtt("b", First)', 'error("not today")')
      reload("not today")
      write("new", 'rille.mqtt("b+", First)')
      reload("a + stands for a whole level")
      broker:publish("a", "still")
      says("a #1 old still;")
      assert.is_nil(broker:log():find("UNSUBSCRIBE", 1, true))
    end)

    it("another broker takes over", function()
      local other = brokers.start()
      write("old", 'rille.mqtt("a", First)', ("mqtt = %q"):format(broker.url))
      running = server.start { "run", path }
      assert.truthy(broker:says("Sending SUBACK"))
      write("new", 'rille.mqtt("a", First)', ("mqtt = %q"):format(other.url))
      reload("a left 1012;")
      assert.truthy(other:says("Sending SUBACK"))
      assert.truthy(broker:says("Received DISCONNECT"))
      other:publish("a", "here")
      says("a #1 new here;")
    end)
  end)

  it("is heard once by several workers, and published to by each", function()
    broker = brokers.start()
    start { words = { "--workers", "2" } }
    local ear = broker:subscribe("a")
    broker:publish("sensors/x", "once", { qos = 1 })
    says('"once";')
    for i = 1, 8 do
      assert.equal("ok 200", publish("topic=a&qos=1&payload=n" .. i))
    end
    assert.truthy(ear:says("n8"))
    assert.equal(1, count('"once";'))
    assert.equal(0, running:stop())
    assert.is_nil(broker:log():find("Client rille%S+ closed its connection"))
  end)

  it("is in the metrics", function()
    broker = brokers.start()
    start { words = { "--admin", "127.0.0.1:0" } }
    broker:publish("plain", "one")
    says('"one";')
    publish("topic=a&payload=b&qos=1")
    local admin = running:stderr():match("rille: admin on (%S+)")
    local metrics = clients.fetch(admin .. "/metrics").body
    for _, line in ipairs {
      'rille_mqtt_connections{worker="0"} 2',
      'rille_mqtt_received_total{worker="0"} 1',
      'rille_mqtt_published_total{worker="0"} 1',
      'rille_mqtt_reconnects_total{worker="0"} 0',
      'rille_mqtt_unacknowledged{worker="0"} 0',
      'rille_events_total{kind="mqtt",route="plain",event="source"} 1',
    } do
      assert.truthy(metrics:find(line, 1, true), line .. " is not in\n" .. metrics)
    end
  end)
end)
