#include "base/shared.h"

rl_shared *rl_shared_new(size_t n)
{
    rl_shared *s = rl_malloc(sizeof(*s) + n);

    atomic_init(&s->refs, 1);
    s->n = n;
    return s;
}

void rl_shared_unref(rl_shared *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        rl_free(s);
}
