/* Reads that share connections, on a real PostgreSQL: what one of them does is felt by no other. */
#include "db_unit.h"

static const char *url;

enum { MANY = 60 };

static struct answer many[MANY];

/* One turn's reads; how many of them were answered before one that had been asked earlier. */
static unsigned ask_many(rl_db *db, const char *sql)
{
    unsigned late = 0;

    for (int i = 0; i < MANY; i++)
        ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_INT, .i = i}, 1);
    for (int i = 0; i < MANY; i++) {
        wait_for(&many[i].done);
        CHECK_INT(int_of(&many[i]), 2 * i);
        late += i && many[i].order < many[i - 1].order;
    }
    return late;
}

static void send_together_and_answer_in_order(void)
{
    rl_db *db =
        open_db((rl_db_opts){.url = url, .shared_connections = 1, .has_shared_connections = true});
    static const char sql[] = "SELECT $1::int * 2";
    rl_db_stats before, after;
    unsigned late;

    learn(db, sql, integer(1));
    /* On a busy machine a batch can be taken for a slow one, and what is behind it sent again. */
    for (int tries = 0; tries < 20; tries++) {
        before = stats_of(db);
        late = ask_many(db, sql);
        after = stats_of(db);
        if (after.batches - before.batches == 1 && late == 0)
            break;
        pass(20);
    }
    CHECK_INT(late, 0);
    CHECK_INT(after.reads - before.reads, MANY);
    CHECK_INT(after.batches - before.batches, 1);
    CHECK_INT(after.shared, 1);
    close_db(db);
}

static void take_what_comes_while_a_batch_is_out(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT $1::int * 2";

    learn(db, sql, integer(1));
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++)
            ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_INT, .i = i}, 1);
        for (int i = 0; i < MANY; i++) {
            if (i % 7 == 0)
                uv_run(&loop.uv, UV_RUN_NOWAIT);
            wait_for(&many[i].done);
            CHECK_INT(int_of(&many[i]), 2 * i);
        }
    }
    CHECK(stats_of(db).shared <= 2);
    close_db(db);
}

static void keep_their_errors_to_themselves(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT 100 / $1::int";

    learn(db, sql, integer(1));
    for (int i = 0; i < MANY; i++)
        ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_INT, .i = i % 10}, 1);
    for (int i = 0; i < MANY; i++) {
        wait_for(&many[i].done);
        if (i % 10) {
            CHECK_INT(int_of(&many[i]), 100 / (i % 10));
        } else {
            CHECK(!many[i].result && strcmp(many[i].err.sqlstate, "22012") == 0);
        }
    }
    close_db(db);
}

static void run_alone_what_writes(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT count_up($1::bool)";
    rl_value no = {.kind = RL_BOOL}, yes = {.kind = RL_BOOL, .i = 1};

    must(db, NULL, "CREATE TABLE counted (n int)");
    must(db, NULL, "INSERT INTO counted VALUES (0)");
    must(db, NULL,
         "CREATE FUNCTION count_up(really bool) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
         "IF really THEN UPDATE counted SET n = n + 1; END IF; "
         "RETURN (SELECT n FROM counted); END $$");
    learn(db, sql, no);
    uint64_t reads = stats_of(db).reads;
    for (int i = 0; i < 9; i++)
        ask_to_read(&many[i], db, sql, i == 4 ? &yes : &no, 1);
    for (int i = 0; i < 9; i++) {
        wait_for(&many[i].done);
        CHECK_INT(many[i].err.code, 0);
        CHECK(int_of(&many[i]) <= 1);
    }
    CHECK(stats_of(db).reads > reads);
    CHECK_INT(number(db, NULL, "SELECT n FROM counted"), 1);
    must(db, NULL, "DROP FUNCTION count_up(bool)");
    must(db, NULL, "DROP TABLE counted");
    close_db(db);
}

static void do_not_wait_for_a_slow_one(void)
{
    rl_db *db =
        open_db((rl_db_opts){.url = url, .shared_connections = 1, .has_shared_connections = true});
    static const char sql[] = "SELECT 7 FROM pg_sleep($1::float8)";
    static const char quick[] = "SELECT $1::int";

    learn(db, sql, real(0));
    learn(db, quick, integer(1));
    ask_to_read(&many[0], db, sql, &(rl_value){.kind = RL_FLOAT, .f = 2.5}, 1);
    for (int i = 1; i < 20; i++)
        ask_to_read(&many[i], db, quick, &(rl_value){.kind = RL_INT, .i = i}, 1);
    uint64_t began = uv_hrtime();
    for (int i = 1; i < 20; i++) {
        wait_for(&many[i].done);
        CHECK_INT(int_of(&many[i]), i);
    }
    CHECK(!many[0].done);
    CHECK(uv_hrtime() - began < 2000000000u);
    wait_for(&many[0].done);
    CHECK_INT(int_of(&many[0]), 7);

    /* It has learnt: this one does not even begin among the others. */
    uint64_t reads = stats_of(db).reads;
    ask_to_read(&many[0], db, sql, &(rl_value){.kind = RL_FLOAT, .f = 0.1}, 1);
    wait_for(&many[0].done);
    CHECK_INT(int_of(&many[0]), 7);
    CHECK_INT(stats_of(db).reads, reads);
    close_db(db);
}

