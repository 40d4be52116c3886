/* One statement at a time: what is sent for it, and what comes of it.
 *
 * A statement is one or more steps, each a message to the server and its answer:
 *
 *   [DEALLOCATE] -> EXECUTE                            seen for the first time
 *   [DEALLOCATE] -> PREPARE -> EXECUTE_PREPARED        the second time
 *                              EXECUTE_PREPARED        from then on
 *
 * Only the last of them runs the statement, so a connection lost before it has lost nothing.
 * A plan that the server no longer has, or that a change of schema made unfit, is dropped
 * and the statement executed without one, unless that failure has cost a transaction. */
#include "db/pg_conn.h"

#include "db/sql.h"

#include <stdio.h>

bool rl_pg_send_step(pg_conn *c, pg_step what)
{
    rl_pg_params p = {0};
    char name[16], sql[40];
    int ok = 0;

    c->step = what;
    c->unsent = true;
    if (c->plan)
        snprintf(name, sizeof(name), "r%u", c->plan->id);
    if (what == EXECUTE || what == EXECUTE_PREPARED)
        p = rl_pg_params_of(c->st);
    switch (what) {
    case DEALLOCATE:
        snprintf(sql, sizeof(sql), "DEALLOCATE r%u", c->plans.drop);
        ok = PQsendQuery(c->pg, sql);
        break;
    case PREPARE:
        ok = PQsendPrepare(c->pg, name, c->st->sql.p, 0, NULL);
        break;
    case EXECUTE:
        ok =
            PQsendQueryParams(c->pg, c->st->sql.p, p.n, p.types, p.values, p.lengths, p.formats, 0);
        break;
    case EXECUTE_PREPARED:
        ok = PQsendQueryPrepared(c->pg, name, p.n, p.values, p.lengths, p.formats, 0);
        break;
    case RESET:
        ok = PQsendQuery(c->pg, "DISCARD ALL");
        break;
    case IDLE:
    case BATCH:
        break;
    }
    rl_pg_params_free(&p);
    return rl_pg_flushed(c, ok ? PQflush(c->pg) : -1);
}

bool rl_pg_has_bytes(const rl_statement *st)
{
    for (unsigned i = 0; i < st->nparams; i++)
        if (st->params[i].kind == RL_BYTES)
            return true;
    return false;
}

bool rl_pg_send_statement(pg_conn *c)
{
    c->plan = NULL;
    if (c->plans.drop && c->base.txn != RL_TXN_FAILED)
        return rl_pg_send_step(c, DEALLOCATE);
    /* Bytes are the only parameters with a type of their own, which a plan would fix. */
    if (c->conf->prepare && rl_sql_is_plain(c->st->sql) && c->base.txn != RL_TXN_FAILED &&
        !rl_pg_has_bytes(c->st)) {
        c->plan = rl_pg_plan_find(&c->plans, c->st->sql);
        if (!c->plan)
            rl_pg_plan_add(&c->plans, c->st->sql);
    }
    if (!c->plan)
        return rl_pg_send_step(c, EXECUTE);
    return rl_pg_send_step(c, c->plan->prepared ? EXECUTE_PREPARED : PREPARE);
}

static rl_txn txn_of(const PGconn *pg)
{
    switch (PQtransactionStatus(pg)) {
    case PQTRANS_IDLE:
        return RL_TXN_NONE;
    case PQTRANS_INERROR:
        return RL_TXN_FAILED;
    case PQTRANS_ACTIVE:
    case PQTRANS_INTRANS:
    case PQTRANS_UNKNOWN:
        break;
    }
    return RL_TXN_OPEN;
}

/* What was asked is over, and no cancel is on its way any more. */
void rl_pg_report(pg_conn *c)
{
    rl_err err = c->err;
    PGresult *res = c->res;
    rl_result *result = NULL;
    bool batch = c->step == BATCH;

    c->res = NULL;
    c->err = (rl_err){0};
    c->step = IDLE;
    c->st = NULL;
    c->plan = NULL;
    c->answered = c->cancelled = c->stale_plan = false;
    uv_timer_stop(&c->again);
    if (batch) { /* its parts have told all */
        c->base.events->batch_done(c->base.owner);
        return;
    }
    if (!err.code && res)
        result = rl_pg_result_new(res);
    else
        PQclear(res);
    if (!err.code && !result)
        rl_err_set(&err, RL_EOPERATIONAL, "the server gave no answer");
    c->base.events->done(c->base.owner, result, result ? NULL : &err);
}

static void finish(pg_conn *c)
{
    c->answered = true;
    if (!c->cancel)
        rl_pg_report(c);
}

static void forget_answer(pg_conn *c)
{
    PQclear(c->res);
    c->res = NULL;
    c->err = (rl_err){0};
}

/* The plan did not serve. Once more without, if nothing was lost by trying. */
static void drop_plan(pg_conn *c)
{
    rl_pg_plan_remove(&c->plans, c->plan, strcmp(c->err.sqlstate, "26000") != 0);
    c->plan = NULL;
    c->stale_plan = false;
    if (c->base.txn != RL_TXN_NONE || c->cancelled) {
        finish(c);
        return;
    }
    forget_answer(c);
    if (!rl_pg_send_step(c, EXECUTE))
        rl_pg_lost(c);
}

