/* PostgreSQL, a real one: RILLE_TEST_POSTGRES is its URL, of a superuser, without settings.
 * RILLE_TEST_POSTGRES_RESTART may hold a command that stops and starts it. */
#include "db_unit.h"

#include <math.h>
#include <signal.h>

static const char *url;

static char *with(const char *settings) /* the URL with settings; static */
{
    static char text[400];

    snprintf(text, sizeof(text), "%s%c%s", url, strchr(url, '?') ? '&' : '?', settings);
    return text;
}

static int64_t pid_of(rl_db *db, rl_lease *lease)
{
    return number(db, lease, "SELECT pg_backend_pid()");
}

static void kill_backend(rl_db *db, int64_t pid)
{
    rl_err err;
    rl_value v = integer(pid);

    rl_result_free(get(db, NULL, "SELECT pg_terminate_backend($1::int)", &v, 1, &err));
    CHECK_INT(err.code, 0);
}

static void never_shows_a_password(void)
{
    static const char *const bad[] = {
        "postgresql://bob:s3cret@127.0.0.1:1/x?nonsense=1",
        "postgresql://bob:s3cret@[::1/x",
        "postgresql://bob:s3cret@127.0.0.1:1/x?sslmode",
        "postgresql://bob:s3cret%zz@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?password=s3cret%zz",
    };
    rl_err err;
    rl_db *db;

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        err = (rl_err){0};
        CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = bad[i]}, &err) < 0);
        CHECK(err.msg[0] && !strstr(err.msg, "s3cret"));
        CHECK(i != 0 || strstr(err.msg, "nonsense"));
    }
    db = open_db((rl_db_opts){.url = "postgresql://bob:s3cret@127.0.0.1:1/x?password=s3cret",
                              .acquire_timeout = 0.15});
    CHECK(strcmp(rl_db_display_url(db), "postgresql://bob@127.0.0.1:1/x") == 0);
    err = fails(db, NULL, "SELECT 1");
    CHECK(err.code == RL_EOPERATIONAL && strstr(err.msg, "0.15 s"));
    CHECK(strstr(err.msg, "refused") && !strstr(err.msg, "s3cret"));
    close_db(db);
    db = open_db((rl_db_opts){.url = "postgresql://bob:s3cret@no-such-host.invalid/x",
                              .acquire_timeout = 0.5});
    err = fails(db, NULL, "SELECT 1");
    CHECK(err.code == RL_EOPERATIONAL && !strstr(err.msg, "s3cret"));
    close_db(db);
}

