#include "vm/heap.h"

#include <stdlib.h>
#include <string.h>

void rl_heap_init(rl_heap *h)
{
    for (size_t i = 0; i < RL_COUNT(h->small); i++)
        h->small[i] = (rl_slab){.size = (uint32_t)(i + 1) * RL_HEAP_STEP};
}

void rl_heap_fini(rl_heap *h)
{
    for (size_t i = 0; i < RL_COUNT(h->small); i++)
        rl_slab_fini(&h->small[i]);
}

/* NULL: it is not small. */
static rl_slab *slab_of(rl_heap *h, size_t size)
{
    return size <= RL_HEAP_SMALL ? &h->small[(size - 1) / RL_HEAP_STEP] : NULL;
}

static void *take(rl_slab *slab, size_t size)
{
    return slab ? rl_slab_take(slab) : malloc(size);
}

static void give(rl_slab *slab, void *p)
{
    if (slab)
        rl_slab_give(slab, p);
    else
        free(p);
}

void *rl_heap_resize(rl_heap *h, void *p, size_t osize, size_t nsize)
{
    rl_slab *from = p ? slab_of(h, osize) : NULL, *to = nsize ? slab_of(h, nsize) : NULL;

    if (!p)
        return nsize ? take(to, nsize) : NULL;
    if (!nsize) {
        give(from, p);
        return NULL;
    }
    if (from == to)
        return from ? p : realloc(p, nsize);
    void *q = take(to, nsize);
    if (q) {
        memcpy(q, p, osize < nsize ? osize : nsize);
        give(from, p);
    }
    return q;
}
