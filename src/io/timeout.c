#include "io/timeout.h"

static void arm(rl_timeouts *ts);

static uint64_t now_of(const rl_timeouts *ts)
{
    return rl_loop_now(RL_CONTAINER_OF(ts->timer.loop, rl_loop, uv));
}

static void on_timer(uv_timer_t *timer)
{
    rl_timeouts *ts = RL_CONTAINER_OF(timer, rl_timeouts, timer);
    uint64_t now = now_of(ts);
    rl_list due, *it;

    /* Collect first, so that fn may start and stop what it likes. */
    rl_list_init(&due);
    while ((it = rl_list_first(&ts->waiting)) && RL_LIST_ENTRY(it, rl_timeout, link)->due <= now) {
        rl_list_remove(it);
        rl_list_push(&due, it);
    }
    while ((it = rl_list_pop(&due)))
        ts->fn(RL_LIST_ENTRY(it, rl_timeout, link));
    arm(ts);
}

static void arm(rl_timeouts *ts)
{
    rl_list *it = rl_list_first(&ts->waiting);

    if (!it || uv_is_closing((uv_handle_t *)&ts->timer))
        return;
    uint64_t due = RL_LIST_ENTRY(it, rl_timeout, link)->due, now = now_of(ts);
    uv_timer_start(&ts->timer, on_timer, due > now ? due - now : 0, 0);
}

void rl_timeouts_open(rl_timeouts *ts, rl_loop *loop, uint64_t after_ms, rl_timeout_fn *fn)
{
    uv_timer_init(&loop->uv, &ts->timer);
    rl_list_init(&ts->waiting);
    ts->after = after_ms;
    ts->fn = fn;
}

void rl_timeouts_close(rl_timeouts *ts)
{
    uv_close((uv_handle_t *)&ts->timer, NULL);
}

rl_timeouts *rl_timeouts_new(rl_loop *loop, uint64_t after_ms, rl_timeout_fn *fn)
{
    rl_timeouts *ts = rl_malloc(sizeof(*ts));

    rl_timeouts_open(ts, loop, after_ms, fn);
    return ts;
}

static void free_list(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF((uv_timer_t *)h, rl_timeouts, timer));
}

void rl_timeouts_free(rl_timeouts *ts)
{
    uv_close((uv_handle_t *)&ts->timer, free_list);
}

void rl_timeout_init(rl_timeout *t)
{
    rl_list_init(&t->link);
    t->due = 0;
}

/* The timer is never moved forward when an entry stops or restarts: it fires, finds nothing
 * due, and is armed for whoever is first then. That is rarer than restarts. */
void rl_timeout_start(rl_timeouts *ts, rl_timeout *t)
{
    rl_list_remove(&t->link);
    t->due = now_of(ts) + ts->after;
    rl_list_push(&ts->waiting, &t->link);
    if (!uv_is_active((uv_handle_t *)&ts->timer))
        arm(ts);
}

void rl_timeout_stop(rl_timeout *t)
{
    rl_list_remove(&t->link);
}
