/* generation.h - the loads of the code that somebody still runs on a worker: who, and how it goes.
 *
 * One serves. The one before it is kept, so that it can be returned to, and during a trial it
 * serves, too. Every other lives as long as a consumer runs it.
 *
 * A consumer looks where it belongs once after each change: the epoch counts these, and one whose
 * epoch is an older one goes through dispatch.adopt at its next event. */
#ifndef RL_CORE_GENERATION_H
#define RL_CORE_GENERATION_H

#include "base/base.h"

typedef struct rl_generations rl_generations;

typedef struct rl_generation {
    unsigned number;
    unsigned consumers;      /* that run it */
    uint64_t events, failed; /* handlers that have ended; of them, those that raised */
    uint16_t *places;        /* of its sets of limits, which it holds (worker.h) */
    unsigned nplaces;
} rl_generation;

struct rl_generations {
    rl_generation **at;
    unsigned n;
    rl_generation *serving, *before; /* before: NULL when there is none to return to */
    unsigned epoch;
    void (*forget)(rl_generations *gs, rl_generation *g);
};

/* Number 0 serves: nothing was loaded. forget: what goes with one that nobody runs any more. */
void rl_generations_init(rl_generations *gs, void (*forget)(rl_generations *, rl_generation *));
void rl_generations_fini(rl_generations *gs); /* nobody runs any */

/* Another one serves (before: 0 for none), or the same ones otherwise. */
void rl_generations_change(rl_generations *gs, unsigned serving, unsigned before);

/* A consumer runs it from now on, */
static inline rl_generation *rl_generation_join(rl_generation *g)
{
    g->consumers++;
    return g;
}

/* or the one of this number; any number that was made known. The serving one for others. */
rl_generation *rl_generations_enter(rl_generations *gs, unsigned number);
void rl_generations_leave(rl_generations *gs, rl_generation *g); /* g may be gone */

#endif
