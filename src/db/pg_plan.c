#include "db/pg_plan.h"

#include "base/str.h"

void rl_pg_plans_init(rl_pg_plans *plans, unsigned most)
{
    *plans = (rl_pg_plans){.most = most};
    rl_list_init(&plans->recent);
}

static void plan_free(rl_pg_plans *plans, rl_pg_plan *p)
{
    rl_map_remove(&plans->by_sql, (rl_str){p->sql, p->sql_n});
    rl_list_remove(&p->link);
    rl_free(p->sql);
    rl_free(p);
}

void rl_pg_plans_forget(rl_pg_plans *plans)
{
    rl_list *it;

    while ((it = rl_list_first(&plans->recent)))
        plan_free(plans, RL_LIST_ENTRY(it, rl_pg_plan, link));
    plans->drop = 0;
}

void rl_pg_plans_fini(rl_pg_plans *plans)
{
    rl_pg_plans_forget(plans);
    rl_map_fini(&plans->by_sql);
}

rl_pg_plan *rl_pg_plan_find(rl_pg_plans *plans, rl_str sql)
{
    rl_pg_plan *p = rl_map_get(&plans->by_sql, sql);

    if (!p)
        return NULL;
    rl_list_remove(&p->link);
    rl_list_push_front(&plans->recent, &p->link);
    return p;
}

rl_pg_plan *rl_pg_plan_add(rl_pg_plans *plans, rl_str sql)
{
    if (plans->by_sql.len >= plans->most) {
        rl_pg_plan *oldest = RL_LIST_ENTRY(rl_list_last(&plans->recent), rl_pg_plan, link);
        if (oldest->prepared && plans->drop) /* one at a time; it will be its turn */
            return NULL;
        rl_pg_plan_remove(plans, oldest, oldest->prepared);
    }
    rl_pg_plan *p = rl_calloc(1, sizeof(*p));
    p->sql = rl_strndup(sql.p, sql.n);
    p->sql_n = sql.n;
    p->id = ++plans->next_id;
    rl_list_init(&p->link);
    rl_list_push_front(&plans->recent, &p->link);
    rl_map_put(&plans->by_sql, sql, p);
    return p;
}

void rl_pg_plan_remove(rl_pg_plans *plans, rl_pg_plan *p, bool kept)
{
    if (kept && !plans->drop)
        plans->drop = p->id;
    plan_free(plans, p);
}
