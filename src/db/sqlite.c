/* SQLite: one thread per connection.
 *
 * The loop hands the thread one statement at a time (`st`, under the lock) and the thread posts
 * back when it is done; between the two, everything marked "answer" belongs to the thread,
 * afterwards to the loop. A cancel sets a flag that the statement's own handlers look at, and
 * interrupts SQLite as long as the handle is there, which the lock also guards. The flag is
 * cleared when the next statement is handed over, so it cannot hit that one. */
#include "db/driver.h"
#include "db/settings.h"
#include "db/sqlite_error.h"
#include "db/sqlite_row.h"
#include "base/thread.h"

#include "base/buf.h"
#include "base/map.h"
#include "io/loop.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum {
    STACK_SIZE = 1024 * 1024,
    OPS_PER_LOOK = 2000, /* virtual machine steps between looks at flag and clock */
};

typedef struct conf {
    char *path;
    bool memory;
    uint64_t statement_timeout; /* ms; 0: none */
    uint64_t busy_timeout;      /* ms to wait for another connection's lock */
    unsigned cache_size;
} conf;

/* A compiled statement. */
typedef struct cached {
    sqlite3_stmt *stmt;
    rl_list link;     /* in sqlite_conn.recent, the latest first */
    unsigned nparams; /* the highest $n */
    int *params;      /* for each of SQLite's parameters, which of ours; from 1 */
    char *sql;
    size_t sql_n;
} cached;

typedef struct sqlite_conn {
    rl_conn base;
    const conf *conf;
    rl_loop *loop;
    pthread_t thread;
    bool running, closing; /* the loop's */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    const rl_statement *st; /* guarded; to run; NULL when there is none */
    bool quit;              /* guarded */
    sqlite3 *handle;        /* guarded; for interrupting */
    atomic_bool cancelled;

    rl_post done, closed;
    bool opened;       /* answer */
    rl_result *result; /* answer */
    rl_err err;        /* answer; code 0 when it went well */
    bool in_txn;       /* answer */

    /* The thread's */
    sqlite3 *db;
    uint64_t give_up_at; /* ms; when the statement under way has had its time */
    uint64_t busy_since; /* ms */
    rl_map cache;
    rl_list recent;
} sqlite_conn;

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void fill_error(sqlite_conn *c, int rc)
{
    if ((rc & 0xff) != SQLITE_INTERRUPT) {
        rl_sqlite_error(&c->err, c->db, rc, c->conf->path, c->conf->busy_timeout);
        return;
    }
    rl_err_set(&c->err, RL_EOPERATIONAL,
               atomic_load(&c->cancelled) ? "the statement was cancelled"
                                          : "the statement took too long");
    rl_sqlite_state(&c->err, "57014");
}

/* Giving up */

static int on_progress(void *arg)
{
    sqlite_conn *c = arg;

    return atomic_load(&c->cancelled) || (c->give_up_at && now_ms() >= c->give_up_at);
}

static int on_busy(void *arg, int times)
{
    sqlite_conn *c = arg;
    uint64_t now = now_ms();
    struct timespec pause = {0, (times < 10 ? 1 : 10) * 1000000L};

    if (times == 0)
        c->busy_since = now;
    if (on_progress(c) || now - c->busy_since >= c->conf->busy_timeout)
        return 0;
    nanosleep(&pause, NULL);
    return 1;
}

/* Statements */

static void cached_free(sqlite_conn *c, cached *k)
{
    rl_map_remove(&c->cache, (rl_str){k->sql, k->sql_n});
    rl_list_remove(&k->link);
    sqlite3_finalize(k->stmt);
    rl_free(k->params);
    rl_free(k->sql);
    rl_free(k);
}

/* $1 is a name to SQLite, and names are numbered as they come. */
static int map_params(cached *k, rl_err *err)
{
    int n = sqlite3_bind_parameter_count(k->stmt);

    k->params = rl_calloc((size_t)n + 1, sizeof(int));
    for (int i = 1; i <= n; i++) {
        const char *name = sqlite3_bind_parameter_name(k->stmt, i);
        uint64_t at = 0;
        bool numbered = name && (*name == '$' || *name == '?') &&
                        rl_str_to_u64(rl_str_of(name + 1), 65535, &at) && at > 0;
        if (!numbered) {
            if (!name && n > 0)
                name = "?";
            rl_sqlite_state(err, "42P02");
            return rl_err_set(err, RL_EPROGRAMMING, "parameters are $1, $2, and so on, not %s",
                              name);
        }
        k->params[i] = (int)at;
        if (at > k->nparams)
            k->nparams = (unsigned)at;
    }
    return 0;
}

