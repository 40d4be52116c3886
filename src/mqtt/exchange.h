/* exchange.h - which messages of QoS 2 libmosquitto holds between their PUBLISH and their PUBREL.
 *
 * It keeps a second copy of one that the broker publishes again after a reconnect, and hands that
 * out with the next PUBREL of this number, which may be one repeated: so what comes without a
 * PUBLISH of its own is a stale copy. Copies stay until libmosquitto is begun anew, which loses
 * nothing when nothing is held. Zeroed, it is an empty one. */
#ifndef RL_MQTT_EXCHANGE_H
#define RL_MQTT_EXCHANGE_H

#include "base/base.h"

typedef struct rl_mqtt_exchange {
    uint8_t *held; /* by number; NULL: none was ever */
    unsigned nheld, stale;
} rl_mqtt_exchange;

void rl_mqtt_exchange_fini(rl_mqtt_exchange *x); /* empty and usable afterwards */

/* A line of libmosquitto's log, which is where it tells of a PUBLISH that it keeps to itself. */
void rl_mqtt_exchange_read(rl_mqtt_exchange *x, const char *id, const char *line);
/* It hands out the message of this number. False: a stale copy. */
bool rl_mqtt_exchange_release(rl_mqtt_exchange *x, int mid);

#endif
