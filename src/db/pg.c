/* PostgreSQL: libpq, never blocking.
 *
 * While it connects, libpq may close its socket and open another inside PQconnectPoll(), even
 * under the same number; so the watch on the socket is closed before each such call and a new
 * one opened behind it. Afterwards one watch stays on for good: an idle connection that the
 * server closes becomes readable, and is reported lost at once. */
#include "db/pg_conn.h"

#include "base/log.h"

#include <errno.h>
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

void rl_pg_watch_for(pg_conn *c, int events)
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
    rl_pg_watch_for(c, events);
    return true;
}

/* The end of it */

void rl_pg_lost(pg_conn *c)
{
    bool executing = c->step >= EXECUTE;

    if (!c->err.code)
        rl_pg_conn_error(&c->err, c->pg);
    c->err.code = RL_EOPERATIONAL;
    watch_close(c);
    bool some = c->step == BATCH || (c->st && c->st->copy); /* then the rest may be unsent */
    c->base.events->lost(c->base.owner, &c->err, executing && (!c->unsent || some));
}

bool rl_pg_flushed(pg_conn *c, int rest)
{
    c->unsent = rest != 0;
    if (rest >= 0)
        rl_pg_watch_for(c, rest ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    return rest >= 0;
}

/* Hearing */

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

/* An answer to a statement that has not left whole: the server has given up. What is written to it
 * now libpq would drop without a word, and the statement look as if it had been sent. */
static bool is_given_up(pg_conn *c)
{
    return c->step != BATCH && !c->copy.way && !c->skipping && !(c->st && c->st->copy) &&
           !PQisBusy(c->pg);
}

static void on_ready_open(pg_conn *c, int status, int events)
{
    /* Read before writing: a server that cannot send does not read either. */
    bool readable = status < 0 || (events & UV_READABLE);

    bool spoken = readable && c->copy.way == RL_COPY_IN && has_input(c);

    c->heard &= !spoken;
    if (readable && !still_fine(c)) {
        if (c->step == BATCH && !c->answered && !rl_pg_take_batch(c))
            return;
        if (c->step != IDLE && c->step != BATCH && !c->answered)
            rl_pg_take_last_words(c);
        rl_pg_lost(c);
        return;
    }
    if (spoken)
        suspect_refusal(c);
    if (status < 0) { /* libuv has stopped the watch, and libpq has not met the error yet */
        int wanted = c->watch->events;
        c->watch->events = 0;
        rl_pg_watch_for(c, wanted);
    }
    if (c->step != IDLE && !c->answered && c->unsent && !is_given_up(c)) {
        int rest = PQflush(c->pg);
        c->unsent = rest != 0;
        if (rest == 0)
            rl_pg_watch_for(c, UV_READABLE);
    } else if (events & UV_WRITABLE) { /* asked for by wake() */
        rl_pg_watch_for(c, UV_READABLE);
    }
    rl_pg_take_all(c);
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
    rl_pg_lost(c);
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
    return rl_pg_send_statement(c);
}

static bool pg_batch(rl_conn *base, const rl_statement *const *sts, unsigned n)
{
    return rl_pg_batch_send((pg_conn *)base, sts, n);
}

/* What libpq has already is looked at in the next turn. */
static void wake(pg_conn *c)
{
    rl_pg_watch_for(c, UV_READABLE | UV_WRITABLE);
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
    return !c->conf->pgbouncer && rl_pg_send_step(c, RESET);
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
        rl_pg_report(c);
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
