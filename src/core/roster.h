/* roster.h - everybody who is connected, by a number that nobody gets twice.
 *
 * An id is a slot and how often the slot was taken, so an id that outlived its consumer finds
 * nothing. Ids fit a double exactly, which is how Lua holds them; 0 is nobody's. */
#ifndef RL_CORE_ROSTER_H
#define RL_CORE_ROSTER_H

#include "base/base.h"

typedef struct rl_consumer rl_consumer;

typedef struct rl_roster {
    struct rl_roster_slot {
        rl_consumer *consumer; /* NULL: free */
        uint32_t taken;        /* times */
        uint32_t next_free;    /* a slot's number plus 1, 0 at the end of the list */
    } * slots;
    uint32_t nslots; /* that were ever taken */
    uint32_t room;   /* for so many; the memory behind nslots was never touched */
    uint32_t free;   /* the first free slot's number plus 1; 0: none */
    uint32_t count;
} rl_roster;

void rl_roster_fini(rl_roster *r); /* must be empty */

double rl_roster_add(rl_roster *r, rl_consumer *c); /* the id */
void rl_roster_remove(rl_roster *r, double id);
rl_consumer *rl_roster_find(const rl_roster *r, double id); /* NULL: gone */

/* Walk them all: start with *at = 0; NULL at the end. */
rl_consumer *rl_roster_next(const rl_roster *r, uint32_t *at);

#endif
