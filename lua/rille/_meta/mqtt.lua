---@meta rille.core.mqtt

---@class rille.core.Broker : userdata

---@class rille.core.mqtt
local mqtt = {}

--- Nothing is dialled yet. Fails when the files for TLS make no sense.
---@param settings rille.core.MqttConfig
---@return rille.core.Broker? handle
---@return rille.MqttError? err
function mqtt.open(settings) end

--- Takes leave of the broker, in its own time: no will is told.
---@param handle rille.core.Broker
function mqtt.close(handle) end

---@param topic string
---@param filter boolean  a filter, to subscribe to; else a topic to publish to
---@return boolean        does MQTT take it?
function mqtt.takes(topic, filter) end

--- Have a consumer in the background hear what is published, until it leaves.
---@param handle rille.core.Broker
---@param filter string
---@param qos 0|1|2
---@param id number  the consumer's
---@return true? ok
---@return rille.MqttError|rille.Closed|nil err
function mqtt.listen(handle, filter, qos, id) end

--- Wait for the connection that publishes to be up.
---@async
---@param handle rille.core.Broker
---@return true? ok
---@return rille.MqttError|rille.Closed|nil err
function mqtt.ready(handle) end

--- Wait until it is written (QoS 0), or the broker has it. Fails when the connection is not up.
---@async
---@param handle rille.core.Broker
---@param topic string
---@param payload string
---@param qos 0|1|2
---@param retain boolean?
---@param properties rille.MqttProperties?
---@return true? ok
---@return rille.MqttError|rille.Closed|nil err
function mqtt.publish(handle, topic, payload, qos, retain, properties) end

return mqtt