static void keeps_types_both_ways(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_value in[] = {
        integer(INT64_MIN),
        real(0.1),
        text("h\xc3\xa9"),
        {.kind = RL_BYTES, .s = {"\0\xff\\", 3}},
        {.kind = RL_BOOL, .i = 1},
        {.kind = RL_JSON, .s = RL_STR("{\"a\": 1}")},
        {.kind = RL_NUMERIC, .s = RL_STR("12345678901234567890.50")},
        {.kind = RL_NULL},
        text("2026-01-02 03:04:05+02"),
        real(INFINITY),
    };
    rl_err err;

    for (int round = 0; round < 3; round++) { /* executed, prepared, executed prepared */
        rl_result *r = get(db, NULL,
                           "SELECT $1::int8, $2::float8, $3::text, $4::bytea, $5::bool,"
                           " $6::jsonb, $7::numeric, $8::int AS nothing, $9::timestamptz,"
                           " $10::float8, '\\x'::bytea",
                           in, 10, &err);
        CHECK(r && rl_result_rows(r) == 1 && rl_result_cols(r) == 11);
        if (!r)
            break;
        CHECK(rl_result_cell(r, 0, 0).kind == RL_INT && rl_result_cell(r, 0, 0).i == INT64_MIN);
        CHECK(rl_result_cell(r, 0, 1).kind == RL_FLOAT && rl_result_cell(r, 0, 1).f == 0.1);
        CHECK(is_str(rl_result_cell(r, 0, 2), RL_TEXT, "h\xc3\xa9"));
        rl_value b = rl_result_cell(r, 0, 3);
        CHECK(b.kind == RL_BYTES && b.s.n == 3 && memcmp(b.s.p, "\0\xff\\", 3) == 0);
        CHECK(rl_result_cell(r, 0, 4).kind == RL_BOOL && rl_result_cell(r, 0, 4).i == 1);
        CHECK(is_str(rl_result_cell(r, 0, 5), RL_JSON, "{\"a\": 1}"));
        CHECK(is_str(rl_result_cell(r, 0, 6), RL_NUMERIC, "12345678901234567890.50"));
        CHECK(rl_result_cell(r, 0, 7).kind == RL_NULL);
        CHECK(strcmp(rl_result_col_name(r, 7), "nothing") == 0);
        CHECK(is_str(rl_result_cell(r, 0, 8), RL_TEXT, "2026-01-02 01:04:05+00"));
        CHECK(rl_result_cell(r, 0, 9).f == INFINITY);
        CHECK(rl_result_cell(r, 0, 10).kind == RL_BYTES && rl_result_cell(r, 0, 10).s.n == 0);
        rl_result_free(r);
        in[3].kind = round ? RL_NULL : RL_BYTES;
        if (round == 1)
            in[3].kind = RL_BYTES;
    }
    must(db, NULL, "CREATE TABLE kinds (i int)");
    rl_result *r =
        get(db, NULL, "INSERT INTO kinds SELECT generate_series(1, 5) RETURNING i", NULL, 0, &err);
    CHECK(r && rl_result_affected(r) == 5 && rl_result_rows(r) == 5);
    rl_result_free(r);
    r = get(db, NULL, "SELECT * FROM kinds", NULL, 0, &err);
    CHECK(r && rl_result_affected(r) == 0 && rl_result_rows(r) == 5);
    rl_result_free(r);
    r = get(db, NULL, "", NULL, 0, &err);
    CHECK(r && rl_result_rows(r) == 0);
    rl_result_free(r);
    must(db, NULL, "DROP TABLE kinds");
    close_db(db);
}

static void maps_errors(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_value nul = {.kind = RL_TEXT, .s = {"a\0b", 3}};
    rl_err err;

    must(db, NULL, "CREATE TABLE p (id int CONSTRAINT p_key PRIMARY KEY)");
    must(db, NULL, "INSERT INTO p VALUES (1)");
    err = fails(db, NULL, "INSERT INTO p VALUES (1)");
    CHECK(err.code == RL_EINTEGRITY && strcmp(err.sqlstate, "23505") == 0);
    CHECK(strcmp(err.constraint, "p_key") == 0 && strstr(err.detail, "(id)=(1)"));
    CHECK_INT(fails(db, NULL, "SELECT 1 / 0").code, RL_EDATA);
    CHECK_INT(fails(db, NULL, "SELECT 'x'::int").code, RL_EDATA);
    CHECK_INT(fails(db, NULL, "SELEC 1").code, RL_EPROGRAMMING);
    CHECK_INT(fails(db, NULL, "SELECT * FROM nowhere").code, RL_EPROGRAMMING);
    CHECK_INT(fails(db, NULL, "SELECT 1; SELECT 2").code, RL_EPROGRAMMING);
    CHECK_INT(fails(db, NULL, "SELECT $1::int").code, RL_EPROGRAMMING);
    CHECK_INT(fails(db, NULL, "COPY p TO STDOUT").code, RL_ENOTSUPPORTED);
    CHECK_INT(fails(db, NULL, "COPY p FROM STDIN").code, RL_ENOTSUPPORTED);
    rl_lease *lease = borrow(db, "maps_errors");
    must(db, lease, "BEGIN");
    fails(db, lease, "SELECT 1 / 0");
    CHECK(rl_lease_look(lease).in_transaction);
    CHECK_INT(fails(db, lease, "SELECT 1").code, RL_ETRANSACTION);
    must(db, lease, "ROLLBACK");
    CHECK(!rl_lease_look(lease).in_transaction);
    rl_lease_return(lease);
    rl_result_free(get(db, NULL, "SELECT $1", &nul, 1, &err));
    CHECK(err.code == RL_EDATA && strcmp(err.sqlstate, "22021") == 0);
    must(db, NULL, "DO $$ BEGIN RAISE NOTICE 'not for stderr'; END $$");
    must(db, NULL, "DROP TABLE p");
    CHECK_INT(stats_of(db).closed_dead, 0);
    close_db(db);

    db = open_db((rl_db_opts){.url = with("statement_timeout=0.05")});
    err = fails(db, NULL, "SELECT pg_sleep(5)");
    CHECK(err.code == RL_EOPERATIONAL && strcmp(err.sqlstate, "57014") == 0);
    close_db(db);
}