static cached *compile(sqlite_conn *c, rl_str sql)
{
    cached *k = rl_map_get(&c->cache, sql);
    const char *tail = NULL;

    if (k) {
        rl_list_remove(&k->link);
        rl_list_push_front(&c->recent, &k->link);
        return k;
    }
    k = rl_calloc(1, sizeof(*k));
    k->sql = rl_strndup(sql.p, sql.n);
    k->sql_n = sql.n;
    rl_list_init(&k->link);
    int rc = sqlite3_prepare_v2(c->db, k->sql, (int)sql.n + 1, &k->stmt, &tail);
    if (rc != SQLITE_OK) {
        fill_error(c, rc);
    } else if (map_params(k, &c->err) == 0) {
        sqlite3_stmt *more = NULL;
        if (tail && *tail)
            sqlite3_prepare_v2(c->db, tail, -1, &more, NULL);
        if (!more) {
            rl_map_put(&c->cache, sql, k);
            rl_list_push_front(&c->recent, &k->link);
            return k;
        }
        sqlite3_finalize(more);
        rl_err_set(&c->err, RL_EPROGRAMMING, "more than one statement at once");
        rl_sqlite_state(&c->err, "42601");
    }
    cached_free(c, k);
    return NULL;
}

/* What SQLite cannot keep: it has no arrays, and would make NULL of what is no number. */
static bool accepts(sqlite_conn *c, const rl_statement *st)
{
    for (unsigned i = 0; i < st->nparams; i++) {
        const rl_value *v = &st->params[i];
        if (v->kind == RL_ARRAY) {
            rl_err_set(&c->err, RL_ENOTSUPPORTED, "parameter $%u: SQLite has no arrays", i + 1);
            rl_sqlite_state(&c->err, "0A000");
            return false;
        }
        if (v->kind == RL_FLOAT && isnan(v->f)) {
            rl_err_set(&c->err, RL_EDATA, "parameter $%u: SQLite cannot keep NaN", i + 1);
            rl_sqlite_state(&c->err, "22003");
            return false;
        }
    }
    return true;
}

static void run(sqlite_conn *c, const rl_statement *st)
{
    cached *k = compile(c, st->sql);
    int rc = SQLITE_OK, before;

    if (!k)
        return;
    if (st->nparams != k->nparams) {
        rl_err_set(&c->err, RL_EPROGRAMMING, "the statement has %u parameters, %u were given",
                   k->nparams, st->nparams);
        rl_sqlite_state(&c->err, "08P01");
        return;
    }
    if (!accepts(c, st))
        return;
    if (c->conf->statement_timeout)
        c->give_up_at = now_ms() + c->conf->statement_timeout;
    for (int i = 1; rc == SQLITE_OK && i <= sqlite3_bind_parameter_count(k->stmt); i++)
        rc = rl_sqlite_bind(k->stmt, i, &st->params[k->params[i] - 1]);
    before = sqlite3_total_changes(c->db);
    if (rc == SQLITE_OK)
        c->result = rl_sqlite_collect(k->stmt, &rc);
    if (c->result) {
        if (sqlite3_total_changes(c->db) != before)
            c->result->affected = (uint64_t)sqlite3_changes(c->db);
    } else {
        fill_error(c, rc);
    }
    sqlite3_reset(k->stmt);
    if (k->stmt) /* an empty statement has none */
        sqlite3_clear_bindings(k->stmt);
    c->give_up_at = 0;
}

static void trim_cache(sqlite_conn *c)
{
    while (c->cache.len > c->conf->cache_size)
        cached_free(c, RL_LIST_ENTRY(rl_list_last(&c->recent), cached, link));
}

/* The thread */

static bool open_file(sqlite_conn *c)
{
    static const char *const setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                                     "PRAGMA foreign_keys = ON;";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(c->conf->path, &c->db, flags, NULL);

    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(c->db, 1);
        sqlite3_busy_handler(c->db, on_busy, c);
        sqlite3_progress_handler(c->db, OPS_PER_LOOK, on_progress, c);
        rc = sqlite3_exec(c->db, setup, NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK)
        rl_err_set(&c->err, RL_EOPERATIONAL, "cannot open %s: %s", c->conf->path,
                   c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc));
    return rc == SQLITE_OK;
}

static void close_file(sqlite_conn *c)
{
    rl_list *it;

    while ((it = rl_list_first(&c->recent)))
        cached_free(c, RL_LIST_ENTRY(it, cached, link));
    rl_map_fini(&c->cache);
    sqlite3_close(c->db);
}

/* The next statement, or NULL when it is time to go. */
static const rl_statement *next(sqlite_conn *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->st && !c->quit)
        pthread_cond_wait(&c->wake, &c->lock);
    const rl_statement *st = c->quit ? NULL : c->st;
    c->st = NULL;
    pthread_mutex_unlock(&c->lock);
    return st;
}

static void set_handle(sqlite_conn *c, sqlite3 *handle)
{
    pthread_mutex_lock(&c->lock);
    c->handle = handle;
    pthread_mutex_unlock(&c->lock);
}

static void *thread_main(void *arg)
{
    sqlite_conn *c = arg;
    const rl_statement *st;

    if (open_file(c))
        set_handle(c, c->db);
    rl_loop_post(c->loop, &c->done);
    while ((st = next(c))) {
        run(c, st);
        c->in_txn = !sqlite3_get_autocommit(c->db);
        rl_loop_post(c->loop, &c->done);
        trim_cache(c);
    }
    set_handle(c, NULL);
    close_file(c);
    rl_loop_post(c->loop, &c->closed);
    return NULL;
}

