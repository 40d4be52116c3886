#include "mqtt/ear.h"

#include "base/log.h"
#include "base/map.h"

#include <mqtt_protocol.h>

enum {
    MOST_OWED = 64,
    TELL_EVERY = 10000,     /* ms: what has no route is told no oftener */
    ID_BITS = (1 << 28) - 1 /* of a subscription identifier */
};

typedef struct topic_filter {
    rl_list link;
    rl_list listens; /* rl_mqtt_listen */
    rl_mqtt_ear *ear;
    const char *matches; /* in text: behind $share/GROUP/ */
    int id;              /* the same in every process, so that a kept session's are right */
    int qos;
    int mid;   /* of the SUBSCRIBE or UNSUBSCRIBE that is under way; 0: none is */
    int asked; /* the QoS of that SUBSCRIBE; negative: it is the other */
    bool subscribed;
    bool refused; /* by this connection's broker */
    bool kept;    /* nobody listens any more, but the subscription stays */
    char text[];
} topic_filter;

struct rl_mqtt_listen {
    rl_list link;
    topic_filter *filter;
    const rl_mqtt_listener *listener;
    void *arg;
    bool missed; /* to be told, once it is subscribed to */
};

struct rl_mqtt_ear {
    rl_loop *loop;
    const rl_mqtt_config *conf;
    rl_mqtt_client *client;
    rl_list filters;
    bool up, closing;
    bool deaf; /* a listen was closed for the end: hear no more */
    unsigned owed, pauses;
    bool overdue;     /* what is owed was waited for long enough */
    bool spoiled;     /* something will not be handled: acknowledge nothing any more */
    uv_timer_t timer; /* ack_timeout */
    uint64_t received, untold, told_at;
    const rl_mqtt_ear_events *events;
    void *arg;
};

static bool is_wanted(const topic_filter *f)
{
    return !rl_list_empty(&f->listens);
}

/* What the broker is told */

static int subscribe(rl_mqtt_ear *ear, topic_filter *f)
{
    mosquitto_property *properties = NULL;
    int options = 0;

    if (ear->conf->v5) {
        /* A kept subscription's retained messages were heard already. */
        options = MQTT_SUB_OPT_SEND_RETAIN_NEW;
        int rc = mosquitto_property_add_varint(&properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER,
                                               (uint32_t)f->id);
        RL_CHECK(rc == MOSQ_ERR_SUCCESS);
    }
    int rc = mosquitto_subscribe_v5(rl_mqtt_client_mosq(ear->client), &f->mid, f->text, f->qos,
                                    options, properties);
    mosquitto_property_free_all(&properties);
    return rc;
}

static void drop_unwanted(rl_mqtt_ear *ear)
{
    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        if (is_wanted(f) || f->kept || f->subscribed || f->mid)
            continue;
        rl_list_remove(it);
        rl_free(f);
    }
}

/* Wherever what is wanted and what the broker does are two things. */
static void pump(rl_mqtt_ear *ear)
{
    drop_unwanted(ear);
    if (!ear->up || ear->closing)
        return;
    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        struct mosquitto *m = rl_mqtt_client_mosq(ear->client);
        if (f->mid || f->refused || f->kept || is_wanted(f) == f->subscribed)
            continue;
        f->asked = is_wanted(f) ? f->qos : -1;
        int rc = is_wanted(f) ? subscribe(ear, f) : mosquitto_unsubscribe(m, &f->mid, f->text);
        if (rc == MOSQ_ERR_SUCCESS)
            continue;
        rl_error("%s: %s: %s", ear->conf->name, f->text, mosquitto_strerror(rc));
        f->refused = true;
        f->mid = 0;
    }
}

static void tell_again(topic_filter *f, bool resumed)
{
    RL_LIST_EACH (it, &f->listens) {
        rl_mqtt_listen *l = RL_LIST_ENTRY(it, rl_mqtt_listen, link);
        bool missed = l->missed;
        l->missed = false;
        if (missed)
            l->listener->again(l->arg, resumed);
    }
}

/* What the client tells */

static void on_up(void *owner, bool resumed)
{
    rl_mqtt_ear *ear = owner;

    ear->up = true;
    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        f->subscribed &= resumed;
        f->refused = false;
        if (f->subscribed)
            tell_again(f, true);
    }
}

static void on_down(void *owner)
{
    rl_mqtt_ear *ear = owner;

    ear->up = false;
    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        f->mid = 0;
        RL_LIST_EACH (at, &f->listens)
            RL_LIST_ENTRY(at, rl_mqtt_listen, link)->missed |= f->subscribed;
    }
    drop_unwanted(ear);
}