static void prepares_and_forgets(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1, .statement_cache_size = 2});
    rl_value v[] = {integer(1)};
    rl_err err;
    char sql[60];

    for (int i = 0; i < 30; i++) {
        snprintf(sql, sizeof(sql), "SELECT $1::int + %d", i / 3);
        rl_result *r = get(db, NULL, sql, v, 1, &err);
        CHECK(r && rl_result_cell(r, 0, 0).i == 1 + i / 3);
        rl_result_free(r);
    }
    CHECK(number(db, NULL, "SELECT count(*) FROM pg_prepared_statements") <= 3);

    /* The plan no longer fits, or is gone: neither shows outside of a transaction. */
    must(db, NULL, "CREATE TABLE plan (i int)");
    must(db, NULL, "INSERT INTO plan VALUES (1)");
    for (int i = 0; i < 3; i++)
        must(db, NULL, "SELECT * FROM plan");
    must(db, NULL, "ALTER TABLE plan ADD COLUMN j int");
    rl_result *r = get(db, NULL, "SELECT * FROM plan", NULL, 0, &err);
    CHECK(r && rl_result_cols(r) == 2);
    rl_result_free(r);
    for (int i = 0; i < 3; i++)
        must(db, NULL, "SELECT * FROM plan");
    rl_lease *lease = borrow(db, "forget");
    for (int i = 0; i < 3; i++)
        must(db, lease, "SELECT 42");
    must(db, lease, "DEALLOCATE ALL");
    CHECK_INT(number(db, lease, "SELECT 42"), 42);
    CHECK_INT(number(db, lease, "SELECT 42"), 42);
    rl_lease_return(lease);
    must(db, NULL, "DROP TABLE plan");
    CHECK_INT(stats_of(db).opened, 1);
    close_db(db);
}

static void serves_many_in_order_on_few_connections(void)
{
    enum { N = 1000 };
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 2});
    static struct answer a[N];
    unsigned late = 0;

    for (int i = 0; i < N; i++)
        ask(&a[i], db, NULL, "SELECT 1", NULL, 0);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i].done);
        CHECK_INT(a[i].err.code, 0);
        rl_result_free(a[i].result);
    }
    CHECK(stats_of(db).opened <= 2);
    rl_lease *other = borrow(db, "one of two");
    for (int i = 0; i < N; i++)
        ask(&a[i], db, NULL, "SELECT 1", NULL, 0);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i].done);
        rl_result_free(a[i].result);
        late += i && a[i].order < a[i - 1].order;
    }
    CHECK_INT(late, 0);
    rl_lease_return(other);
    close_db(db);
}

static void notices_a_killed_idle_connection(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url}), *killer = open_db((rl_db_opts){.url = url});
    int64_t pid = pid_of(db, NULL);

    CHECK_INT(stats_of(db).open, 1);
    kill_backend(killer, pid);
    for (int i = 0; i < 100 && stats_of(db).open; i++)
        pass(10);
    CHECK_INT(stats_of(db).open, 0); /* without a query */
    CHECK_INT(stats_of(db).closed_dead, 1);
    CHECK(pid_of(db, NULL) != pid);

    /* Killed while the loop was not looking: still invisible to the next statement. */
    for (int i = 0; i < 10; i++) {
        char command[300];
        snprintf(command, sizeof(command),
                 "psql -qAt '%s' -c 'SELECT pg_terminate_backend(%lld, 1000)' >/dev/null", url,
                 (long long)pid_of(db, NULL));
        CHECK(system(command) == 0);
        CHECK(pid_of(db, NULL) > 0);
    }
    rl_lease *lease = borrow(db, "leased");
    kill_backend(killer, pid_of(db, lease));
    for (int i = 0; i < 100 && !rl_lease_look(lease).broken; i++)
        pass(10);
    CHECK(rl_lease_look(lease).broken);
    CHECK_INT(fails(db, lease, "SELECT 1").code, RL_EOPERATIONAL);
    rl_lease_return(lease);
    close_db(killer);
    close_db(db);
}

