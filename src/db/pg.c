/* PostgreSQL: libpq, never blocking.
 *
 * While it connects, libpq may close its socket and open another inside PQconnectPoll(), even
 * under the same number; so the watch on the socket is closed before each such call and a new
 * one opened behind it. Afterwards one watch stays on for good: an idle connection that the
 * server closes becomes readable, and is reported lost at once.
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

#include "base/log.h"
#include "db/sql.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    CANCEL_AGAIN = 100, /* ms: a cancel that came before its statement did nothing */
    REFUSAL = 500,      /* ms: what is no notice by then is no half of one either */
};

/* Watching */

struct pg_watch {
    uv_poll_t poll;
    pg_conn *conn;
    int events;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void let_go(pg_conn *c)
{
    const rl_conn_events *events = c->base.events;
    void *owner = c->base.owner;

    if (--c->handles || !c->closing)
        return;
    PQfinish(c->pg);
    rl_free(c);
    events->closed(owner);
}

static void on_watch_closed(uv_handle_t *h)
{
    struct pg_watch *w = h->data;
    pg_conn *c = w->conn;

    rl_free(w);
    let_go(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    let_go(h->data);
}

static void watch_close(pg_conn *c)
{
    if (!c->watch)
        return;
    uv_close((uv_handle_t *)&c->watch->poll, on_watch_closed);
    c->watch = NULL;
}

static void watch_for(pg_conn *c, int events)
{
    if (c->watch->events == events)
        return;
    c->watch->events = events;
    uv_poll_start(&c->watch->poll, events, on_ready);
}

static bool watch_open(pg_conn *c, int events)
{
    struct pg_watch *w = rl_calloc(1, sizeof(*w));

    if (PQsocket(c->pg) < 0 || uv_poll_init(&c->loop->uv, &w->poll, PQsocket(c->pg)) < 0) {
        rl_free(w);
        return false;
    }
    w->poll.data = w;
    w->conn = c;
    c->watch = w;
    c->handles++;
    watch_for(c, events);
    return true;
}

/* The end of it */

static void lost(pg_conn *c)
{
    bool executing = c->step >= EXECUTE;

    if (!c->err.code)
        rl_pg_conn_error(&c->err, c->pg);
    c->err.code = RL_EOPERATIONAL;
    watch_close(c);
    bool some = c->step == BATCH || (c->st && c->st->copy); /* then the rest may be unsent */
    c->base.events->lost(c->base.owner, &c->err, executing && (!c->unsent || some));
}

/* Steps */

bool rl_pg_flushed(pg_conn *c, int rest)
{
    c->unsent = rest != 0;
    if (rest >= 0)
        watch_for(c, rest ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    return rest >= 0;
}

static bool send_step(pg_conn *c, pg_step what)
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

static bool send_statement(pg_conn *c)
{
    c->plan = NULL;
    if (c->plans.drop && c->base.txn != RL_TXN_FAILED)
        return send_step(c, DEALLOCATE);
    /* Bytes are the only parameters with a type of their own, which a plan would fix. */
    if (c->conf->prepare && rl_sql_is_plain(c->st->sql) && c->base.txn != RL_TXN_FAILED &&
        !rl_pg_has_bytes(c->st)) {
        c->plan = rl_pg_plan_find(&c->plans, c->st->sql);
        if (!c->plan)
            rl_pg_plan_add(&c->plans, c->st->sql);
    }
    if (!c->plan)
        return send_step(c, EXECUTE);
    return send_step(c, c->plan->prepared ? EXECUTE_PREPARED : PREPARE);
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
static void report(pg_conn *c)
{
    rl_err err = c->err;
    rl_result *result = NULL;
    bool batch = c->step == BATCH;

    if (!err.code && c->res)
        result = rl_pg_result_new(c->res);
    else
        PQclear(c->res);
    if (!err.code && !result)
        rl_err_set(&err, RL_EOPERATIONAL, "the server gave no answer");
    c->res = NULL;
    c->err = (rl_err){0};
    c->step = IDLE;
    c->st = NULL;
    c->plan = NULL;
    c->answered = c->cancelled = c->stale_plan = false;
    uv_timer_stop(&c->again);
    if (batch)
        c->base.events->batch_done(c->base.owner);
    else
        c->base.events->done(c->base.owner, result, result ? NULL : &err);
}

static void finish(pg_conn *c)
{
    c->answered = true;
    if (!c->cancel)
        report(c);
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
    if (!send_step(c, EXECUTE))
        lost(c);
}

/* The server is ready for the next message. */
static void step_over(pg_conn *c)
{
    bool sent = true;

    if (c->fatal || PQstatus(c->pg) == CONNECTION_BAD) {
        lost(c);
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
        sent = send_statement(c);
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
        sent = send_step(c, EXECUTE_PREPARED);
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
        lost(c);
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
static bool take_batch(pg_conn *c)
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
    lost(c);
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
        watch_for(c, 0); /* until they are wanted: that is what makes the server wait */
    } else if (c->unsent) {
        return false;
    }
    c->copy.wanted = false;
    c->base.events->copied(c->base.owner, rl_buf_str(&rows));
    rl_buf_fini(&rows);
    return false;
}

/* Everything libpq has, up to the end of the step at most: behind that c may be gone. */
static void take_all(pg_conn *c)
{
    if (c->step == BATCH && !c->answered) {
        take_batch(c);
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
            lost(c);
            return;
        }
    }
}

/* The connection broke under the statement: what it said last is the reason. */
static void take_last_words(pg_conn *c)
{
    PGresult *res;

    c->skipping |= rl_pg_copy_leave(&c->copy, c->pg);
    if (c->skipping && !skip_copy(c))
        return;
    while (!PQisBusy(c->pg) && (res = PQgetResult(c->pg)))
        take(c, res);
}

/* Those that nobody wants to hear would pile up. */
static void tell_notifies(pg_conn *c)
{
    const rl_conn_events *events = c->base.events;
    PGnotify *n;

    while (!c->closing && (n = PQnotifies(c->pg))) {
        c->heard = true;
        if (events->notified)
            events->notified(c->base.owner, rl_str_of(n->relname), rl_str_of(n->extra), n->be_pid);
        PQfreemem(n);
    }
}

/* What an idle connection is told: nothing, or that it is over. */
static bool still_fine(pg_conn *c)
{
    if (!PQconsumeInput(c->pg))
        return false;
    /* One read may leave the rest of a TLS record where no poll can see it. */
    if (PQsslInUse(c->pg) && !PQconsumeInput(c->pg))
        return false;
    PQisBusy(c->pg); /* reads what came, which may be the reason why it is over */
    return !c->fatal && PQstatus(c->pg) == CONNECTION_OK;
}

/* Is there something on the socket, be it its end, that libpq has not read yet? */
static bool has_input(pg_conn *c)
{
    char byte;
    ssize_t n = recv(PQsocket(c->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void wake(pg_conn *c);

static void on_refused(uv_timer_t *timer)
{
    pg_conn *c = timer->data;

    if (c->copy.way != RL_COPY_IN || c->heard)
        return;
    rl_pg_copy_leave(&c->copy, c->pg);
    c->unsent = true;
    wake(c);
}

/* While rows go in, the server says nothing but notices, until it refuses a row; and of that libpq
 * reads nothing before the end. So when something came that was no notice, end it: the answer tells
 * which row it was. (Before 14, servers also told of settings at any time.) */
static void suspect_refusal(pg_conn *c)
{
    if (!c->heard && PQserverVersion(c->pg) >= 140000)
        uv_timer_start(&c->again, on_refused, REFUSAL, 0);
}

static void on_ready_open(pg_conn *c, int status, int events)
{
    /* Read before writing: a server that cannot send does not read either. */
    bool readable = status < 0 || (events & UV_READABLE);

    bool spoken = readable && c->copy.way == RL_COPY_IN && has_input(c);

    c->heard &= !spoken;
    if (readable && !still_fine(c)) {
        if (c->step == BATCH && !c->answered && !take_batch(c))
            return;
        if (c->step != IDLE && c->step != BATCH && !c->answered)
            take_last_words(c);
        lost(c);
        return;
    }
    if (spoken)
        suspect_refusal(c);
    if (status < 0) { /* libuv has stopped the watch, and libpq has not met the error yet */
        int wanted = c->watch->events;
        c->watch->events = 0;
        watch_for(c, wanted);
    }
    if (c->step != IDLE && !c->answered && c->unsent) {
        int rest = PQflush(c->pg);
        c->unsent = rest != 0;
        if (rest == 0)
            watch_for(c, UV_READABLE);
    } else if (events & UV_WRITABLE) { /* asked for by wake() */
        watch_for(c, UV_READABLE);
    }
    take_all(c);
    tell_notifies(c);
}

/* Connecting */

static void on_notice(void *arg, const PGresult *res)
{
    pg_conn *c = arg;
    rl_err notice = {0};

    c->heard = true;
    rl_pg_error(&notice, res);
    if (rl_pg_is_fatal(res)) { /* said to an idle connection, before the server hangs up */
        c->fatal = true;
        c->err = notice;
    }
    rl_debug("database: the server says: %s", notice.msg);
}

static void on_ready_connecting(pg_conn *c)
{
    watch_close(c);
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        if (watch_open(c, UV_READABLE))
            return;
        break;
    case PGRES_POLLING_OK:
        PQsetnonblocking(c->pg, 1);
        if (!watch_open(c, UV_READABLE))
            break;
        c->opened = true;
        c->base.events->opened(c->base.owner);
        return;
    case PGRES_POLLING_FAILED:
        break;
    default:
        if (watch_open(c, UV_WRITABLE))
            return;
    }
    lost(c);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    pg_conn *c = ((struct pg_watch *)poll->data)->conn;

    if (c->opened)
        on_ready_open(c, status, events);
    else
        on_ready_connecting(c);
}

static bool start(pg_conn *c, rl_pg_lookup *found, rl_err *err)
{
    c->pg = rl_pg_start(c->conf, found, err);
    if (!c->pg)
        return false;
    PQsetNoticeReceiver(c->pg, on_notice, c);
    if (watch_open(c, UV_WRITABLE))
        return true;
    rl_err_set(err, RL_EOPERATIONAL, "cannot watch the socket");
    return false;
}

static void on_found(void *arg, rl_pg_lookup *found, const rl_err *why)
{
    pg_conn *c = arg;
    rl_err err;

    c->lookup = NULL;
    if (why)
        err = *why;
    bool started = !why && start(c, found, &err);
    rl_pg_lookup_free(found);
    if (!started)
        c->base.events->lost(c->base.owner, &err, false);
}

static rl_conn *pg_dial(void *conf, rl_loop *loop, const rl_conn_events *events, void *owner,
                        rl_err *err)
{
    pg_conn *c = rl_calloc(1, sizeof(*c));

    c->base = (rl_conn){.events = events, .owner = owner};
    c->conf = conf;
    c->loop = loop;
    rl_pg_plans_init(&c->plans, c->conf->cache_size);
    if (rl_pg_needs_lookup(conf)) {
        c->lookup = rl_pg_lookup_new(loop, conf, on_found, c);
        if (!c->lookup) {
            rl_err_set(err, RL_EOPERATIONAL, "cannot look up the host");
            goto fail;
        }
    } else if (!start(c, NULL, err)) {
        goto fail;
    }
    uv_timer_init(&loop->uv, &c->again);
    c->again.data = c;
    c->handles++;
    return &c->base;

fail: /* a watch that could not be opened is none */
    PQfinish(c->pg);
    rl_free(c);
    return NULL;
}

/* The driver */

static bool pg_run(rl_conn *base, const rl_statement *st)
{
    pg_conn *c = (pg_conn *)base;

    c->st = st;
    return send_statement(c);
}

static bool pg_batch(rl_conn *base, const rl_statement *const *sts, unsigned n)
{
    return rl_pg_batch_send((pg_conn *)base, sts, n);
}

/* What libpq has already is looked at in the next turn. */
static void wake(pg_conn *c)
{
    watch_for(c, UV_READABLE | UV_WRITABLE);
}

static bool pg_copy_more(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    c->copy.wanted = true;
    wake(c);
    return true;
}

static bool flush_copy(pg_conn *c)
{
    int rest = PQflush(c->pg);

    c->unsent = rest != 0;
    wake(c);
    return rest >= 0;
}

static bool pg_copy_write(rl_conn *base, rl_str rows)
{
    pg_conn *c = (pg_conn *)base;

    if (c->copy.way == RL_COPY_NONE) /* refused: its answer is on the way */
        return true;
    c->copy.wanted = true;
    return PQputCopyData(c->pg, rows.p, (int)rows.n) == 1 && flush_copy(c);
}

static bool pg_copy_end(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    if (c->copy.way == RL_COPY_NONE)
        return true;
    c->copy.way = RL_COPY_NONE;
    return PQputCopyEnd(c->pg, NULL) == 1 && flush_copy(c);
}

static bool pg_reset(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    /* Behind pgbouncer DISCARD would meet somebody else's session. */
    return !c->conf->pgbouncer && send_step(c, RESET);
}

static void ask_to_cancel(pg_conn *c);

static void on_again(uv_timer_t *timer)
{
    ask_to_cancel(timer->data);
}

static void on_cancelled(void *arg)
{
    pg_conn *c = arg;

    c->cancel = NULL;
    if (c->answered)
        report(c);
    else
        uv_timer_start(&c->again, on_again, CANCEL_AGAIN, 0);
}

static void ask_to_cancel(pg_conn *c)
{
    c->cancel = rl_pg_cancel_new(c->pg, c->loop, on_cancelled, c);
    if (!c->cancel) /* no thread to be had: the pool's patience decides */
        uv_timer_start(&c->again, on_again, CANCEL_AGAIN, 0);
}

static void pg_cancel(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    if (c->step == IDLE || c->cancelled)
        return;
    c->cancelled = true;
    if (c->copy.way == RL_COPY_IN) { /* the server ends it by itself, unless it waits for a lock */
        rl_pg_copy_leave(&c->copy, c->pg);
        flush_copy(c);
        uv_timer_start(&c->again, on_again, CANCEL_AGAIN, 0);
        return;
    }
    if (c->copy.way == RL_COPY_OUT) {
        c->skipping = rl_pg_copy_leave(&c->copy, c->pg);
        wake(c);
    }
    ask_to_cancel(c);
}

/* A byte or an end of file that the loop has not seen yet. */
static bool pg_alive(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    return !has_input(c) || still_fine(c);
}

static void pg_close(rl_conn *base)
{
    pg_conn *c = (pg_conn *)base;

    c->closing = true;
    c->step = IDLE;
    if (c->cancel)
        rl_pg_cancel_forget(c->cancel);
    if (c->lookup) { /* it ends by itself */
        c->lookup->fn = NULL;
        uv_cancel((uv_req_t *)&c->lookup->req);
    }
    PQclear(c->res);
    rl_buf_fini(&c->copy.rows);
    rl_pg_plans_fini(&c->plans);
    rl_free(c->items);
    watch_close(c);
    uv_close((uv_handle_t *)&c->again, on_timer_closed);
}

const rl_driver rl_driver_pg = {
    .backend = "postgresql",
    .can_listen = true,
    .config = rl_pg_config,
    .config_free = rl_pg_config_free,
    .dial = pg_dial,
    .run = pg_run,
    .batch = pg_batch,
    .cancel = pg_cancel,
    .copy_more = pg_copy_more,
    .copy_write = pg_copy_write,
    .copy_end = pg_copy_end,
    .reset = pg_reset,
    .alive = pg_alive,
    .close = pg_close,
};
