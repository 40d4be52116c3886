#include "core/generation.h"

static rl_generation *find(const rl_generations *gs, unsigned number)
{
    for (unsigned i = 0; i < gs->n; i++)
        if (gs->at[i]->number == number)
            return gs->at[i];
    return NULL;
}

static rl_generation *find_or_add(rl_generations *gs, unsigned number)
{
    rl_generation *g = find(gs, number);

    if (g)
        return g;
    g = rl_calloc(1, sizeof(*g));
    g->number = number;
    gs->at = rl_realloc(gs->at, (gs->n + 1) * sizeof(*gs->at));
    gs->at[gs->n++] = g;
    return g;
}

static bool is_over(const rl_generations *gs, const rl_generation *g)
{
    return !g->consumers && g != gs->serving && g != gs->before;
}

static void drop(rl_generations *gs)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < gs->n; i++)
        if (is_over(gs, gs->at[i])) {
            gs->forget(gs, gs->at[i]);
            rl_free(gs->at[i]);
        } else {
            gs->at[kept++] = gs->at[i];
        }
    gs->n = kept;
}

void rl_generations_init(rl_generations *gs, void (*forget)(rl_generations *, rl_generation *))
{
    *gs = (rl_generations){.forget = forget};
    gs->serving = find_or_add(gs, 0);
}

void rl_generations_fini(rl_generations *gs)
{
    gs->serving = gs->before = NULL;
    drop(gs);
    RL_CHECK(gs->n == 0);
    rl_free(gs->at);
    *gs = (rl_generations){0};
}

void rl_generations_change(rl_generations *gs, unsigned serving, unsigned before)
{
    gs->serving = find_or_add(gs, serving);
    gs->before = before ? find_or_add(gs, before) : NULL;
    gs->epoch++;
    drop(gs);
}

rl_generation *rl_generations_enter(rl_generations *gs, unsigned number)
{
    rl_generation *g = find(gs, number);

    return rl_generation_join(g ? g : gs->serving);
}

void rl_generations_leave(rl_generations *gs, rl_generation *g)
{
    g->consumers--;
    if (is_over(gs, g))
        drop(gs);
}
