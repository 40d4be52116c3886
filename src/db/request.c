/* What is asked of a pool: statements, borrows, and the leases that come of them.
 *
 * A request is in exactly one place: in line, on a connection, held behind a cancelled
 * statement of its lease, in a batch, or among the answers. Answers are delivered by a hook of the
 * loop after everything that the sockets brought in this turn has been seen, so no callback runs
 * inside the call that it answers, and none sees a pool in the middle of a change. Results of a
 * batch are handed over as they are read: nothing of the pool changes there, and they come from the
 * loop, too. */
#include "db/pool.h"

#include "db/sql.h"

#include <stdio.h>

rl_err *rl_pool_err(int code, const char *fmt, ...)
{
    rl_err *e = rl_calloc(1, sizeof(*e));
    va_list args;

    va_start(args, fmt);
    rl_err_vset(e, code, fmt, args);
    va_end(args);
    return e;
}

rl_err *rl_pool_err_copy(const rl_err *e)
{
    rl_err *copy = rl_malloc(sizeof(*copy));

    *copy = *e;
    return copy;
}

/* Answers */

void rl_request_answer(request *r, rl_err *err)
{
    r->state = ANSWERED;
    r->err = err;
    if (err && err->code >= RL_EOPERATIONAL && err->code < RL_EOPERATIONAL + RL_DB_ERRORS)
        r->db->stats.errors[err->code - RL_EOPERATIONAL]++;
    rl_list_push(&r->db->answers, &r->link);
    rl_loop_kick(r->db->loop);
}

static void query_free(rl_query *q)
{
    rl_list_remove(&q->req.link);
    rl_result_free(q->result);
    rl_free(q->req.err);
    rl_free(q->st);
    rl_text_drop(q->text);
    rl_slab_give(&q->req.db->queries, q);
}

static void borrow_free(rl_borrow *b)
{
    rl_list_remove(&b->req.link);
    rl_free(b->req.err);
    rl_free(b);
}

static void query_deliver(rl_query *q)
{
    rl_result *result = q->result;

    q->result = NULL;
    q->fn(q->arg, result, q->req.err);
    query_free(q);
}

static void borrow_deliver(rl_borrow *b)
{
    rl_lease *lease = b->lease;

    if (b->req.err) {
        rl_lease_return(lease); /* it never had a connection */
        lease = NULL;
    }
    b->fn(b->arg, lease, b->req.err);
    borrow_free(b);
}

bool rl_requests_deliver(rl_hook *hook)
{
    rl_db *db = RL_CONTAINER_OF(hook, rl_db, hook);
    rl_list batch, *it;
    bool any = false;

    rl_list_init(&batch);
    rl_list_take(&batch, &db->answers);
    while ((it = rl_list_pop(&batch))) {
        request *r = RL_LIST_ENTRY(it, request, link);
        if (r->is_borrow)
            borrow_deliver(RL_CONTAINER_OF(r, rl_borrow, req));
        else
            query_deliver(RL_CONTAINER_OF(r, rl_query, req));
        any = true;
    }
    if (!any) /* else those who were answered may ask for more in this turn */
        rl_share_send(db);
    rl_db_close_if_over(db);
    return any;
}

/* The line */

void rl_request_wait(request *r)
{
    rl_db *db = r->db;
    rl_list *line = r->shares ? &db->reads : &db->waiting, *at = line;

    if (db->closing) {
        rl_request_answer(r, rl_pool_err(RL_EOPERATIONAL, "database %s is closing", db->name));
        return;
    }
    if (db->stage_gone) {
        rl_request_answer(r, rl_pool_err_copy(db->stage_gone));
        return;
    }
    /* All wait equally long, so the order of coming is that of the deadlines. */
    while (at->prev != line && RL_LIST_ENTRY(at->prev, request, link)->deadline > r->deadline)
        at = at->prev;
    rl_list_insert_before(at, &r->link);
    r->state = WAITING;
    if (r->shares) {
        db->nreads++;
    } else {
        db->nwaiting++;
        rl_pool_wake_at(db, r->deadline);
    }
}

void rl_request_leave(request *r)
{
    rl_list_remove(&r->link);
    if (r->shares)
        r->db->nreads--;
    else
        r->db->nwaiting--;
    r->shares = false;
}

