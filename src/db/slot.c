/* A place in the pool and the connection in it: its states, what the driver tells, and what becomes
 * of it when nobody uses it any more.
 *
 * Being in a state means being on its list; rl_slot_move() alone moves, and the table says where
 * to. A connection that was used passes rl_slot_settle(): rolled back if it is in a transaction,
 * reset if its session was changed, closed if it is past its age, else idle. No other way leads
 * back to IDLE. */
#include "db/pool.h"

#include "base/log.h"
#include "db/sql.h"

enum {
    PING_TIMEOUT = 2000,  /* ms, but at most half of acquire_timeout */
    CHORE_TIMEOUT = 5000, /* ms, for a cancel, a rollback, a reset */
    SERVER_GRACE = 2000,  /* ms past statement_timeout, which is the server's to keep */
    HURRY_TIMEOUT = 2000, /* ms, for a COMMIT that nobody has time for; a stop waits for longer */
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

void rl_slot_move(slot *s, slot_state to)
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

void rl_slot_limit(slot *s, uint64_t ms)
{
    s->deadline = rl_pool_now() + ms;
    rl_pool_wake_at(s->db, s->deadline);
}

void rl_slot_close(slot *s)
{
    if (s->state == CLOSING)
        return;
    rl_slot_move(s, CLOSING);
    s->deadline = RL_DB_NEVER;
    if (s->stage)
        rl_stage_lost(s, &rl_slot_broken);
    s->db->nshared -= s->shared;
    if (s->opened)
        rl_histogram_add(&s->db->stats.age, 1000 * (rl_pool_now() - s->born));
    s->db->driver->close(s->conn);
}

const rl_err rl_slot_broken = {RL_EOPERATIONAL, "", "", "", "the server closed the connection"};

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
        s->expires = now + age - rl_pool_random_below(db, age / 10);
    rl_slot_settle(s);
}

static void on_done(void *owner, rl_result *result, const rl_err *err)
{
    slot *s = owner;
    rl_query *q = s->query;

    s->deadline = RL_DB_NEVER;
    if (RL_UNLIKELY(s->stage != NULL) && q && rl_stage_done(s, &result, &err))
        return;
    s->query = NULL;
    switch (s->state) {
    case BUSY:
        if (q->st->reads)
            rl_paces_learn(&s->db->paces, q->st->sql, (rl_clock_ns() - q->began) / 1000);
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
                if (s->stage && err)
                    rl_stage_lost(s, err);
                rl_slot_close(s);
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
    s->left_text = q->text;
    q->st = NULL;
    q->text = NULL;
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
        rl_pool_dial_failed(db, why);
    if (q)
        query_lost(s, q, why, sent);
    rl_share_lost(s, sent);
    if (lease)
        rl_lease_break(lease, why);
    if (s->stage)
        rl_stage_lost(s, why);
    rl_slot_close(s);
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
    rl_text_drop(s->left_text);
    rl_free(s);
    rl_pool_pump(db);
    rl_db_close_if_over(db);
}

static void on_copied(void *owner, rl_str rows)
{
    rl_query *q = ((slot *)owner)->query;

    if (q && q->fn)
        q->copied(q->arg, rows);
}

const rl_conn_events rl_slot_events = {
    .opened = on_opened,
    .done = on_done,
    .part = on_part,
    .batch_done = on_batch_done,
    .lost = on_lost,
    .closed = on_closed,
    .copied = on_copied,
};

/* Use */

void rl_slot_run(slot *s, rl_query *q)
{
    s->query = q;
    s->used = true;
    s->dirty |= rl_sql_is_dirty(q->st->sql);
    rl_query_begin(q, s, rl_clock_ns());
    /* A server that is not heard any more keeps nothing; a session may have another limit. */
    if (s->db->set.statement_timeout && !s->dirty && !q->st->copy)
        rl_slot_limit(s, s->db->set.statement_timeout + SERVER_GRACE);
    if (!(s->stage ? rl_stage_run(s) : s->db->driver->run(s->conn, q->st)))
        rl_slot_lost(s, &rl_slot_broken, false);
}

void rl_slot_run_batch(slot *s, const rl_statement *const *sts, unsigned n, uint64_t limit)
{
    rl_slot_move(s, BUSY);
    s->used = true;
    s->hurried = false;
    s->db->stats.batches++;
    rl_slot_limit(s, limit);
    if (!s->db->driver->batch(s->conn, sts, n))
        rl_slot_lost(s, &rl_slot_broken, false);
}

void rl_slot_drain(slot *s)
{
    if (s->state == BUSY)
        rl_slot_move(s, CLEANING);
    if (s->state == CLEANING)
        s->chore = DRAIN;
    rl_slot_limit(s, CHORE_TIMEOUT);
    s->db->driver->cancel(s->conn);
}

void rl_slot_hurry(slot *s)
{
    if (s->deadline > rl_pool_now() + HURRY_TIMEOUT)
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
    rl_slot_move(s, CLEANING);
    s->chore = DRAIN;
    if (!asked)
        rl_slot_drain(s);
}

void rl_slot_chore(slot *s, chore what)
{
    static const rl_statement ping = {.sql = {"SELECT 1", 8}};
    static const rl_statement rollback = {.sql = {"ROLLBACK", 8}};
    static const rl_statement read_only = {.sql = {"SET default_transaction_read_only = on", 38}};
    static const rl_statement writable = {.sql = {"RESET default_transaction_read_only", 35}};
    const rl_driver *driver = s->db->driver;
    bool under_way = true;

    if (s->state != CLEANING)
        rl_slot_move(s, CLEANING);
    s->chore = what;
    rl_slot_limit(s, what == PING ? rl_pool_earlier(PING_TIMEOUT, s->db->set.acquire_timeout / 2)
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
    case STAGE:
    case UNSTAGE:
        under_way = driver->run(s->conn, rl_stage_chore(s));
        break;
    case DRAIN:
    case NO_CHORE:
        break;
    }
    if (!under_way) {
        rl_slot_close(s);
        rl_pool_pump(s->db);
    }
}

bool rl_slot_is_past(const slot *s, uint64_t now)
{
    return s->used && !s->stage && now >= s->expires;
}

void rl_slot_settle(slot *s)
{
    rl_db *db = s->db;
    uint64_t now = rl_pool_now();

    s->lease = NULL;
    if (s->stage && !db->closing && rl_stage_settle(s))
        return;
    if (s->doomed || db->closing) {
        db->stats.closed_age += s->doomed;
        rl_slot_close(s);
    } else if (s->conn->txn != RL_TXN_NONE) {
        rl_slot_chore(s, ROLLBACK);
        return;
    } else if (s->dirty) {
        rl_slot_chore(s, RESET);
        return;
    } else if (rl_slot_is_past(s, now)) {
        db->stats.closed_age++;
        rl_slot_close(s);
    } else {
        s->chore = NO_CHORE;
        s->deadline = RL_DB_NEVER;
        rl_slot_move(s, IDLE);
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
