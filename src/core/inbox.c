#include "core/inbox.h"

#include "base/log.h"
#include "core/event.h"

#include <stdio.h>

enum {
    TELL_EVERY_MS = 10000, /* drops are told no oftener */
    NAMED_MOST = 65536,    /* messages that wait in one with a name, whatever the limits are */
};

struct rl_inbox {
    rl_worker *worker;
    rl_channel *channel;
    rl_guard guard; /* on the task that opened it */
    rl_list events; /* RL_EVENT_LAYER */
    uint64_t n;
    bool named;
    rl_waiters waiters;
    char name[RL_LAYER_NAME_MAX + 1];
};

static const rl_limits *limits_of(const rl_inbox *in)
{
    return &in->worker->server.sets[0]->of;
}

static uint64_t room_of(const rl_inbox *in)
{
    return in->named ? NAMED_MOST : limits_of(in)->mailbox;
}

static void drop_first(rl_inbox *in)
{
    rl_event_free(RL_LIST_ENTRY(rl_list_pop(&in->events), rl_event, link));
    in->n--;
    in->worker->layer.dropped++;
}

static void tell_drop(const rl_inbox *in, const char *limit)
{
    rl_worker *w = in->worker;
    uint64_t now = rl_loop_now(&w->loop);

    w->untold++;
    if (w->told_at && now < w->told_at + TELL_EVERY_MS)
        return;
    rl_warn("the channel %s, of a task, dropped a message (%s); so far unsaid: %llu", in->name,
            limit, (unsigned long long)w->untold);
    w->untold = 0;
    w->told_at = now;
}

static void expire(rl_inbox *in)
{
    uint64_t most = in->named ? 0 : limits_of(in)->mailbox_expiry;
    uint64_t now = rl_loop_now(&in->worker->loop);
    rl_list *it;

    while (most && (it = rl_list_first(&in->events)) &&
           now - RL_LIST_ENTRY(it, rl_event, link)->queued > most) {
        drop_first(in);
        in->worker->loop.counters.mailbox_expired++;
        tell_drop(in, "mailbox_expiry");
    }
}

static bool make_place(rl_inbox *in)
{
    rl_counters *n = &in->worker->loop.counters;

    expire(in);
    if (in->n < room_of(in))
        return true;
    tell_drop(in, "mailbox");
    if (limits_of(in)->mailbox_policy != RL_DROP_OLDEST) {
        n->mailbox_dropped_newest++;
        return false;
    }
    drop_first(in);
    n->mailbox_dropped_oldest++;
    return true;
}

static bool deliver(void *owner, rl_message *m)
{
    rl_inbox *in = owner;

    if (in->n >= room_of(in) && !make_place(in))
        return false;
    rl_event *ev = rl_event_of_layer(m);
    ev->queued = rl_loop_now(&in->worker->loop);
    rl_list_push(&in->events, &ev->link);
    in->n++;
    rl_waiters_wake(&in->waiters, NULL);
    return true;
}

static void end(rl_guard *guard, rl_task *t)
{
    rl_inbox *in = RL_CONTAINER_OF(guard, rl_inbox, guard);
    rl_err err;

    in->worker->loop.counters.mailbox_abandoned += in->n;
    while (in->n)
        drop_first(in);
    rl_channel_close(in->channel);
    rl_err_set(&err, RL_ECLOSED, "the task that had the channel has ended");
    rl_waiters_wake(&in->waiters, &err);
    rl_free(in);
}

static unsigned count(const rl_task *t)
{
    unsigned n = 0;

    RL_LIST_EACH (it, &t->guards)
        n += RL_LIST_ENTRY(it, rl_guard, link)->release == end;
    return n;
}

static rl_inbox *nameless_of(const rl_task *t)
{
    RL_LIST_EACH (it, &t->guards) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        rl_inbox *in = guard->release == end ? RL_CONTAINER_OF(guard, rl_inbox, guard) : NULL;
        if (in && !in->named)
            return in;
    }
    return NULL;
}

void rl_inbox_end_all(rl_task *owner)
{
    rl_inbox *in;

    while ((in = nameless_of(owner))) {
        rl_list_remove(&in->guard.link);
        end(&in->guard, owner);
    }
}

rl_inbox *rl_inbox_open(rl_worker *w, rl_task *owner, const char *name)
{
    if (count(owner) == RL_INBOXES_MAX)
        return NULL;
    rl_inbox *in = rl_calloc(1, sizeof(*in));
    in->worker = w;
    rl_list_init(&in->events);
    rl_waiters_init(&in->waiters);
    in->named = name != NULL;
    if (name)
        snprintf(in->name, sizeof(in->name), "%s%s", w->layer.prefix, name);
    else
        snprintf(in->name, sizeof(in->name), "%st%llu", w->layer.prefix,
                 (unsigned long long)++w->inboxes);
    in->channel = rl_channel_open(&w->layer, rl_str_of(in->name), deliver, in);
    rl_task_guard(owner, &in->guard, end);
    return in;
}

rl_inbox *rl_inbox_find(rl_worker *w, rl_str name)
{
    return rl_channel_owner(rl_layer_find(&w->layer, name), deliver);
}

const char *rl_inbox_name(const rl_inbox *in)
{
    return in->name;
}

rl_message *rl_inbox_take(rl_inbox *in)
{
    expire(in);
    rl_list *it = rl_list_pop(&in->events);
    if (!it)
        return NULL;
    rl_event *ev = RL_LIST_ENTRY(it, rl_event, link);
    rl_message *m = rl_message_ref(ev->message);
    rl_event_free(ev);
    in->n--;
    return m;
}

rl_waiters *rl_inbox_waiters(rl_inbox *in)
{
    return &in->waiters;
}