static void never_runs_a_lost_statement_again(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url}), *killer = open_db((rl_db_opts){.url = url});
    struct answer a;

    must(db, NULL, "CREATE TABLE once (i int)");
    must(db, NULL, "CREATE SEQUENCE tries");
    rl_lease *lease = borrow(db, "pid");
    int64_t pid = pid_of(db, lease);
    rl_lease_return(lease); /* the next statement takes it: last in, first out */
    ask(&a, db, NULL, "SELECT nextval('tries'), pg_sleep(10)", NULL, 0);
    pass(100);
    kill_backend(killer, pid);
    wait_for(&a.done);
    CHECK(a.err.code == RL_EOPERATIONAL && strstr(a.err.msg, "while the statement ran"));
    CHECK(strcmp(a.err.sqlstate, "57P01") == 0);
    CHECK_INT(number(db, NULL, "SELECT last_value FROM tries"), 1);

    /* A COMMIT that waits for a deferred trigger, and dies there. */
    must(db, NULL,
         "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
         " $$ BEGIN PERFORM pg_sleep(10); RETURN NULL; END $$");
    must(db, NULL,
         "CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON once"
         " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()");
    lease = borrow(db, "commit");
    pid = pid_of(db, lease);
    must(db, lease, "BEGIN");
    must(db, lease, "INSERT INTO once VALUES (1)");
    ask(&a, db, lease, "COMMIT", NULL, 0);
    pass(50);
    kill_backend(killer, pid);
    wait_for(&a.done);
    CHECK(a.err.code == RL_EOPERATIONAL && strstr(a.err.msg, "outcome is unknown"));
    CHECK(rl_lease_look(lease).broken);
    rl_lease_return(lease);
    must(db, NULL, "DROP TABLE once");
    must(db, NULL, "DROP SEQUENCE tries");
    must(db, NULL, "DROP FUNCTION slow");
    close_db(killer);
    close_db(db);
}

static void cancels_without_hitting_the_next(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    struct answer a;
    int64_t pid = pid_of(db, NULL);

    for (int i = 0; i < 40; i++) {
        rl_query *q = ask(&a, db, NULL, "SELECT pg_sleep(10)", NULL, 0);
        if (i % 4)
            pass((unsigned)i % 4);
        rl_query_cancel(q);
        CHECK_INT(number(db, NULL, "SELECT 5 FROM pg_sleep(0.002)"), 5);
        q = ask(&a, db, NULL, "SELECT 1 FROM pg_sleep(0.001)", NULL, 0); /* about to end */
        pass(2);
        if (!a.done)
            rl_query_cancel(q);
        CHECK_INT(number(db, NULL, "SELECT 6 FROM pg_sleep(0.002)"), 6);
        if (a.done)
            rl_result_free(a.result);
    }
    CHECK_INT(pid_of(db, NULL), pid); /* the slot came free, not a new one */

    rl_lease *lease = borrow(db, "lease");
    must(db, lease, "BEGIN");
    rl_query *q = ask(&a, db, lease, "SELECT pg_sleep(10)", NULL, 0);
    pass(5);
    rl_query_cancel(q);
    must(db, lease, "ROLLBACK"); /* waits for the cancelled one */
    CHECK_INT(number(db, lease, "SELECT 7"), 7);
    rl_lease_return(lease);
    close_db(db);
}

