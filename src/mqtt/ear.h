/* ear.h - the connection that subscribes, and who gets what it hears.
 *
 * The broker's subscriptions follow what is wanted (has a filter anybody who listens?), one
 * SUBSCRIBE or UNSUBSCRIBE at a time for each. A connection that comes up again goes on from there
 * if the broker kept the session, and from nothing else.
 *
 * Acknowledgement. libmosquitto queues the PUBACK of a message of QoS 1 before it hands the message
 * over; here nothing is written while a handler of such a message has not ended (`owed`). So what
 * a crash interrupts was not acknowledged, and is delivered again. After ack_timeout the wait is
 * given up, since one handler would keep all others' messages away; that is counted. A SUBSCRIBE
 * of a reload waits, too. At QoS 2 there is nothing to wait for: libmosquitto hands a message over
 * in the last step of the exchange, when the broker has given it away. It comes once for as long as
 * we live, over reconnects; what is in our hands when we die is lost.
 *
 * Not reading. Who has no room pauses the ear: then everything waits in the kernel, and at the
 * broker. At most MOST_OWED messages are read ahead of their handlers. */
#ifndef RL_MQTT_EAR_H
#define RL_MQTT_EAR_H

#include "mqtt/client.h"

typedef struct rl_mqtt_ear rl_mqtt_ear;
typedef struct rl_mqtt_listen rl_mqtt_listen;

/* From the loop. Each may close the listen it is for, and no other. */
typedef struct rl_mqtt_listener {
    void (*message)(void *arg, const rl_mqtt_message *m);
    /* The connection was lost, and the filter is subscribed to again. Not resumed: what was
     * published meanwhile is lost. */
    void (*again)(void *arg, bool resumed);
} rl_mqtt_listener;

typedef struct rl_mqtt_ear_events {
    void (*idle)(void *arg); /* nobody listens, and nothing is subscribed to: may close it */
    void (*closed)(void *arg);
} rl_mqtt_ear_events;

int rl_mqtt_ear_open(rl_mqtt_ear **out, rl_loop *loop, const rl_mqtt_config *conf,
                     const rl_mqtt_ear_events *events, void *arg, rl_err *err) RL_MUST_USE;
/* What is owed is waited for; then it takes its leave, and `closed` is called. */
void rl_mqtt_ear_close(rl_mqtt_ear *ear);

rl_mqtt_listen *rl_mqtt_listen_open(rl_mqtt_ear *ear, rl_str filter, int qos,
                                    const rl_mqtt_listener *listener, void *arg);
/* keep: leave the broker's subscription as it is, for a session that outlives us. */
void rl_mqtt_listen_close(rl_mqtt_listen *l, bool keep);
rl_mqtt_ear *rl_mqtt_listen_ear(const rl_mqtt_listen *l);

/* A message of QoS 1 is with a handler; it ended, or never will (not handled: the broker is
 * to deliver it again). The ear lives until all is settled. */
void rl_mqtt_ear_owe(rl_mqtt_ear *ear);
void rl_mqtt_ear_settle(rl_mqtt_ear *ear, bool handled);

/* As often resumed as paused. */
void rl_mqtt_ear_pause(rl_mqtt_ear *ear);
void rl_mqtt_ear_resume(rl_mqtt_ear *ear);

rl_mqtt_client *rl_mqtt_ear_client(rl_mqtt_ear *ear);
unsigned rl_mqtt_ear_owed(const rl_mqtt_ear *ear);
uint64_t rl_mqtt_ear_received(const rl_mqtt_ear *ear);

#endif
