/* retired.h - databases whose settings have changed: the pool that was there before, for as long as
 * somebody needs it.
 *
 * A handle is a slot of worker.dbs, and a reload puts another pool there. What is under way stays
 * where it began: an event, to its end, and any task while it has a connection pinned; everything
 * else, spawned tasks too, goes to the new pool with its next statement. When nobody is left, the
 * old one is closed.
 *
 *   OPEN --rl_retire()--> RETIRED --quiet, and no event is as old--> closing --> (gone) */
#ifndef RL_CORE_RETIRED_H
#define RL_CORE_RETIRED_H

#include "db/db.h"
#include "io/loop.h"

typedef struct rl_worker rl_worker;
typedef struct rl_task rl_task;

typedef struct rl_retired {
    rl_list all;    /* the oldest first */
    unsigned count; /* that there ever were */
    uv_timer_t look;
    bool looking; /* its handle is open */
} rl_retired;

/* One of them. */
typedef struct rl_retired_db {
    rl_list link;
    rl_worker *worker;
    rl_db *db;
    unsigned slot;   /* where it was */
    unsigned number; /* events with a task.retirements up to it may use it */
} rl_retired_db;

void rl_retired_init(rl_retired *r);
/* The pool in this slot is `by` from now on. */
void rl_retire(rl_worker *w, unsigned slot, rl_db *by);
/* What t, which is an event's or not, uses as this slot; NULL: what is there now. The oldest. */
rl_db *rl_retired_of(const rl_worker *w, unsigned slot, const rl_task *t);
/* All of them, whoever needs them; closed is called for each. How many. Nothing is retired after
 * that. */
unsigned rl_retired_close(rl_worker *w, rl_db_closed_fn *closed, void *arg);

#endif