static void answered(topic_filter *f, int reason)
{
    const rl_mqtt_config *conf = f->ear->conf;

    f->mid = 0;
    if (f->asked >= 0 && reason >= 0x80) {
        rl_error("%s: the broker refuses the filter %s%s%s", conf->name, f->text,
                 conf->v5 ? ": " : "", conf->v5 ? mosquitto_reason_string(reason) : "");
        f->refused = true;
        return;
    }
    f->subscribed = f->asked >= f->qos;
    if (f->subscribed)
        tell_again(f, false);
}

static void on_answered(void *owner, int mid, int reason)
{
    rl_mqtt_ear *ear = owner;

    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        if (f->mid == mid)
            answered(f, reason);
    }
    rl_mqtt_client_stir(ear->client);
}

/* Hearing */

static bool has_id(const rl_mqtt_message *m, int id, bool *any)
{
    uint32_t value;
    bool has = false;

    for (const mosquitto_property *at = m->properties; at; at = mosquitto_property_next(at))
        if (mosquitto_property_identifier(at) == MQTT_PROP_SUBSCRIPTION_IDENTIFIER &&
            mosquitto_property_read_varint(at, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &value, false)) {
            *any = true;
            has |= value == (uint32_t)id;
        }
    return has;
}

static bool matches(const topic_filter *f, const rl_mqtt_message *m)
{
    bool does = false;

    mosquitto_topic_matches_sub2(f->matches, strlen(f->matches), m->topic.p, m->topic.n, &does);
    return does;
}

/* For each subscription that a message is for MQTT 5 may deliver it anew, and says for which. */
static unsigned tell(rl_mqtt_ear *ear, const rl_mqtt_message *m, bool by_id)
{
    unsigned n = 0;

    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        bool any = false;
        if (!is_wanted(f) || (by_id && !has_id(m, f->id, &any) && any) || !matches(f, m))
            continue;
        RL_LIST_EACH (at, &f->listens) {
            rl_mqtt_listen *l = RL_LIST_ENTRY(at, rl_mqtt_listen, link);
            l->listener->message(l->arg, m);
            n++;
        }
    }
    return n;
}

/* A subscription of an earlier life, whose session the broker has kept. */
static void tell_unrouted(rl_mqtt_ear *ear, const rl_mqtt_message *m)
{
    uint64_t now = rl_loop_now(ear->loop);

    ear->loop->counters.mqtt_unrouted++;
    ear->untold++;
    if (ear->told_at && now < ear->told_at + TELL_EVERY)
        return;
    rl_warn("%s: no route for the topic %.*s (%llu so far unsaid): the session has a subscription "
            "of an earlier version",
            ear->conf->name, (int)m->topic.n, m->topic.p, (unsigned long long)ear->untold);
    ear->untold = 0;
    ear->told_at = now;
}

static void set_reading(rl_mqtt_ear *ear)
{
    rl_mqtt_client_read(ear->client, !ear->pauses && ear->owed < MOST_OWED && !ear->deaf);
}

static void on_message(void *owner, const rl_mqtt_message *m)
{
    rl_mqtt_ear *ear = owner;

    if (ear->deaf) { /* it had been read already */
        ear->spoiled |= m->qos == 1;
        return;
    }
    ear->received++;
    if (!tell(ear, m, true) && !tell(ear, m, false))
        tell_unrouted(ear, m);
}

/* Acknowledging */

static void on_overdue(uv_timer_t *timer)
{
    rl_mqtt_ear *ear = timer->data;

    ear->overdue = true;
    ear->loop->counters.mqtt_acked_early += ear->owed;
    rl_warn("%s: %u message%s acknowledged before the handler has ended: ack_timeout",
            ear->conf->name, ear->owed, ear->owed == 1 ? "" : "s");
    rl_mqtt_client_stir(ear->client);
}

static bool may_write(void *owner)
{
    rl_mqtt_ear *ear = owner;

    return !ear->spoiled && (!ear->owed || ear->overdue);
}

void rl_mqtt_ear_owe(rl_mqtt_ear *ear)
{
    if (ear->owed++ == 0)
        uv_timer_start(&ear->timer, on_overdue, ear->conf->ack_timeout, 0);
    set_reading(ear);
}

void rl_mqtt_ear_settle(rl_mqtt_ear *ear, bool handled)
{
    RL_CHECK(ear->owed > 0);
    ear->spoiled |= !handled;
    if (--ear->owed == 0) {
        ear->overdue = false;
        uv_timer_stop(&ear->timer);
    }
    set_reading(ear);
    rl_mqtt_client_stir(ear->client);
    if (!ear->owed && ear->closing)
        rl_mqtt_client_close(ear->client, !ear->spoiled);
}

void rl_mqtt_ear_pause(rl_mqtt_ear *ear)
{
    ear->pauses++;
    set_reading(ear);
}

