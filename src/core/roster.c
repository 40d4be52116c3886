#include "core/roster.h"

enum { TAKEN_BITS = 28 }; /* and 25 for the slot make 53 */

static const uint32_t TAKEN_MASK = (1u << TAKEN_BITS) - 1;

void rl_roster_fini(rl_roster *r)
{
    RL_CHECK(r->count == 0);
    rl_free(r->slots);
    *r = (rl_roster){0};
}

/* A slot that nobody had before: its number plus 1. */
static uint32_t add_slot(rl_roster *r)
{
    if (r->nslots == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->slots = rl_realloc(r->slots, r->room * sizeof(*r->slots));
    }
    r->slots[r->nslots] = (struct rl_roster_slot){.taken = 0};
    return ++r->nslots;
}

double rl_roster_add(rl_roster *r, rl_consumer *c)
{
    uint32_t number = r->free ? r->free : add_slot(r);
    struct rl_roster_slot *s = &r->slots[number - 1];

    r->free = s->next_free;
    s->consumer = c;
    s->taken = (s->taken + 1) & TAKEN_MASK;
    r->count++;
    return (double)((uint64_t)number << TAKEN_BITS | s->taken);
}

static struct rl_roster_slot *find(const rl_roster *r, double id)
{
    if (!(id >= 1 && id < 9007199254740992.0))
        return NULL;
    uint64_t n = (uint64_t)id, number = n >> TAKEN_BITS;

    if (number == 0 || number > r->nslots || r->slots[number - 1].taken != (n & TAKEN_MASK))
        return NULL;
    return &r->slots[number - 1];
}

void rl_roster_remove(rl_roster *r, double id)
{
    struct rl_roster_slot *s = find(r, id);

    RL_CHECK(s && s->consumer);
    s->consumer = NULL;
    s->next_free = r->free;
    r->free = (uint32_t)(s - r->slots) + 1;
    r->count--;
}

rl_consumer *rl_roster_find(const rl_roster *r, double id)
{
    struct rl_roster_slot *s = find(r, id);

    return s ? s->consumer : NULL;
}

rl_consumer *rl_roster_next(const rl_roster *r, uint32_t *at)
{
    while (*at < r->nslots) {
        rl_consumer *c = r->slots[(*at)++].consumer;
        if (c)
            return c;
    }
    return NULL;
}
