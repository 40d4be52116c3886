/* probation.h - a generation that has just begun to serve: does more of it fail than before?
 *
 * While a rule says so (lua/rille/probation.lua), all workers are asked a few times a second how
 * many events the generation has handled and how many of these raised. It has failed when, of
 * enough events, the part that raised is larger than in the code before by more than the rule
 * allows; and has passed when the time is over and it is on trial no more.
 *
 * Main thread. */
#ifndef RL_HOST_PROBATION_H
#define RL_HOST_PROBATION_H

#include "host/workers.h"

typedef void rl_probation_failed(void *arg, unsigned generation, const char *why);

typedef struct rl_probation {
    rl_workers *workers;
    uv_timer_t timer;
    rl_probation_rule rule;
    unsigned generation, before;
    bool trial;
    uint64_t until; /* ms on the loop's clock */
    bool asking;
    unsigned round, asked; /* an answer to an earlier one is about another generation */
    rl_probation_failed *failed;
    void *arg;
} rl_probation;

/* failed comes from the loop, once for each generation that is watched. */
void rl_probation_init(rl_probation *p, rl_loop *main, rl_probation_failed *failed, void *arg);
void rl_probation_close(rl_probation *p);

/* This code serves since now; what was watched before is watched no more. */
void rl_probation_begin(rl_probation *p, rl_workers *workers, const rl_loaded *loaded);

#endif