static void cleans_a_lease_on_return(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    int64_t pid = pid_of(db, NULL);
    struct answer a;

    must(db, NULL, "CREATE TABLE left_behind (i int)");
    rl_lease *lease = borrow(db, "open transaction");
    must(db, lease, "BEGIN");
    must(db, lease, "INSERT INTO left_behind VALUES (1)");
    rl_lease_return(lease);
    CHECK_INT(number(db, NULL, "SELECT count(*) FROM left_behind"), 0);

    static const char *const traces[][2] = {
        {"SET work_mem = '1234kB'",
         "SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND setting = '1234'"},
        {"SELECT set_config('work_mem', '1234kB', false)",
         "SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND setting = '1234'"},
        {"/* hidden */ create temp table mine (i int)",
         "SELECT count(*) FROM pg_class WHERE relname = 'mine'"},
        {"SELECT 1 AS i INTO TEMP mine", "SELECT count(*) FROM pg_class WHERE relname = 'mine'"},
        {"SELECT pg_advisory_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"},
        {"LISTEN news", "SELECT count(*) FROM pg_listening_channels()"},
        {"PREPARE mine AS SELECT 1",
         "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'"},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
         "SELECT count(*) FROM pg_settings WHERE name = 'default_transaction_read_only'"
         " AND setting = 'on'"},
    };
    for (size_t i = 0; i < RL_COUNT(traces); i++) {
        lease = borrow(db, "session state");
        must(db, lease, traces[i][0]);
        CHECK_INT(number(db, lease, traces[i][1]), 1);
        rl_lease_return(lease);
        CHECK_INT(number(db, NULL, traces[i][1]), 0);
        must(db, NULL, traces[i][0]); /* without a lease, too */
        CHECK_INT(number(db, NULL, traces[i][1]), 0);
    }
    must(db, NULL,
         "CREATE FUNCTION hide() RETURNS text LANGUAGE plpgsql AS"
         " $$ BEGIN RETURN set_config('work_mem', '1234kB', false); END $$");
    lease = borrow(db, "state changed where nobody sees it");
    must(db, lease, "SELECT hide()");
    rl_lease_mark_dirty(lease);
    rl_lease_return(lease);
    CHECK_INT(number(db, NULL, traces[0][1]), 0);
    must(db, NULL, "DROP FUNCTION hide");

    rl_result *r;
    rl_err err;
    r = get(db, NULL, "SHOW timezone", NULL, 0, &err); /* ours survives the reset */
    CHECK(r && is_str(rl_result_cell(r, 0, 0), RL_TEXT, "UTC"));
    rl_result_free(r);

    must(db, NULL, "BEGIN"); /* nobody's transaction */
    CHECK_INT(fails(db, NULL, "SAVEPOINT x").code, RL_ETRANSACTION);

    lease = borrow(db, "failed transaction, running statement");
    must(db, lease, "BEGIN");
    must(db, lease, "SET work_mem = '1234kB'");
    ask(&a, db, lease, "SELECT pg_sleep(10)", NULL, 0);
    pass(5);
    CHECK_INT(fails(db, lease, "SELECT 1").code, RL_EPROGRAMMING);
    rl_lease_return(lease);
    wait_for(&a.done);
    CHECK_INT(a.err.code, RL_ECANCELLED);
    CHECK_INT(number(db, NULL, traces[0][1]), 0);
    CHECK_INT(pid_of(db, NULL), pid); /* always the same connection, clean */
    must(db, NULL, "DROP TABLE left_behind");
    close_db(db);
}

static void pings_once_after_a_boundary(void)
{
    rl_db *db = open_db((rl_db_opts){.url = with("conn_health_checks=on"), .max_connections = 1});
    rl_db *other = open_db((rl_db_opts){.url = url});
    rl_value v = integer(pid_of(db, NULL));
    static const char last[] = "SELECT count(*) FROM pg_stat_activity"
                               " WHERE pid = $1::int AND query = 'SELECT 1'";
    rl_err err;

    /* The server remembers the last statement of each connection: a ping shows behind it. */
    for (int boundary = 0; boundary < 2; boundary++) {
        if (boundary)
            rl_db_close_old(db);
        rl_lease *lease = borrow(db, "to be pinged");
        rl_result *r = get(other, NULL, last, &v, 1, &err);
        CHECK(r && rl_result_cell(r, 0, 0).i == boundary);
        rl_result_free(r);
        CHECK_INT(pid_of(db, lease), v.i);
        rl_lease_return(lease);
    }
    CHECK_INT(stats_of(db).opened, 1);
    close_db(other);
    close_db(db);
}