void rl_mqtt_ear_resume(rl_mqtt_ear *ear)
{
    RL_CHECK(ear->pauses > 0);
    ear->pauses--;
    set_reading(ear);
}

/* Life */

static void on_turn(void *owner)
{
    rl_mqtt_ear *ear = owner;

    pump(ear);
    if (rl_list_empty(&ear->filters) && !ear->owed && !ear->closing)
        ear->events->idle(ear->arg);
}

static void free_ear(uv_handle_t *timer)
{
    rl_mqtt_ear *ear = timer->data;
    rl_list *it;

    while ((it = rl_list_pop(&ear->filters)))
        rl_free(RL_LIST_ENTRY(it, topic_filter, link));
    ear->events->closed(ear->arg);
    rl_free(ear);
}

static void on_closed(void *owner)
{
    rl_mqtt_ear *ear = owner;

    uv_close((uv_handle_t *)&ear->timer, free_ear);
}

static const rl_mqtt_client_events client_events = {
    .up = on_up,
    .down = on_down,
    .message = on_message,
    .answered = on_answered,
    .turn = on_turn,
    .may_write = may_write,
    .closed = on_closed,
};

int rl_mqtt_ear_open(rl_mqtt_ear **out, rl_loop *loop, const rl_mqtt_config *conf,
                     const rl_mqtt_ear_events *events, void *arg, rl_err *err)
{
    rl_mqtt_ear *ear = rl_calloc(1, sizeof(*ear));
    int rc = rl_mqtt_client_open(&ear->client, loop, conf, conf->ear_id, &client_events, ear, err);

    if (rc < 0) {
        rl_free(ear);
        return rc;
    }
    ear->loop = loop;
    ear->conf = conf;
    ear->events = events;
    ear->arg = arg;
    rl_list_init(&ear->filters);
    uv_timer_init(&loop->uv, &ear->timer);
    ear->timer.data = ear;
    *out = ear;
    return 0;
}

void rl_mqtt_ear_close(rl_mqtt_ear *ear)
{
    ear->closing = ear->deaf = true;
    set_reading(ear);
    if (!ear->owed)
        rl_mqtt_client_close(ear->client, !ear->spoiled);
}

/* Listening */

static const char *behind_share(const char *text)
{
    const char *group_end = strncmp(text, "$share/", 7) == 0 ? strchr(text + 7, '/') : NULL;

    return group_end ? group_end + 1 : text;
}

static topic_filter *filter_of(rl_mqtt_ear *ear, rl_str text)
{
    uint32_t hash = 2166136261u; /* FNV-1a: any will do that never changes */

    RL_LIST_EACH (it, &ear->filters) {
        topic_filter *f = RL_LIST_ENTRY(it, topic_filter, link);
        if (rl_str_eq(rl_str_of(f->text), text))
            return f;
    }
    topic_filter *f = rl_calloc(1, sizeof(*f) + text.n + 1);
    memcpy(f->text, text.p, text.n);
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 16777619u;
    f->id = (int)(hash & ID_BITS) | 1;
    f->ear = ear;
    f->matches = behind_share(f->text);
    rl_list_init(&f->listens);
    rl_list_init(&f->link);
    rl_list_push(&ear->filters, &f->link);
    return f;
}

rl_mqtt_listen *rl_mqtt_listen_open(rl_mqtt_ear *ear, rl_str text, int qos,
                                    const rl_mqtt_listener *listener, void *arg)
{
    rl_mqtt_listen *l = rl_calloc(1, sizeof(*l));
    topic_filter *f = filter_of(ear, text);

    if (qos > f->qos) { /* to be subscribed to anew */
        f->qos = qos;
        f->subscribed = false;
    }
    f->kept = false;
    l->filter = f;
    l->listener = listener;
    l->arg = arg;
    rl_list_init(&l->link);
    rl_list_push(&f->listens, &l->link);
    rl_mqtt_client_stir(ear->client);
    return l;
}

void rl_mqtt_listen_close(rl_mqtt_listen *l, bool keep)
{
    topic_filter *f = l->filter;

    rl_list_remove(&l->link);
    f->kept |= keep && !is_wanted(f);
    f->ear->deaf |= keep;
    set_reading(f->ear);
    rl_mqtt_client_stir(f->ear->client);
    rl_free(l);
}

rl_mqtt_ear *rl_mqtt_listen_ear(const rl_mqtt_listen *l)
{
    return l->filter->ear;
}

rl_mqtt_client *rl_mqtt_ear_client(rl_mqtt_ear *ear)
{
    return ear->client;
}

unsigned rl_mqtt_ear_owed(const rl_mqtt_ear *ear)
{
    return ear->owed;
}

uint64_t rl_mqtt_ear_received(const rl_mqtt_ear *ear)
{
    return ear->received;
}
