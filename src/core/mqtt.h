/* mqtt.h - a background consumer that hears what is published on topics that match a filter: events
 * "mqtt.message", and "mqtt.reconnected" when the connection had been lost.
 *
 * A consumer that has no room for more makes the whole broker wait: it is not read from
 * (mqtt/ear.h) until there is room. What had been read by then is kept at QoS 1 and 2, and dropped
 * at QoS 0. */
#ifndef RL_CORE_MQTT_H
#define RL_CORE_MQTT_H

#include "core/background.h"

int rl_mqtt_open(rl_consumer *c, rl_broker *b, rl_str filter, int qos, rl_err *err) RL_MUST_USE;

#endif