/* "Chat.receive 12.3 s, a statement 2.0 s": those who hold connections longest. */
static void name_holders(rl_db *db, char *out, size_t size)
{
    static const slot_state held[] = {LEASED, BUSY};
    uint64_t now = rl_pool_now(), before = 0;
    size_t n = 0;

    *out = '\0';
    for (int i = 0; i < 3 && n < size; i++) {
        slot *oldest = NULL;
        for (size_t k = 0; k < RL_COUNT(held); k++)
            RL_LIST_EACH (it, &db->in[held[k]]) {
                slot *s = RL_LIST_ENTRY(it, slot, link);
                if (s->order > before && (!oldest || s->order < oldest->order))
                    oldest = s;
            }
        if (!oldest)
            return;
        before = oldest->order;
        int len = snprintf(out + n, size - n, "%s%.60s %.1f s", i ? ", " : "; held longest by ",
                           oldest->lease ? oldest->lease->where : "a statement",
                           (double)(now - oldest->since) / 1000);
        n += len > 0 ? (size_t)len : 0;
    }
}

void rl_request_time_out(request *r)
{
    rl_db *db = r->db;
    double s = (double)db->set.acquire_timeout / 1000;
    unsigned used = db->count[BUSY] + db->count[LEASED] + db->count[CLEANING];
    char holders[200];
    rl_err *err;

    name_holders(db, holders, sizeof(holders));
    if (db->failures && db->last_error.msg[0])
        err = rl_pool_err(RL_EOPERATIONAL, "database %s: no connection within %g s: %s", db->name,
                          s, db->last_error.msg);
    else if (r->writes && db->writing)
        err = rl_pool_err(RL_EOPERATIONAL,
                          "database %s: others were writing for %g s, and one can at a time: "
                          "%u waiting%s",
                          db->name, s, db->nwaiting, holders);
    else
        err = rl_pool_err(RL_EOPERATIONAL,
                          "database %s: no connection came free within %g s: %u of %u in use, "
                          "%u connecting, %u waiting%s",
                          db->name, s, used, db->set.max_connections, db->count[DIALING],
                          db->nwaiting, holders);
    db->stats.timeouts++;
    rl_request_leave(r);
    rl_request_answer(r, err);
}

/* Queries */

/* A copy at `at`, with a NUL. Returns where the next one goes. */
static char *put(char *at, rl_str *s)
{
    if (s->n)
        memcpy(at, s->p, s->n);
    at[s->n] = '\0';
    s->p = at;
    return at + s->n + 1;
}

/* One block: the statement, its values, then the bytes of those and of the SQL, if that is not kept
 * as a text, each with a NUL behind it. */
static rl_statement *statement_copy(const rl_statement *st, const rl_text *text)
{
    size_t values = st->nparams * sizeof(rl_value);
    size_t bytes = text ? 0 : st->sql.n + 1 + st->many.n + 1;

    for (unsigned i = 0; i < st->nparams; i++)
        if (st->params[i].kind >= RL_TEXT)
            bytes += st->params[i].s.n + 1;
    rl_statement *copy = rl_malloc(sizeof(*copy) + values + bytes);
    rl_value *params = (rl_value *)(copy + 1);
    char *at = (char *)params + values;

    *copy = *st;
    copy->params = params;
    if (text) {
        copy->sql = text->sql;
        copy->many = text->many;
    } else {
        at = put(at, &copy->sql);
        at = put(at, &copy->many);
    }
    for (unsigned i = 0; i < st->nparams; i++) {
        params[i] = st->params[i];
        if (params[i].kind >= RL_TEXT)
            at = put(at, &params[i].s);
    }
    return copy;
}

/* What no server should have to tell. */
static rl_err *check(const rl_statement *st, const rl_text *text)
{
    rl_err *err = NULL;

    if (!text && memchr(st->sql.p, '\0', st->sql.n))
        return rl_pool_err(RL_EPROGRAMMING, "the statement holds a NUL byte");
    if (st->nparams > 65535)
        return rl_pool_err(RL_EPROGRAMMING, "%u parameters, of at most 65535", st->nparams);
    for (unsigned i = 0; i < st->nparams && !err; i++) {
        const rl_value *v = &st->params[i];
        if (v->kind >= RL_TEXT && v->kind != RL_BYTES && v->s.n && memchr(v->s.p, '\0', v->s.n)) {
            err = rl_pool_err(RL_EDATA, "parameter $%u is text that holds a NUL byte", i + 1);
            memcpy(err->sqlstate, "22021", 6);
        }
    }
    return err;
}

