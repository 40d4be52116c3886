/* Many reads in one message: libpq's pipeline mode, one sync behind them all.
 *
 *   [DROP] ([PARSE] EXEC)* sync
 *
 * The server runs what stands before a sync as one transaction and skips everything behind the
 * first error, so this is for a read-only session: then the answers before an error count, and
 * those behind it were never executed. A plan is made by the statement that needs it first, in the
 * same message. A plan is evicted only before a batch uses any. */
#include "db/pg_conn.h"

#include <stdio.h>

static void expect(pg_conn *c, int kind, rl_pg_plan *plan)
{
    c->items[c->nitems].kind = kind;
    c->items[c->nitems++].plan = plan;
}

static bool add_drop(pg_conn *c)
{
    char sql[40];

    if (!c->plans.drop)
        return true;
    snprintf(sql, sizeof(sql), "DEALLOCATE r%u", c->plans.drop);
    expect(c, DROP, NULL);
    return PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, 0);
}

static rl_pg_plan *plan_for(pg_conn *c, const rl_statement *st)
{
    bool full = c->plans.by_sql.len >= c->plans.most, first = c->nitems == 0;

    if (!c->conf->prepare ||
        rl_pg_has_bytes(st)) /* they have a type of their own, which a plan would fix */
        return NULL;
    rl_pg_plan *plan = rl_pg_plan_find(&c->plans, st->sql);
    return plan || (full && !first) ? plan : rl_pg_plan_add(&c->plans, st->sql);
}

static bool add(pg_conn *c, const rl_statement *st)
{
    rl_pg_plan *plan = plan_for(c, st);
    char name[16];
    int ok;

    if (plan)
        snprintf(name, sizeof(name), "r%u", plan->id);
    if (plan && !plan->prepared) {
        if (!PQsendPrepare(c->pg, name, st->sql.p, 0, NULL))
            return false;
        expect(c, PARSE, plan);
        plan->prepared = true; /* for those behind; taken back if it is not to be */
    }
    rl_pg_params p = rl_pg_params_of(st);
    if (plan)
        ok = PQsendQueryPrepared(c->pg, name, p.n, p.values, p.lengths, p.formats, 0);
    else
        ok = PQsendQueryParams(c->pg, st->sql.p, p.n, p.types, p.values, p.lengths, p.formats, 0);
    rl_pg_params_free(&p);
    expect(c, EXEC, plan);
    return ok;
}

bool rl_pg_batch_send(pg_conn *c, const rl_statement *const *sts, unsigned n)
{
    if (c->items_size < 2 * n + 1) {
        c->items_size = 2 * n + 1;
        c->items = rl_realloc(c->items, c->items_size * sizeof(*c->items));
    }
    c->step = BATCH;
    c->nitems = c->at = 0;
    if (!PQenterPipelineMode(c->pg) || !add_drop(c))
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!add(c, sts[i]))
            return false;
    return PQpipelineSync(c->pg) && rl_pg_flushed(c, PQflush(c->pg));
}

static void tell(pg_conn *c, rl_result *result, const rl_err *err)
{
    c->base.events->part(c->base.owner, result, err);
}

/* The answer to an item is an error, or that it was skipped behind one. A statement whose plan
 * could not be made has its error from there. */
static void take_failure(pg_conn *c, const pg_item *item, PGresult *res)
{
    bool skipped = PQresultStatus(res) == PGRES_PIPELINE_ABORTED;

    if (item->kind == PARSE)
        item->plan->prepared = false;
    if (!skipped)
        rl_pg_error(&c->err, res);
    if (item->kind == EXEC) {
        if (!skipped && item->plan && rl_pg_is_stale_plan(res))
            rl_pg_plan_remove(&c->plans, item->plan, strcmp(c->err.sqlstate, "26000") != 0);
        tell(c, NULL, c->err.code ? &c->err : NULL);
        c->err = (rl_err){0};
    } else if (item->kind == DROP) {
        c->plans.drop = 0; /* there was nothing to drop */
        c->err = (rl_err){0};
    }
}

static void take(pg_conn *c, PGresult *res)
{
    const pg_item *item = &c->items[c->at++];

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK) {
        take_failure(c, item, res);
    } else if (item->kind == EXEC) {
        tell(c, rl_pg_result_new(res), NULL);
        return;
    } else if (item->kind == DROP) {
        c->plans.drop = 0;
    }
    PQclear(res);
}

rl_pg_batch_state rl_pg_batch_take(pg_conn *c)
{
    bool between = false; /* a NULL stands between two answers */

    while (!PQisBusy(c->pg)) {
        PGresult *res = PQgetResult(c->pg);
        if (!res && between)
            return BATCH_BROKEN; /* the server is out of step */
        between = !res;
        if (!res)
            continue;
        if (rl_pg_is_fatal(res)) {
            rl_pg_error(&c->err, res);
            PQclear(res);
            return BATCH_BROKEN;
        }
        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            c->err = (rl_err){0};
            return PQexitPipelineMode(c->pg) ? BATCH_OVER : BATCH_BROKEN;
        }
        if (c->at == c->nitems) {
            PQclear(res);
            return BATCH_BROKEN;
        }
        take(c, res);
    }
    return BATCH_MORE;
}
