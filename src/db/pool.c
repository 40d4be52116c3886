/* The connections of a pool.
 *
 * Everything that may change who gets what ends in rl_pool_pump(), which hands idle connections
 * (the one used last first, so that the others age out) to those who wait (the one who
 * waits longest first) and dials when there are too few. At most two dials run at once;
 * after a failure one, and only when a growing random delay has passed, so that workers do
 * not storm a server that comes back.
 *
 * A connection that nobody uses any more passes rl_slot_settle(): rolled back if it is in a
 * transaction, reset if its session was changed, closed if it is past its age, else idle.
 * No other way leads back to IDLE.
 *
 * One timer serves all deadlines. It is set to the earliest, and tick() looks at everything:
 * a pool is a few dozen connections. */
#include "db/pool.h"

#include "base/log.h"
#include "db/sql.h"

#include <limits.h>

enum {
    DIALS_AT_ONCE = 2,
    DIAL_TIMEOUT = 5000,  /* ms */
    PING_TIMEOUT = 2000,  /* ms, but at most half of acquire_timeout */
    CHORE_TIMEOUT = 5000, /* ms, for a cancel, a rollback, a reset */
    HURRY_TIMEOUT = 2000, /* ms, for a COMMIT that nobody has time for; a stop waits for longer */
    BACKOFF_FIRST = 100,  /* ms */
    BACKOFF_MOST = 5000,  /* ms */
    STALE = 1,            /* ms since the loop last looked at its sockets */
};

#define BIT(s) (1u << (s))

static const unsigned next_states[NSTATES] = {
    [DIALING] = BIT(IDLE) | BIT(CLOSING),
    [IDLE] = BIT(BUSY) | BIT(LEASED) | BIT(CLEANING) | BIT(CLOSING),
    [BUSY] = BIT(IDLE) | BIT(CLEANING) | BIT(CLOSING),
    [LEASED] = BIT(IDLE) | BIT(CLEANING) | BIT(CLOSING),
    [CLEANING] = BIT(IDLE) | BIT(CLOSING),
    [CLOSING] = 0,
};