static void survive_the_connection(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url}), *killer = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT pg_backend_pid()::bigint + $1::int";
    static const char sleepy[] = "SELECT 1 FROM pg_sleep($1::float8)";
    char command[100];

    must(killer, NULL, "SELECT 1"); /* connected before the time counts */
    learn(db, sql, integer(0));
    learn(db, sleepy, real(0));
    ask_to_read(&many[0], db, sql, &(rl_value){.kind = RL_INT}, 1);
    wait_for(&many[0].done);
    int64_t pid = int_of(&many[0]);
    for (int i = 0; i < 20; i++)
        ask_to_read(&many[i], db, i ? sql : sleepy,
                    i ? &(rl_value){.kind = RL_INT} : &(rl_value){.kind = RL_FLOAT, .f = 0.3}, 1);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    snprintf(command, sizeof(command), "SELECT pg_terminate_backend(%lld)", (long long)pid);
    must(killer, NULL, command);
    for (int i = 0; i < 20; i++) {
        wait_for(&many[i].done);
        CHECK_INT(many[i].err.code, 0);
        rl_result_free(many[i].result);
    }
    CHECK_INT(stats_of(db).closed_dead, 1);
    close_db(killer);
    close_db(db);
}

static void may_be_given_up(void)
{
    rl_db *db =
        open_db((rl_db_opts){.url = url, .shared_connections = 1, .has_shared_connections = true});
    static const char sql[] = "SELECT $1::int";
    static const char sleepy[] = "SELECT 1 FROM pg_sleep($1::float8)";
    rl_query *queries[MANY];

    learn(db, sql, integer(1));
    learn(db, sleepy, real(0));
    for (int round = 0; round < 2; round++) { /* in line, then on their way */
        for (int i = 0; i < MANY; i++)
            queries[i] = ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_INT, .i = i}, 1);
        if (round)
            uv_run(&loop.uv, UV_RUN_NOWAIT);
        for (int i = 1; i < MANY; i += 2) {
            if (many[i].done) /* on a busy machine they may have come already */
                rl_result_free(many[i].result);
            else
                rl_query_cancel(queries[i]);
        }
        for (int i = 0; i < MANY; i += 2) {
            wait_for(&many[i].done);
            CHECK_INT(int_of(&many[i]), i);
        }
    }
    /* The only one left: the server is told, and the connection is soon of use again. */
    uint64_t began = uv_hrtime();
    queries[0] = ask_to_read(&many[0], db, sleepy, &(rl_value){.kind = RL_FLOAT, .f = 20}, 1);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    rl_query_cancel(queries[0]);
    ask_to_read(&many[1], db, sql, &(rl_value){.kind = RL_INT, .i = 5}, 1);
    wait_for(&many[1].done);
    CHECK_INT(int_of(&many[1]), 5);
    for (int i = 0; i < 300 && stats_of(db).busy; i++)
        pass(10);
    CHECK_INT(stats_of(db).busy, 0);
    CHECK(uv_hrtime() - began < 10000000000u);
    CHECK(!many[0].done);
    close_db(db);
}

