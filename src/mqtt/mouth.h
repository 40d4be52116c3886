/* mouth.h - the connection that publishes. */
#ifndef RL_MQTT_MOUTH_H
#define RL_MQTT_MOUTH_H

#include "mqtt/client.h"

typedef struct rl_mqtt_mouth rl_mqtt_mouth;
typedef struct rl_mqtt_wait rl_mqtt_wait;

/* From the loop; the wait is gone by then. */
typedef void rl_mqtt_done_fn(void *arg, const rl_err *err);

int rl_mqtt_mouth_open(rl_mqtt_mouth **out, rl_loop *loop, const rl_mqtt_config *conf,
                       void (*closed)(void *arg), void *arg, rl_err *err) RL_MUST_USE;
void rl_mqtt_mouth_close(rl_mqtt_mouth *m); /* who waits is told */

/* Until it is up. NULL: it is. */
rl_mqtt_wait *rl_mqtt_mouth_ready(rl_mqtt_mouth *m, rl_mqtt_done_fn *fn, void *arg);

typedef struct rl_mqtt_publication {
    const char *topic;
    rl_str payload;
    int qos;
    bool retain;
    const mosquitto_property *properties; /* NULL: none */
} rl_mqtt_publication;

/* fn is called when it is written (QoS 0), or the broker has it (1, 2): over a reconnect, too. */
int rl_mqtt_mouth_publish(rl_mqtt_mouth *m, const rl_mqtt_publication *p, rl_mqtt_wait **out,
                          rl_mqtt_done_fn *fn, void *arg, rl_err *err) RL_MUST_USE;
/* fn will not be called. What was published still is. */
void rl_mqtt_wait_cancel(rl_mqtt_wait *w);

rl_mqtt_client *rl_mqtt_mouth_client(rl_mqtt_mouth *m);
uint64_t rl_mqtt_mouth_published(const rl_mqtt_mouth *m);

#endif
