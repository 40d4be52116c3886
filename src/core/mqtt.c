#include "core/mqtt.h"

#include "mqtt/properties.h"

/* Lives until its source is closed and its last outcome has come back. */
typedef struct hearing {
    rl_source source;
    rl_mqtt_listen *listen; /* NULL: closed */
    rl_mqtt_ear *ear;       /* there as long as it is owed something, or listened to */
    rl_worker *worker;
    unsigned outcomes;
    size_t bytes; /* of messages that are not done with */
    bool pausing;
} hearing;

typedef struct mqtt_outcome {
    rl_outcome outcome;
    hearing *hearing;
    size_t bytes;
    bool owed;
} mqtt_outcome;

static void drop(hearing *h)
{
    if (!h->listen && !h->outcomes)
        rl_free(h);
}

static bool has_room(const hearing *h)
{
    return rl_consumer_has_place(h->source.consumer) && h->bytes < h->worker->limits.mailbox_bytes;
}

static void set_pausing(hearing *h, bool on)
{
    if (h->pausing == on)
        return;
    h->pausing = on;
    if (on)
        rl_mqtt_ear_pause(h->ear);
    else
        rl_mqtt_ear_resume(h->ear);
}

/* What is left undone at the end is for the broker to deliver again; at any other time somebody
 * has decided that it should not be done. */
static void on_done(rl_outcome *outcome, bool handled)
{
    mqtt_outcome *r = RL_CONTAINER_OF(outcome, mqtt_outcome, outcome);
    hearing *h = r->hearing;

    h->outcomes--;
    h->bytes -= r->bytes;
    if (r->owed)
        rl_mqtt_ear_settle(h->ear, handled || !h->worker->draining);
    if (h->listen && has_room(h))
        set_pausing(h, false);
    rl_free(r);
    drop(h);
}

static rl_outcome *new_outcome(hearing *h, const rl_mqtt_message *m)
{
    mqtt_outcome *r = rl_calloc(1, sizeof(*r));

    r->outcome.done = on_done;
    r->hearing = h;
    r->bytes = m->topic.n + m->payload.n;
    r->owed = m->qos == 1;
    h->outcomes++;
    h->bytes += r->bytes;
    if (r->owed)
        rl_mqtt_ear_owe(h->ear);
    return &r->outcome;
}

static void on_message(void *arg, const rl_mqtt_message *m)
{
    hearing *h = arg;
    rl_buf properties = {0};

    if (m->qos == 0 && !has_room(h)) {
        rl_source_drop(&h->source);
        return;
    }
    rl_mqtt_properties_flat(m->properties, &properties);
    const rl_field fields[] = {
        {.name = "topic", .text = m->topic},
        {.name = "payload", .text = m->payload},
        {.name = "qos", .number = m->qos},
        {.name = "retain", .number = m->retain},
        {.name = "properties", .text = rl_buf_str(&properties)},
    };
    rl_source_put(&h->source, "mqtt.message", fields, RL_COUNT(fields), new_outcome(h, m));
    rl_buf_fini(&properties);
    if (!has_room(h))
        set_pausing(h, true);
}

static void on_again(void *arg, bool resumed)
{
    hearing *h = arg;
    const rl_field fields[] = {{.name = "resumed", .number = resumed}};

    rl_source_remind(&h->source, "mqtt.reconnected", fields, RL_COUNT(fields));
}

static void close_hearing(rl_source *s)
{
    hearing *h = RL_CONTAINER_OF(s, hearing, source);

    set_pausing(h, false);
    rl_mqtt_listen_close(h->listen, h->worker->draining);
    h->listen = NULL;
    drop(h);
}

int rl_mqtt_open(rl_consumer *c, rl_broker *b, rl_str filter, int qos, rl_err *err)
{
    static const rl_mqtt_listener listener = {.message = on_message, .again = on_again};
    hearing *h = rl_calloc(1, sizeof(*h));

    h->listen = rl_broker_listen(b, filter, qos, &listener, h, err);
    if (!h->listen) {
        rl_free(h);
        return err->code;
    }
    h->ear = rl_mqtt_listen_ear(h->listen);
    h->worker = c->worker;
    h->source.close = close_hearing;
    rl_background_feed(c, &h->source);
    return 0;
}