static void prepare_within_bounds(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url,
                                     .statement_cache_size = 3,
                                     .shared_connections = 1,
                                     .has_shared_connections = true});
    char sql[8][60];

    for (int k = 0; k < 8; k++) {
        snprintf(sql[k], sizeof(sql[k]), "SELECT $1::int + %d", k);
        learn(db, sql[k], integer(0));
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < MANY; i++)
            ask_to_read(&many[i], db, sql[(i + round) % 8], &(rl_value){.kind = RL_INT, .i = i}, 1);
        for (int i = 0; i < MANY; i++) {
            wait_for(&many[i].done);
            CHECK_INT(int_of(&many[i]), i + (i + round) % 8);
        }
    }
    static const char count[] = "SELECT count(*) - $1::int FROM pg_prepared_statements";
    learn(db, count, integer(0));
    ask_to_read(&many[0], db, count, &(rl_value){.kind = RL_INT}, 1);
    wait_for(&many[0].done);
    int64_t n = int_of(&many[0]);
    CHECK(n >= 1 && n <= 4);

    /* A plan that a change of schema made unfit does not show, and is made anew. */
    static const char all[] = "SELECT * FROM shape WHERE i = $1";
    must(db, NULL, "CREATE TABLE shape (i int)");
    must(db, NULL, "INSERT INTO shape VALUES (1)");
    learn(db, all, integer(1));
    must(db, NULL, "ALTER TABLE shape ADD COLUMN j int");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            ask_to_read(&many[i], db, all, &(rl_value){.kind = RL_INT, .i = 1}, 1);
        for (int i = 0; i < 10; i++) {
            wait_for(&many[i].done);
            CHECK(many[i].result && rl_result_cols(many[i].result) == 2);
            rl_result_free(many[i].result);
        }
    }
    must(db, NULL, "DROP TABLE shape");

    /* Bytes have a type of their own, and no plan. */
    static const char bytes[] = "SELECT length($1)";
    rl_value v = {.kind = RL_BYTES, .s = {"a\0b", 3}};
    learn(db, bytes, v);
    ask_to_read(&many[0], db, bytes, &v, 1);
    wait_for(&many[0].done);
    CHECK_INT(int_of(&many[0]), 3);
    close_db(db);
}

/* Answers of several megabytes, and more reads than one batch holds. */
static void carry_much(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT repeat('x', $1::int)";
    enum { N = 500 };
    static struct answer a[N];
    size_t n = 0;

    learn(db, sql, integer(1));
    for (int i = 0; i < N; i++)
        ask_to_read(&a[i], db, sql, &(rl_value){.kind = RL_INT, .i = i * 100}, 1);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i].done);
        CHECK_INT(a[i].err.code, 0);
        if (a[i].result)
            n += rl_result_cell(a[i].result, 0, 0).s.n;
        rl_result_free(a[i].result);
    }
    CHECK_INT(n, 100 * N * (N - 1) / 2);
    close_db(db);
}

static void leave_room_for_writers(void)
{
    static const char sql[] = "SELECT $1::int";
    struct answer a;
    rl_value one = integer(1);

    for (unsigned most = 1; most <= 4; most++) {
        rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = most});
        if (most > 1)
            learn(db, sql, one);
        ask_to_read(&a, db, sql, &one, 1);
        wait_for(&a.done);
        CHECK_INT(int_of(&a), 1);
        CHECK(stats_of(db).shared <= most / 2);
        CHECK(most == 1 || stats_of(db).reads > 0);
        must(db, NULL, "CREATE TEMPORARY TABLE room (i int)");
        close_db(db);
    }
}

/* One of two connections is pinned, the other is shared: who writes does not wait in vain. */
static void give_way_to_writers(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 2});
    static const char sql[] = "SELECT $1::int";
    struct answer a;
    rl_value one = integer(1);

    learn(db, sql, one);
    CHECK_INT(stats_of(db).shared, 1);
    rl_lease *lease = borrow(db, "pinned");
    must(db, NULL, "CREATE TEMPORARY TABLE way (i int)");
    CHECK_INT(stats_of(db).opened, 2);
    for (int i = 0; i < 10; i++) { /* nor does who reads */
        ask_to_read(&a, db, sql, &one, 1);
        wait_for(&a.done);
        CHECK_INT(int_of(&a), 1);
    }
    rl_lease_return(lease);
    close_db(db);
}

static void end_with_the_database(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    static const char sql[] = "SELECT 1 FROM pg_sleep($1::float8)";

    learn(db, sql, real(0));
    for (int i = 0; i < MANY; i++)
        ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_FLOAT, .f = 0.001 * i}, 1);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    for (int i = MANY / 2; i < MANY; i++)
        many[i].order = 0;
    close_db(db);
    for (int i = 0; i < MANY; i++) {
        CHECK(many[i].done);
        rl_result_free(many[i].result);
    }
}

int main(void)
{
    url = begin_with_postgres();
    if (!url)
        return SKIPPED;
    send_together_and_answer_in_order();
    take_what_comes_while_a_batch_is_out();
    keep_their_errors_to_themselves();
    run_alone_what_writes();
    do_not_wait_for_a_slow_one();
    survive_the_connection();
    may_be_given_up();
    prepare_within_bounds();
    carry_much();
    leave_room_for_writers();
    give_way_to_writers();
    end_with_the_database();
    rl_loop_fini(&loop);
    return unit_done();
}
