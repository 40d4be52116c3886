/* client.h - one connection to a broker that is kept up: dialled, watched, dialled again.
 *
 * libmosquitto speaks the protocol; here is what it would block or guess for. Names are looked up
 * off the loop, and it is handed addresses. It writes when it is told to, at the end of a turn,
 * and only if the owner allows: what it acknowledges by itself thereby waits until a handler has
 * ended (ear.h). Its own idea of a keepalive would take a connection for dead that is not read
 * from on purpose; so mosquitto_loop_misc() is never called, and pings are ours.
 *
 *   RESTING --> DIALLING --> UP --> LEAVING --> (closed)
 *      ^-----------'---------'
 *
 * What is in flight at QoS 1 and 2 is libmosquitto's to send again after a reconnect. What it holds
 * of QoS 2 is watched (exchange.h): it is begun anew, over a connection of its own, when it has
 * copies too many, or a broker gives numbers anew. */
#ifndef RL_MQTT_CLIENT_H
#define RL_MQTT_CLIENT_H

#include "io/loop.h"
#include "mqtt/config.h"

#include <mosquitto.h>

typedef struct rl_mqtt_client rl_mqtt_client;

/* Valid during the call. */
typedef struct rl_mqtt_message {
    rl_str topic, payload;
    int qos;
    bool retain;
    const mosquitto_property *properties; /* of MQTT 5; NULL: none */
} rl_mqtt_message;

/* All come from the loop. None may close the client but `closed`, when it is gone. */
typedef struct rl_mqtt_client_events {
    void (*up)(void *owner, bool resumed); /* resumed: the broker had kept our session */
    void (*down)(void *owner);             /* it was up */
    void (*message)(void *owner, const rl_mqtt_message *m);
    void (*answered)(void *owner, int mid, int reason);  /* a SUBSCRIBE or UNSUBSCRIBE */
    void (*published)(void *owner, int mid, int reason); /* QoS 0: written; else acknowledged */
    void (*turn)(void *owner);      /* after rl_mqtt_client_stir(), before the writing */
    bool (*may_write)(void *owner); /* NULL: always */
    void (*closed)(void *owner);
} rl_mqtt_client_events;

/* conf must outlive it. Negative if conf's TLS files make no sense. */
int rl_mqtt_client_open(rl_mqtt_client **out, rl_loop *loop, const rl_mqtt_config *conf,
                        const char *id, const rl_mqtt_client_events *events, void *owner,
                        rl_err *err) RL_MUST_USE;
/* Say goodbye, so that no will is told; soon `closed` is called, and nothing else is. Without
 * `acknowledge` what waits to be written is not: the broker will deliver it again. */
void rl_mqtt_client_close(rl_mqtt_client *c, bool acknowledge);

/* To say things with, while it is up; follow with rl_mqtt_client_stir(). */
struct mosquitto *rl_mqtt_client_mosq(rl_mqtt_client *c);
bool rl_mqtt_client_is_up(const rl_mqtt_client *c);
/* At the end of this turn: turn(), then write. */
void rl_mqtt_client_stir(rl_mqtt_client *c);
/* Leave what comes in the kernel, or go on reading. Pings go on meanwhile. */
void rl_mqtt_client_read(rl_mqtt_client *c, bool on);
/* How often it has come up again. */
unsigned rl_mqtt_client_reconnects(const rl_mqtt_client *c);

#endif
