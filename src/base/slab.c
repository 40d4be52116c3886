#include "base/slab.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define APART 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define APART 1
#endif
#endif
#ifndef APART
#define APART 0
#endif

enum { CHUNK = 16 * 1024 };

/* At the beginning of the memory it is about. Pieces behind `fresh` were never given out, and their
 * pages never touched. */
typedef struct rl_slab_chunk {
    struct rl_slab_chunk *next, *prev; /* on the slab's list, unless all its pieces are out */
    void *free;                        /* pieces that came back; each leads to the next */
    uint32_t used;                     /* pieces that are out */
    uint32_t fresh;                    /* offset */
} chunk;

enum { BEGIN = (sizeof(chunk) + 15) / 16 * 16, END = CHUNK - 8 };

static void append(rl_slab *s, chunk *c)
{
    c->next = NULL;
    c->prev = s->last;
    *(s->last ? &s->last->next : &s->first) = c;
    s->last = c;
}

static void take_out(rl_slab *s, chunk *c)
{
    *(c->prev ? &c->prev->next : &s->first) = c->next;
    *(c->next ? &c->next->prev : &s->last) = c->prev;
}

/* The 8 bytes at its end are where malloc has the header of what follows: chunks that are asked for
 * one after another lie side by side. */
static chunk *open_chunk(rl_slab *s)
{
    chunk *c = rl_aligned_alloc(CHUNK, END);

    *c = (chunk){.fresh = BEGIN};
    append(s, c);
    return c;
}

static bool is_full(const rl_slab *s, const chunk *c)
{
    return !c->free && c->fresh + s->size > END;
}

void *rl_slab_take(rl_slab *s)
{
    void *p;

    s->used++;
    if (APART)
        return rl_malloc(s->size);
    chunk *c = RL_LIKELY(s->first != NULL) ? s->first : open_chunk(s);
    if (c->free) {
        p = c->free;
        c->free = *(void **)p;
    } else {
        p = (char *)c + c->fresh;
        c->fresh += s->size;
    }
    c->used++;
    if (is_full(s, c))
        take_out(s, c);
    return p;
}

void *rl_slab_zeroed(rl_slab *s)
{
    return memset(rl_slab_take(s), 0, s->size);
}

void rl_slab_give(rl_slab *s, void *p)
{
    if (!p)
        return;
    s->used--;
    if (APART) {
        rl_free(p);
        return;
    }
    chunk *c = (chunk *)((uintptr_t)p & ~(uintptr_t)(CHUNK - 1));
    bool was_full = is_full(s, c);

    *(void **)p = c->free;
    c->free = p;
    c->used--;
    if (was_full)
        append(s, c);
    if (RL_UNLIKELY(c->used == 0) && s->first != s->last) {
        take_out(s, c);
        rl_free(c);
    }
}

void rl_slab_fini(rl_slab *s)
{
    RL_CHECK(s->used == 0);
    while (s->first) {
        chunk *c = s->first;
        take_out(s, c);
        rl_free(c);
    }
}
