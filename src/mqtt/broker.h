/* broker.h - a broker as one worker sees it: an ear that subscribes, a mouth that publishes.
 *
 * They are two connections. What the ear writes waits for handlers (ear.h), and a handler that
 * publishes waits for the broker's answer: on one connection that would be a circle. Each is
 * dialled when it is first needed. */
#ifndef RL_MQTT_BROKER_H
#define RL_MQTT_BROKER_H

#include "io/loop.h"
#include "mqtt/ear.h"
#include "mqtt/mouth.h"

typedef struct rl_broker rl_broker;

typedef struct rl_broker_stats {
    unsigned connections; /* that are up */
    uint64_t received, published, reconnects;
    unsigned unacknowledged; /* messages whose handlers have not ended */
} rl_broker_stats;

/* conf is copied. Negative when its TLS files make no sense. */
int rl_broker_open(rl_broker **out, rl_loop *loop, const rl_mqtt_config *conf,
                   rl_err *err) RL_MUST_USE;
/* Takes leave of the broker, so that it tells nobody's will; within a second fn (or NULL) is
 * called. All who listen have closed, or will not be told any more; who publishes is told. */
void rl_broker_close(rl_broker *b, void (*fn)(void *arg), void *arg);

/* Hear what is published on a topic that matches the filter, which is a good one. NULL: why not. */
rl_mqtt_listen *rl_broker_listen(rl_broker *b, rl_str filter, int qos,
                                 const rl_mqtt_listener *listener, void *arg, rl_err *err);
rl_mqtt_mouth *rl_broker_mouth(rl_broker *b, rl_err *err); /* NULL: why there is none */

void rl_broker_stats_of(const rl_broker *b, rl_broker_stats *out); /* adds to *out */

#define RL_MQTT_TOPIC_MAX 65535

/* Is it a topic to publish to, or a filter to subscribe to (3.1.1, section 4.7)? */
bool rl_broker_takes(rl_str topic, bool filter);

#endif
