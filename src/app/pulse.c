#include "app/pulse.h"

#include "app/systemd.h"

/* A worker that has ended by now has no loop that could hang. */
static void look(rl_worker *w, void *answer)
{
}

static void on_answers(void *arg, const rl_reply *replies, unsigned n)
{
    rl_pulse *p = arg;

    p->asking = false;
    rl_systemd_notify("WATCHDOG=1");
}

static const rl_question question = {.look = look, .size = 1, .told = on_answers};

/* Nothing new is asked before the last question is answered: it would only wait behind it. */
static void on_beat(uv_timer_t *timer)
{
    rl_pulse *p = RL_CONTAINER_OF(timer, rl_pulse, timer);

    if (p->asking)
        return;
    p->asking = true;
    rl_workers_ask(p->workers, &question, p);
}

void rl_pulse_init(rl_pulse *p, rl_loop *main)
{
    *p = (rl_pulse){.workers = NULL};
    uv_timer_init(&main->uv, &p->timer);
}

void rl_pulse_start(rl_pulse *p, rl_workers *workers)
{
    uint64_t patience = rl_systemd_watchdog(), every = patience / 2000;

    if (!patience)
        return;
    p->workers = workers;
    uv_timer_start(&p->timer, on_beat, 0, every ? every : 1);
}

void rl_pulse_close(rl_pulse *p)
{
    uv_close((uv_handle_t *)&p->timer, NULL);
}
