/* runner_stop.c - how a worker ends: from here on nothing new begins, and each step waits for the
 * one before. */
#include "host/runner_parts.h"

#include "base/log.h"

#include <unistd.h>

enum { DRAIN_TICK_MS = 5 };

static void free_runner_timer(uv_handle_t *h)
{
}

static void end_thread(rl_runner *r)
{
    while (r->nbounds)
        close(r->bounds[--r->nbounds].fd);
    if (r->drain_open)
        uv_close((uv_handle_t *)&r->drain, free_runner_timer);
    r->drain_open = false;
    r->ended = true;
    rl_loop_stop(&r->worker.loop);
}

static void on_closed(void *arg)
{
    rl_runner *r = arg;

    if (--r->closing == 0)
        end_thread(r);
}

static void close_outside(rl_runner *r)
{
    rl_worker *w = &r->worker;

    r->closing = 1; /* ours, so that the last one is not met too early */
    for (unsigned i = 0; i < RL_MAX_BROKERS; i++)
        if (w->brokers[i]) {
            r->closing++;
            rl_broker_close(w->brokers[i], on_closed, r);
            w->brokers[i] = NULL;
        }
    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i]) {
            r->closing++;
            rl_db_close(w->dbs[i], 1, on_closed, r);
        }
    w->ndbs = 0;
    r->closing += rl_retired_close(w, on_closed, r);
    on_closed(r);
}

static void on_stop_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_runner *r = arg;

    if (failed) {
        rl_buf text = {0};
        rl_vm_describe_failure(co, &text);
        rl_error("on_stop failed: %s", rl_buf_cstr(&text));
        rl_buf_fini(&text);
    }
    r->loaded = false;
    rl_runner_stop(r, r->status);
}

/* The worker is quiet when only what we started ourselves could still run. */
static void on_drain_tick(uv_timer_t *timer)
{
    rl_runner *r = RL_CONTAINER_OF(timer, rl_runner, drain);
    rl_worker *w = &r->worker;

    if (r->stopping)
        rl_worker_abort(w);
    else
        rl_worker_drain_on(w);
    if (w->roster.count || w->conns.count)
        return;
    bool last_words = r->loaded && !r->stopping;
    rl_worker_cancel_tasks(w);
    if (!last_words)
        rl_worker_cancel_services(w);
    if (!rl_worker_is_idle(w) || !(last_words || rl_list_empty(&w->services)))
        return;
    uv_timer_stop(timer);
    if (last_words)
        rl_task_queue(rl_script_task(&r->script, "stop", on_stop_ended, r), 0);
    else
        close_outside(r);
}

/* Few need no spreading: as long as a server with so many takes to be full again. */
static rl_farewell farewell(const rl_runner *r)
{
    const rl_settings *s = r->settings;
    double most = s->drain_jitter < 0 ? s->drain_timeout / 2 : s->drain_jitter;
    uint64_t all = atomic_load(&r->worker.crew->connections) * 10u,
             spread = (uint64_t)(most * 1000);

    return (rl_farewell){s->drain_code, all < spread ? all : spread};
}

static void drain(rl_runner *r)
{
    rl_farewell how = farewell(r);

    if (!r->drain_open) {
        uv_timer_init(&r->worker.loop.uv, &r->drain);
        r->drain_open = true;
    }
    r->draining = true;
    rl_worker_drain(&r->worker, &how);
    uv_timer_start(&r->drain, on_drain_tick, 0, DRAIN_TICK_MS);
}

void rl_runner_stop(rl_runner *r, int status)
{
    if (!r->status)
        r->status = status;
    r->stopping |= status != 0;
    drain(r);
}
