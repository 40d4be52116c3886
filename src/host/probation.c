#include "host/probation.h"

#include "base/log.h"

enum { LOOK_EVERY = 200, PATIENCE = 1000 }; /* ms */

/* What a worker has of the two. */
struct tally {
    rl_generation now, before;
};

static void look_at(rl_worker *w, void *answer)
{
    const rl_generations *gs = &w->generations;
    struct tally *t = answer;

    t->now = *gs->serving;
    if (gs->before)
        t->before = *gs->before;
}

static void add(rl_generation *sum, const rl_generation *one, unsigned number)
{
    if (one->number != number)
        return;
    sum->events += one->events;
    sum->failed += one->failed;
}

static double part(const rl_generation *g)
{
    return g->events ? (double)g->failed / (double)g->events : 0;
}

static void judge(rl_probation *p, const rl_generation *now, const rl_generation *before)
{
    if (now->events < p->rule.at_least || part(now) <= part(before) + p->rule.errors)
        return;
    char *why =
        rl_sprintf("%llu of %llu events of generation %u raised (%.1f %%), %.1f %% in the code "
                   "before it",
                   (unsigned long long)now->failed, (unsigned long long)now->events, p->generation,
                   part(now) * 100, part(before) * 100);
    uv_timer_stop(&p->timer);
    p->failed(p->arg, p->generation, why);
    rl_free(why);
}

static void on_looked(void *arg, const rl_reply *replies, unsigned n)
{
    rl_probation *p = arg;
    rl_generation now = {0}, before = {0};

    p->asking = false;
    if (p->asked != p->round || !uv_is_active((uv_handle_t *)&p->timer))
        return;
    for (unsigned i = 0; i < n; i++) {
        const struct tally *t = replies[i].answer;
        if (!t)
            continue;
        add(&now, &t->now, p->generation);
        add(&before, &t->before, p->before);
    }
    judge(p, &now, &before);
}

static const rl_question question = {
    .look = look_at, .size = sizeof(struct tally), .patience = PATIENCE, .told = on_looked};

static void on_tick(uv_timer_t *timer)
{
    rl_probation *p = RL_CONTAINER_OF(timer, rl_probation, timer);

    if (!p->trial && uv_now(timer->loop) >= p->until) {
        uv_timer_stop(timer);
        return;
    }
    if (p->asking)
        return;
    p->asking = true;
    p->asked = p->round;
    rl_workers_ask(p->workers, &question, p);
}

void rl_probation_init(rl_probation *p, rl_loop *main, rl_probation_failed *failed, void *arg)
{
    *p = (rl_probation){.failed = failed, .arg = arg};
    uv_timer_init(&main->uv, &p->timer);
}

void rl_probation_close(rl_probation *p)
{
    uv_close((uv_handle_t *)&p->timer, NULL);
}

void rl_probation_begin(rl_probation *p, rl_workers *workers, const rl_loaded *loaded)
{
    uv_timer_stop(&p->timer);
    p->round++;
    if (loaded->probation.errors <= 0 || !loaded->previous)
        return;
    p->workers = workers;
    p->rule = loaded->probation;
    p->generation = loaded->generation;
    p->before = loaded->previous;
    p->trial = loaded->trial;
    p->until = uv_now(p->timer.loop) + p->rule.within;
    uv_timer_start(&p->timer, on_tick, LOOK_EVERY, LOOK_EVERY);
}
