/* pg_plan.h - the statements that one connection has seen, and which of them the server keeps
 * prepared.
 *
 * Bounded: the statement used longest ago makes room. If the server keeps a plan for it, that
 * plan's number waits in `drop` until the connection has told the server to forget it; meanwhile
 * nothing else is evicted. A zeroed struct with `most` set holds nothing; names are r<id>. */
#ifndef RL_DB_PG_PLAN_H
#define RL_DB_PG_PLAN_H

#include "base/list.h"
#include "base/map.h"

typedef struct rl_pg_plan {
    rl_list link; /* in recent, the latest first */
    char *sql;
    size_t sql_n;
    unsigned id;
    bool prepared;
} rl_pg_plan;

typedef struct rl_pg_plans {
    rl_map by_sql;
    rl_list recent;
    unsigned most; /* at least 1 */
    unsigned next_id;
    unsigned drop; /* the id of a plan to DEALLOCATE; 0: none */
} rl_pg_plans;

void rl_pg_plans_init(rl_pg_plans *plans, unsigned most);
void rl_pg_plans_fini(rl_pg_plans *plans);
void rl_pg_plans_forget(rl_pg_plans *plans); /* the server has lost them all */

/* The plan for sql if it was seen before, now the latest; else NULL. */
rl_pg_plan *rl_pg_plan_find(rl_pg_plans *plans, rl_str sql);
/* It is seen for the first time. NULL: there is no room before `drop` is done. */
rl_pg_plan *rl_pg_plan_add(rl_pg_plans *plans, rl_str sql);
/* It does not serve. `kept`: the server still has it, and is to drop it. */
void rl_pg_plan_remove(rl_pg_plans *plans, rl_pg_plan *plan, bool kept);

#endif
