/* db.h - a database: a pool of connections behind one function that runs a statement.
 *
 * PostgreSQL (libpq, non-blocking, on the loop) and SQLite (threads of its own) look
 * alike from here. Loop thread only. Nothing below blocks, and every callback runs later,
 * from the loop, never from inside the call that it answers.
 *
 * A statement without a lease borrows a connection for just that statement; those that only read
 * and have been quick so far share a few read-only ones, in batches (share.c). A lease pins
 * one until rl_lease_return(), which cleans it first: an open transaction is rolled
 * back, session state is reset, a statement still running is cancelled. Whoever waits for
 * a connection waits in line, first come first served, at most acquire_timeout.
 *
 * The lifecycle (contract section 5) is kept here, not by callers: no statement starts on a
 * connection that is past conn_max_age or known to be dead, idle connections are watched
 * and retired by timers, and rl_db_close_old() is the boundary that the core calls. */
#ifndef RL_DB_DB_H
#define RL_DB_DB_H

#include "base/err.h"
#include "base/histogram.h"
#include "base/str.h"

typedef struct rl_loop rl_loop;
typedef struct rl_db rl_db;
typedef struct rl_lease rl_lease;
typedef struct rl_query rl_query;   /* a statement under way; only good for cancelling */
typedef struct rl_borrow rl_borrow; /* a place in the queue; only good for cancelling */
typedef struct rl_result rl_result;

/* One value, as a parameter or a cell. Text and bytes are borrowed. */
typedef enum rl_kind {
    RL_NULL,
    RL_BOOL,    /* i is 0 or 1 */
    RL_INT,     /* i */
    RL_FLOAT,   /* f */
    RL_TEXT,    /* s, UTF-8; also dates, uuids and everything without a kind of its own */
    RL_BYTES,   /* s */
    RL_NUMERIC, /* s, decimal digits as the server wrote them, nothing lost */
    RL_JSON,    /* s, JSON text */
    RL_ARRAY,   /* s, as PostgreSQL writes arrays: read it with db/pg_array.h; SQLite has none */
} rl_kind;

typedef struct rl_value {
    rl_kind kind;
    uint8_t element; /* an array as a cell: the kind of its elements, */
    char delimiter;  /* and what stands between them */
    union {
        int64_t i;
        double f;
        rl_str s;
    };
} rl_value;

/* Which way the rows of a COPY go; see rl_db_copy(). */
typedef enum rl_copy_way { RL_COPY_NONE, RL_COPY_OUT, RL_COPY_IN } rl_copy_way;

typedef struct rl_statement {
    rl_str sql;             /* parameters are $1, $2, … on every backend */
    const rl_value *params; /* copied before the call returns, as are sql and many */
    unsigned nparams;
    bool reads;       /* it only reads, and may share a read-only connection with others */
    rl_copy_way copy; /* for rl_db_copy() only */
    rl_str many;      /* one that gives a row to a key, its only parameter: the same for all keys of
                         an array, $1, in any order, so that it can go together with others of this
                         text (bulk.c). Empty: there is no such */
    unsigned key;     /* then: the column of its rows that holds the key */
} rl_statement;

/* Zero or NULL means the default. Times are in seconds. */
typedef struct rl_db_opts {
    const char *name;         /* "default": for messages */
    const char *url;          /* postgresql://… or sqlite:path; never shown with its password */
    double conn_max_age;      /* since connect, less up to 10 % of jitter; 0: closed at the next
                                 boundary or return; < 0: never; see has_max_age */
    bool has_max_age;         /* false: conn_max_age is the default, 3600 */
    bool conn_health_checks;  /* ping before the first use after a boundary */
    unsigned max_connections; /* default 10; SQLite 4, and 1 when it is in memory */
    unsigned min_connections; /* kept open once opened; default 0 */
    double idle_timeout;      /* close what idles for longer; default 300; < 0: never */
    double acquire_timeout;   /* wait for a connection, and on SQLite for another process's lock;
                                 default 5 */
    double statement_timeout; /* default 0: none */
    double idle_in_transaction_timeout; /* PostgreSQL ends the session of a transaction that has
                                           idled for longer; default 300; < 0: never */
    double hold_warning; /* a lease whose holder has asked nothing for longer is worth a line in the
                            log, which is the holder's to write; default 10; < 0: never */
    unsigned statement_cache_size; /* prepared per connection; default 100 */
    unsigned shared_connections; /* of max_connections, for reads that share; default 2, but at most
                                    half, 0 with conn_max_age = 0, behind pgbouncer
                                    and on SQLite */
    bool has_shared_connections;
    bool no_coalesce;      /* reads by key stay statements of their own (`many` of a statement); the
                              setting is coalesce=false */
    double slow_statement; /* log what takes longer, with its wait; default 1; < 0: nothing */
    bool no_prepare; /* PostgreSQL: prepare nothing on the server; the setting is prepare=false */
    bool pgbouncer;  /* PostgreSQL: a pgbouncer in transaction mode stands in between, where two
                        statements need not meet the same session: implies no_prepare, sends no
                        options, and refuses statement_timeout, which belongs to the role then */
} rl_db_opts;

