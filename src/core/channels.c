#include "core/channels.h"

#include "base/log.h"

enum { TELL_EVERY = 10000 }; /* ms: drops are told no oftener */

static void note_drop(rl_named *n, uint64_t *counter)
{
    uint64_t now = rl_loop_now(&n->worker->loop);

    ++*counter;
    n->untold++;
    if (n->told_at && now < n->told_at + TELL_EVERY)
        return;
    rl_warn("channel %s is full: %llu messages dropped", n->name, (unsigned long long)n->untold);
    n->untold = 0;
    n->told_at = now;
}

bool rl_named_put(rl_named *n, rl_str body)
{
    rl_counters *counters = &n->worker->loop.counters;

    switch (rl_line_put(n->line, body, 0, false)) {
    case RL_PUT_IN:
        break;
    case RL_PUT_DROPPED_OLDEST:
        note_drop(n, &counters->channel_dropped_oldest);
        break;
    case RL_PUT_REFUSED:
        note_drop(n, &counters->channel_dropped_newest);
        return false;
    }
    return true;
}

static bool deliver(void *owner, rl_message *m)
{
    return rl_named_put(owner, m->body);
}

rl_named *rl_named_find(rl_worker *w, rl_str name)
{
    RL_LIST_EACH (it, &w->named) {
        rl_named *n = RL_LIST_ENTRY(it, rl_named, link);
        if (rl_str_eq(rl_str_of(n->name), name))
            return n;
    }
    return NULL;
}

rl_named *rl_named_open(rl_worker *w, rl_str name, unsigned capacity, bool drop_oldest)
{
    rl_named *n = rl_named_find(w, name);

    if (!n) {
        n = rl_calloc(1, sizeof(*n));
        n->worker = w;
        n->name = rl_strndup(name.p, name.n);
        n->line = rl_line_hold(w->crew->lines, name);
        n->channel = rl_channel_open(&w->layer, name, deliver, n);
        rl_list_init(&n->link);
        rl_list_push(&w->named, &n->link);
    }
    rl_line_configure(n->line, capacity, drop_oldest);
    return n;
}

void rl_named_close(rl_named *n)
{
    rl_channel_close(n->channel);
    unsigned lost = rl_line_release(n->line);
    n->worker->loop.counters.channel_left += lost;
    if (lost)
        rl_warn("channel %s: %u messages were still waiting, and are lost", n->name, lost);
    rl_list_remove(&n->link);
    rl_free(n->name);
    rl_free(n);
}

void rl_named_close_all(rl_worker *w)
{
    rl_list *it;

    while ((it = rl_list_first(&w->named)))
        rl_named_close(RL_LIST_ENTRY(it, rl_named, link));
}
