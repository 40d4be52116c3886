#include "core/outside.h"

#include "core/worker.h"
#include "layer/changes.h"

void rl_outside_init(rl_outside *o)
{
    for (int i = 0; i < RL_TIDINGS; i++)
        rl_waiters_init(&o->waiters[i]);
}

static void on_changed(rl_layer *layer)
{
    rl_worker *w = RL_CONTAINER_OF(layer, rl_worker, layer);

    rl_waiters_wake(&w->outside.waiters[RL_TIDING_CHANGES], NULL);
}

void rl_outside_open(rl_worker *w)
{
    w->outside.figures.there = true;
    rl_layer_watch(&w->layer, on_changed);
}
