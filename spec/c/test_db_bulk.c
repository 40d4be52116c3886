/* Reads by key that go as one statement, on a real PostgreSQL: each has what it would have had from
 * a statement of its own. */
#include "db_unit.h"

static const char *url;

enum { MANY = 300, FEW = 40 };

static struct answer many[MANY];
static rl_query *queries[MANY];

/* A read of a row by its key: alone, and with others. */
struct shape {
    const char *sql, *many;
    unsigned key;
};

static const struct shape plain = {
    "SELECT v, k FROM bulk_keyed WHERE k = $1",
    "SELECT v, k FROM bulk_keyed WHERE k = ANY($1)",
    1,
};

static rl_query *ask_by_key(struct answer *a, rl_db *db, const struct shape *s, rl_value key)
{
    rl_statement st = {.sql = rl_str_of(s->sql),
                       .params = &key,
                       .nparams = 1,
                       .reads = true,
                       .many = rl_str_of(s->many),
                       .key = s->key};

    *a = (struct answer){0};
    return rl_db_query(db, NULL, &st, on_query, a);
}

static rl_db *open_shared(rl_db_opts opts)
{
    opts.url = url;
    opts.shared_connections = 1;
    opts.has_shared_connections = true;
    return open_db(opts);
}

static void learn_shape(rl_db *db, const struct shape *s)
{
    learn(db, s->sql, integer(1));
}

/* So many reads of keys from 1 on, in one turn. */
static void ask_keys(rl_db *db, const struct shape *s, int n)
{
    for (int i = 0; i < n; i++)
        queries[i] = ask_by_key(&many[i], db, s, integer(i + 1));
}

/* Ten times the key is what stands in the table. */
static void check_keys(int n)
{
    for (int i = 0; i < n; i++) {
        wait_for(&many[i].done);
        CHECK_INT(many[i].err.code, 0);
        CHECK_INT(int_of(&many[i]), 10 * (i + 1));
    }
}

static void go_as_one_statement(void)
{
    rl_db *db = NULL;
    rl_db_stats before, after;

    /* On a busy machine a batch can be taken for a slow one, and sent again. */
    for (int tries = 0; !db; tries++) {
        db = open_shared((rl_db_opts){0});
        learn_shape(db, &plain);
        before = stats_of(db);
        ask_keys(db, &plain, FEW);
        check_keys(FEW);
        after = stats_of(db);
        if (after.reads - before.reads == FEW || tries == 20)
            break;
        close_db(db);
        db = NULL;
    }
    CHECK_INT(after.bulks - before.bulks, 1);
    CHECK_INT(after.coalesced - before.coalesced, FEW);
    CHECK_INT(after.statements - before.statements, FEW);

    for (int few = 1; few <= 3; few++) { /* not worth it */
        ask_keys(db, &plain, few);
        check_keys(few);
    }
    CHECK_INT(stats_of(db).bulks, after.bulks);
    ask_keys(db, &plain, MANY); /* more than one has room for */
    check_keys(MANY);
    CHECK(stats_of(db).bulks > after.bulks);
    close_db(db);
}

static void give_each_what_it_asked_for(void)
{
    rl_db *db = open_shared((rl_db_opts){0});
    static const int64_t keys[] = {7, -5, 7, 0, 1000000, 7, INT32_MIN, 300, -5};

    learn_shape(db, &plain);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < RL_COUNT(keys); i++)
            ask_by_key(&many[i], db, &plain, integer(keys[i]));
        for (size_t i = 0; i < RL_COUNT(keys); i++) {
            wait_for(&many[i].done);
            const rl_result *r = many[i].result;
            bool there = keys[i] == -5 || (keys[i] >= 1 && keys[i] <= MANY);
            CHECK_INT(rl_result_rows(r), there);
            CHECK_INT(rl_result_affected(r), there);
            CHECK_INT(rl_result_cols(r), 2);
            CHECK(strcmp(rl_result_col_name(r, 1), "k") == 0);
            if (there) {
                CHECK_INT(rl_result_cell(r, 0, 0).i, 10 * keys[i]);
                CHECK_INT(rl_result_cell(r, 0, 1).i, keys[i]);
            }
        }
        for (size_t i = 0; i < RL_COUNT(keys); i++) /* they may outlive each other */
            rl_result_free(many[i].result);
    }
    CHECK(stats_of(db).bulks >= 1);
    close_db(db);
}

