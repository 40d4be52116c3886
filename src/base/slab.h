/* slab.h - memory in pieces of one size, with no header to each.
 *
 * malloc() keeps 8 bytes beside every piece and rounds up to 16, and takes its time; what there is
 * once per connection, or thousands of times in Lua's heap, has a slab. Pieces lie in chunks of
 * 16 KiB, whose address is what leads from a piece to its chunk. A chunk whose last piece is given
 * back is freed, but for one. New pieces come from chunks that were opened earlier before others,
 * so that those behind have a chance to become empty.
 *
 * Of one thread. With AddressSanitizer each piece is one of malloc's, so that it sees what is used
 * after it was given back. A zeroed slab with a size is a fresh one. */
#ifndef RL_BASE_SLAB_H
#define RL_BASE_SLAB_H

#include "base/base.h"

struct rl_slab_chunk;

typedef struct rl_slab {
    uint32_t size;                      /* of a piece; a multiple of 8 */
    uint32_t used;                      /* pieces */
    struct rl_slab_chunk *first, *last; /* chunks that have a piece to give */
} rl_slab;

#define RL_SLAB_OF(type)                   \
    {                                      \
        .size = (sizeof(type) + 7) / 8 * 8 \
    }

void rl_slab_fini(rl_slab *s); /* every piece must have been given back */

void *rl_slab_take(rl_slab *s) RL_MUST_USE; /* not NULL; its content is anything */
void *rl_slab_zeroed(rl_slab *s) RL_MUST_USE;
void rl_slab_give(rl_slab *s, void *p); /* NULL is fine */

#endif
