/* pg_conn.h - the inside of a connection to PostgreSQL: the connection itself (pg.c), one statement
 * at a time (pg_statement.c), and many reads at once (pg_batch.c). Nobody else includes this. */
#ifndef RL_DB_PG_CONN_H
#define RL_DB_PG_CONN_H

#include "db/pg.h"
#include "db/pg_plan.h"

/* What the connection is at: nothing, a step of one statement, or a batch. */
typedef enum pg_step {
    IDLE,
    DEALLOCATE,
    PREPARE,
    EXECUTE,
    EXECUTE_PREPARED,
    RESET,
    BATCH,
} pg_step;

/* An answer that a batch waits for. */
typedef struct pg_item {
    enum { DROP, PARSE, EXEC } kind;
    rl_pg_plan *plan; /* what PARSE makes and EXEC uses; NULL: none */
} pg_item;

typedef struct pg_conn {
    rl_conn base;
    const rl_pg_conf *conf;
    rl_loop *loop;
    PGconn *pg;             /* NULL while names are looked up */
    rl_pg_lookup *lookup;   /* NULL when there is none under way */
    struct pg_watch *watch; /* NULL between sockets */
    uv_timer_t again;       /* to repeat a cancel; to suspect a refusal */
    unsigned handles;       /* not closed yet: watches and the timer */
    bool opened, closing;

    pg_step step;
    bool unsent; /* part of the message waits in libpq */
    bool cancelled;
    rl_pg_cancel *cancel; /* a request on its way */
    bool answered;        /* the answer waits for the cancel to come back */
    bool fatal;           /* the server has said goodbye */
    rl_err err;           /* of the statement, or what ended the connection */

    /* One statement */
    const rl_statement *st; /* NULL for RESET */
    rl_pg_plan *plan;       /* what PREPARE and EXECUTE_PREPARED are about */
    rl_pg_copy copy;
    bool skipping; /* rows of a COPY that nobody wants */
    bool heard;    /* a notice or a notification was in what was read last */
    PGresult *res; /* the answer so far; NULL with err.code set when it is an error */
    bool stale_plan;

    /* A batch */
    pg_item *items;
    unsigned nitems, at, items_size; /* `at`: the next one to be answered */

    rl_pg_plans plans;
} pg_conn;

/* pg.c */
void rl_pg_watch_for(pg_conn *c, int events);
bool rl_pg_flushed(pg_conn *c, int rest); /* what PQflush() said; false: it is broken */
void rl_pg_lost(pg_conn *c);              /* the end: with c->err, if that is set */

/* pg_statement.c */
bool rl_pg_has_bytes(const rl_statement *st);
bool rl_pg_is_stale_plan(const PGresult *res);
bool rl_pg_send_statement(pg_conn *c); /* c->st, by its first step */
bool rl_pg_send_step(pg_conn *c, pg_step what);
void rl_pg_take_all(pg_conn *c);        /* what has come in; behind that c may be gone */
bool rl_pg_take_batch(pg_conn *c);      /* likewise; false: it is over, and c may be gone */
void rl_pg_take_last_words(pg_conn *c); /* of a server that has hung up */
void rl_pg_report(pg_conn *c);          /* all is answered, and no cancel can hit any more */

/* pg_batch.c */
typedef enum rl_pg_batch_state { BATCH_MORE, BATCH_OVER, BATCH_BROKEN } rl_pg_batch_state;

bool rl_pg_batch_send(pg_conn *c, const rl_statement *const *sts, unsigned n);
rl_pg_batch_state rl_pg_batch_take(pg_conn *c); /* what has come in, told part by part */

#endif