uint64_t rl_pool_now(void)
{
    return uv_hrtime() / 1000000;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void slot_move(slot *s, slot_state to)
{
    RL_CHECK(next_states[s->state] & BIT(to));

    rl_list_remove(&s->link);
    s->db->count[s->state]--;
    s->state = to;
    s->since = rl_pool_now();
    s->order = ++s->db->moves;
    s->db->count[to]++;
    rl_list_push_front(&s->db->in[to], &s->link);
    if (s->writes && (to == IDLE || to == CLOSING))
        s->writes = s->db->writing = false;
}

static uint64_t random_below(rl_db *db, uint64_t n)
{
    db->random ^= db->random << 13;
    db->random ^= db->random >> 7;
    db->random ^= db->random << 17;
    return n ? db->random % n : 0;
}

/* Timer */

static void tick(uv_timer_t *timer);

void rl_pool_wake_at(rl_db *db, uint64_t when)
{
    if (when >= db->timer_at || db->closed)
        return;
    uint64_t now = rl_pool_now();
    db->timer_at = when;
    uv_timer_start(&db->timer, tick, when > now ? when - now : 0, 0);
}

void rl_slot_limit(slot *s, uint64_t ms)
{
    s->deadline = rl_pool_now() + ms;
    rl_pool_wake_at(s->db, s->deadline);
}

/* Closing */

static void slot_close(slot *s)
{
    if (s->state == CLOSING)
        return;
    slot_move(s, CLOSING);
    s->deadline = RL_DB_NEVER;
    s->db->nshared -= s->shared;
    if (s->opened)
        rl_histogram_add(&s->db->stats.age, 1000 * (rl_pool_now() - s->born));
    s->db->driver->close(s->conn);
}

static void free_db(uv_handle_t *timer)
{
    rl_db *db = timer->data;

    db->driver->config_free(db->conf);
    rl_paces_fini(&db->paces);
    rl_free(db->name);
    rl_free(db->display);
    db->closed_fn(db->closed_arg);
    rl_free(db);
}

void rl_pool_close_if_over(rl_db *db)
{
    if (!db->closing || db->closed || db->slots || db->ear || !rl_list_empty(&db->answers))
        return;
    db->closed = true;
    RL_LIST_EACH (it, &db->leases) {
        rl_lease *lease = RL_LIST_ENTRY(it, rl_lease, link);
        rl_list_remove(it);
        lease->db = NULL;
    }
    rl_loop_remove_hook(&db->hook);
    uv_close((uv_handle_t *)&db->timer, free_db);
}

/* What the driver tells */

static void on_opened(void *owner)
{
    slot *s = owner;
    rl_db *db = s->db;
    uint64_t now = rl_pool_now(), age = db->set.conn_max_age;

    if (db->failures)
        rl_info("database %s: connected again", db->name);
    db->failures = 0;
    db->dial_at = 0;
    db->stats.opened++;
    s->opened = true;
    s->born = now;
    s->epoch = db->epoch;
    s->deadline = RL_DB_NEVER;
    if (age && age != RL_DB_NEVER)
        s->expires = now + age - random_below(db, age / 10);
    rl_slot_settle(s);
}

static void on_done(void *owner, rl_result *result, const rl_err *err)
{
    slot *s = owner;
    rl_query *q = s->query;

    s->deadline = RL_DB_NEVER;
    s->query = NULL;
    switch (s->state) {
    case BUSY:
        if (q->st->reads)
            rl_paces_learn(&s->db->paces, q->st->sql, (uv_hrtime() - q->began) / 1000);
        rl_query_finish(q, result, err ? rl_pool_err_copy(err) : NULL);
        rl_slot_settle(s);
        return;
    case LEASED: {
        rl_query *held = s->lease->held;
        rl_query_finish(q, result, err ? rl_pool_err_copy(err) : NULL);
        s->lease->held = NULL;
        if (held)
            rl_slot_run(s, held);
        return;
    }
    case CLEANING:
        if (q) { /* drained: whatever it gave, nobody is told */
            rl_result_free(result);
            rl_query_finish(q, NULL,
                            rl_pool_err(RL_ECANCELLED, "the lease was returned while its "
                                                       "statement ran"));
        } else {
            rl_result_free(result);
            if (err || (s->chore == ROLLBACK && s->conn->txn != RL_TXN_NONE)) {
                s->db->stats.closed_dead++;
                slot_close(s);
                rl_pool_pump(s->db);
                return;
            }
            if (s->chore == PING)
                s->epoch = s->db->epoch;
        }
        rl_slot_settle(s);
        return;
    case CLOSING:
        rl_result_free(result);
        return;
    case DIALING:
    case IDLE:
    case NSTATES:
        RL_CHECK(!"a result for nobody");
    }
}

static void on_part(void *owner, rl_result *result, const rl_err *err)
{
    rl_share_part(owner, result, err);
}

static void on_batch_done(void *owner)
{
    static const rl_err odd = {RL_EOPERATIONAL, "", "", "", "the server left reads unanswered"};
    slot *s = owner;

    s->deadline = RL_DB_NEVER;
    if (rl_list_empty(&s->batch))
        rl_slot_settle(s);
    else
        rl_slot_lost(s, &odd, true);
}

uint64_t rl_pool_backoff(rl_db *db, unsigned failures)
{
    uint64_t most = failures <= 6 ? (uint64_t)BACKOFF_FIRST << failures >> 1 : BACKOFF_MOST;

    return BACKOFF_FIRST / 4 + random_below(db, most);
}

static void dial_failed(rl_db *db, const rl_err *why)
{
    if (db->failures++ == 0)
        rl_warn("database %s: %s; trying again", db->name, why->msg);
    db->last_error = *why;
    db->dial_at = rl_pool_now() + rl_pool_backoff(db, db->failures);
}

/* The statement under way has no connection any more. */
static void query_lost(slot *s, rl_query *q, const rl_err *why, bool sent)
{
    rl_err *err;
    bool commit = rl_sql_is_commit(q->st->sql);

    if (!sent && !q->lease && s->state == BUSY && q->fn) {
        q->slot = NULL;
        rl_request_wait(&q->req);
        return;
    }
    s->left = q->st;
    q->st = NULL;
    if (s->state == CLEANING)
        err = rl_pool_err(RL_ECANCELLED, "the lease was returned while its statement ran");
    else if (sent && commit)
        err = rl_pool_err(RL_EOPERATIONAL,
                          "the connection was lost while COMMIT was under way, its "
                          "outcome is unknown: %s",
                          why->msg);
    else if (sent)
        err = rl_pool_err(RL_EOPERATIONAL, "the connection was lost while the statement ran: %s",
                          why->msg);
    else
        err = rl_pool_err(RL_EOPERATIONAL,
                          "the connection was lost before the statement was sent: %s", why->msg);
    memcpy(err->sqlstate, why->sqlstate, sizeof(err->sqlstate));
    rl_query_finish(q, NULL, err);
}

void rl_slot_lost(slot *s, const rl_err *why, bool sent)
{
    rl_db *db = s->db;
    rl_query *q = s->query;
    rl_lease *lease = s->lease;

    if (s->state == CLOSING)
        return;
    s->query = NULL;
    s->lease = NULL;
    if (s->opened)
        db->stats.closed_dead++;
    else
        dial_failed(db, why);
    if (q)
        query_lost(s, q, why, sent);
    rl_share_lost(s, sent);
    if (lease)
        rl_lease_break(lease, why);
    slot_close(s);
    rl_pool_pump(db);
}

static void on_lost(void *owner, const rl_err *why, bool sent)
{
    rl_slot_lost(owner, why, sent);
}

static void on_closed(void *owner)
{
    slot *s = owner;
    rl_db *db = s->db;

    rl_list_remove(&s->link);
    db->count[CLOSING]--;
    db->slots--;
    rl_free(s->left);
    rl_free(s);
    rl_pool_pump(db);
    rl_pool_close_if_over(db);
}

static void on_copied(void *owner, rl_str rows)
{
    rl_query *q = ((slot *)owner)->query;

    if (q && q->fn)
        q->copied(q->arg, rows);
}

static const rl_conn_events events = {
    .opened = on_opened,
    .done = on_done,
    .part = on_part,
    .batch_done = on_batch_done,
    .lost = on_lost,
    .closed = on_closed,
    .copied = on_copied,
};

/* Use */

static const rl_err broken = {RL_EOPERATIONAL, "", "", "", "the server closed the connection"};

void rl_slot_run(slot *s, rl_query *q)
{
    s->query = q;
    s->used = true;
    s->dirty |= rl_sql_is_dirty(q->st->sql);
    rl_query_begin(q, s, uv_hrtime());
    if (!s->db->driver->run(s->conn, q->st))
        rl_slot_lost(s, &broken, false);
}

void rl_slot_run_batch(slot *s, const rl_statement *const *sts, unsigned n, uint64_t limit)
{
    slot_move(s, BUSY);
    s->used = true;
    s->hurried = false;
    s->db->stats.reads += n;
    s->db->stats.batches++;
    rl_slot_limit(s, limit);
    if (!s->db->driver->batch(s->conn, sts, n))
        rl_slot_lost(s, &broken, false);
}

void rl_slot_drain(slot *s)
{
    if (s->state == BUSY)
        slot_move(s, CLEANING);
    if (s->state == CLEANING)
        s->chore = DRAIN;
    rl_slot_limit(s, CHORE_TIMEOUT);
    s->db->driver->cancel(s->conn);
}

void rl_slot_hurry(slot *s)
{
    if (s->deadline == RL_DB_NEVER)
        rl_slot_limit(s, HURRY_TIMEOUT);
}

void rl_slot_release(slot *s)
{
    bool asked = s->query && !s->query->fn;

    s->lease = NULL;
    s->doomed |= s->db->set.conn_max_age == 0;
    if (!s->query) {
        rl_slot_settle(s);
        return;
    }
    slot_move(s, CLEANING);
    s->chore = DRAIN;
    if (!asked)
        rl_slot_drain(s);
}

static void slot_chore(slot *s, chore what)
{
    static const rl_statement ping = {.sql = {"SELECT 1", 8}};
    static const rl_statement rollback = {.sql = {"ROLLBACK", 8}};
    static const rl_statement read_only = {.sql = {"SET default_transaction_read_only = on", 38}};
    static const rl_statement writable = {.sql = {"RESET default_transaction_read_only", 35}};
    const rl_driver *driver = s->db->driver;
    bool under_way = true;

    if (s->state != CLEANING)
        slot_move(s, CLEANING);
    s->chore = what;
    rl_slot_limit(s, what == PING ? earlier(PING_TIMEOUT, s->db->set.acquire_timeout / 2)
                                  : CHORE_TIMEOUT);
    switch (what) {
    case PING:
        under_way = driver->run(s->conn, &ping);
        break;
    case ROLLBACK:
        under_way = driver->run(s->conn, &rollback);
        break;
    case RESET:
        s->dirty = false;
        under_way = driver->reset(s->conn);
        break;
    case SHARE:
        under_way = driver->run(s->conn, &read_only);
        break;
    case UNSHARE:
        under_way = driver->run(s->conn, &writable);
        break;
    case DRAIN:
    case NO_CHORE:
        break;
    }
    if (!under_way) {
        slot_close(s);
        rl_pool_pump(s->db);
    }
}

static bool is_past(const slot *s, uint64_t now)
{
    return s->used && now >= s->expires;
}

void rl_slot_settle(slot *s)
{
    rl_db *db = s->db;
    uint64_t now = rl_pool_now();

    s->lease = NULL;
    if (s->doomed || db->closing) {
        db->stats.closed_age += s->doomed;
        slot_close(s);
    } else if (s->conn->txn != RL_TXN_NONE) {
        slot_chore(s, ROLLBACK);
        return;
    } else if (s->dirty) {
        slot_chore(s, RESET);
        return;
    } else if (is_past(s, now)) {
        db->stats.closed_age++;
        slot_close(s);
    } else {
        s->chore = NO_CHORE;
        s->deadline = RL_DB_NEVER;
        slot_move(s, IDLE);
        uint64_t due = db->set.conn_max_age ? s->expires : 0;
        if (due < db->due)
            db->due = due;
        if (s->expires != RL_DB_NEVER)
            rl_pool_wake_at(db, s->expires);
        if (db->set.idle_timeout != RL_DB_NEVER)
            rl_pool_wake_at(db, now + db->set.idle_timeout);
    }
    rl_pool_pump(db);
}

/* Matching */

static unsigned count_pings(rl_db *db, bool shared)
{
    unsigned n = 0;

    RL_LIST_EACH (it, &db->in[CLEANING]) {
        slot *s = RL_LIST_ENTRY(it, slot, link);
        n += s->chore == PING && s->shared == shared;
    }
    return n;
}

static slot *first_idle(rl_db *db, bool shared)
{
    RL_LIST_EACH (it, &db->in[IDLE])
        if (RL_LIST_ENTRY(it, slot, link)->shared == shared)
            return RL_LIST_ENTRY(it, slot, link);
    return NULL;
}

slot *rl_pool_take_idle(rl_db *db, bool shared)
{
    uint64_t now = rl_pool_now();
    bool stale = now > rl_loop_now(db->loop) + STALE;
    slot *s;

    while ((s = first_idle(db, shared))) {
        if (is_past(s, now)) {
            db->stats.closed_age++;
            slot_close(s);
        } else if (stale && !db->driver->alive(s->conn)) {
            rl_slot_lost(s, &broken, false);
        } else if (db->set.conn_health_checks && s->epoch != db->epoch) {
            if (count_pings(db, shared) >= (shared ? 1 : db->nwaiting))
                return NULL;
            slot_chore(s, PING);
        } else {
            return s;
        }
    }
    return NULL;
}

static void dial(rl_db *db)
{
    slot *s = rl_calloc(1, sizeof(*s));
    rl_err err = {0};

    s->db = db;
    s->expires = s->deadline = RL_DB_NEVER;
    s->conn = db->driver->dial(db->conf, db->loop, &events, s, &err);
    if (!s->conn) {
        dial_failed(db, &err);
        rl_free(s);
        return;
    }
    rl_list_init(&s->link);
    rl_list_init(&s->batch);
    rl_list_push(&db->in[DIALING], &s->link);
    db->count[DIALING]++;
    db->slots++;
    rl_slot_limit(s, DIAL_TIMEOUT);
}

/* As many more as there are waiters without one under way, or below the minimum. */
static void dial_more(rl_db *db)
{
    unsigned coming = db->count[DIALING], wanted = db->nwaiting + db->wants_shared;
    bool began = db->stats.opened > 0;

    if (db->nwaiting)
        coming += count_pings(db, false);
    while (db->slots < db->set.max_connections &&
           (wanted > coming || (began && db->slots < db->set.min_connections))) {
        if (db->count[DIALING] >= (db->failures ? 1 : DIALS_AT_ONCE))
            return;
        if (rl_pool_now() < db->dial_at) {
            rl_pool_wake_at(db, db->dial_at);
            return;
        }
        dial(db);
        coming++;
    }
}

/* One that idles is made read-only, if reads want to share more connections than there are. */
static void make_shared(rl_db *db)
{
    slot *s = db->wants_shared ? rl_pool_take_idle(db, false) : NULL;

    if (!s)
        return;
    db->wants_shared = false;
    db->nshared++;
    s->shared = true;
    slot_chore(s, SHARE);
}

static void give_back_shared(rl_db *db)
{
    uint64_t at = rl_share_give_back_at(db);
    slot *s;

    if (at == RL_DB_NEVER || !(s = first_idle(db, true)))
        return;
    if (rl_pool_now() < at) {
        rl_pool_wake_at(db, at);
        return;
    }
    db->nshared--;
    s->shared = false;
    slot_chore(s, UNSHARE);
}

/* Who waits longest of those whose turn it may be, or NULL. */
static request *first_in_line(rl_db *db)
{
    RL_LIST_EACH (it, &db->waiting) {
        request *r = RL_LIST_ENTRY(it, request, link);
        if (!r->writes || !db->writing)
            return r;
    }
    return NULL;
}

void rl_pool_pump(rl_db *db)
{
    request *r;
    slot *s;

    /* Handing out may find a connection dead, which pumps again: one at a time. */
    db->pump_again = true;
    if (db->pumping || db->closing)
        return;
    db->pumping = true;
    while (db->pump_again) {
        db->pump_again = false;
        make_shared(db);
        while ((r = first_in_line(db)) && (s = rl_pool_take_idle(db, false))) {
            rl_request_leave(r);
            slot_move(s, r->is_borrow ? LEASED : BUSY);
            s->writes = r->writes;
            db->writing |= r->writes;
            if (r->is_borrow)
                rl_borrow_grant(RL_CONTAINER_OF(r, rl_borrow, req), s);
            else
                rl_slot_run(s, RL_CONTAINER_OF(r, rl_query, req));
        }
        dial_more(db);
        give_back_shared(db);
    }
    db->pumping = false;
}

/* Deadlines */

/* Close what has idled for too long or is past its age; learn when to look again. */
static void sweep(rl_db *db, uint64_t now, bool boundary)
{
    unsigned kept = db->slots - db->count[CLOSING];

    db->due = RL_DB_NEVER;
    RL_LIST_EACH (it, &db->in[IDLE]) {
        slot *s = RL_LIST_ENTRY(it, slot, link);
        bool aged = now >= s->expires || (boundary && db->set.conn_max_age == 0);
        bool idle = db->set.idle_timeout != RL_DB_NEVER && now >= s->since + db->set.idle_timeout &&
                    kept > db->set.min_connections;
        if (aged || idle) {
            db->stats.closed_age += aged;
            db->stats.closed_idle += !aged;
            slot_close(s);
            kept--;
        } else if (s->expires < db->due) {
            db->due = s->expires;
        }
    }
    if (db->set.conn_max_age != 0)
        return;
    if (!boundary && db->count[IDLE] + db->count[BUSY] + db->count[CLEANING])
        db->due = 0;
    if (!boundary)
        return;
    RL_LIST_EACH (it, &db->in[BUSY])
        RL_LIST_ENTRY(it, slot, link)->doomed = true;
    RL_LIST_EACH (it, &db->in[CLEANING]) /* of a statement that was given up, say */
        RL_LIST_ENTRY(it, slot, link)->doomed = true;
}

static uint64_t next_tick(rl_db *db)
{
    uint64_t at = db->closing ? db->close_by : RL_DB_NEVER;

    for (int state = 0; state < CLOSING; state++)
        RL_LIST_EACH (it, &db->in[state]) {
            slot *s = RL_LIST_ENTRY(it, slot, link);
            at = earlier(at, s->deadline);
            if (state != IDLE)
                continue;
            at = earlier(at, s->expires);
            if (db->set.idle_timeout != RL_DB_NEVER &&
                db->slots - db->count[CLOSING] > db->set.min_connections)
                at = earlier(at, s->since + db->set.idle_timeout);
        }
    if (db->nwaiting) {
        at = earlier(at, RL_LIST_ENTRY(rl_list_first(&db->waiting), request, link)->deadline);
        if (db->failures && db->count[DIALING] == 0)
            at = earlier(at, db->dial_at);
    }
    if (first_idle(db, true))
        at = earlier(at, rl_share_give_back_at(db));
    return earlier(at, rl_share_patience(db));
}

static void overdue(slot *s)
{
    rl_db *db = s->db;
    bool ping = s->state == CLEANING && s->chore == PING;
    rl_err why = {0};

    if (rl_share_hurry(s))
        return;
    rl_err_set(&why, RL_EOPERATIONAL, "the server did not answer in time");
    rl_slot_lost(s, &why, true);
    if (!ping)
        return;
    /* Those that are due for a ping as well are no better, and nobody has the time to ask. */
    RL_LIST_EACH (it, &db->in[IDLE]) {
        slot *other = RL_LIST_ENTRY(it, slot, link);
        if (other->epoch == db->epoch)
            continue;
        db->stats.closed_dead++;
        slot_close(other);
    }
}

/* The grace of a closing db is over. */
static void close_by_force(rl_db *db)
{
    rl_err why = {0};

    rl_err_set(&why, RL_EOPERATIONAL, "database %s was closed", db->name);
    for (int state = 0; state < CLOSING; state++)
        RL_LIST_EACH (it, &db->in[state])
            rl_slot_lost(RL_LIST_ENTRY(it, slot, link), &why, true);
}

static void tick(uv_timer_t *timer)
{
    rl_db *db = timer->data;
    uint64_t now = rl_pool_now();
    rl_list *it;

    db->timer_at = RL_DB_NEVER;
    db->pumping = true; /* hold still while the lists are walked */
    while ((it = rl_list_first(&db->waiting)) && RL_LIST_ENTRY(it, request, link)->deadline <= now)
        rl_request_time_out(RL_LIST_ENTRY(it, request, link));
    rl_share_tick(db, now);
    for (int state = 0; state < CLOSING; state++)
        RL_LIST_EACH (at, &db->in[state])
            if (RL_LIST_ENTRY(at, slot, link)->deadline <= now)
                overdue(RL_LIST_ENTRY(at, slot, link));
    sweep(db, now, false);
    if (db->closing && db->close_by <= now) {
        db->close_by = RL_DB_NEVER;
        close_by_force(db);
    }
    db->pumping = false;
    rl_pool_pump(db);
    rl_pool_wake_at(db, next_tick(db));
}

void rl_db_close_old(rl_db *db)
{
    db->epoch++;
    if (RL_LIKELY(rl_loop_now(db->loop) < db->due))
        return;
    sweep(db, rl_pool_now(), true);
    rl_pool_pump(db);
}

/* Life */

static const rl_driver *driver_for(const char *url, const char **rest)
{
    static const struct {
        const char *scheme;
        const rl_driver *driver;
        bool whole; /* the driver reads the scheme too */
    } known[] = {
        {"postgresql://", &rl_driver_pg, true},
        {"postgres://", &rl_driver_pg, true},
        {"sqlite:", &rl_driver_sqlite, false},
    };

    for (size_t i = 0; i < RL_COUNT(known); i++) {
        size_t n = strlen(known[i].scheme);
        if (strncmp(url, known[i].scheme, n) == 0) {
            *rest = known[i].whole ? url : url + n;
            return known[i].driver;
        }
    }
    return NULL;
}

/* Those who do not share must not starve. */
static void settle_sharing(rl_db *db)
{
    unsigned half = db->set.max_connections / 2, *shared = &db->set.shared_connections;

    if (!db->driver->batch || db->set.pgbouncer || db->set.conn_max_age == 0)
        *shared = 0;
    else if (*shared > half)
        *shared = *shared == UINT_MAX && half > 2 ? 2 : half;
}

int rl_db_open(rl_db **out, rl_loop *loop, const rl_db_opts *opts, rl_err *err)
{
    const char *name = opts->name ? opts->name : "default", *rest;
    char *url;

    if (!opts->url || !driver_for(opts->url, &rest))
        return rl_err_set(err, RL_EPROGRAMMING,
                          "database %s: its URL must begin with "
                          "postgresql: or sqlite:",
                          name);
    rl_db *db = rl_calloc(1, sizeof(*db));
    rl_err why = {0};
    if (rl_db_settings_read(&db->set, &url, opts, &why) < 0)
        goto fail_settings;
    db->driver = driver_for(url, &rest);
    if (db->driver->config(&db->conf, &db->display, rest, &db->set, &why) < 0)
        goto fail_config;
    rl_free(url);

    if (db->set.max_connections == 0)
        db->set.max_connections = 10;
    if (db->set.min_connections > db->set.max_connections)
        db->set.min_connections = db->set.max_connections;
    settle_sharing(db);
    db->loop = loop;
    db->name = rl_strdup(name);
    db->due = db->timer_at = RL_DB_NEVER;
    db->random = uv_hrtime() ^ (uintptr_t)db ^ 0x9e3779b97f4a7c15u;
    for (int i = 0; i < NSTATES; i++)
        rl_list_init(&db->in[i]);
    rl_list_init(&db->waiting);
    rl_list_init(&db->reads);
    rl_list_init(&db->answers);
    rl_list_init(&db->leases);
    uv_timer_init(&loop->uv, &db->timer);
    db->timer.data = db;
    rl_loop_add_hook(loop, RL_PHASE_ASK, &db->hook, rl_requests_deliver);
    *out = db;
    return 0;

fail_config:
    rl_free(url);
fail_settings:
    rl_free(db);
    return rl_err_set(err, why.code, "database %s: %s", name, why.msg);
}

void rl_db_close(rl_db *db, double grace, rl_db_closed_fn *done, void *arg)
{
    rl_list *it;

    RL_CHECK(!db->closing);
    db->closing = true;
    db->closed_fn = done;
    db->closed_arg = arg;
    db->close_by = rl_pool_now() + (grace > 0 ? (uint64_t)(grace * 1000) : 0);
    while ((it = rl_list_first(&db->waiting)) || (it = rl_list_first(&db->reads))) {
        request *r = RL_LIST_ENTRY(it, request, link);
        rl_request_leave(r);
        rl_request_answer(r, rl_pool_err(RL_EOPERATIONAL, "database %s is closing", db->name));
    }
    static const slot_state unused[] = {DIALING, IDLE};
    for (size_t i = 0; i < RL_COUNT(unused); i++)
        RL_LIST_EACH (at, &db->in[unused[i]])
            slot_close(RL_LIST_ENTRY(at, slot, link));
    rl_ear_close(db->ear);
    rl_pool_wake_at(db, db->close_by);
    rl_loop_kick(db->loop); /* the hook closes a pool that is empty already */
}

const char *rl_db_name(const rl_db *db)
{
    return db->name;
}

const char *rl_db_backend(const rl_db *db)
{
    return db->driver->backend;
}

const char *rl_db_display_url(const rl_db *db)
{
    return db->display;
}

uint64_t rl_db_hold_warning(const rl_db *db)
{
    return db->set.hold_warning;
}

void rl_db_stats_of(const rl_db *db, rl_db_stats *out)
{
    *out = db->stats;
    out->idle = db->count[IDLE];
    out->busy = db->count[BUSY] + db->count[CLEANING];
    out->leased = db->count[LEASED];
    out->connecting = db->count[DIALING];
    out->open = out->idle + out->busy + out->leased;
    out->waiting = db->nwaiting + db->nreads;
    out->shared = db->nshared;
}
