/* shared.h - bytes with many owners, on any thread.
 *
 * Filled once by whoever makes them, then only read; the last owner that lets go frees them. */
#ifndef RL_BASE_SHARED_H
#define RL_BASE_SHARED_H

#include "base/str.h"

#include <stdatomic.h>

typedef struct rl_shared {
    atomic_uint refs;
    size_t n;
    char data[];
} rl_shared;

/* With one reference, yours. Write data[0..n) before anybody else sees it. */
rl_shared *rl_shared_new(size_t n);
void rl_shared_unref(rl_shared *s); /* NULL is fine */
static inline rl_shared *rl_shared_ref(rl_shared *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}
static inline rl_str rl_shared_str(const rl_shared *s)
{
    return (rl_str){s->data, s->n};
}

#endif
