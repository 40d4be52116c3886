/* config.h - how a broker is reached, and as whom. Strings are never NULL unless it says so. */
#ifndef RL_MQTT_CONFIG_H
#define RL_MQTT_CONFIG_H

#include "base/err.h"
#include "base/str.h"

typedef struct rl_mqtt_will {
    const char *topic; /* NULL: there is none */
    rl_str payload;
    int qos;
    bool retain;
} rl_mqtt_will;

typedef struct rl_mqtt_config {
    const char *name; /* for people: the URL without its password */
    const char *host;
    uint16_t port;
    const char *ear_id;          /* client identifiers: of the connection that subscribes, */
    const char *mouth_id;        /* and of this worker's that publishes */
    const char *user, *password; /* NULL: none */
    bool v5;                     /* MQTT 5; else 3.1.1 */
    uint32_t session;     /* seconds that the broker keeps a session for; 0: none outlives us */
    uint16_t keepalive;   /* seconds */
    uint32_t ack_timeout; /* ms; see ear.h */
    bool tls;
    const char *ca, *cert, *key; /* files in PEM; NULL: the system's authorities; no certificate */
    rl_mqtt_will will;
} rl_mqtt_config;

#endif
