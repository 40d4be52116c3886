/* db_unit.h - asking a database from a test: run the loop until the answer is there. */
#ifndef RL_SPEC_DB_UNIT_H
#define RL_SPEC_DB_UNIT_H

#include "unit.h"

#include "db/db.h"
#include "io/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static rl_loop loop;

struct answer {
    bool done;
    unsigned order; /* 1 for the first of all answers */
    rl_result *result;
    rl_err err; /* code 0: it went well */
    rl_lease *lease;
};

static unsigned answers;

static inline void on_query(void *arg, rl_result *result, const rl_err *err)
{
    struct answer *a = arg;

    CHECK(!a->done && !result == !!err);
    a->done = true;
    a->order = ++answers;
    a->result = result;
    if (err)
        a->err = *err;
    rl_loop_stop(&loop); /* do not go to sleep now */
}

static inline void on_borrow(void *arg, rl_lease *lease, const rl_err *err)
{
    struct answer *a = arg;

    CHECK(!a->done && !lease == !!err);
    a->done = true;
    a->order = ++answers;
    a->lease = lease;
    if (err)
        a->err = *err;
    rl_loop_stop(&loop); /* do not go to sleep now */
}

static inline void on_db_closed(void *arg)
{
    *(bool *)arg = true;
    rl_loop_stop(&loop);
}

/* The URL of a PostgreSQL to test with, and everything ready for that; NULL: there is none. */
static inline const char *begin_with_postgres(void)
{
    const char *url = getenv("RILLE_TEST_POSTGRES");

    if (!url || !*url) {
        printf("needs RILLE_TEST_POSTGRES, the URL of a server\n");
        return NULL;
    }
    alarm(200);
    signal(SIGPIPE, SIG_IGN);
    CHECK_INT(rl_loop_init(&loop), 0);
    return url;
}

static inline void wait_for(const bool *done)
{
    while (!*done)
        uv_run(&loop.uv, UV_RUN_ONCE);
}

static inline void on_sleep_over(uv_timer_t *t)
{
    *(bool *)t->data = true;
    rl_loop_stop(&loop);
}

/* Let the loop run for so many ms. */
static inline void pass(unsigned ms)
{
    bool over = false, closed = false;
    uv_timer_t timer;

    uv_update_time(&loop.uv);
    uv_timer_init(&loop.uv, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_sleep_over, ms, 0);
    wait_for(&over);
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static inline rl_db *open_db(rl_db_opts opts)
{
    rl_err err = {0};
    rl_db *db = NULL;

    if (rl_db_open(&db, &loop, &opts, &err) < 0) {
        printf("cannot open: %s\n", err.msg);
        exit(1);
    }
    return db;
}

static inline void close_db(rl_db *db)
{
    bool closed = false;

    rl_db_close(db, 1, on_db_closed, &closed);
    wait_for(&closed);
}

static inline rl_db_stats stats_of(const rl_db *db)
{
    rl_db_stats stats;

    rl_db_stats_of(db, &stats);
    return stats;
}

static inline rl_query *ask(struct answer *a, rl_db *db, rl_lease *lease, const char *sql,
                            const rl_value *params, unsigned n)
{
    rl_statement st = {.sql = rl_str_of(sql), .params = params, .nparams = n};

    *a = (struct answer){0};
    return rl_db_query(db, lease, &st, on_query, a);
}

/* As ask(), for a statement that may share a connection. */
static inline rl_query *ask_to_read(struct answer *a, rl_db *db, const char *sql,
                                    const rl_value *params, unsigned n)
{
    rl_statement st = {.sql = rl_str_of(sql), .params = params, .nparams = n, .reads = true};

    *a = (struct answer){0};
    return rl_db_query(db, NULL, &st, on_query, a);
}

/* The result, or NULL with *err filled. */
static inline rl_result *get(rl_db *db, rl_lease *lease, const char *sql, const rl_value *params,
                             unsigned n, rl_err *err)
{
    struct answer a;

    ask(&a, db, lease, sql, params, n);
    CHECK(!a.done);
    wait_for(&a.done);
    *err = a.err;
    return a.result;
}

/* Must work; the result is of no interest. */
static inline void must(rl_db *db, rl_lease *lease, const char *sql)
{
    rl_err err;

    rl_result_free(get(db, lease, sql, NULL, 0, &err));
    CHECK_INT(err.code, 0);
    if (err.code)
        printf("  %s: %s\n", sql, err.msg);
}

/* Must fail; what with. */
static inline rl_err fails(rl_db *db, rl_lease *lease, const char *sql)
{
    rl_err err;

    rl_result *r = get(db, lease, sql, NULL, 0, &err);
    CHECK(err.code < 0);
    rl_result_free(r);
    return err;
}

/* The one integer that a statement gives. */
static inline int64_t number(rl_db *db, rl_lease *lease, const char *sql)
{
    rl_err err;
    rl_result *r = get(db, lease, sql, NULL, 0, &err);
    int64_t n = INT64_MIN;

    CHECK_INT(err.code, 0);
    if (err.code)
        printf("  %s: %s\n", sql, err.msg);
    else if (rl_result_rows(r) == 1 && rl_result_cell(r, 0, 0).kind == RL_INT)
        n = rl_result_cell(r, 0, 0).i;
    rl_result_free(r);
    return n;
}

static inline rl_lease *borrow(rl_db *db, const char *where)
{
    struct answer a = {0};

    rl_db_borrow(db, where, on_borrow, &a);
    CHECK(!a.done);
    wait_for(&a.done);
    CHECK_INT(a.err.code, 0);
    return a.lease;
}

static inline rl_value text(const char *s)
{
    return (rl_value){.kind = RL_TEXT, .s = rl_str_of(s)};
}

static inline rl_value integer(int64_t i)
{
    return (rl_value){.kind = RL_INT, .i = i};
}

static inline rl_value real(double f)
{
    return (rl_value){.kind = RL_FLOAT, .f = f};
}

/* Run it until it counts as quick, and a connection is shared. */
static inline void learn(rl_db *db, const char *sql, rl_value param)
{
    struct answer a;

    for (int i = 0; i < 50 && (i < 5 || stats_of(db).reads == 0); i++) {
        ask_to_read(&a, db, sql, &param, 1);
        wait_for(&a.done);
        CHECK_INT(a.err.code, 0);
        rl_result_free(a.result);
    }
    pass(5);
}

/* The first cell of an answer, which is gone then. */
static inline int64_t int_of(struct answer *a)
{
    int64_t i = a->result ? rl_result_cell(a->result, 0, 0).i : INT64_MIN;

    rl_result_free(a->result);
    a->result = NULL;
    return i;
}

static inline bool is_str(rl_value v, rl_kind kind, const char *s)
{
    return v.kind == kind && rl_str_eq(v.s, rl_str_of(s));
}

#endif