/* The server is ready for the next message. */
static void step_over(pg_conn *c)
{
    bool sent = true;

    if (c->fatal || PQstatus(c->pg) == CONNECTION_BAD) {
        rl_pg_lost(c);
        return;
    }
    c->base.txn = txn_of(c->pg);
    if (c->cancelled && (c->step == DEALLOCATE || c->step == PREPARE) && !c->err.code)
        rl_err_set(&c->err, RL_ECANCELLED, "the statement was cancelled");
    switch (c->step) {
    case DEALLOCATE: /* if it failed, there was nothing to drop */
        c->plans.drop = 0;
        if (c->cancelled) {
            finish(c);
            return;
        }
        forget_answer(c);
        sent = rl_pg_send_statement(c);
        break;
    case PREPARE:
        if (c->err.code) {
            rl_pg_plan_remove(&c->plans, c->plan, false);
            c->plan = NULL;
            finish(c);
            return;
        }
        c->plan->prepared = true;
        forget_answer(c);
        sent = rl_pg_send_step(c, EXECUTE_PREPARED);
        break;
    case EXECUTE_PREPARED:
        if (c->stale_plan) {
            drop_plan(c);
            return;
        }
        finish(c);
        return;
    case RESET:
        rl_pg_plans_forget(&c->plans);
        finish(c);
        return;
    case EXECUTE:
        finish(c);
        return;
    case IDLE:
    case BATCH:
        break;
    }
    if (!sent)
        rl_pg_lost(c);
}

bool rl_pg_is_stale_plan(const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *where = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);

    if (!state)
        return false;
    return strcmp(state, "26000") == 0 ||
           (strcmp(state, "0A000") == 0 && where && strcmp(where, "RevalidateCachedQuery") == 0);
}

/* Rows go this way from now on, if that is what the statement was sent for. */
static void begin_copy(pg_conn *c, rl_copy_way way)
{
    bool meant = c->st && c->st->copy == way && !c->cancelled;

    c->copy = (rl_pg_copy){.way = way, .wanted = true};
    if (meant)
        return;
    rl_err_set(&c->err, RL_ENOTSUPPORTED,
               way == RL_COPY_IN ? "COPY FROM STDIN needs acopy_from and its source"
                                 : "COPY TO STDOUT needs acopy_to and its sink");
    c->skipping = rl_pg_copy_leave(&c->copy, c->pg);
}

static void take(pg_conn *c, PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COPY_IN:
        PQclear(res);
        begin_copy(c, RL_COPY_IN);
        return;
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        PQclear(res);
        begin_copy(c, RL_COPY_OUT);
        return;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        PQclear(c->res);
        c->res = res;
        return;
    default:
        c->fatal |= rl_pg_is_fatal(res);
        c->stale_plan |= c->step == EXECUTE_PREPARED && rl_pg_is_stale_plan(res);
        if (!c->err.code)
            rl_pg_error(&c->err, res);
        PQclear(res);
    }
}

/* False: no more for now. */
static bool skip_copy(pg_conn *c)
{
    char *row;
    int n;

    while ((n = PQgetCopyData(c->pg, &row, 1)) > 0)
        PQfreemem(row);
    c->skipping = n == 0;
    return n != 0;
}

/* Everything libpq has of a batch: false when it is over or broken, and c may be gone. */
bool rl_pg_take_batch(pg_conn *c)
{
    switch (rl_pg_batch_take(c)) {
    case BATCH_MORE:
        return true;
    case BATCH_OVER:
        c->base.txn = txn_of(c->pg);
        finish(c);
        return false;
    case BATCH_BROKEN:
        break;
    }
    rl_pg_lost(c);
    return false;
}

/* True: the rows are over. Else nothing more for now, and the owner has been told what there is. */
static bool go_on_copying(pg_conn *c)
{
    rl_buf rows = {0};

    if (!c->copy.wanted)
        return false;
    if (c->copy.way == RL_COPY_OUT) {
        int n = rl_pg_copy_gather(&c->copy, c->pg);
        if (n < 0)
            c->copy = (rl_pg_copy){.way = RL_COPY_NONE};
        if (n <= 0)
            return n < 0;
        rows = c->copy.rows;
        c->copy.rows = (rl_buf){0};
        rl_pg_watch_for(c, 0); /* until they are wanted: that is what makes the server wait */
    } else if (c->unsent) {
        return false;
    }
    c->copy.wanted = false;
    c->base.events->copied(c->base.owner, rl_buf_str(&rows));
    rl_buf_fini(&rows);
    return false;
}

/* Everything libpq has, up to the end of the step at most: behind that c may be gone. */
void rl_pg_take_all(pg_conn *c)
{
    if (c->step == BATCH && !c->answered) {
        rl_pg_take_batch(c);
        return;
    }
    while (c->step != IDLE && !c->answered && !PQisBusy(c->pg)) {
        if ((c->copy.way && !go_on_copying(c)) || (c->skipping && !skip_copy(c)))
            return;
        PGresult *res = PQgetResult(c->pg);
        if (!res) {
            step_over(c);
            return;
        }
        take(c, res);
        if (c->fatal) {
            rl_pg_lost(c);
            return;
        }
    }
}

/* The connection broke under the statement: what it said last is the reason. */
void rl_pg_take_last_words(pg_conn *c)
{
    PGresult *res;

    c->skipping |= rl_pg_copy_leave(&c->copy, c->pg);
    if (c->skipping && !skip_copy(c))
        return;
    while (!PQisBusy(c->pg) && (res = PQgetResult(c->pg)))
        take(c, res);
}