static void replaces_what_does_not_answer_a_ping(void)
{
    rl_db *db = open_db((rl_db_opts){.url = with("conn_health_checks=on"), .acquire_timeout = 1});
    pid_t pid = (pid_t)pid_of(db, NULL);

    if (kill(pid, SIGSTOP) == 0) { /* as dead as a cut cable; needs root or the server's user */
        rl_db_close_old(db);
        CHECK(pid_of(db, NULL) != pid);
        CHECK_INT(stats_of(db).closed_dead, 1);
        kill(pid, SIGCONT);
    }
    close_db(db);
}

static void dials_two_at_a_time_and_one_when_it_fails(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    struct answer a[10];

    for (int i = 0; i < 10; i++)
        ask(&a[i], db, NULL, "SELECT pg_sleep(0.5)", NULL, 0);
    CHECK_INT(stats_of(db).connecting, 2);
    for (int i = 0; i < 10; i++) {
        wait_for(&a[i].done);
        rl_result_free(a[i].result);
        CHECK(stats_of(db).connecting <= 2);
    }
    CHECK_INT(stats_of(db).opened, 10);
    close_db(db);

    db = open_db((rl_db_opts){.url = "postgresql://127.0.0.1:1/x", .acquire_timeout = 0.3});
    for (int i = 0; i < 10; i++)
        ask(&a[i], db, NULL, "SELECT 1", NULL, 0);
    while (!a[9].done) {
        pass(1);
        CHECK(stats_of(db).connecting <= 2);
    }
    for (int i = 0; i < 10; i++) /* all waited for their time, all learnt why */
        CHECK(a[i].err.code == RL_EOPERATIONAL && strstr(a[i].err.msg, "refused"));
    CHECK_INT(stats_of(db).timeouts, 10);
    close_db(db);
}

static void recovers_when_the_server_comes_back(void)
{
    const char *restart = getenv("RILLE_TEST_POSTGRES_RESTART");
    rl_db *db = open_db((rl_db_opts){.url = url, .acquire_timeout = 10});
    char command[400];
    struct answer run, wait[20];

    if (!restart) {
        close_db(db);
        return;
    }
    rl_lease *lease = borrow(db, "over the restart");
    number(db, NULL, "SELECT 1");
    ask(&run, db, NULL, "SELECT pg_sleep(30)", NULL, 0);
    pass(50);
    snprintf(command, sizeof(command), "%s stop", restart);
    CHECK(system(command) == 0);
    wait_for(&run.done);
    CHECK_INT(run.err.code, RL_EOPERATIONAL);
    for (int i = 0; i < 20; i++)
        ask(&wait[i], db, NULL, "SELECT 1", NULL, 0);
    pass(600); /* a few dials fail */
    CHECK(rl_lease_look(lease).broken && !wait[0].done);
    rl_lease_return(lease);
    snprintf(command, sizeof(command), "%s start >/dev/null", restart);
    CHECK(system(command) == 0);
    for (int i = 0; i < 20; i++) {
        wait_for(&wait[i].done);
        CHECK_INT(wait[i].err.code, 0);
        rl_result_free(wait[i].result);
    }
    CHECK_INT(number(db, NULL, "SELECT 1"), 1);
    close_db(db);
}

static void carries_large_statements_and_results(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    size_t n = 8 * 1024 * 1024;
    char *big = malloc(n);
    rl_err err;

    memset(big, 'x', n);
    rl_value v = {.kind = RL_TEXT, .s = {big, n}};
    rl_result *r = get(db, NULL, "SELECT $1::text || 'y'", &v, 1, &err);
    CHECK(r && rl_result_cell(r, 0, 0).s.n == n + 1);
    rl_result_free(r);
    struct answer a;
    rl_query_cancel(ask(&a, db, NULL, "SELECT length($1::text)", &v, 1)); /* half sent */
    CHECK_INT(number(db, NULL, "SELECT 9"), 9);
    free(big);
    close_db(db);
}

