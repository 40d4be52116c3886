/* sum.h - whether bytes are the same as before: FNV-1a, 64 bits (RFC draft-eastlake-fnv).
 *
 * For what nobody forges: files of a script. It needs no library to be woken, which a digest of
 * OpenSSL's does at the price of two megabytes. */
#ifndef RL_BASE_SUM_H
#define RL_BASE_SUM_H

#include "base/str.h"

#define RL_SUM_EMPTY 14695981039346656037u /* of nothing */

/* The sum of what `sum` is of, and these bytes behind it. */
static inline uint64_t rl_sum_on(uint64_t sum, rl_str bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        sum = (sum ^ (uint8_t)bytes.p[i]) * 1099511628211u;
    return sum;
}

#endif