/* Two shapes, a statement without a key, and a key that is none, in one turn. */
static void mix_with_others(void)
{
    rl_db *db = open_shared((rl_db_opts){0});
    static const struct shape other = {
        "SELECT k, v FROM bulk_keyed WHERE k = $1 AND v > 0",
        "SELECT k, v FROM bulk_keyed WHERE k = ANY($1) AND v > 0",
        0,
    };
    static const char sql[] = "SELECT 3 * $1::int";

    learn_shape(db, &plain);
    learn_shape(db, &other);
    learn(db, sql, integer(1));
    for (int i = 0; i < FEW; i++) {
        rl_value key = i % 10 == 9 ? text("7") : integer(i + 1);
        if (i % 4 == 3)
            ask_to_read(&many[i], db, sql, &(rl_value){.kind = RL_INT, .i = i}, 1);
        else
            ask_by_key(&many[i], db, i % 4 ? &plain : &other, key);
    }
    for (int i = 0; i < FEW; i++) {
        int key = i % 10 == 9 ? 7 : i + 1;
        wait_for(&many[i].done);
        CHECK_INT(int_of(&many[i]), i % 4 == 3 ? 3 * i : i % 4 ? 10 * key : key);
    }
    close_db(db);
}

static void know_uuids(void)
{
    rl_db *db = open_shared((rl_db_opts){0});
    static const struct shape shape = {
        "SELECT v, u FROM bulk_uuid WHERE u = $1",
        "SELECT v, u FROM bulk_uuid WHERE u = ANY($1)",
        1,
    };
    char key[FEW][37];

    must(db, NULL,
         "CREATE TABLE bulk_uuid AS SELECT g AS v, "
         "('6ba7b810-9dad-11d1-80b4-' || lpad(to_hex(g), 12, '0'))::uuid AS u "
         "FROM generate_series(0, 99) g");
    learn(db, shape.sql, text("6ba7b810-9dad-11d1-80b4-000000000001"));
    for (int i = 0; i < FEW; i++) { /* one as the server would not write it */
        snprintf(key[i], sizeof(key[i]), "6ba7b810-9dad-11d1-80b4-%012x", i);
        if (i == 20)
            key[i][1] = 'B';
        ask_by_key(&many[i], db, &shape, text(key[i]));
    }
    for (int i = 0; i < FEW; i++) {
        wait_for(&many[i].done);
        CHECK_INT(int_of(&many[i]), i);
    }
    CHECK(stats_of(db).bulks >= 1);
    must(db, NULL, "DROP TABLE bulk_uuid");
    close_db(db);
}

static void keep_a_bad_key_to_itself(void)
{
    rl_db *db = open_shared((rl_db_opts){0});

    learn_shape(db, &plain);
    for (int round = 0; round < 2; round++) {
        ask_keys(db, &plain, FEW);
        struct answer bad;
        ask_by_key(&bad, db, &plain, integer(3000000000));
        check_keys(FEW);
        wait_for(&bad.done);
        CHECK(!bad.result && bad.err.code == RL_EDATA && strcmp(bad.err.sqlstate, "22003") == 0);
    }
    uint64_t bulks = stats_of(db).bulks; /* which is no reason to give it up */
    for (int i = 0; i < 20 && stats_of(db).bulks == bulks; i++) {
        pass(i ? 500 : 0); /* a busy machine is one, for a while */
        ask_keys(db, &plain, FEW);
        check_keys(FEW);
    }
    CHECK(stats_of(db).bulks > bulks);
    close_db(db);
}

/* Rows that do not say whose they are, and keys with more than one. */
static void trust_no_odd_row(void)
{
    static const struct shape shapes[] = {
        {"SELECT v, k::numeric FROM bulk_keyed WHERE k = $1",
         "SELECT v, k::numeric FROM bulk_keyed WHERE k = ANY($1)", 1},
        {"SELECT v, NULL FROM bulk_keyed WHERE k = $1",
         "SELECT v, NULL FROM bulk_keyed WHERE k = ANY($1)", 1},
        {"SELECT v, k + 1 FROM bulk_keyed WHERE k = $1",
         "SELECT v, k + 1 FROM bulk_keyed WHERE k = ANY($1)", 1},
        {"SELECT v FROM bulk_keyed WHERE k = $1", "SELECT v FROM bulk_keyed WHERE k = ANY($1)", 9},
        {"SELECT v, k FROM bulk_keyed, (VALUES (1), (2)) t WHERE k = $1",
         "SELECT v, k FROM bulk_keyed, (VALUES (1), (2)) t WHERE k = ANY($1)", 1},
        {"SELECT v, k, 1 FROM bulk_keyed WHERE k = $1", "SELECT nonsense", 1},
    };

    for (size_t k = 0; k < RL_COUNT(shapes); k++) {
        rl_db *db = open_shared((rl_db_opts){0});
        learn_shape(db, &shapes[k]);
        uint64_t began = uv_hrtime();
        ask_keys(db, &shapes[k], FEW);
        for (int i = 0; i < FEW; i++) {
            wait_for(&many[i].done);
            CHECK_INT(many[i].err.code, 0);
            CHECK_INT(rl_result_rows(many[i].result), k == 4 ? 2 : 1);
            CHECK_INT(int_of(&many[i]), 10 * (i + 1));
        }
        uint64_t bulks = stats_of(db).bulks; /* once was enough, for some seconds */
        ask_keys(db, &shapes[k], FEW);
        check_keys(FEW);
        CHECK(stats_of(db).bulks == bulks || uv_hrtime() - began > 4000000000u);
        close_db(db);
    }
}