/* What a statement gave. Rows and columns count from 0; cells are borrowed from the result
 * and valid until rl_result_free(). */
unsigned rl_result_rows(const rl_result *r);
unsigned rl_result_cols(const rl_result *r);
const char *rl_result_col_name(const rl_result *r, unsigned col);
rl_value rl_result_cell(const rl_result *r, unsigned row, unsigned col);
uint64_t rl_result_affected(const rl_result *r); /* rows inserted, updated, deleted */
void rl_result_free(rl_result *r);               /* NULL is fine */

/* Exactly one of result and err is NULL. The result is the callee's to free. It may ask for nothing
 * more before it returns: what it wakes does. */
typedef void rl_query_fn(void *arg, rl_result *result, const rl_err *err);
typedef void rl_borrow_fn(void *arg, rl_lease *lease, const rl_err *err);
typedef void rl_db_closed_fn(void *arg);

/* Has every server asked for the dates and the time zone that the drivers read, whatever the
 * environment says. Once, before there are threads. */
void rl_db_settle_environment(void);

/* Checks the URL and the options and opens nothing: a server that is down is no error here.
 * Settings may ride on the URL's query, where they win over the options; rille's own names
 * are taken out before libpq sees it, unknown ones are an error that names them.
 *
 *   postgresql://user:secret@host:5432/name?sslmode=require&conn_max_age=60
 *   sqlite:rille.db     relative to the working directory; sqlite:/absolute/path
 *   sqlite::memory:     one connection, which lives as long as the db */
int rl_db_open(rl_db **out, rl_loop *loop, const rl_db_opts *opts, rl_err *err) RL_MUST_USE;
int rl_db_check_opts(const rl_db_opts *opts, rl_err *err) RL_MUST_USE; /* the same, and no more */

/* Refuses new work, fails what waits in line, lets running statements and leases finish for
 * at most `grace` seconds, closes every connection, then calls done. The db is gone once it
 * did; a lease still out is broken, and only good for returning. Call it once. */
void rl_db_close(rl_db *db, double grace, rl_db_closed_fn *done, void *arg);

/* It makes room for another one of its name. Who has something under way here may go on, with
 * connections as ever, but none of them idles for longer than a second; who listens does so over
 * there from now on, and is told that something may have been missed. rl_db_close() is still to
 * come. */
void rl_db_retire(rl_db *db, rl_db *by);
/* Has nobody a connection, or waits for one? */
bool rl_db_is_quiet(const rl_db *db);

const char *rl_db_name(const rl_db *db);
const char *rl_db_backend(const rl_db *db);     /* "postgresql" or "sqlite" */
const char *rl_db_display_url(const rl_db *db); /* without the password */
uint64_t rl_db_hold_warning(const rl_db *db);   /* ms; UINT64_MAX: never */

/* Run one statement, on the lease if there is one (of this db; one statement at a time), else
 * on a borrowed connection. A statement that failed before it was sent is retried on a fresh
 * connection within acquire_timeout; one that may have run is not: RL_EOPERATIONAL, and when
 * it was a COMMIT the message says that the outcome is unknown. On SQLite begin a transaction
 * that will write with BEGIN IMMEDIATE: a plain BEGIN that reads first and writes later
 * fails at once when another connection wrote in between, however long it could wait. */
rl_query *rl_db_query(rl_db *db, rl_lease *lease, const rl_statement *st, rl_query_fn *fn,
                      void *arg);

/* fn will not be called. A statement already sent is cancelled on the server without blocking,
 * and its connection is drained or dropped before anybody else sees it. A lease may be used
 * again at once: its next statement waits until the cancelled one has ended. */
void rl_query_cancel(rl_query *q);

/* Inside fn alone: did it take longer than slow_statement? Times in seconds; sql is borrowed. */
typedef struct rl_query_times {
    rl_str sql;          /* "" when it was lost with its connection */
    double waited, took; /* for a connection; on one */
    unsigned reads;      /* that it has answered, more than one when it was coalesced; told of one
                            of them alone */
} rl_query_times;

bool rl_query_was_slow(const rl_query *q, rl_query_times *times);
/* It will be called, and soon: what has not been answered within two seconds is given up as lost.
 * For a COMMIT whose task has no more time, but has to know. On a lease only. */