/* The loop's side */

static void on_done(rl_post *post)
{
    sqlite_conn *c = RL_CONTAINER_OF(post, sqlite_conn, done);
    rl_result *result = c->result;
    rl_err err = c->err;

    c->running = false;
    c->result = NULL;
    c->err = (rl_err){0};
    c->base.txn = c->in_txn ? RL_TXN_OPEN : RL_TXN_NONE;
    if (c->closing) {
        rl_result_free(result);
    } else if (c->opened) {
        c->base.events->done(c->base.owner, result, result ? NULL : &err);
    } else if (err.code) {
        c->base.events->lost(c->base.owner, &err, false);
    } else {
        c->opened = true;
        c->base.events->opened(c->base.owner);
    }
}

static void on_closed(rl_post *post)
{
    sqlite_conn *c = RL_CONTAINER_OF(post, sqlite_conn, closed);
    const rl_conn_events *events = c->base.events;
    void *owner = c->base.owner;

    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    rl_free(c);
    events->closed(owner);
}

static rl_conn *sqlite_dial(void *arg, rl_loop *loop, const rl_conn_events *events, void *owner,
                            rl_err *err)
{
    sqlite_conn *c = rl_calloc(1, sizeof(*c));

    c->base = (rl_conn){.events = events, .owner = owner};
    c->conf = arg;
    c->loop = loop;
    c->done.fn = on_done;
    c->closed.fn = on_closed;
    rl_list_init(&c->recent);
    atomic_init(&c->cancelled, false);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    int rc = rl_thread_start(&c->thread, STACK_SIZE, thread_main, c);
    if (rc == 0)
        return &c->base;

    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    rl_free(c);
    rl_err_set(err, RL_EOPERATIONAL, "cannot start a thread: %s", strerror(rc));
    return NULL;
}

static bool sqlite_run(rl_conn *base, const rl_statement *st)
{
    sqlite_conn *c = (sqlite_conn *)base;

    c->running = true;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->cancelled, false);
    c->st = st;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    return true;
}

static void sqlite_cancel(rl_conn *base)
{
    sqlite_conn *c = (sqlite_conn *)base;

    if (!c->running)
        return;
    atomic_store(&c->cancelled, true);
    pthread_mutex_lock(&c->lock);
    if (c->handle)
        sqlite3_interrupt(c->handle);
    pthread_mutex_unlock(&c->lock);
}

/* A fresh connection is cheap, and resets more than any list of statements would. What lives
 * in memory would die with it: there, temporary tables and pragmas stay. */
static bool sqlite_reset(rl_conn *base)
{
    static const rl_statement nothing = {.sql = {"", 0}};
    sqlite_conn *c = (sqlite_conn *)base;

    return c->conf->memory && sqlite_run(base, &nothing);
}

static bool sqlite_alive(rl_conn *base)
{
    (void)base;
    return true;
}

static void sqlite_close(rl_conn *base)
{
    sqlite_conn *c = (sqlite_conn *)base;

    c->closing = true;
    sqlite_cancel(base);
    atomic_store(&c->cancelled, true); /* also while it opens and waits for a lock */
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static int sqlite_config(void **out, char **display, const char *url, rl_db_settings *s,
                         rl_err *err)
{
    const char *mark = strchr(url, '?');

    if (mark)
        return rl_err_set(err, RL_EPROGRAMMING, "the URL has a setting that is not known: %.*s",
                          (int)strcspn(mark + 1, "=&"), mark + 1);
    if (strncmp(url, "//", 2) == 0)
        url += 2;
    if (!*url)
        return rl_err_set(err, RL_EPROGRAMMING, "the URL names no file: sqlite:path");

    conf *c = rl_calloc(1, sizeof(*c));
    c->path = rl_strdup(url);
    c->memory = strcmp(url, ":memory:") == 0;
    c->statement_timeout = s->statement_timeout;
    c->busy_timeout = s->acquire_timeout;
    c->cache_size = s->statement_cache_size;
    if (c->memory) {
        s->max_connections = 1;
        s->conn_max_age = s->idle_timeout = RL_DB_NEVER;
    } else if (s->max_connections == 0) {
        s->max_connections = 4;
    }
    *display = rl_sprintf("sqlite:%s", url);
    *out = c;
    return 0;
}

static void sqlite_config_free(void *arg)
{
    conf *c = arg;

    rl_free(c->path);
    rl_free(c);
}

const rl_driver rl_driver_sqlite = {
    .backend = "sqlite",
    .one_writer = true,
    .config = sqlite_config,
    .config_free = sqlite_config_free,
    .dial = sqlite_dial,
    .run = sqlite_run,
    .cancel = sqlite_cancel,
    .reset = sqlite_reset,
    .alive = sqlite_alive,
    .close = sqlite_close,
};
