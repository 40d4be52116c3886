/* client_parts.h - what the files of client.h know of each other; for nobody else. */
#ifndef RL_MQTT_CLIENT_PARTS_H
#define RL_MQTT_CLIENT_PARTS_H

#include "io/tls_broker.h"
#include "mqtt/client.h"
#include "mqtt/exchange.h"

typedef enum rl_mqtt_client_state {
    RL_MQTT_RESTING,
    RL_MQTT_DIALLING,
    RL_MQTT_UP,
    RL_MQTT_LEAVING,
    RL_MQTT_CLOSING
} rl_mqtt_client_state;

/* A duplicate of libmosquitto's socket: that one is closed under our hands. */
typedef struct rl_mqtt_watched {
    uv_poll_t poll;
    int fd;
    rl_mqtt_client *client; /* NULL: given up */
} rl_mqtt_watched;

struct rl_mqtt_client {
    rl_loop *loop;
    const rl_mqtt_config *conf;
    const rl_mqtt_client_events *events;
    void *owner;
    char *id;
    struct mosquitto *mosq;
    rl_tls_broker *tls;
    rl_mqtt_client_state state;
    rl_mqtt_watched *watched;
    uv_timer_t timer; /* resting: to dial; dialling, leaving: patience; up: the next ping */
    uv_getaddrinfo_t lookup;
    struct addrinfo *found, *next;
    rl_hook hook;
    rl_mqtt_exchange exchange;
    uint64_t heard_at; /* ms on the loop's clock */
    unsigned failures; /* since it was up */
    unsigned ups;
    int interest;  /* what is polled for */
    int refusal;   /* the CONNACK's, or DISCONNECT's, reason */
    bool looking;  /* a lookup is under way */
    bool reaching; /* the socket is not connected yet */
    bool welcomed, resumed;
    bool reading; /* wanted */
    bool whole;   /* no packet is written in part */
    bool stirred;
    bool worn;           /* libmosquitto is to be begun anew before the next dial */
    char complaint[200]; /* libmosquitto's, for want of a better reason */
};

/* client.c */
/* The connection is over, or was never: it is told in the log, and tried again. */
void rl_mqtt_client_lost(rl_mqtt_client *c, const char *fmt, ...) RL_PRINTF(2, 3);
/* Likewise, for what libmosquitto returned; error is errno. */
void rl_mqtt_client_lost_by(rl_mqtt_client *c, int rc, int error);
void rl_mqtt_client_set_interest(rl_mqtt_client *c); /* to poll for what is due now */
void rl_mqtt_client_free(rl_mqtt_client *c);         /* nothing of it is under way any more */

/* client_dial.c */
void rl_mqtt_client_look_up(rl_mqtt_client *c);   /* and dial the first address */
void rl_mqtt_client_dial_next(rl_mqtt_client *c); /* the one before was nobody's */
void rl_mqtt_client_unwatch(rl_mqtt_client *c);
void rl_mqtt_client_forget_addresses(rl_mqtt_client *c);

/* client_mosq.c */
void rl_mqtt_client_make(rl_mqtt_client *c); /* c->mosq, which knows nothing yet */

#endif