/* The error that keeps q from starting on its lease now, if any. */
static rl_err *check_lease(rl_db *db, rl_lease *l)
{
    if (l->db != db)
        return rl_pool_err(RL_EPROGRAMMING, "the lease is of another database");
    if (!l->slot)
        return rl_pool_err(RL_EOPERATIONAL, "the connection was lost: %s", l->why->msg);
    if (l->held || (l->slot->query && l->slot->query->fn))
        return rl_pool_err(RL_EPROGRAMMING, "another statement is under way on this connection");
    return NULL;
}

/* Its way to a connection begins. */
static void ask(request *r, rl_db *db)
{
    r->db = db;
    rl_list_init(&r->link);
    r->asked = rl_clock_ns();
    r->deadline = r->asked / 1000000 + db->set.acquire_timeout;
}

rl_query *rl_db_query(rl_db *db, rl_lease *lease, const rl_statement *st, rl_query_fn *fn,
                      void *arg)
{
    rl_query *q = rl_slab_zeroed(&db->queries);
    rl_text *text = st->reads ? rl_texts_take(&db->texts, st->sql, st->many) : NULL;
    rl_err *err = check(st, text);

    ask(&q->req, db);
    q->lease = lease;
    q->fn = fn;
    q->arg = arg;
    q->answered = 1;
    rl_list_init(&q->bulk);
    q->text = text;
    q->st = statement_copy(st, text);
    if (!err && st->copy)
        err = rl_copy_check(db, lease, st);
    if (!err && lease)
        err = check_lease(db, lease);
    if (err) {
        rl_request_answer(&q->req, err);
    } else if (!lease) {
        if (rl_share_takes(db, q)) {
            rl_share_wait(q);
            return q;
        }
        q->req.writes = db->driver->one_writer && !st->reads && rl_sql_writes(st->sql);
        rl_request_wait(&q->req);
        rl_pool_pump(db);
    } else if (lease->slot->query) {
        q->req.state = HELD;
        lease->held = q;
    } else {
        rl_slot_run(lease->slot, q);
    }
    return q;
}

void rl_query_begin(rl_query *q, slot *s, uint64_t now)
{
    q->req.state = RUNNING;
    q->slot = s;
    q->began = now;
    q->req.db->stats.statements++;
    if (!q->lease)
        rl_histogram_add(&q->req.db->stats.wait, (now - q->req.asked) / 1000);
}

static void query_end(rl_query *q, rl_result *result)
{
    if (q->began) {
        q->took = rl_clock_ns() - q->began;
        rl_histogram_add(&q->req.db->stats.run, q->took / 1000);
    }
    q->slot = NULL;
    q->result = result;
}

void rl_query_answer(rl_query *q, rl_result *result)
{
    query_end(q, result);
    if (q->fn)
        query_deliver(q);
    else
        query_free(q);
}

void rl_query_finish(rl_query *q, rl_result *result, rl_err *err)
{
    query_end(q, result);
    if (q->fn) {
        rl_request_answer(&q->req, err);
        return;
    }
    q->req.err = err;
    query_free(q);
}

bool rl_query_was_slow(const rl_query *q, rl_query_times *times)
{
    uint64_t slow = q->req.db->set.slow_statement, waited = q->began ? q->began - q->req.asked : 0;

    if (slow == RL_DB_NEVER || !q->answered || (waited + q->took) / 1000000 < slow)
        return false;
    *times = (rl_query_times){
        .sql = q->st ? q->st->sql : (rl_str){"", 0},
        .waited = q->lease ? 0 : (double)waited / 1e9,
        .took = (double)q->took / 1e9,
        .reads = q->answered,
    };
    return true;
}

