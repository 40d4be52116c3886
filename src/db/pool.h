/* pool.h - the inside of an rl_db: a connection's place (slot.c), who gets which (pool.c), what is
 * asked of them (request.c), reads that share a few (share.c) and those by key that are one
 * statement (bulk.c), the one that listens (listen.c), the one that a test has (stage.c), and the
 * whole from its URL to its end (db.c). Nobody else includes this. */
#ifndef RL_DB_POOL_H
#define RL_DB_POOL_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/slab.h"
#include "db/driver.h"
#include "db/pace.h"
#include "db/settings.h"
#include "db/text.h"
#include "io/loop.h"

/* Each state is a list on the db, and being in the state means being on the list. Nothing
 * but rl_slot_move() touches either.
 *
 *   DIALING --> IDLE <--> BUSY ----.      one statement, or a batch of reads
 *      |         ^ ^----> LEASED --|      pinned by a borrower
 *      |         '------ CLEANING <'      pinged, drained, rolled back, reset or made read-only
 *      '--- any of them ---> CLOSING
 */
typedef enum slot_state { DIALING, IDLE, BUSY, LEASED, CLEANING, CLOSING, NSTATES } slot_state;

/* What a CLEANING slot waits for. */
typedef enum chore {
    NO_CHORE,
    PING,
    DRAIN,
    ROLLBACK,
    RESET,
    SHARE,
    UNSHARE,
    STAGE,   /* the beginning of the test's transaction */
    UNSTAGE, /* of a borrower's part of it: undone */
} chore;

/* A place in the pool and the connection in it. */
typedef struct slot {
    rl_db *db;
    rl_conn *conn;
    rl_list link;
    slot_state state;
    chore chore;
    uint64_t since;     /* ms, in this state */
    uint64_t order;     /* of entering it, db->moves then */
    uint64_t expires;   /* ms; RL_DB_NEVER */
    uint64_t deadline;  /* ms, for what is under way; RL_DB_NEVER */
    uint64_t epoch;     /* of the last proof of health */
    uint64_t born;      /* ms, when it opened */
    rl_query *query;    /* under way; NULL when idle, at a chore of ours, or with a batch */
    rl_list batch;      /* requests: reads under way that have no answer yet */
    rl_statement *left; /* of a query given up; the driver may still look at it */
    rl_text *left_text; /* its text, or NULL */
    rl_lease *lease;
    bool opened;
    bool shared;            /* read-only for good, for batches alone */
    bool hurried;           /* its batch took too long: a cancel is on its way */
    bool used;              /* has run something: before that, age does not matter */
    bool dirty;             /* session state to reset */
    bool doomed;            /* close it as soon as nobody uses it */
    bool writes;            /* the one that does, see db->writing */
    struct rl_stage *stage; /* it is, or was, the one that a test has; else NULL */
} slot;

typedef enum request_state { NEW, WAITING, RUNNING, HELD, ANSWERED } request_state;

/* What queries and borrows share: a place in the line, then one among the answers. */
typedef struct request {
    rl_db *db;
    rl_list link; /* in db->waiting, db->reads, a batch, a bulk of it or db->answers */
    request_state state;
    bool is_borrow;
    bool shares;       /* waits in db->reads */
    bool writes;       /* on a driver that knows one writer: waits while there is another */
    uint64_t asked;    /* ns */
    uint64_t deadline; /* ms, for getting a connection */
    rl_err *err;       /* ours; NULL unless it failed */
} request;

struct rl_query {
    request req;
    slot *slot;         /* while RUNNING */
    rl_lease *lease;    /* while HELD or RUNNING on one */
    bool alone;         /* it has failed to share */
    bool single;        /* it has failed in a bulk */
    rl_list bulk;       /* of the first of a bulk: the requests of the others */
    unsigned answered;  /* reads that its statement has answered; 0: another one tells of it */
    uint64_t began;     /* ns, when it was handed to a connection; 0: not yet */
    uint64_t took;      /* ns, from then on */
    rl_query_fn *fn;    /* NULL once cancelled */
    rl_copy_fn *copied; /* NULL unless it is a COPY */
    void *arg;
    rl_result *result;
    rl_statement *st; /* ours, one block with all it points at, but the text, … */
    rl_text *text;    /* … if that is here; NULL: it is in the block */
};

