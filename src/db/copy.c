/* COPY as the pool sees it: a statement on a lease, which tells of rows before it ends. */
#include "db/pool.h"
#include "db/sql.h"

rl_err *rl_copy_check(rl_db *db, const rl_lease *lease, const rl_statement *st)
{
    rl_err *err = NULL;

    if (!db->driver->copy_more) {
        err = rl_pool_err(RL_ENOTSUPPORTED, "%s has no COPY", db->driver->backend);
        memcpy(err->sqlstate, "0A000", 6);
    } else if (!rl_sql_begins(st->sql, "COPY")) {
        err = rl_pool_err(RL_EPROGRAMMING, "not a COPY statement");
    } else if (!lease) {
        err = rl_pool_err(RL_EPROGRAMMING, "COPY needs a lease");
    }
    return err;
}

rl_query *rl_db_copy(rl_db *db, rl_lease *lease, const rl_statement *st, const rl_copy_fns *fns,
                     void *arg)
{
    rl_query *q = rl_db_query(db, lease, st, fns->fn, arg);

    q->copied = fns->copied; /* nothing is called before this returns */
    return q;
}

static void went(rl_query *q, bool well)
{
    static const rl_err broken = {RL_EOPERATIONAL, "", "", "", "the server closed the connection"};

    if (!well)
        rl_slot_lost(q->slot, &broken, true);
}

/* What is not RUNNING any more has an answer on its way. */

void rl_copy_more(rl_query *q)
{
    if (q->req.state == RUNNING)
        went(q, q->req.db->driver->copy_more(q->slot->conn));
}

void rl_copy_write(rl_query *q, rl_str rows)
{
    if (q->req.state == RUNNING)
        went(q, q->req.db->driver->copy_write(q->slot->conn, rows));
}

void rl_copy_end(rl_query *q)
{
    if (q->req.state == RUNNING)
        went(q, q->req.db->driver->copy_end(q->slot->conn));
}
