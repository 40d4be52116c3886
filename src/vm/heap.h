/* heap.h - Lua's memory: small blocks from slabs, one for each size, the rest from malloc().
 *
 * Lua's objects are small, many, and of few sizes, and it says the size of what it gives back: no
 * block needs a header. A table of two fields takes the 112 bytes that it has, not 144. */
#ifndef RL_VM_HEAP_H
#define RL_VM_HEAP_H

#include "base/slab.h"

enum { RL_HEAP_STEP = 16, RL_HEAP_SMALL = 256 }; /* bytes: sizes differ by; the largest small one */

typedef struct rl_heap {
    rl_slab small[RL_HEAP_SMALL / RL_HEAP_STEP];
} rl_heap;

/* Bytes that a block of so many takes. */
static inline size_t rl_heap_weight(size_t size)
{
    return size <= RL_HEAP_SMALL ? (size + RL_HEAP_STEP - 1) / RL_HEAP_STEP * RL_HEAP_STEP : size;
}

void rl_heap_init(rl_heap *h);
void rl_heap_fini(rl_heap *h); /* every block must have been given back */

/* As a lua_Alloc does: p is a block of osize bytes, or NULL and osize is not looked at; nsize 0
 * frees it. NULL when there is no memory. */
void *rl_heap_resize(rl_heap *h, void *p, size_t osize, size_t nsize);

#endif