struct rl_borrow {
    request req;
    rl_borrow_fn *fn;
    void *arg;
    rl_lease *lease; /* until answered */
};

struct rl_lease {
    rl_db *db;      /* NULL once the db is gone */
    slot *slot;     /* NULL once broken */
    rl_query *held; /* waits for a cancelled one to end */
    rl_err *why;    /* broken by this */
    uint64_t began; /* ns, when it was granted */
    rl_list link;   /* in db->leases */
    char where[];
};

typedef struct rl_ear rl_ear;

struct rl_db {
    rl_loop *loop;
    rl_hook hook;
    const rl_driver *driver;
    void *conf;
    char *name, *display;
    rl_db_settings set;

    rl_list in[NSTATES];
    unsigned count[NSTATES], slots;
    uint64_t moves;
    rl_list waiting; /* requests, first come first */
    unsigned nwaiting;
    rl_list reads; /* those that may share, first come first */
    unsigned nreads;
    unsigned nshared;  /* connections for them, or becoming one */
    bool wants_shared; /* the next one that idles becomes one */
    rl_paces paces;
    rl_slab queries; /* their memory */
    rl_texts texts;
    rl_map unfit;    /* texts of bulks that did not do, to the ms at which they may again */
    rl_list answers; /* requests whose callbacks are due */
    rl_list leases;

    bool writing; /* a slot has been given to a request that writes */

    bool staging;       /* a test has one connection for all */
    slot *stage;        /* this one, once it has begun */
    rl_err *stage_gone; /* ours; it was lost, and with it the test's transaction */

    uint64_t epoch; /* boundaries so far */
    uint64_t due;   /* ms; no idle connection is past its age before this */

    uint64_t dial_at;  /* ms; not before, after a failure */
    unsigned failures; /* dials failed since one succeeded */
    rl_err last_error; /* of the last failed dial */
    uint64_t random;

    rl_ear *ear; /* the connection that listens, not one of the pool's; NULL: nobody wants it */

    uv_timer_t timer;
    uint64_t timer_at; /* ms; RL_DB_NEVER when stopped */
    bool pumping, pump_again;

    bool closing, closed;
    uint64_t close_by; /* ms */
    rl_db_closed_fn *closed_fn;
    void *closed_arg;

    rl_db_stats stats;
};

/* pool.c */
uint64_t rl_pool_now(void); /* ms on the loop's clock, but not older than this call */
static inline uint64_t rl_pool_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
uint64_t rl_pool_random_below(rl_db *db, uint64_t n);   /* 0 for 0 */
uint64_t rl_pool_backoff(rl_db *db, unsigned failures); /* ms to wait after so many of them */
void rl_pool_dial_failed(rl_db *db, const rl_err *why);
void rl_pool_wake_at(rl_db *db, uint64_t when);
void rl_pool_pump(rl_db *db); /* match who waits with what is free; dial when short */
slot *rl_pool_take_idle(rl_db *db, bool shared); /* fit for use now; NULL: none */

/* db.c */
void rl_db_close_if_over(rl_db *db);

/* slot.c */
extern const rl_conn_events rl_slot_events; /* for dial, a slot being the owner */
extern const rl_err rl_slot_broken;
void rl_slot_move(slot *s, slot_state to);
void rl_slot_limit(slot *s, uint64_t ms); /* what is under way may take so long */
void rl_slot_run(slot *s, rl_query *q);
void rl_slot_run_batch(slot *s, const rl_statement *const *sts, unsigned n, uint64_t limit);
bool rl_slot_is_past(const slot *s, uint64_t now); /* its age */
void rl_slot_settle(slot *s);            /* nobody uses it now: clean it, keep it or close it */
void rl_slot_chore(slot *s, chore what); /* then settle, if all goes well */
void rl_slot_drain(slot *s);             /* cancel what runs; a result or a deadline follows */
void rl_slot_hurry(slot *s);             /* what runs is lost unless it ends soon */
void rl_slot_release(slot *s);           /* its lease is gone */
void rl_slot_lost(slot *s, const rl_err *why, bool sent);
void rl_slot_close(slot *s);