void rl_query_hurry(rl_query *q);
/* COPY, on a lease: PostgreSQL only. st->copy says which way, out of the database (TO STDOUT) or
 * into it (FROM STDIN). copied is called
 *
 *   out   with rows as the server writes them, whole ones, about RL_COPY_CHUNK bytes; nothing more
 *         is read, so that the server has to wait, until rl_copy_more()
 *   in    with nothing, when there is room for rows: once rl_copy_write(), or rl_copy_end() when
 *         there are no more
 *
 * and the end is told to fn as of any statement, rl_result_affected() being the number of rows.
 * When the server refuses a row that went in, the end comes about half a second later (before
 * version 14, only after rl_copy_end()). rl_query_cancel() gives it up: nothing of what
 * went in stays. */
enum { RL_COPY_CHUNK = 64 * 1024 };

typedef void rl_copy_fn(void *arg, rl_str rows); /* valid during the call */

typedef struct rl_copy_fns {
    rl_copy_fn *copied;
    rl_query_fn *fn;
} rl_copy_fns;

rl_query *rl_db_copy(rl_db *db, rl_lease *lease, const rl_statement *st, const rl_copy_fns *fns,
                     void *arg);
void rl_copy_more(rl_query *q);
void rl_copy_write(rl_query *q, rl_str rows); /* copied; need not be whole rows */
void rl_copy_end(rl_query *q);

/* `where` (copied) names the borrower in the error that a full pool gives to others. */
rl_borrow *rl_db_borrow(rl_db *db, const char *where, rl_borrow_fn *fn, void *arg);
/* For one who will begin with BEGIN IMMEDIATE: where there is one writer at a time (SQLite), those
 * who will write wait in line for their turn, as do statements that write, and take no connection
 * meanwhile from those who read. */
rl_borrow *rl_db_borrow_to_write(rl_db *db, const char *where, rl_borrow_fn *fn, void *arg);
void rl_borrow_cancel(rl_borrow *b); /* fn will not be called */

/* What the borrower left on it. */
typedef struct rl_lease_state {
    bool in_transaction; /* open or failed */
    bool failed;         /* it can only be rolled back */
    bool broken;         /* the connection is gone */
} rl_lease_state;

rl_lease_state rl_lease_look(const rl_lease *lease);
/* The borrower knows that it changed session state (SET, LISTEN, a temporary table, an
 * advisory lock): have it reset on return. Statements that plainly do so are noticed anyway. */
void rl_lease_mark_dirty(rl_lease *lease);
/* Cleaned in the background; NULL is fine. A statement still running on it is cancelled, and
 * its fn called with RL_ECANCELLED. */
void rl_lease_return(rl_lease *lease);

/* Test mode (stage.c): from here on every statement, lease or not, is part of one transaction on
 * one connection, which no part of the lifecycle closes. A lease has the connection for itself; its
 * BEGIN, COMMIT and ROLLBACK mean a savepoint. Nothing is done before it is first used. */
void rl_db_stage(rl_db *db);
/* The transaction is rolled back. Negative, with *err: it was lost meanwhile. */
int rl_db_unstage(rl_db *db, rl_err *err);

/* fn with each borrower's `where`: those whose lease is not returned. */
void rl_db_each_lease(const rl_db *db, void (*fn)(void *arg, const char *where), void *arg);

/* The boundary: retire what is past its age, begin a new health-check epoch. With nothing to do
 * it is a comparison or two. Never touches a lease. */
void rl_db_close_old(rl_db *db);
bool rl_db_is_due(const rl_db *db); /* whether that would find anything to do */

/* Classes of errors, from RL_EOPERATIONAL to RL_ENOTSUPPORTED. */
enum { RL_DB_ERRORS = 6 };

typedef struct rl_db_stats {
    unsigned open, idle, busy, leased, connecting, waiting;
    uint64_t opened, closed_age, closed_idle, closed_dead, timeouts, statements;
    unsigned shared;               /* connections */
    uint64_t batches;              /* of reads */
    uint64_t reads;                /* that went in them, */
    uint64_t coalesced;            /* of these, by key and together with others, */
    uint64_t bulks;                /* in so many statements */
    uint64_t borrows;              /* leases given */
    uint64_t cancels;              /* statements given up while they ran */
    uint64_t errors[RL_DB_ERRORS]; /* answers, by code - RL_EOPERATIONAL */
    rl_histogram wait;             /* from asking to being handed a connection */
    rl_histogram run;              /* from there to the answer */
    rl_histogram lease;            /* from the borrow to the return */
    rl_histogram age;              /* of connections when they were closed */
} rl_db_stats;

void rl_db_stats_of(const rl_db *db, rl_db_stats *out);

#endif
