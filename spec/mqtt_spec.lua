--- MQTT without a broker: topics, filters, settings and routes.

local rille = require("rille")
local settings = require("rille.mqtt.settings")
local topics = require("rille.mqtt.topics")

describe("a filter", function()
  for _, filter in ipairs {
    "a", "a/b/c", "/", "/a", "a/", "+", "#", "+/+", "a/+/b", "a/#", "+/a/#", "$SYS/#",
    "$share/group/a/+", "$share/group//", "Zoë/+", " ", ("x"):rep(65535),
  } do
    it("may be " .. filter:sub(1, 30), function()
      assert.is_nil(topics.filter_error(filter))
    end)
  end

  for filter, told in pairs {
    [""] = "1 to 65535",
    [("x"):rep(65536)] = "1 to 65535",
    ["a\0b"] = "zero byte",
    ["a+"] = "whole level",
    ["a/b+/c"] = "whole level",
    ["++"] = "whole level",
    ["a#"] = "whole levels",
    ["#/a"] = "last level",
    ["a/#/b"] = "last level",
    ["$share/a"] = "$share/GROUP/FILTER",
    ["$share//a"] = "$share/GROUP/FILTER",
    ["$share/g+/a"] = "$share/GROUP/FILTER",
    ["$share/g/a/#/b"] = "last level",
    ["\255"] = "UTF-8",
  } do
    it("is not " .. ("%q"):format(filter:sub(1, 20)), function()
      assert.truthy(topics.filter_error(filter):find(told, 1, true), topics.filter_error(filter))
    end)
  end

  it("is a string", function()
    assert.equal("a filter is a string, got a nil", topics.filter_error(nil))
  end)

  for _, case in ipairs {
    { "a/b", "a/b", {} },
    { "+/b", "a/b", { "a" } },
    { "+/+", "/", { "", "" } },
    { "a/+/c/#", "a/b/c/d/e", { "b", "d/e" } },
    { "a/#", "a", { "" } },
    { "#", "a/b", { "a/b" } },
    { "$share/g/a/+", "a/b", { "b" } },
  } do
    it(("%s takes out of %s what its wildcards stand for"):format(case[1], case[2]), function()
      assert.same(case[3], topics.matches(case[1], case[2]))
    end)
  end
end)

describe("a topic to publish to", function()
  it("has no wildcards and is UTF-8", function()
    assert.is_nil(topics.topic_error("a/b"))
    for _, topic in ipairs { "", "a/+", "#", "a\0", "\255", ("x"):rep(65536) } do
      assert.is_string(topics.topic_error(topic))
    end
    assert.equal("a topic is a string, got a number", topics.topic_error(3))
  end)

  it("is checked before anything else", function()
    for options, told in pairs {
      [{ qos = 3 }] = "qos is 0, 1 or 2, not 3",
      [{ quality = 1 }] = "bad option quality; there are properties, qos, retain, timeout",
      [{ properties = { colour = "red" } }] = "bad property colour",
      [{ timeout = -1 }] = "timeout: seconds",
    } do
      local ok, err = pcall(rille.mqtt_client.apublish, rille.mqtt_client, "a", "b", options)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(told, 1, true), tostring(err))
    end
    assert.has_error(function()
      rille.mqtt_client:apublish("a", nil)
    end, nil)
  end)

  it("wants a broker", function()
    local ok, err = pcall(rille.mqtt_client.apublish, rille.mqtt_client, "a", "b")
    assert.is_false(ok)
    assert.is_true(rille.is_error(err, rille.MqttError))
    assert.truthy(err.message:find("--mqtt or", 1, true) or err.message:find("RILLE_MQTT", 1, true))
  end)
end)