/* copy.c */
rl_err *rl_copy_check(rl_db *db, const rl_lease *lease, const rl_statement *st);

/* request.c */
rl_err *rl_pool_err(int code, const char *fmt, ...) RL_PRINTF(2, 3);
rl_err *rl_pool_err_copy(const rl_err *e);
void rl_request_answer(request *r, rl_err *err); /* takes err; its callback runs from the hook */
void rl_request_wait(request *r);                /* where its deadline belongs among the others */
void rl_request_leave(request *r);               /* the line it waits in */
void rl_request_time_out(request *r);
void rl_query_begin(rl_query *q, slot *s, uint64_t now);           /* ns; it is on s from now on */
void rl_query_finish(rl_query *q, rl_result *result, rl_err *err); /* takes both */
void rl_query_answer(rl_query *q, rl_result *result); /* at once: from the loop, pool at rest */
void rl_borrow_grant(rl_borrow *b, slot *s);
void rl_lease_break(rl_lease *l, const rl_err *why);
bool rl_requests_deliver(rl_hook *hook);

/* share.c */
bool rl_share_takes(rl_db *db, const rl_query *q); /* may it ride with others? */
void rl_share_wait(rl_query *q);
void rl_share_send(rl_db *db);               /* the end of a turn */
uint64_t rl_share_patience(const rl_db *db); /* ms; when the first read stops waiting */
void rl_share_tick(rl_db *db, uint64_t now);
uint64_t rl_share_give_back_at(const rl_db *db); /* ms; when a shared one becomes anybody's */
bool rl_share_hurry(slot *s);  /* its time is over; false: more than once, or it has no batch */
void rl_share_forget(slot *s); /* a read of its batch was given up */
void rl_share_part(slot *s, rl_result *result, const rl_err *err);
void rl_share_lost(slot *s, bool sent);

/* bulk.c */
enum { RL_BULK_MOST = 128 };         /* reads in one */
bool rl_bulk_can(const rl_query *q); /* be part of one */
/* Into that of one of these, which all can. False: none has its text. */
bool rl_bulk_join(rl_query *q, rl_query *const *firsts, unsigned n);
bool rl_bulk_pays(const rl_query *first);               /* else they are better off as themselves */
void rl_bulk_write(const rl_query *first, rl_buf *out); /* its keys, as the server writes arrays */
unsigned rl_bulk_take(rl_query *first, rl_query **all); /* apart: all of it, and how many */
/* What the statement gave: as of rl_share_part(). */
void rl_bulk_part(rl_db *db, rl_query *first, rl_result *result, const rl_err *err);

/* stage.c */
slot *rl_stage_take(rl_db *db, slot *idle); /* the stage if it is free, or to be made of this one */
bool rl_stage_run(slot *s);                 /* its statement; false: not under way */
/* A step of it was answered. True: another is under way; else what all of it gave. */
bool rl_stage_done(slot *s, rl_result **result, const rl_err **err);
bool rl_stage_settle(slot *s); /* false: it is the stage no more, settle it as any other */
const rl_statement *rl_stage_chore(const slot *s);
bool rl_stage_has_block(const slot *s); /* a borrower's transaction is open */
void rl_stage_drop(slot *s);            /* it is the stage no more */
void rl_stage_lost(slot *s, const rl_err *why);

/* listen.c */
void rl_ear_move(rl_ear *ear, rl_db *to); /* all who listen; it closes */
void rl_ear_close(rl_ear *ear);           /* nobody is told any more; NULL is fine */

#endif
