/* backoff.h - how long to wait before trying again. */
#ifndef RL_BASE_BACKOFF_H
#define RL_BASE_BACKOFF_H

#include <stdint.h>

/* ms, after so many failures in a row, 1 and more: a quarter of `first`, and a part, by `chance`,
 * of a span that doubles from `first` to `most`. All of the span is random, so that those whom one
 * server has lost together do not come back together. */
static inline uint64_t rl_backoff(unsigned failures, uint64_t first, uint64_t most, uint64_t chance)
{
    uint64_t span = first;

    for (unsigned i = 1; i < failures && span < most; i++)
        span *= 2;
    return first / 4 + chance % (span < most ? span : most);
}

#endif
