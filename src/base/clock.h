/* clock.h - a clock finer than the loop's, for what is measured once in a while: it is read anew
 * each time, so not for every message. */
#ifndef RL_BASE_CLOCK_H
#define RL_BASE_CLOCK_H

#include "base/base.h"

#include <time.h>

/* How far the clocks of this thread have been put forward: rl_loop_advance(), for tests. ms */
extern _Thread_local uint64_t rl_clock_ahead;

static inline uint64_t rl_clock_ns(void) /* since an arbitrary point; never goes back */
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + rl_clock_ahead * 1000000u;
}

#endif
