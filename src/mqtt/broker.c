#include "mqtt/broker.h"

#include "io/tls_broker.h"

struct rl_broker {
    rl_loop *loop;
    rl_mqtt_config conf;
    rl_mqtt_ear *ear;     /* NULL: nobody has listened yet, or any more */
    rl_mqtt_mouth *mouth; /* NULL: nobody has published yet */
    rl_broker_stats past; /* of connections that are closed */
    unsigned closing;     /* connections that take their leave */
    bool closed;
    void (*fn)(void *arg);
    void *arg;
};

/* conf's strings, in the broker's keeping */

static void copy_config(rl_mqtt_config *to, const rl_mqtt_config *from)
{
    *to = *from;
    to->name = rl_strdup(from->name);
    to->host = rl_strdup(from->host);
    to->ear_id = rl_strdup(from->ear_id);
    to->mouth_id = rl_strdup(from->mouth_id);
    to->user = rl_strdup(from->user);
    to->password = rl_strdup(from->password);
    to->ca = rl_strdup(from->ca);
    to->cert = rl_strdup(from->cert);
    to->key = rl_strdup(from->key);
    to->will.topic = rl_strdup(from->will.topic);
    to->will.payload.p = rl_strndup(from->will.payload.p, from->will.payload.n);
}

static void free_config(rl_mqtt_config *c)
{
    const char *const strings[] = {c->name,     c->host,       c->ear_id,        c->mouth_id,
                                   c->user,     c->ca,         c->cert,          c->key,
                                   c->password, c->will.topic, c->will.payload.p};

    for (size_t i = 0; i < RL_COUNT(strings); i++)
        rl_free((char *)strings[i]);
}

/* Life */

int rl_broker_open(rl_broker **out, rl_loop *loop, const rl_mqtt_config *conf, rl_err *err)
{
    rl_tls_broker *tls = NULL;

    if (conf->tls) {
        int rc = rl_tls_broker_open(&tls, conf->host, conf->ca, conf->cert, conf->key, err);
        if (rc < 0)
            return rc;
        rl_tls_broker_close(tls);
    }
    rl_broker *b = rl_calloc(1, sizeof(*b));
    b->loop = loop;
    copy_config(&b->conf, conf);
    *out = b;
    return 0;
}

static void end(rl_broker *b)
{
    void (*fn)(void *arg) = b->fn;
    void *arg = b->arg;

    if (!b->closed || b->closing)
        return;
    free_config(&b->conf);
    rl_free(b);
    if (fn)
        fn(arg);
}

static void on_closed(void *arg)
{
    rl_broker *b = arg;

    b->closing--;
    end(b);
}

static void add_client(rl_broker_stats *s, const rl_mqtt_client *c)
{
    s->connections += rl_mqtt_client_is_up(c);
    s->reconnects += rl_mqtt_client_reconnects(c);
}

static void close_ear(rl_broker *b)
{
    b->past.received += rl_mqtt_ear_received(b->ear);
    b->past.reconnects += rl_mqtt_client_reconnects(rl_mqtt_ear_client(b->ear));
    b->closing++;
    rl_mqtt_ear_close(b->ear);
    b->ear = NULL;
}

void rl_broker_close(rl_broker *b, void (*fn)(void *arg), void *arg)
{
    b->closed = true;
    b->fn = fn;
    b->arg = arg;
    b->closing++; /* ours, so that the last one is not met too early */
    if (b->ear)
        close_ear(b);
    if (b->mouth) {
        b->closing++;
        rl_mqtt_mouth_close(b->mouth);
        b->mouth = NULL;
    }
    b->closing--;
    end(b);
}

/* Nobody listens any more; the broker has been told. */
static void on_idle(void *arg)
{
    close_ear(arg);
}

rl_mqtt_listen *rl_broker_listen(rl_broker *b, rl_str filter, int qos,
                                 const rl_mqtt_listener *listener, void *arg, rl_err *err)
{
    static const rl_mqtt_ear_events ear_events = {.idle = on_idle, .closed = on_closed};

    if (!b->ear && rl_mqtt_ear_open(&b->ear, b->loop, &b->conf, &ear_events, b, err) < 0)
        return NULL;
    return rl_mqtt_listen_open(b->ear, filter, qos, listener, arg);
}

rl_mqtt_mouth *rl_broker_mouth(rl_broker *b, rl_err *err)
{
    if (!b->mouth && rl_mqtt_mouth_open(&b->mouth, b->loop, &b->conf, on_closed, b, err) < 0)
        return NULL;
    return b->mouth;
}

void rl_broker_stats_of(const rl_broker *b, rl_broker_stats *out)
{
    out->received += b->past.received;
    out->reconnects += b->past.reconnects;
    if (b->ear) {
        out->received += rl_mqtt_ear_received(b->ear);
        out->unacknowledged += rl_mqtt_ear_owed(b->ear);
        add_client(out, rl_mqtt_ear_client(b->ear));
    }
    if (b->mouth) {
        out->published += rl_mqtt_mouth_published(b->mouth);
        add_client(out, rl_mqtt_mouth_client(b->mouth));
    }
}

bool rl_broker_takes(rl_str topic, bool filter)
{
    if (topic.n == 0 || topic.n > RL_MQTT_TOPIC_MAX ||
        mosquitto_validate_utf8(topic.p, (int)topic.n) != MOSQ_ERR_SUCCESS)
        return false;
    return (filter ? mosquitto_sub_topic_check2(topic.p, topic.n)
                   : mosquitto_pub_topic_check2(topic.p, topic.n)) == MOSQ_ERR_SUCCESS;
}