static void tell_each_its_error(void)
{
    rl_db *db = open_shared((rl_db_opts){0});
    static const struct shape gone = {
        "SELECT v, k FROM bulk_gone WHERE k = $1",
        "SELECT v, k FROM bulk_gone WHERE k = ANY($1)",
        1,
    };

    must(db, NULL, "CREATE TABLE bulk_gone AS SELECT 1 AS k, 10 AS v");
    learn_shape(db, &gone);
    learn_shape(db, &plain);
    must(db, NULL, "ALTER TABLE bulk_gone ADD COLUMN w int"); /* plans that are unfit do not show */
    ask_keys(db, &gone, FEW);
    for (int i = 0; i < FEW; i++) {
        wait_for(&many[i].done);
        CHECK(many[i].result && rl_result_rows(many[i].result) == (i == 0));
        rl_result_free(many[i].result);
    }
    must(db, NULL, "DROP TABLE bulk_gone");
    for (int i = 0; i < FEW; i++)
        ask_by_key(&many[i], db, i % 2 ? &plain : &gone, integer(i + 1));
    for (int i = 0; i < FEW; i++) {
        wait_for(&many[i].done);
        if (i % 2)
            CHECK_INT(int_of(&many[i]), 10 * (i + 1));
        else
            CHECK(!many[i].result && strcmp(many[i].err.sqlstate, "42P01") == 0);
    }
    close_db(db);
}

/* As bulks they would take ten seconds. */
static const struct shape heavy = {
    "SELECT v, k, 2 FROM bulk_keyed WHERE k = $1",
    "SELECT v, k, 2 FROM bulk_keyed, pg_sleep(10) WHERE k = ANY($1)",
    1,
};

static void give_up_what_takes_long(void)
{
    for (int limited = 0; limited < 2; limited++) { /* by us, or by the server */
        rl_db *db = open_shared((rl_db_opts){.statement_timeout = limited ? 0.02 : 0});
        learn_shape(db, &heavy);
        uint64_t bulks = stats_of(db).bulks, began = uv_hrtime();
        ask_keys(db, &heavy, FEW);
        check_keys(FEW);
        CHECK(uv_hrtime() - began < 8000000000u); /* and not ten seconds */
        CHECK(stats_of(db).bulks > bulks);
        ask_keys(db, &heavy, FEW);
        check_keys(FEW);
        close_db(db);
    }
}

/* On a busy machine its answer may have come already. */
static void give_up(int i)
{
    if (many[i].done)
        rl_result_free(many[i].result);
    else
        rl_query_cancel(queries[i]);
}

static void may_be_left(void)
{
    rl_db *db = open_shared((rl_db_opts){0});

    learn_shape(db, &plain);
    for (int round = 0; round < 4; round++) { /* in line, then on their way; some, then all */
        ask_keys(db, &plain, FEW);
        if (round % 2)
            uv_run(&loop.uv, UV_RUN_NOWAIT);
        for (int i = 0; i < FEW; i++) {
            if (round < 2 && i % 3 == 1)
                continue;
            give_up(i);
        }
        for (int i = 1; i < FEW && round < 2; i += 3) {
            wait_for(&many[i].done);
            CHECK_INT(int_of(&many[i]), 10 * (i + 1));
        }
    }
    /* The server is told when nobody waits any more. */
    learn_shape(db, &heavy);
    ask_keys(db, &heavy, FEW);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    for (int i = 0; i < FEW; i++)
        give_up(i);
    for (int i = 0; i < 500 && stats_of(db).busy; i++)
        pass(10);
    CHECK_INT(stats_of(db).busy, 0);
    ask_keys(db, &plain, FEW);
    check_keys(FEW);
    close_db(db);
}

