/* delivery.c - what a consumer does with a message of the layer: written to its peer, put into its
 * mailbox, or dropped, which is counted and told. */
#include "core/consumer.h"
#include "core/failure.h"

#include <string.h>

enum { TELL_EVERY_MS = 10000 }; /* drops are told no oftener */

/* The first who wants it so compresses it for all who do. */
static void send_compressed(rl_consumer *c, rl_message *m, uint32_t key)
{
    const rl_variant *v = rl_message_variant(m, key);

    if (!v) {
        rl_shared *frame = rl_ws_conn_deflate_frame(c->ws, key, rl_shared_str(m->frame));
        v = rl_message_add_variant(m, key, frame);
    }
    rl_ws_conn_send_shared(c->ws, v->frame != NULL, v->frame ? v->frame : m->frame);
}

/* Said once in a while, since where one drop is there are many. */
static void tell_drop(rl_consumer *c, const char *limit)
{
    rl_worker *w = c->worker;
    uint64_t now = rl_loop_now(&w->loop);

    w->untold++;
    if (w->told_at && now < w->told_at + TELL_EVERY_MS)
        return;
    rl_failure_log_full(c, limit, w->untold);
    w->untold = 0;
    w->told_at = now;
}

static void not_written(rl_consumer *c)
{
    rl_counters *n = &c->worker->loop.counters;

    tell_drop(c, "max_unsent");
    if (rl_consumer_limits(c)->unsent_policy != RL_POLICY_CLOSE) {
        n->frames_dropped++;
        return;
    }
    n->unsent_closed++;
    rl_consumer_leave(c, 1013, RL_STR("too much is unread"));
}

/* A message that was counted as delivered is dropped after all. */
static void drop_event(rl_consumer *c, rl_event *ev)
{
    rl_list_remove(&ev->link);
    rl_event_free(ev);
    c->nqueued--;
    c->worker->layer.dropped++;
}

bool rl_consumer_expire(rl_consumer *c, rl_event *ev)
{
    uint64_t most = rl_consumer_limits(c)->mailbox_expiry;

    if (ev->kind != RL_EVENT_LAYER || !most || rl_loop_now(&c->worker->loop) - ev->queued <= most)
        return false;
    c->worker->loop.counters.mailbox_expired++;
    tell_drop(c, "mailbox_expiry");
    drop_event(c, ev);
    return true;
}

/* Messages of a client's are never dropped: it is not read from meanwhile. */
static bool drop_oldest(rl_consumer *c)
{
    RL_LIST_EACH (it, &c->mailbox) {
        rl_event *ev = RL_LIST_ENTRY(it, rl_event, link);
        if (ev->kind != RL_EVENT_LAYER)
            continue;
        drop_event(c, ev);
        return true;
    }
    return false;
}

/* Its mailbox is full, perhaps of what nobody needs any more. */
static bool make_place(rl_consumer *c)
{
    rl_counters *n = &c->worker->loop.counters;
    uint64_t policy = rl_consumer_limits(c)->mailbox_policy;

    RL_LIST_EACH (it, &c->mailbox)
        rl_consumer_expire(c, RL_LIST_ENTRY(it, rl_event, link));
    if (rl_consumer_has_place(c))
        return true;
    tell_drop(c, "mailbox");
    if (policy == RL_POLICY_CLOSE && (c->ws || c->stream)) {
        n->mailbox_closed++;
        rl_consumer_leave(c, 1013, RL_STR("too many messages wait"));
    } else if (policy == RL_DROP_OLDEST && drop_oldest(c)) {
        n->mailbox_dropped_oldest++;
        return true;
    } else {
        n->mailbox_dropped_newest++;
    }
    return false;
}

static bool deliver(void *owner, rl_message *m)
{
    rl_consumer *c = owner;

    if (c->failed || c->state == RL_CONSUMER_LEAVING) {
        c->worker->loop.counters.messages_late++;
        return false;
    }
    if (m->frame && !c->own_send && c->kind == RL_CONSUMER_WEBSOCKET && c->ws) {
        if (rl_ws_conn_is_full(c->ws)) {
            not_written(c);
            return false;
        }
        uint32_t key = rl_ws_conn_send_frame(c->ws, m->frame);
        if (RL_UNLIKELY(key))
            send_compressed(c, m, key);
        return true;
    }
    if (!rl_consumer_has_place(c) && !make_place(c))
        return false;
    rl_consumer_enqueue(c, rl_event_of_layer(m));
    rl_consumer_stir(c);
    return true;
}

rl_channel *rl_consumer_channel(rl_consumer *c)
{
    if (!c->channel)
        c->channel = rl_channel_open(&c->worker->layer, RL_STR(""), deliver, c);
    return c->channel;
}

rl_channel *rl_worker_channel(rl_worker *w, rl_str name)
{
    rl_str prefix = rl_str_of(w->layer.prefix);
    uint64_t id;

    if (!rl_str_starts(name, prefix))
        return NULL;
    rl_str local = {name.p + prefix.n, name.n - prefix.n};
    if (!rl_str_to_u64(local, UINT64_MAX, &id))
        return NULL;
    rl_consumer *c = rl_roster_find(&w->roster, (double)id);
    return c ? rl_consumer_channel(c) : NULL;
}

static void tell(rl_consumer *c, const char *type)
{
    rl_list *last = rl_list_last(&c->mailbox);
    const rl_event *ev = last ? RL_LIST_ENTRY(last, rl_event, link) : NULL;

    if (c->failed || c->state == RL_CONSUMER_LEAVING)
        return;
    if (ev && ev->kind == RL_EVENT_FIELDS && strcmp(ev->type, type) == 0)
        return;
    rl_consumer_enqueue(c, rl_event_of_fields(type, NULL, 0));
    rl_consumer_stir(c);
}

void rl_worker_tell_members(rl_worker *w, const char *type)
{
    uint32_t at = 0;
    rl_consumer *c;

    while ((c = rl_roster_next(&w->roster, &at)))
        if (rl_channel_is_member(c->channel))
            tell(c, type);
}
