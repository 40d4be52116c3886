/* Who gets which connection, and when.
 *
 * Everything that may change that ends in rl_pool_pump(), which hands idle connections (the one
 * used last first, so that the others age out) to those who wait (the one who waits longest first)
 * and dials when there are too few. At most two dials run at once; after a failure one, and only
 * when a growing random delay has passed, so that workers do not storm a server that comes back.
 *
 * One timer serves all deadlines. It is set to the earliest, and tick() looks at everything:
 * a pool is a few dozen connections. */
#include "db/pool.h"

#include "base/backoff.h"
#include "base/log.h"

enum {
    DIALS_AT_ONCE = 2,
    DIAL_TIMEOUT = 5000, /* ms */
    BACKOFF_FIRST = 100, /* ms */
    BACKOFF_MOST = 5000, /* ms */
    STALE = 1,           /* ms since the loop last looked at its sockets */
};

uint64_t rl_pool_now(void)
{
    return rl_clock_ns() / 1000000;
}

uint64_t rl_pool_random_below(rl_db *db, uint64_t n)
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

static slot *take_idle(rl_db *db, bool shared)
{
    uint64_t now = rl_pool_now();
    bool stale = now > rl_loop_now(db->loop) + STALE;
    slot *s;

    while ((s = first_idle(db, shared))) {
        if (rl_slot_is_past(s, now)) {
            db->stats.closed_age++;
            rl_slot_close(s);
        } else if (stale && !db->driver->alive(s->conn)) {
            rl_slot_lost(s, &rl_slot_broken, false);
        } else if (db->set.conn_health_checks && s->epoch != db->epoch) {
            if (count_pings(db, shared) >= (shared ? 1 : db->nwaiting))
                return NULL;
            rl_slot_chore(s, PING);
        } else {
            return s;
        }
    }
    return NULL;
}

slot *rl_pool_take_idle(rl_db *db, bool shared)
{
    if (RL_LIKELY(!db->staging))
        return take_idle(db, shared);
    return shared ? NULL : rl_stage_take(db, db->stage ? NULL : take_idle(db, false));
}

uint64_t rl_pool_backoff(rl_db *db, unsigned failures)
{
    return rl_backoff(failures, BACKOFF_FIRST, BACKOFF_MOST, rl_pool_random_below(db, UINT64_MAX));
}

void rl_pool_dial_failed(rl_db *db, const rl_err *why)
{
    if (db->failures++ == 0)
        rl_warn("database %s: %s; trying again", db->name, why->msg);
    db->last_error = *why;
    db->dial_at = rl_pool_now() + rl_pool_backoff(db, db->failures);
}

static void dial(rl_db *db)
{
    slot *s = rl_calloc(1, sizeof(*s));
    rl_err err = {0};

    s->db = db;
    s->expires = s->deadline = RL_DB_NEVER;
    s->conn = db->driver->dial(db->conf, db->loop, &rl_slot_events, s, &err);
    if (!s->conn) {
        rl_pool_dial_failed(db, &err);
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
        if (db->staging && db->slots > db->count[CLOSING] + db->nshared)
            return; /* it wants one */
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
    rl_slot_chore(s, SHARE);
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
    rl_slot_chore(s, UNSHARE);
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
            rl_slot_move(s, r->is_borrow ? LEASED : BUSY);
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
        if (s->stage)
            continue;
        bool aged = now >= s->expires || (boundary && db->set.conn_max_age == 0);
        bool idle = db->set.idle_timeout != RL_DB_NEVER && now >= s->since + db->set.idle_timeout &&
                    kept > db->set.min_connections;
        if (aged || idle) {
            db->stats.closed_age += aged;
            db->stats.closed_idle += !aged;
            rl_slot_close(s);
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
            at = rl_pool_earlier(at, s->deadline);
            if (state != IDLE || s->stage)
                continue;
            at = rl_pool_earlier(at, s->expires);
            if (db->set.idle_timeout != RL_DB_NEVER &&
                db->slots - db->count[CLOSING] > db->set.min_connections)
                at = rl_pool_earlier(at, s->since + db->set.idle_timeout);
        }
    if (db->nwaiting) {
        at = rl_pool_earlier(at,
                             RL_LIST_ENTRY(rl_list_first(&db->waiting), request, link)->deadline);
        if (db->failures && db->count[DIALING] == 0)
            at = rl_pool_earlier(at, db->dial_at);
    }
    if (first_idle(db, true))
        at = rl_pool_earlier(at, rl_share_give_back_at(db));
    return rl_pool_earlier(at, rl_share_patience(db));
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
        rl_slot_close(other);
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

bool rl_db_is_due(const rl_db *db)
{
    return RL_UNLIKELY(rl_loop_now(db->loop) >= db->due);
}

void rl_db_close_old(rl_db *db)
{
    db->epoch++;
    if (!rl_db_is_due(db))
        return;
    sweep(db, rl_pool_now(), true);
    rl_pool_pump(db);
}
