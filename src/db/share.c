/* Reads of many coroutines on few connections.
 *
 * A statement that the query layer built to read, and that has been quick so far (pace.h), does not
 * borrow a connection: it waits in db->reads for the end of the turn, when a shared connection
 * takes everything that waits there as one batch, one message with one sync. A shared connection is
 * one of the pool's that was made read-only for good, so whatever a read may call, it cannot write.
 * It carries one batch at a time: what comes meanwhile gathers for the next, and the busier the
 * server, the fewer messages it gets.
 *
 * Nobody pays for a neighbour. A read that
 *
 *   fails             has its error; those behind it, which the server skipped, go again
 *   wants to write    (SQLSTATE 25006) runs again on a connection of its own
 *   takes long        is cancelled after HURRY and runs again on a connection of its own; its
 *                     text no longer counts as quick, and those behind it go again
 *   has lost its connection runs again on another of its own: it has left nothing behind
 *   finds none free   waits, after PATIENCE, in the line for one of its own
 *
 * and a writer who finds nothing but idle shared connections has one made writable again. What is
 * one message is one transaction: now() is the same for all of it.
 *
 * A result goes to its coroutine as soon as it is read, so that the next one finds its memory still
 * warm. Reads of one shape that ask for a row by its key are one statement of the message (bulk.c).
 * A read runs again at most twice: it has failed with those first, and does not share at all then.
 */
#include "db/pool.h"

#include <string.h>

enum {
    PATIENCE = 20,          /* ms that a read waits for a shared connection */
    HURRY = 50,             /* ms that a batch may take */
    MERCY = 1000,           /* ms that it may take from then on */
    LEAST = 8,              /* statements that are not worth two batches */
    MOST = RL_BULK_MOST,    /* in one */
    MOST_BYTES = 48 * 1024, /* of them: libpq sends by itself beyond 64 KiB */
};

bool rl_share_takes(rl_db *db, const rl_query *q)
{
    return q->text && !q->alone && !db->staging && db->set.shared_connections &&
           rl_text_is_quick(q->text, &db->paces);
}

/* Answers */

static rl_query *query_at(rl_list *link)
{
    return RL_CONTAINER_OF(RL_LIST_ENTRY(link, request, link), rl_query, req);
}

static void retry_alone(rl_query *q)
{
    q->alone = true;
    q->slot = NULL;
    rl_request_wait(&q->req);
}

/* The statement was not meant to share: a write in disguise, one that we cancelled since it took
 * long, or one whose plan became unfit. */
static bool may_retry(const slot *s, const rl_err *err)
{
    bool hurried = s->hurried && strcmp(err->sqlstate, "57014") == 0;

    return hurried || strcmp(err->sqlstate, "25006") == 0 || strcmp(err->sqlstate, "0A000") == 0 ||
           strcmp(err->sqlstate, "26000") == 0;
}

void rl_share_part(slot *s, rl_result *result, const rl_err *err)
{
    rl_list *it = rl_list_pop(&s->batch);

    if (!it) { /* more answers than questions; the driver will find out */
        rl_result_free(result);
        return;
    }
    rl_query *q = query_at(it);
    if (!rl_list_empty(&q->bulk)) {
        rl_bulk_part(s->db, q, result, err);
        return;
    }
    if (err && strcmp(err->sqlstate, "57014") == 0)
        rl_paces_learn(&s->db->paces, q->st->sql, 1000 * (rl_pool_now() - s->since));
    if (result) {
        rl_query_answer(q, result);
    } else if (!q->fn) {
        rl_query_finish(q, NULL, NULL);
    } else if (err && !may_retry(s, err)) {
        rl_query_finish(q, NULL, rl_pool_err_copy(err));
    } else if (err) {
        retry_alone(q);
    } else { /* skipped: it goes with the next */
        q->slot = NULL;
        rl_share_wait(q);
    }
}

static void lose(rl_query *q, bool sent)
{
    if (!q->fn) {
        rl_query_finish(q, NULL, NULL);
    } else if (sent) {
        retry_alone(q);
    } else {
        q->slot = NULL;
        rl_request_wait(&q->req);
    }
}

void rl_share_lost(slot *s, bool sent)
{
    rl_list riders, *it;

    rl_list_init(&riders);
    rl_list_take(&riders, &s->batch);
    while ((it = rl_list_pop(&riders))) {
        rl_query *all[RL_BULK_MOST];
        unsigned n = rl_bulk_take(query_at(it), all);
        for (unsigned i = 0; i < n; i++)
            lose(all[i], sent);
    }
}

/* Waiting */

void rl_share_wait(rl_query *q)
{
    rl_db *db = q->req.db;

    q->req.shares = true;
    rl_request_wait(&q->req);
    rl_loop_kick(db->loop);
}

static size_t bytes_of(const rl_statement *st)
{
    size_t n = st->sql.n + 64;

    for (unsigned i = 0; i < st->nparams; i++)
        n += 32 + (st->params[i].kind >= RL_TEXT ? st->params[i].s.n : 0);
    return n;
}

