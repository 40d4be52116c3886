/* pg.h - the inside of the PostgreSQL driver: where to connect (pg_url.c), how values and
 * errors read (pg_row.c, pg_array.h), asking for a cancel (pg_cancel.c). pg.c makes a
 * connection of them. */
#ifndef RL_DB_PG_H
#define RL_DB_PG_H

#include "base/buf.h"
#include "db/driver.h"
#include "io/loop.h"

#include <libpq-fe.h>

/* Where to connect: libpq's settings, less those that a lookup of names decides. */
typedef struct rl_pg_conf {
    char **keywords, **values; /* n each */
    unsigned n;
    char *host, *hostaddr, *port; /* comma-separated lists, or NULL */
    unsigned cache_size;
    bool prepare, pgbouncer;
} rl_pg_conf;

int rl_pg_config(void **conf, char **display, const char *url, rl_db_settings *s, rl_err *err);
void rl_pg_config_free(void *conf);

/* Names are looked up afresh for each connection, since libpq would block on them. */
typedef struct rl_pg_lookup rl_pg_lookup;
typedef void rl_pg_found_fn(void *arg, rl_pg_lookup *l, const rl_err *err);

struct rl_pg_lookup {
    uv_getaddrinfo_t req;
    rl_pg_found_fn *fn; /* called once, from the loop; NULL: nobody wants to know any more */
    void *arg;
    rl_str hosts_left, ports_left;
    rl_str host_now, port_now; /* being looked up */
    rl_buf host, addr, port;   /* found so far: lists of equal length */
    char why[160];
};

bool rl_pg_needs_lookup(const rl_pg_conf *conf);
rl_pg_lookup *rl_pg_lookup_new(rl_loop *loop, const rl_pg_conf *conf, rl_pg_found_fn *fn,
                               void *arg);
void rl_pg_lookup_free(rl_pg_lookup *l); /* after fn; before it, set fn to NULL instead */

/* Begin to connect. NULL, with err, when it failed at once. */
PGconn *rl_pg_start(const rl_pg_conf *conf, rl_pg_lookup *found, rl_err *err);

/* Parameters as libpq takes them, valid until freed. */
typedef struct rl_pg_params {
    const char **values;
    int *lengths, *formats;
    Oid *types;
    int n;
} rl_pg_params;

rl_pg_params rl_pg_params_of(const rl_statement *st);
void rl_pg_params_free(rl_pg_params *p);

rl_result *rl_pg_result_new(PGresult *res); /* takes it */
void rl_pg_error(rl_err *err, const PGresult *res);
void rl_pg_conn_error(rl_err *err, const PGconn *pg); /* on one line */
bool rl_pg_is_fatal(const PGresult *res);             /* the server hangs up after saying this */

/* COPY (pg_copy.c): the state of the one under way, zero without any. */
typedef struct rl_pg_copy {
    rl_copy_way way;
    bool wanted; /* the owner waits for rows, or for room */
    bool over;   /* the last rows were handed out, the answer follows */
    rl_buf rows; /* gathered so far */
} rl_pg_copy;

/* Gather rows. 1: a chunk is there, or the last of them; 0: wait for more; -1: there are none. */
int rl_pg_copy_gather(rl_pg_copy *copy, PGconn *pg);
/* Give it up: true if rows that still come are to be skipped. Into the server, the reason goes. */
bool rl_pg_copy_leave(rl_pg_copy *copy, PGconn *pg);

/* A cancel runs on a thread of its own, because libpq blocks in it. fn comes from the loop,
 * when the server has taken the request and can no longer apply it to a later statement. */
typedef struct rl_pg_cancel rl_pg_cancel;
typedef void rl_pg_cancelled_fn(void *arg);

rl_pg_cancel *rl_pg_cancel_new(PGconn *pg, rl_loop *loop, rl_pg_cancelled_fn *fn, void *arg);
void rl_pg_cancel_forget(rl_pg_cancel *c); /* fn will not be called, nor the loop touched */

#endif
