/* properties.h - what MQTT 5 lets a message say besides. */
#ifndef RL_MQTT_PROPERTIES_H
#define RL_MQTT_PROPERTIES_H

#include "base/buf.h"
#include "base/err.h"

#include <mosquitto.h>

typedef struct rl_mqtt_pair {
    const char *name, *value; /* UTF-8 */
} rl_mqtt_pair;

/* To publish with. Nothing is set in a zeroed one. */
typedef struct rl_mqtt_properties {
    const char *content_type, *response_topic; /* NULL: not said */
    rl_str correlation_data;                   /* p NULL: not said */
    double message_expiry_interval;            /* seconds; 0: never */
    bool text;                                 /* the payload is UTF-8 */
    const rl_mqtt_pair *user;
    unsigned nuser;
} rl_mqtt_properties;

/* To be freed with mosquitto_property_free_all(). */
int rl_mqtt_properties_make(mosquitto_property **out, const rl_mqtt_properties *from,
                            rl_err *err) RL_MUST_USE;

/* Those that came with a message, as `name:N:V:` and N bytes of a key (of user_property; else 0)
 * and V bytes of the value, one behind the other. */
void rl_mqtt_properties_flat(const mosquitto_property *properties, rl_buf *out);

#endif
