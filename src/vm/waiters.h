/* waiters.h - tasks that wait for the same thing: room, a body, a message.
 *
 * What they wait for is the owner's to know; they are woken together, and look again. */
#ifndef RL_VM_WAITERS_H
#define RL_VM_WAITERS_H

#include "vm/task.h"

typedef struct rl_waiters {
    rl_list list;
} rl_waiters;

static inline void rl_waiters_init(rl_waiters *w)
{
    rl_list_init(&w->list);
}

static inline bool rl_waiters_empty(const rl_waiters *w)
{
    return rl_list_empty(&w->list);
}

/* return rl_waiters_park(…), behind rl_task_current(): until somebody wakes them (true), or it is
 * over (nil, error). */
int rl_waiters_park(rl_waiters *w, lua_State *L, rl_task *t);

void rl_waiters_wake(rl_waiters *w, const rl_err *err); /* all; NULL: look again */

#endif