static void finds_hosts_by_name(void)
{
    const char *at = strstr(url, "127.0.0.1");
    char named[300];

    if (!at)
        return;
    snprintf(named, sizeof(named), "%.*slocalhost%s", (int)(at - url), url, at + 9);
    rl_db *db = open_db((rl_db_opts){.url = named});
    CHECK_INT(number(db, NULL, "SELECT 1"), 1);
    close_db(db);
    db = open_db((rl_db_opts){.url = named}); /* closed while it looks up */
    struct answer a;
    ask(&a, db, NULL, "SELECT 1", NULL, 0);
    close_db(db);
    CHECK(a.done && a.err.code == RL_EOPERATIONAL);
}

static void closes_with_work_in_flight(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 3});
    rl_lease *lease = borrow(db, "still out");
    struct answer run, cancelled, line;
    bool closed = false;

    rl_query *q = ask(&cancelled, db, NULL, "SELECT pg_sleep(30)", NULL, 0);
    ask(&run, db, NULL, "SELECT pg_sleep(30)", NULL, 0);
    ask(&line, db, NULL, "SELECT 1", NULL, 0);
    pass(50);
    rl_query_cancel(q);
    rl_db_close(db, 0.1, on_db_closed, &closed);
    CHECK_INT(number(db, lease, "SELECT 4"), 4);
    wait_for(&closed);
    CHECK(run.done && run.err.code == RL_EOPERATIONAL && line.done && !cancelled.done);
    CHECK(rl_lease_look(lease).broken);
    rl_lease_return(lease);
    rl_result_free(line.result);
    db = open_db((rl_db_opts){.url = url}); /* while it dials */
    ask(&line, db, NULL, "SELECT 1", NULL, 0);
    close_db(db);
    CHECK(line.done && line.err.code == RL_EOPERATIONAL);
}

/* Rows of a COPY: how many times there were some, and how many bytes. */
struct copied {
    struct answer answer;
    bool called;
    unsigned times;
    size_t bytes;
};

static void on_copied(void *arg, rl_str rows)
{
    struct copied *c = arg;

    c->called = true;
    c->times++;
    c->bytes += rows.n;
    CHECK(rows.n == 0 || rows.p[rows.n - 1] == '\n');
    rl_loop_stop(&loop);
}

static void on_copy_over(void *arg, rl_result *result, const rl_err *err)
{
    on_query(&((struct copied *)arg)->answer, result, err);
}

static rl_query *copy(struct copied *c, rl_db *db, rl_lease *lease, const char *sql,
                      rl_copy_way way)
{
    rl_statement st = {.sql = rl_str_of(sql), .copy = way};

    *c = (struct copied){0};
    return rl_db_copy(db, lease, &st, &(rl_copy_fns){on_copied, on_copy_over}, c);
}

static void until_called(struct copied *c)
{
    while (!c->called && !c->answer.done)
        uv_run(&loop.uv, UV_RUN_ONCE);
    c->called = false;
}

static int copy_fails(rl_db *db, rl_lease *lease, const char *sql, rl_copy_way way)
{
    struct copied c;

    copy(&c, db, lease, sql, way);
    wait_for(&c.answer.done);
    CHECK_INT(c.times, 0);
    return c.answer.err.code;
}

