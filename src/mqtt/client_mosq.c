/* client_mosq.c - libmosquitto, configured so that it neither blocks nor guesses, and what it
 * tells. */
#include "mqtt/client_parts.h"

#include <mqtt_protocol.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What libmosquitto tells */

static void on_connect(struct mosquitto *m, void *obj, int reason, int flags,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    c->refusal = reason;
    c->welcomed = reason == 0;
    c->resumed = flags & 1;
}

static void on_disconnect(struct mosquitto *m, void *obj, int reason,
                          const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (reason >= 0x80 && !c->refusal)
        c->refusal = reason;
}

static void on_message(struct mosquitto *m, void *obj, const struct mosquitto_message *got,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;
    rl_mqtt_message message = {
        .topic = rl_str_of(got->topic),
        .payload = {got->payload ? got->payload : "", (size_t)got->payloadlen},
        .qos = got->qos,
        .retain = got->retain,
        .properties = properties,
    };

    if (got->qos == 2 && !rl_mqtt_exchange_release(&c->exchange, got->mid))
        return;
    if (c->state != RL_MQTT_LEAVING)
        c->events->message(c->owner, &message);
}

static void on_publish(struct mosquitto *m, void *obj, int mid, int reason,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->published)
        c->events->published(c->owner, mid, reason);
}

static void on_subscribe(struct mosquitto *m, void *obj, int mid, int n, const int *granted,
                         const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->answered)
        c->events->answered(c->owner, mid, n ? granted[0] : 0x80);
}

static void on_unsubscribe(struct mosquitto *m, void *obj, int mid,
                           const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->answered)
        c->events->answered(c->owner, mid, 0);
}

static void on_log(struct mosquitto *m, void *obj, int level, const char *text)
{
    rl_mqtt_client *c = obj;
    const char *reason = strrchr(text, ':'); /* OpenSSL Error[0]: error:0A000086:…:reason */

    if (level == MOSQ_LOG_DEBUG)
        rl_mqtt_exchange_read(&c->exchange, c->id, text);
    if (level != MOSQ_LOG_ERR || c->complaint[0])
        return;
    bool tls = strncmp(text, "OpenSSL", 7) == 0 && reason;
    snprintf(c->complaint, sizeof(c->complaint), "%s%s", tls ? "TLS: " : "",
             tls ? reason + 1 : text);
}

/* Making one */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    RL_CHECK(mosquitto_lib_init() == MOSQ_ERR_SUCCESS);
}

/* The properties of CONNECT can be given to a blocking connect only: to one that fails at once,
 * for want of a path. They are kept for those that follow. */
static void set_session(rl_mqtt_client *c)
{
    mosquitto_property *properties = NULL;

    if (!c->conf->v5 || !c->conf->session)
        return;
    RL_CHECK(mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                          c->conf->session) == MOSQ_ERR_SUCCESS);
    RL_CHECK(mosquitto_connect_bind_v5(c->mosq, "", 0, c->conf->keepalive, NULL, properties) !=
             MOSQ_ERR_SUCCESS);
    mosquitto_property_free_all(&properties);
}

static void configure(rl_mqtt_client *c)
{
    const rl_mqtt_config *conf = c->conf;
    const rl_mqtt_will *will = &conf->will;
    struct mosquitto *m = c->mosq;

    mosquitto_threaded_set(m, true); /* it leaves the writing to us */
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION,
                         conf->v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    /* Its own count leaks over reconnects, and ends in a protocol error; we stop reading instead.
     */
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, UINT16_MAX);
    if (conf->user)
        mosquitto_username_pw_set(m, conf->user, conf->password);
    if (c->events->message && will->topic)
        mosquitto_will_set(m, will->topic, (int)will->payload.n, will->payload.p, will->qos,
                           will->retain);
    if (c->tls)
        mosquitto_void_option(m, MOSQ_OPT_SSL_CTX, rl_tls_broker_context(c->tls));
    mosquitto_int_option(m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    mosquitto_connect_v5_callback_set(m, on_connect);
    mosquitto_disconnect_v5_callback_set(m, on_disconnect);
    mosquitto_message_v5_callback_set(m, on_message);
    mosquitto_publish_v5_callback_set(m, on_publish);
    mosquitto_subscribe_v5_callback_set(m, on_subscribe);
    mosquitto_unsubscribe_v5_callback_set(m, on_unsubscribe);
    mosquitto_log_callback_set(m, on_log);
    set_session(c);
}

void rl_mqtt_client_make(rl_mqtt_client *c)
{
    rl_mqtt_exchange_fini(&c->exchange);
    pthread_once(&library_once, open_library);
    c->worn = false;
    c->mosq = mosquitto_new(c->id, c->conf->session == 0, c);
    RL_CHECK(c->mosq != NULL);
    configure(c);
}
