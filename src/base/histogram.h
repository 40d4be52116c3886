/* histogram.h - how long things took: sixteen buckets, each four times as wide as the one before.
 *
 * The first holds what took under 64 µs, the last but one what took under 19 hours, which serves
 * statements and the ages of connections alike. A zeroed struct is empty. */
#ifndef RL_BASE_HISTOGRAM_H
#define RL_BASE_HISTOGRAM_H

#include "base/base.h"

enum { RL_HISTOGRAM_BUCKETS = 17 };

typedef struct rl_histogram {
    uint64_t count, sum; /* sum in µs */
    uint64_t buckets[RL_HISTOGRAM_BUCKETS];
} rl_histogram;

/* Below this many µs is bucket i; for the last there is no bound: UINT64_MAX. */
static inline uint64_t rl_histogram_bound(int i)
{
    return i < RL_HISTOGRAM_BUCKETS - 1 ? (uint64_t)64 << (2 * i) : UINT64_MAX;
}

/* One that stands for `times`, when not all are measured. */
static inline void rl_histogram_add_times(rl_histogram *h, uint64_t us, uint64_t times)
{
    int bits = us < 64 ? 0 : 64 - __builtin_clzll(us >> 6), i = (bits + 1) / 2;

    h->count += times;
    h->sum += us * times;
    h->buckets[i < RL_HISTOGRAM_BUCKETS ? i : RL_HISTOGRAM_BUCKETS - 1] += times;
}

static inline void rl_histogram_add(rl_histogram *h, uint64_t us)
{
    rl_histogram_add_times(h, us, 1);
}

static inline void rl_histogram_merge(rl_histogram *to, const rl_histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    for (int i = 0; i < RL_HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
}

#endif
