#include "core/retired.h"

#include "core/consumer.h"
#include "core/worker.h"

enum { LOOK_EVERY = 200 }; /* ms */

void rl_retired_init(rl_retired *r)
{
    rl_list_init(&r->all);
}

/* Has an event begun before it was retired, and not ended? */
static bool is_needed(const rl_retired_db *r)
{
    uint32_t at = 0;
    const rl_consumer *c;

    if (!rl_db_is_quiet(r->db))
        return true;
    while ((c = rl_roster_next(&r->worker->roster, &at)))
        if (c->task && c->task->retirements && c->task->retirements <= r->number)
            return true;
    return false;
}

static void on_closed(void *arg)
{
    rl_worker *w = arg;

    w->dbs_closing--;
}

static void stop_looking(rl_retired *all)
{
    if (!all->looking)
        return;
    all->looking = false;
    uv_close((uv_handle_t *)&all->look, NULL);
}

static void on_look(uv_timer_t *timer)
{
    rl_worker *w = RL_CONTAINER_OF(timer, rl_worker, retired.look);

    RL_LIST_EACH (it, &w->retired.all) {
        rl_retired_db *r = RL_LIST_ENTRY(it, rl_retired_db, link);
        if (is_needed(r))
            continue;
        rl_list_remove(&r->link);
        w->dbs_closing++;
        rl_db_close(r->db, 0, on_closed, w);
        rl_free(r);
    }
    if (rl_list_empty(&w->retired.all))
        uv_timer_stop(timer);
}

void rl_retire(rl_worker *w, unsigned slot, rl_db *by)
{
    rl_retired *all = &w->retired;
    rl_retired_db *r = rl_calloc(1, sizeof(*r));

    r->worker = w;
    r->db = w->dbs[slot];
    r->slot = slot;
    r->number = ++all->count;
    rl_list_init(&r->link);
    rl_list_push(&all->all, &r->link);
    w->dbs[slot] = by;
    rl_db_retire(r->db, by);
    if (!all->looking)
        uv_timer_init(&w->loop.uv, &all->look);
    all->looking = true;
    uv_timer_start(&all->look, on_look, LOOK_EVERY, LOOK_EVERY);
}

rl_db *rl_retired_of(const rl_worker *w, unsigned slot, const rl_task *t)
{
    RL_LIST_EACH (it, &w->retired.all) {
        const rl_retired_db *r = RL_LIST_ENTRY(it, rl_retired_db, link);
        if (r->slot == slot && t->retirements && t->retirements <= r->number)
            return r->db;
    }
    return NULL;
}

unsigned rl_retired_close(rl_worker *w, rl_db_closed_fn *closed, void *arg)
{
    unsigned n = 0;
    rl_list *it;

    stop_looking(&w->retired);
    while ((it = rl_list_pop(&w->retired.all))) {
        rl_retired_db *r = RL_LIST_ENTRY(it, rl_retired_db, link);
        rl_db_close(r->db, 1, closed, arg);
        rl_free(r);
        n++;
    }
    return n;
}