static void copies_rows_when_they_are_wanted(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 2});
    rl_lease *lease = borrow(db, "copies");
    struct copied c;
    rl_query *q;

    q = copy(&c, db, lease, "COPY (SELECT generate_series(1, 100000)) TO STDOUT", RL_COPY_OUT);
    for (until_called(&c); !c.answer.done; until_called(&c)) {
        unsigned times = c.times;
        if (times < 3)
            pass(20);
        CHECK_INT(c.times, times);
        rl_copy_more(q);
    }
    CHECK_INT(c.answer.err.code, 0);
    CHECK_INT(rl_result_affected(c.answer.result), 100000);
    CHECK_INT(c.bytes, 588895);
    CHECK_INT(c.times, 588895 / RL_COPY_CHUNK + 1);
    rl_result_free(c.answer.result);

    must(db, lease, "CREATE TEMP TABLE c (n int)");
    q = copy(&c, db, lease, "COPY c FROM STDIN", RL_COPY_IN);
    for (int i = 0; i < 100; i++) {
        until_called(&c);
        rl_copy_write(q, RL_STR("1\n2\n"));
    }
    until_called(&c);
    rl_copy_end(q);
    wait_for(&c.answer.done);
    CHECK_INT(c.answer.err.code, 0);
    CHECK_INT(rl_result_affected(c.answer.result), 200);
    CHECK(c.bytes == 0 && c.times == 101);
    rl_result_free(c.answer.result);
    CHECK_INT(number(db, lease, "SELECT count(*) FROM c"), 200);

    CHECK_INT(copy_fails(db, NULL, "COPY c TO STDOUT", RL_COPY_OUT), RL_EPROGRAMMING);
    CHECK_INT(copy_fails(db, lease, "SELECT 1", RL_COPY_OUT), RL_EPROGRAMMING);
    CHECK_INT(copy_fails(db, lease, "COPY c TO STDOUT", RL_COPY_IN), RL_ENOTSUPPORTED);
    CHECK_INT(copy_fails(db, lease, "COPY c FROM STDIN", RL_COPY_OUT), RL_ENOTSUPPORTED);
    CHECK_INT(copy_fails(db, lease, "COPY nowhere TO STDOUT", RL_COPY_OUT), RL_EPROGRAMMING);
    rl_lease_return(lease);
    close_db(db);
}

/* At any moment, both ways: the lease serves the next statement, on the same connection. */
static void gives_up_a_copy(void)
{
    static const struct {
        rl_copy_way way;
        const char *sql;
    } ways[] = {
        {RL_COPY_OUT, "COPY (SELECT generate_series(1, 10000000)) TO STDOUT"},
        {RL_COPY_IN, "COPY gives_up FROM STDIN"},
    };
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    rl_lease *lease = borrow(db, "gives up");
    int64_t pid = pid_of(db, lease);
    struct copied c;

    must(db, lease, "CREATE TABLE gives_up (n int)");
    for (size_t i = 0; i < RL_COUNT(ways); i++)
        for (int moment = 0; moment < 5; moment++) {
            rl_query *q = copy(&c, db, lease, ways[i].sql, ways[i].way);
            for (int step = 0; step < moment; step++) {
                until_called(&c);
                if (step + 1 == moment && moment > 2)
                    break;
                if (ways[i].way == RL_COPY_OUT)
                    rl_copy_more(q);
                else
                    rl_copy_write(q, RL_STR("1\n"));
            }
            rl_query_cancel(q);
            CHECK_INT(pid_of(db, lease), pid);
            CHECK(!c.answer.done);
        }
    CHECK_INT(number(db, lease, "SELECT count(*) FROM gives_up"), 0);
    must(db, lease, "DROP TABLE gives_up");
    copy(&c, db, lease, ways[0].sql, RL_COPY_OUT);
    until_called(&c);
    rl_lease_return(lease);
    wait_for(&c.answer.done);
    CHECK_INT(c.answer.err.code, RL_ECANCELLED);
    CHECK_INT(pid_of(db, NULL), pid);
    close_db(db);
}

int main(void)
{
    url = begin_with_postgres();
    if (!url)
        return SKIPPED;
    never_shows_a_password();
    keeps_types_both_ways();
    maps_errors();
    copies_rows_when_they_are_wanted();
    gives_up_a_copy();
    prepares_and_forgets();
    serves_many_in_order_on_few_connections();
    notices_a_killed_idle_connection();
    never_runs_a_lost_statement_again();
    cancels_without_hitting_the_next();
    cleans_a_lease_on_return();
    pings_once_after_a_boundary();
    replaces_what_does_not_answer_a_ping();
    dials_two_at_a_time_and_one_when_it_fails();
    carries_large_statements_and_results();
    finds_hosts_by_name();
    closes_with_work_in_flight();
    recovers_when_the_server_comes_back();
    rl_loop_fini(&loop);
    return unit_done();
}