describe("the settings of MQTT", function()
  it("are a URL", function()
    local config = settings.compile("mqtts://an%40n:s%3Acret@[::1]:1/?client_id=x%26y&session=60&"
      .. "version=5&keepalive=5&ca=ca.pem", nil, "/app", 3)
    assert.same({
      name = "mqtts://[::1]:1",
      host = "::1",
      port = 1,
      tls = true,
      user = "an@n",
      password = "s:cret",
      ear_id = "x&y",
      mouth_id = "x&y-pub3",
      v5 = true,
      session = 60,
      keepalive = 5,
      ack_timeout = 60,
      ca = "/app/ca.pem",
      will_payload = "",
      will_qos = 0,
      will_retain = false,
    }, config)
  end)

  it("have defaults, and an identity that a reload does not change", function()
    local one = settings.compile("mqtt://broker.example")
    assert.equal(1883, one.port)
    assert.equal(8883, settings.compile("mqtts://broker.example").port)
    assert.truthy(one.ear_id:find("^rille%-%x+$"))
    assert.same(one, settings.compile("mqtt://broker.example"))
    assert.is_nil(settings.compile(nil))
  end)

  it("of the command line are stronger than the script's, and leave the rest", function()
    local config = settings.compile({ url = "mqtt://a", client_id = "c" }, "mqtt://b:2")
    assert.same({ "b", 2, "c" }, { config.host, config.port, config.ear_id })
  end)

  for told, given in pairs {
    ["begins with mqtt:// or mqtts://"] = "redis://x:secret@a",
    ["a URL is mqtt://user:password@host:port"] = "mqtt://x:secret@a:99999",
    ["what has no = is no setting"] = "mqtt://x:secret@a/?keepalive",
    ["keepalive: a number from 5 to 65535"] = "mqtt://x:secret@a/?keepalive=1",
    ['unknown setting "colour"'] = { url = "mqtt://a", colour = "red" },
    ["url is missing"] = { client_id = "a" },
    ["version is 3.1.1 or 5, not 4"] = "mqtt://a?version=4",
    ["a session needs a client_id"] = "mqtt://a?session=1",
    ["ca, cert and key are for mqtts://"] = "mqtt://a?ca=x",
    ["a key, but no cert"] = "mqtts://a?key=x",
    ["will: topic: a topic to publish to has no +"] = { url = "mqtt://a", will = { topic = "+" } },
    ["will: qos is 0, 1 or 2"] = { url = "mqtt://a", will = { topic = "a", qos = 3 } },
    ['will has "text"'] = { url = "mqtt://a", will = { topic = "a", text = "b" } },
  } do
    it("are refused: " .. told, function()
      local ok, err = pcall(settings.compile, given)
      assert.is_false(ok)
      assert.is_true(rille.is_error(err, rille.ConfigurationError))
      assert.truthy(err.message:find(told, 1, true), err.message)
      assert.is_nil(err.message:find("secret", 1, true))
    end)
  end
end)

describe("an mqtt route", function()
  local Sensor = rille.Consumer:extend("Sensor")
  function Sensor.mqtt_message() end

  it("has a filter, a class and a QoS", function()
    local route = rille.mqtt("a/+", Sensor, { qos = 2 })
    assert.same({ "mqtt", "a/+", 2 }, { route.kind, route.channel, route.qos })
    assert.equal(0, rille.mqtt("a", Sensor).qos)
  end)

  for told, arguments in pairs {
    ["a + stands for a whole level"] = { "a+", Sensor },
    ["extends Consumer itself"] = { "a", rille.HttpConsumer },
    ["has no method mqtt_message(event)"] = { "a", rille.Consumer:extend("Deaf") },
    ["the only option is { qos = 0, 1 or 2 }"] = { "a", Sensor, { qos = 3 } },
    ["the only option is"] = { "a", Sensor, { qos = 1, retain = true } },
  } do
    it("is refused: " .. told, function()
      local ok, err = pcall(rille.mqtt, unpack(arguments))
      assert.is_false(ok)
      assert.truthy(err.message:find(told, 1, true), err.message)
    end)
  end

  it("is there once for a class", function()
    local ok, err = pcall(rille.app, {
      routes = { rille.mqtt("a", Sensor), rille.mqtt("a", Sensor, { qos = 1 }) },
    })
    assert.is_false(ok)
    assert.truthy(err.message:find('route mqtt "a": twice for Sensor', 1, true), err.message)
  end)
end)