/* What stands in s->batch, of n reads. */
static void write_batch(slot *s, unsigned n)
{
    const rl_statement *sts[MOST];
    rl_statement bulks[MOST / 2];
    rl_value arrays[MOST / 2];
    size_t begins[MOST / 2];
    unsigned nsts = 0, nbulks = 0;
    rl_buf keys = {0};

    RL_LIST_EACH (it, &s->batch) {
        rl_query *q = query_at(it);
        rl_list *rider;
        while (!rl_bulk_pays(q) && (rider = rl_list_pop(&q->bulk))) {
            rl_list_insert_before(&q->req.link, rider);
            sts[nsts++] = query_at(rider)->st;
        }
        sts[nsts++] = q->st;
        if (rl_list_empty(&q->bulk))
            continue;
        begins[nbulks] = keys.len;
        bulks[nbulks] = (rl_statement){
            .sql = q->st->many, .params = &arrays[nbulks], .nparams = 1, .reads = true};
        sts[nsts - 1] = &bulks[nbulks++];
        rl_bulk_write(q, &keys);
    }
    for (unsigned i = 0; i < nbulks; i++) /* they do not move any more */
        arrays[i] = (rl_value){.kind = RL_ARRAY, .s = rl_str_of(keys.data + begins[i])};
    s->db->stats.bulks += nbulks;
    s->db->stats.coalesced += n - (nsts - nbulks);
    rl_slot_run_batch(s, sts, nsts, HURRY);
    rl_buf_fini(&keys);
}

/* At most so many statements; what joins one is none. */
static void send_batch(rl_db *db, slot *s, unsigned most)
{
    rl_query *firsts[MOST];
    unsigned n = 0, nsts = 0, nfirsts = 0;
    size_t bytes = 0;
    uint64_t now = rl_clock_ns();
    rl_list *it;

    while (n < MOST && nsts < most && (it = rl_list_first(&db->reads))) {
        rl_query *q = query_at(it);
        bool can = rl_bulk_can(q);
        bytes += bytes_of(q->st);
        if (n && bytes > MOST_BYTES)
            break;
        rl_request_leave(&q->req);
        rl_query_begin(q, s, now);
        n++;
        if (can && rl_bulk_join(q, firsts, nfirsts))
            continue;
        if (can)
            firsts[nfirsts++] = q;
        rl_list_push(&s->batch, &q->req.link);
        nsts++;
    }
    db->stats.reads += n;
    write_batch(s, n);
}

/* Those that idle share the statements: one is answered while the next still runs. Reads that are
 * one statement together stay so: what a server does for a statement it would do twice. */
static unsigned fair_share(const rl_db *db)
{
    unsigned idle = 0, most;

    RL_LIST_EACH (it, &db->in[IDLE])
        idle += RL_LIST_ENTRY(it, slot, link)->shared;
    most = idle ? (db->nreads + idle - 1) / idle : 0;
    return most < LEAST ? LEAST : most < MOST ? most : MOST;
}

void rl_share_send(rl_db *db)
{
    unsigned most = fair_share(db);
    slot *s;

    while (db->nreads && (s = rl_pool_take_idle(db, true)))
        send_batch(db, s, most);
    if (!db->nreads)
        return;
    db->wants_shared = db->nshared < db->set.shared_connections;
    if (db->wants_shared)
        rl_pool_pump(db);
    rl_pool_wake_at(db, rl_share_patience(db));
}

/* Time */

/* A request's deadline tells when it came. */
static uint64_t came(const request *r)
{
    return r->deadline - r->db->set.acquire_timeout;
}

uint64_t rl_share_patience(const rl_db *db)
{
    rl_list *it = rl_list_first(&db->reads);

    return it ? came(RL_LIST_ENTRY(it, request, link)) + PATIENCE : RL_DB_NEVER;
}

/* One who needs a connection of his own does not wait for long beside a shared one that idles. */
uint64_t rl_share_give_back_at(const rl_db *db)
{
    rl_list *it = rl_list_first(&db->waiting);

    if (!it || !db->nshared || db->slots < db->set.max_connections || db->count[DIALING])
        return RL_DB_NEVER;
    return came(RL_LIST_ENTRY(it, request, link)) + PATIENCE;
}

void rl_share_tick(rl_db *db, uint64_t now)
{
    rl_list *it;

    while ((it = rl_list_first(&db->reads)) && rl_share_patience(db) <= now) {
        request *r = RL_LIST_ENTRY(it, request, link);
        rl_request_leave(r);
        rl_request_wait(r);
    }
}

bool rl_share_hurry(slot *s)
{
    if (rl_list_empty(&s->batch) || s->hurried)
        return false;
    s->hurried = true;
    rl_slot_limit(s, MERCY);
    s->db->driver->cancel(s->conn);
    return true;
}

void rl_share_forget(slot *s)
{
    RL_LIST_EACH (it, &s->batch) { /* a cancel could hit somebody else's */
        if (query_at(it)->fn)
            return;
        RL_LIST_EACH (in, &query_at(it)->bulk)
            if (query_at(in)->fn)
                return;
    }
    if (!s->hurried)
        rl_share_hurry(s);
}