static void survive_their_connection(void)
{
    rl_db *db = open_shared((rl_db_opts){0}), *killer = open_db((rl_db_opts){.url = url});
    static const char whose[] = "SELECT pg_backend_pid()::bigint + $1::int";
    char command[100];

    must(killer, NULL, "SELECT 1"); /* connected before the time counts */
    learn(db, whose, integer(0));
    learn_shape(db, &heavy);
    ask_to_read(&many[0], db, whose, &(rl_value){.kind = RL_INT}, 1);
    wait_for(&many[0].done);
    int64_t pid = int_of(&many[0]);
    ask_keys(db, &heavy, FEW);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    rl_query_cancel(queries[3]);
    snprintf(command, sizeof(command), "SELECT pg_terminate_backend(%lld)", (long long)pid);
    must(killer, NULL, command);
    for (int i = 0; i < FEW; i++) {
        if (i == 3)
            continue;
        wait_for(&many[i].done);
        CHECK_INT(many[i].err.code, 0);
        CHECK_INT(int_of(&many[i]), 10 * (i + 1));
    }
    CHECK(!many[3].done);
    CHECK_INT(stats_of(db).closed_dead, 1);
    close_db(killer);

    ask_keys(db, &plain, FEW); /* and the end of the database */
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    close_db(db);
    for (int i = 0; i < FEW; i++) {
        CHECK(many[i].done);
        rl_result_free(many[i].result);
    }
}

static void can_be_turned_off(void)
{
    rl_db *db = open_shared((rl_db_opts){.no_coalesce = true});
    static const char settings[] = "application_name=spec&coalesce=off";
    char *with = malloc(strlen(url) + sizeof(settings) + 2);

    learn_shape(db, &plain);
    ask_keys(db, &plain, FEW);
    check_keys(FEW);
    CHECK(stats_of(db).reads > 0);
    CHECK_INT(stats_of(db).bulks, 0);
    close_db(db);

    sprintf(with, "%s%c%s", url, strchr(url, '?') ? '&' : '?', settings);
    db = open_db((rl_db_opts){.url = with});
    learn_shape(db, &plain);
    ask_keys(db, &plain, FEW);
    check_keys(FEW);
    CHECK_INT(stats_of(db).bulks, 0);
    close_db(db);
    free(with);
}

/* Slow ones */

static unsigned told, told_of;

static void on_slow(void *arg, rl_result *result, const rl_err *err)
{
    struct answer *a = arg;
    rl_query_times times;

    if (rl_query_was_slow(queries[a - many], &times)) {
        told++;
        told_of += times.reads;
    }
    on_query(a, result, err);
}

static void are_told_of_once(void)
{
    rl_db *db = open_shared((rl_db_opts){.slow_statement = 1e-9}); /* all are */

    learn_shape(db, &plain);
    uint64_t before = stats_of(db).reads;
    for (int tries = 0; tries < 20; tries++) {
        told = told_of = 0;
        before = stats_of(db).reads;
        for (int i = 0; i < FEW; i++) {
            many[i] = (struct answer){0};
            queries[i] = rl_db_query(db, NULL,
                                     &(rl_statement){.sql = rl_str_of(plain.sql),
                                                     .params = &(rl_value){.kind = RL_INT, .i = i},
                                                     .nparams = 1,
                                                     .reads = true,
                                                     .many = rl_str_of(plain.many),
                                                     .key = plain.key},
                                     on_slow, &many[i]);
        }
        rl_query_cancel(queries[0]); /* and not of who has gone */
        for (int i = 1; i < FEW; i++) {
            wait_for(&many[i].done);
            rl_result_free(many[i].result);
        }
        if (stats_of(db).reads - before == FEW - 1)
            break;
    }
    CHECK_INT(told, 1);
    CHECK_INT(told_of, FEW - 1);
    close_db(db);
}

int main(void)
{
    url = begin_with_postgres();
    if (!url)
        return SKIPPED;
    rl_db *db = open_db((rl_db_opts){.url = url});
    must(db, NULL, "DROP TABLE IF EXISTS bulk_keyed, bulk_gone, bulk_uuid");
    must(db, NULL, "CREATE TABLE bulk_keyed (k int PRIMARY KEY, v int)");
    must(db, NULL, "INSERT INTO bulk_keyed SELECT g, 10 * g FROM generate_series(1, 300) g");
    must(db, NULL, "INSERT INTO bulk_keyed VALUES (-5, -50)");
    go_as_one_statement();
    give_each_what_it_asked_for();
    mix_with_others();
    know_uuids();
    keep_a_bad_key_to_itself();
    trust_no_odd_row();
    tell_each_its_error();
    give_up_what_takes_long();
    may_be_left();
    survive_their_connection();
    can_be_turned_off();
    are_told_of_once();
    must(db, NULL, "DROP TABLE bulk_keyed");
    close_db(db);
    rl_loop_fini(&loop);
    return unit_done();
}