void rl_query_cancel(rl_query *q)
{
    slot *s = q->slot;

    switch (q->req.state) {
    case WAITING:
        rl_request_leave(&q->req);
        query_free(q);
        return;
    case HELD:
        q->lease->held = NULL;
        query_free(q);
        return;
    case RUNNING:
        q->req.db->stats.cancels++;
        q->fn = NULL;
        if (s->shared)
            rl_share_forget(s);
        else if (s->state != CLEANING) /* else its lease was returned, and it is being drained */
            rl_slot_drain(s);
        return;
    case ANSWERED:
        query_free(q);
        return;
    case NEW:
        RL_CHECK(!"a query that never began");
    }
}

void rl_query_hurry(rl_query *q)
{
    if (q->req.state == RUNNING && q->slot->state == LEASED)
        rl_slot_hurry(q->slot);
}

/* Leases */

static rl_borrow *borrow(rl_db *db, const char *where, bool writes, rl_borrow_fn *fn, void *arg)
{
    rl_borrow *b = rl_calloc(1, sizeof(*b));
    size_t n = strlen(where ? where : "a borrower") + 1;

    ask(&b->req, db);
    b->req.is_borrow = true;
    b->fn = fn;
    b->arg = arg;
    b->lease = rl_calloc(1, sizeof(*b->lease) + n);
    b->lease->db = db;
    rl_list_init(&b->lease->link);
    memcpy(b->lease->where, where ? where : "a borrower", n);
    b->req.writes = writes && db->driver->one_writer;
    rl_request_wait(&b->req);
    rl_pool_pump(db);
    return b;
}

rl_borrow *rl_db_borrow(rl_db *db, const char *where, rl_borrow_fn *fn, void *arg)
{
    return borrow(db, where, false, fn, arg);
}

rl_borrow *rl_db_borrow_to_write(rl_db *db, const char *where, rl_borrow_fn *fn, void *arg)
{
    return borrow(db, where, true, fn, arg);
}

void rl_borrow_grant(rl_borrow *b, slot *s)
{
    s->lease = b->lease;
    s->used = true;
    b->lease->slot = s;
    b->lease->began = rl_clock_ns();
    s->db->stats.borrows++;
    rl_histogram_add(&s->db->stats.wait, (b->lease->began - b->req.asked) / 1000);
    rl_list_push(&s->db->leases, &b->lease->link);
    rl_request_answer(&b->req, NULL);
}

void rl_borrow_cancel(rl_borrow *b)
{
    if (b->req.state == WAITING)
        rl_request_leave(&b->req);
    rl_lease_return(b->lease);
    borrow_free(b);
}

void rl_lease_break(rl_lease *l, const rl_err *why)
{
    rl_query *held = l->held;

    l->slot = NULL;
    l->held = NULL;
    l->why = rl_pool_err_copy(why);
    if (held)
        rl_query_finish(held, NULL,
                        rl_pool_err(RL_EOPERATIONAL, "the connection was lost: %s", why->msg));
}

rl_lease_state rl_lease_look(const rl_lease *l)
{
    if (!l->slot)
        return (rl_lease_state){.broken = true};
    bool open = l->slot->stage ? rl_stage_has_block(l->slot) : l->slot->conn->txn != RL_TXN_NONE;
    return (rl_lease_state){.in_transaction = open, .failed = l->slot->conn->txn == RL_TXN_FAILED};
}

void rl_db_each_lease(const rl_db *db, void (*fn)(void *arg, const char *where), void *arg)
{
    for (const rl_list *it = db->leases.next; it != &db->leases; it = it->next)
        fn(arg, RL_LIST_ENTRY(it, const rl_lease, link)->where);
}

void rl_lease_mark_dirty(rl_lease *l)
{
    if (l->slot)
        l->slot->dirty = true;
}

void rl_lease_return(rl_lease *l)
{
    if (!l)
        return;
    slot *s = l->slot;
    if (l->began && l->db)
        rl_histogram_add(&l->db->stats.lease, (rl_clock_ns() - l->began) / 1000);
    if (l->held)
        rl_query_finish(l->held, NULL, rl_pool_err(RL_ECANCELLED, "the lease was returned"));
    rl_list_remove(&l->link);
    rl_free(l->why);
    rl_free(l);
    if (s)
        rl_slot_release(s);
}
