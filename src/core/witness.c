#include "core/witness.h"

void rl_witness_enter(rl_worker *w, rl_witness *it)
{
    rl_list_init(&it->link);
    rl_list_push_front(&w->witnesses, &it->link);
}

void rl_witness_leave(rl_witness *it)
{
    rl_list_remove(&it->link);
}

void rl_witness_meet(const rl_consumer *c)
{
    const rl_conn *stream = rl_http_conn_stream(c->http);

    RL_LIST_EACH (it, &c->worker->witnesses) {
        rl_witness *w = RL_LIST_ENTRY(it, rl_witness, link);
        if (w->stream != stream)
            continue;
        w->consumer = c->id;
        return;
    }
}

rl_witness *rl_witness_of(const rl_worker *w, double consumer)
{
    for (const rl_list *it = w->witnesses.next; it != &w->witnesses; it = it->next) {
        rl_witness *one = RL_LIST_ENTRY((rl_list *)it, rl_witness, link);
        if (consumer && one->consumer == consumer)
            return one;
    }
    return NULL;
}
