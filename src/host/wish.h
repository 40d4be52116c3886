/* wish.h - what others want of the code: a line of changes that wait for their turn.
 *
 * Wishes for a load that follow each other are granted together, by one load. A rollback may be
 * meant for one generation only: when another one serves by the time of its turn, it is pointless.
 *
 * Main thread. */
#ifndef RL_HOST_WISH_H
#define RL_HOST_WISH_H

#include "host/report.h"
#include "base/list.h"

/* Once: what came of it, in words for people. */
typedef void rl_change_told(void *arg, bool done, const char *text);

typedef struct rl_wish {
    rl_list link;
    rl_change what;
    unsigned only;        /* while this generation serves; 0: whichever does */
    rl_change_told *told; /* NULL: nobody waits */
    void *arg;
} rl_wish;

typedef struct rl_wishes {
    rl_list waiting; /* in order */
    rl_list granted; /* those that the change under way is for */
} rl_wishes;

void rl_wishes_init(rl_wishes *ws);
void rl_wishes_fini(rl_wishes *ws); /* nobody is told any more */

void rl_wishes_add(rl_wishes *ws, const rl_wish *how);
/* Grant the first, if there is one: *what is to be done. */
bool rl_wishes_grant(rl_wishes *ws, unsigned serving, rl_change *what);
void rl_wishes_tell(rl_wishes *ws, bool done, const char *text); /* those granted */
void rl_wishes_refuse(rl_wishes *ws, const char *why);           /* all */
void rl_wishes_forget(rl_wishes *ws, const void *arg);           /* nobody waits with this arg */

#endif
