#include "mqtt/mouth.h"

struct rl_mqtt_wait {
    rl_list link;
    rl_mqtt_done_fn *fn; /* NULL: nobody waits any more */
    void *arg;
    int mid, qos;
};

struct rl_mqtt_mouth {
    const rl_mqtt_config *conf;
    rl_mqtt_client *client;
    rl_list waiting;   /* for it to be up */
    rl_list published; /* in the order of their publication */
    uint64_t count;
    void (*closed)(void *arg);
    void *arg;
};

static rl_mqtt_wait *new_wait(rl_list *list, rl_mqtt_done_fn *fn, void *arg)
{
    rl_mqtt_wait *w = rl_calloc(1, sizeof(*w));

    w->fn = fn;
    w->arg = arg;
    rl_list_init(&w->link);
    rl_list_push(list, &w->link);
    return w;
}

static void end_wait(rl_mqtt_wait *w, const rl_err *err)
{
    rl_list_remove(&w->link);
    if (w->fn)
        w->fn(w->arg, err);
    rl_free(w);
}

static void end_all(rl_list *list, const rl_err *err)
{
    RL_LIST_EACH (it, list)
        end_wait(RL_LIST_ENTRY(it, rl_mqtt_wait, link), err);
}

static void on_up(void *owner, bool resumed)
{
    rl_mqtt_mouth *m = owner;

    end_all(&m->waiting, NULL);
}

/* The others libmosquitto publishes again. */
static void on_down(void *owner)
{
    rl_mqtt_mouth *m = owner;
    rl_err err;

    rl_err_set(&err, RL_EMQTT, "%s: the connection was lost before the message had gone out",
               m->conf->name);
    RL_LIST_EACH (it, &m->published) {
        rl_mqtt_wait *w = RL_LIST_ENTRY(it, rl_mqtt_wait, link);
        if (w->qos == 0)
            end_wait(w, &err);
    }
}

static void on_published(void *owner, int mid, int reason)
{
    rl_mqtt_mouth *m = owner;
    rl_err err;

    RL_LIST_EACH (it, &m->published) {
        rl_mqtt_wait *w = RL_LIST_ENTRY(it, rl_mqtt_wait, link);
        if (w->mid != mid)
            continue;
        if (reason >= 0x80)
            rl_err_set(&err, RL_EMQTT, "%s: the broker refused the message: %s", m->conf->name,
                       mosquitto_reason_string(reason));
        else
            m->count++;
        end_wait(w, reason >= 0x80 ? &err : NULL);
        return;
    }
}

static void on_turn(void *owner)
{
}

static void on_closed(void *owner)
{
    rl_mqtt_mouth *m = owner;

    m->closed(m->arg);
    rl_free(m);
}

static const rl_mqtt_client_events events = {
    .up = on_up,
    .down = on_down,
    .published = on_published,
    .turn = on_turn,
    .closed = on_closed,
};

int rl_mqtt_mouth_open(rl_mqtt_mouth **out, rl_loop *loop, const rl_mqtt_config *conf,
                       void (*closed)(void *arg), void *arg, rl_err *err)
{
    rl_mqtt_mouth *m = rl_calloc(1, sizeof(*m));
    int rc = rl_mqtt_client_open(&m->client, loop, conf, conf->mouth_id, &events, m, err);

    if (rc < 0) {
        rl_free(m);
        return rc;
    }
    m->conf = conf;
    m->closed = closed;
    m->arg = arg;
    rl_list_init(&m->waiting);
    rl_list_init(&m->published);
    *out = m;
    return 0;
}

void rl_mqtt_mouth_close(rl_mqtt_mouth *m)
{
    rl_err err;

    rl_err_set(&err, RL_ECLOSED, "%s: the connection is closed", m->conf->name);
    end_all(&m->waiting, &err);
    end_all(&m->published, &err);
    rl_mqtt_client_close(m->client, true);
}

rl_mqtt_wait *rl_mqtt_mouth_ready(rl_mqtt_mouth *m, rl_mqtt_done_fn *fn, void *arg)
{
    return rl_mqtt_client_is_up(m->client) ? NULL : new_wait(&m->waiting, fn, arg);
}

int rl_mqtt_mouth_publish(rl_mqtt_mouth *m, const rl_mqtt_publication *p, rl_mqtt_wait **out,
                          rl_mqtt_done_fn *fn, void *arg, rl_err *err)
{
    int mid = 0, rc = MOSQ_ERR_NO_CONN;

    if (rl_mqtt_client_is_up(m->client))
        rc = mosquitto_publish_v5(rl_mqtt_client_mosq(m->client), &mid, p->topic, (int)p->payload.n,
                                  p->payload.p, p->qos, p->retain, p->properties);
    if (rc != MOSQ_ERR_SUCCESS)
        return rl_err_set(err, RL_EMQTT, "%s: not published: %s", m->conf->name,
                          rc == MOSQ_ERR_OVERSIZE_PACKET ? "the broker takes no message so long"
                                                         : mosquitto_strerror(rc));
    rl_mqtt_wait *w = new_wait(&m->published, fn, arg);
    w->mid = mid;
    w->qos = p->qos;
    *out = w;
    rl_mqtt_client_stir(m->client);
    return 0;
}

void rl_mqtt_wait_cancel(rl_mqtt_wait *w)
{
    w->fn = NULL;
    if (w->mid)
        return; /* its answer is still to come */
    rl_list_remove(&w->link);
    rl_free(w);
}

rl_mqtt_client *rl_mqtt_mouth_client(rl_mqtt_mouth *m)
{
    return m->client;
}

uint64_t rl_mqtt_mouth_published(const rl_mqtt_mouth *m)
{
    return m->count;
}
