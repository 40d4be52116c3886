/* The pool and SQLite: real files, real threads. */
#include "db_unit.h"

static char folder[] = "/tmp/rille-sqlite-XXXXXX";
static char url[128];

static void refuses_urls_that_make_no_sense(void)
{
    rl_err err = {0};
    rl_db *db;

    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "mysql://x"}, &err) < 0);
    CHECK(strstr(err.msg, "sqlite:") != NULL);
    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "sqlite:"}, &err) < 0);
    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "sqlite:a?conn_max_agee=1"}, &err) < 0);
    CHECK(strstr(err.msg, "conn_max_agee") != NULL);
    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "sqlite:a?conn_max_age=x"}, &err) < 0);
    CHECK(strstr(err.msg, "conn_max_age") != NULL);
    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "sqlite:a?prepare=maybe"}, &err) < 0);
    CHECK(strstr(err.msg, "prepare") != NULL);
    CHECK(rl_db_open(&db, &loop, &(rl_db_opts){.url = "sqlite:a?pgbouncer="}, &err) < 0);
    CHECK(strstr(err.msg, "pgbouncer") != NULL);
}

static void keeps_types_both_ways(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_err err;

    CHECK(strcmp(rl_db_backend(db), "sqlite") == 0 && strcmp(rl_db_display_url(db), url) == 0);
    must(db, NULL,
         "CREATE TABLE t (i INTEGER, f REAL, s TEXT, b BLOB, y BOOLEAN, j JSON,"
         " n TEXT_NUMERIC, d DECIMAL, z TEXT)");
    rl_value in[] = {
        integer(INT64_MIN),
        real(0.1),
        text("h\xc3\xa9"),
        {.kind = RL_BYTES, .s = {"\0\xff", 2}},
        {.kind = RL_BOOL, .i = 1},
        {.kind = RL_JSON, .s = RL_STR("{\"a\":1}")},
        {.kind = RL_NUMERIC, .s = RL_STR("123456789012345678901234567890.5")},
        {.kind = RL_NUMERIC, .s = RL_STR("12.50")},
        {.kind = RL_NULL},
    };
    rl_result *r =
        get(db, NULL, "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", in, 9, &err);
    CHECK(r && rl_result_affected(r) == 1 && rl_result_rows(r) == 0);
    rl_result_free(r);

    r = get(db, NULL, "SELECT *, i + 0.5 AS sum FROM t", NULL, 0, &err);
    CHECK(r && rl_result_rows(r) == 1 && rl_result_cols(r) == 10);
    CHECK(r && rl_result_affected(r) == 0);
    CHECK(strcmp(rl_result_col_name(r, 9), "sum") == 0);
    CHECK(rl_result_cell(r, 0, 0).kind == RL_INT && rl_result_cell(r, 0, 0).i == INT64_MIN);
    CHECK(rl_result_cell(r, 0, 1).kind == RL_FLOAT && rl_result_cell(r, 0, 1).f == 0.1);
    CHECK(is_str(rl_result_cell(r, 0, 2), RL_TEXT, "h\xc3\xa9"));
    rl_value bytes = rl_result_cell(r, 0, 3);
    CHECK(bytes.kind == RL_BYTES && bytes.s.n == 2 && memcmp(bytes.s.p, "\0\xff", 2) == 0);
    CHECK(rl_result_cell(r, 0, 4).kind == RL_BOOL && rl_result_cell(r, 0, 4).i == 1);
    CHECK(is_str(rl_result_cell(r, 0, 5), RL_JSON, "{\"a\":1}"));
    CHECK(is_str(rl_result_cell(r, 0, 6), RL_TEXT, "123456789012345678901234567890.5"));
    CHECK(is_str(rl_result_cell(r, 0, 7), RL_NUMERIC, "12.5"));
    CHECK(rl_result_cell(r, 0, 8).kind == RL_NULL);
    rl_result_free(r);

    rl_value swapped[] = {text("first"), text("second")};
    r = get(db, NULL, "SELECT $2, '$1', $1, $2 -- $3", swapped, 2, &err);
    CHECK(r && is_str(rl_result_cell(r, 0, 0), RL_TEXT, "second"));
    CHECK(r && is_str(rl_result_cell(r, 0, 1), RL_TEXT, "$1"));
    CHECK(r && is_str(rl_result_cell(r, 0, 2), RL_TEXT, "first"));
    rl_result_free(r);
    r = get(db, NULL, "  ", NULL, 0, &err);
    CHECK(r && rl_result_rows(r) == 0 && rl_result_cols(r) == 0);
    rl_result_free(r);
    close_db(db);
}

static void maps_errors(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_value nul = {.kind = RL_TEXT, .s = {"a\0b", 3}}, one = integer(1);
    rl_err err;

    must(db, NULL, "CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)");
    must(db, NULL, "CREATE TABLE c (p INTEGER REFERENCES p (id))");
    must(db, NULL, "INSERT INTO p VALUES (1, 'x')");
    err = fails(db, NULL, "INSERT INTO p (name) VALUES ('x')");
    CHECK(err.code == RL_EINTEGRITY && strcmp(err.sqlstate, "23505") == 0);
    CHECK(strcmp(err.constraint, "p.name") == 0);
    err = fails(db, NULL, "INSERT INTO p (name) VALUES (NULL)");
    CHECK(err.code == RL_EINTEGRITY && strcmp(err.sqlstate, "23502") == 0);
    err = fails(db, NULL, "INSERT INTO c VALUES (7)");
    CHECK(err.code == RL_EINTEGRITY && strcmp(err.sqlstate, "23503") == 0);
    err = fails(db, NULL, "SELEC 1");
    CHECK(err.code == RL_EPROGRAMMING && strcmp(err.sqlstate, "42601") == 0);
    err = fails(db, NULL, "SELECT * FROM nowhere");
    CHECK(err.code == RL_EPROGRAMMING && strcmp(err.sqlstate, "42P01") == 0);
    err = fails(db, NULL, "SELECT 1; SELECT 2");
    CHECK(err.code == RL_EPROGRAMMING && strstr(err.msg, "more than one"));
    err = fails(db, NULL, "SELECT $1");
    CHECK(err.code == RL_EPROGRAMMING && strstr(err.msg, "1 parameters, 0 were given"));
    err = fails(db, NULL, "SELECT ?");
    CHECK(err.code == RL_EPROGRAMMING && strstr(err.msg, "$1"));
    rl_result_free(get(db, NULL, "SELECT 1", &one, 1, &err));
    CHECK_INT(err.code, RL_EPROGRAMMING);
    rl_result_free(get(db, NULL, "SELECT $1", &nul, 1, &err));
    CHECK(err.code == RL_EDATA && strstr(err.msg, "$1"));
    CHECK_INT(number(db, NULL, "SELECT count(*) FROM p"), 1);
    close_db(db);
}

static void serves_many_in_order_on(unsigned connections)
{
    enum { N = 1000 };
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = connections});
    static struct answer a[N];
    unsigned late = 0;

    for (int i = 0; i < N; i++)
        ask(&a[i], db, NULL, "SELECT 1", NULL, 0);
    CHECK_INT(stats_of(db).waiting, N);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i].done);
        CHECK_INT(a[i].err.code, 0);
        rl_result_free(a[i].result);
        if (connections == 1 && i && a[i].order < a[i - 1].order)
            late++; /* two threads may overtake each other */
    }
    CHECK_INT(late, 0);
    CHECK(stats_of(db).opened <= connections && stats_of(db).statements == N);
    close_db(db);
}

static void queues_statements_and_borrows_in_one_line(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    rl_lease *lease = borrow(db, "first");
    struct answer q1, b = {0}, q2;

    ask(&q1, db, NULL, "SELECT 1", NULL, 0);
    rl_db_borrow(db, "second", on_borrow, &b);
    ask(&q2, db, NULL, "SELECT 2", NULL, 0);
    pass(5);
    CHECK(!q1.done && !b.done && !q2.done);
    rl_lease_return(lease);
    wait_for(&b.done);
    CHECK(q1.done && !q2.done && q1.order < b.order);
    rl_lease_return(b.lease);
    wait_for(&q2.done);
    rl_result_free(q1.result);
    rl_result_free(q2.result);

    lease = borrow(db, "third"); /* leave the line, and hand back what came too late */
    rl_query_cancel(ask(&q1, db, NULL, "SELECT 1", NULL, 0));
    rl_borrow *waiting = rl_db_borrow(db, "fourth", on_borrow, &b);
    rl_borrow_cancel(waiting);
    waiting = rl_db_borrow(db, "fifth", on_borrow, &b);
    rl_lease_return(lease);
    rl_borrow_cancel(waiting);
    CHECK_INT(number(db, NULL, "SELECT 3"), 3);
    close_db(db);
}

static void names_the_holders_when_the_wait_is_over(void)
{
    rl_db *db = open_db(
        (rl_db_opts){.url = url, .name = "main", .max_connections = 2, .acquire_timeout = 0.05});
    rl_lease *one = borrow(db, "Chat.receive"), *two = borrow(db, "Tree.connect");
    struct answer other;

    ask(&other, db, NULL, "SELECT 1", NULL, 0);
    rl_err err = fails(db, NULL, "SELECT 1");
    CHECK_INT(err.code, RL_EOPERATIONAL);
    CHECK(strstr(err.msg, "main") && strstr(err.msg, "2 of 2 in use"));
    CHECK(strstr(err.msg, "waiting; held longest by Chat.receive 0."));
    CHECK(strstr(err.msg, "Tree.connect"));
    CHECK(other.err.code == RL_EOPERATIONAL && strstr(other.err.msg, "2 waiting"));
    CHECK_INT(stats_of(db).timeouts, 2);
    rl_lease_return(one);
    rl_lease_return(two);
    CHECK_INT(number(db, NULL, "SELECT 1"), 1);
    close_db(db);
}

static void cleans_a_lease_on_return(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    struct answer a;
    rl_err err;

    must(db, NULL, "CREATE TABLE left (i INTEGER)");
    rl_lease *lease = borrow(db, "open transaction");
    CHECK(!rl_lease_look(lease).in_transaction);
    must(db, lease, "BEGIN IMMEDIATE");
    must(db, lease, "INSERT INTO left VALUES (1)");
    CHECK(rl_lease_look(lease).in_transaction);
    rl_lease_return(lease);
    CHECK_INT(number(db, NULL, "SELECT count(*) FROM left"), 0);
    CHECK_INT(stats_of(db).opened, 1);

    lease = borrow(db, "session state");
    must(db, lease, "PRAGMA foreign_keys = OFF");
    rl_lease_return(lease);
    CHECK_INT(number(db, NULL, "PRAGMA foreign_keys"), 1);
    CHECK_INT(stats_of(db).opened, 2);

    lease = borrow(db, "running statement");
    ask(&a, db, lease,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT count(*) FROM n",
        NULL, 0);
    pass(5);
    err = fails(db, lease, "SELECT 1");
    CHECK(err.code == RL_EPROGRAMMING && !a.done);
    rl_lease_return(lease);
    wait_for(&a.done);
    CHECK_INT(a.err.code, RL_ECANCELLED);
    CHECK_INT(number(db, NULL, "SELECT 7"), 7);
    close_db(db);
}

static const char endless[] = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                              " SELECT count(*) FROM n";

static void cancels_without_hitting_the_next(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    struct answer a, b;

    for (int i = 0; i < 20; i++) {
        rl_query *q = ask(&a, db, NULL, endless, NULL, 0);
        pass(i % 4);
        rl_query_cancel(q);
        CHECK_INT(number(db, NULL, "SELECT 5"), 5);
        CHECK(!a.done);
    }
    rl_lease *lease = borrow(db, "lease");
    rl_query *q = ask(&a, db, lease, endless, NULL, 0);
    pass(2);
    rl_query_cancel(q);
    CHECK_INT(number(db, lease, "SELECT 6"), 6); /* waits for the cancelled one */
    q = ask(&a, db, lease, endless, NULL, 0);
    pass(2);
    rl_query_cancel(q);
    q = ask(&b, db, lease, "SELECT 1", NULL, 0); /* held, then cancelled too */
    rl_query_cancel(q);
    rl_lease_return(lease);
    CHECK_INT(number(db, NULL, "SELECT 8"), 8);
    CHECK_INT(stats_of(db).opened, 1);
    close_db(db);

    db = open_db((rl_db_opts){.url = url, .statement_timeout = 0.02});
    rl_err err = fails(db, NULL, endless);
    CHECK(err.code == RL_EOPERATIONAL && strcmp(err.sqlstate, "57014") == 0);
    close_db(db);
}

static void closes_connections_by_age(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .has_max_age = true, .conn_max_age = 0});

    number(db, NULL, "SELECT 1");
    number(db, NULL, "SELECT 1");
    CHECK_INT(stats_of(db).opened, 1);
    rl_db_close_old(db);
    CHECK_INT(stats_of(db).open, 0);
    rl_lease *lease = borrow(db, "lease");
    rl_db_close_old(db);
    CHECK_INT(number(db, lease, "SELECT 1"), 1);
    rl_lease_return(lease);
    CHECK_INT(stats_of(db).open, 0);
    close_db(db);

    db = open_db((rl_db_opts){.url = url, .has_max_age = true, .conn_max_age = 0.06});
    number(db, NULL, "SELECT 1");
    rl_db_close_old(db);
    CHECK_INT(stats_of(db).open, 1);
    pass(80); /* nobody calls, the timer closes it */
    CHECK_INT(stats_of(db).open, 0);
    CHECK_INT(stats_of(db).closed_age, 1);
    lease = borrow(db, "old");
    pass(80);
    rl_db_close_old(db);
    CHECK_INT(stats_of(db).leased, 1);
    rl_lease_return(lease);
    CHECK_INT(stats_of(db).open, 0);
    close_db(db);

    db = open_db(
        (rl_db_opts){.url = url, .has_max_age = true, .conn_max_age = -1, .idle_timeout = 0.05});
    number(db, NULL, "SELECT 1");
    rl_db_close_old(db);
    CHECK_INT(stats_of(db).open, 1);
    pass(80);
    CHECK_INT(stats_of(db).closed_idle, 1);
    CHECK_INT(number(db, NULL, "SELECT 1"), 1);
    close_db(db);

    db = open_db((rl_db_opts){.url = url, .min_connections = 1, .idle_timeout = 0.02});
    number(db, NULL, "SELECT 1");
    pass(60);
    CHECK_INT(stats_of(db).open, 1);
    close_db(db);
}

static void keeps_a_database_in_memory(void)
{
    rl_db *db = open_db((rl_db_opts){.url = "sqlite::memory:?max_connections=5&idle_timeout=0.01"});
    static struct answer a[20];

    must(db, NULL, "CREATE TABLE m (i INTEGER)");
    for (int i = 0; i < 20; i++)
        ask(&a[i], db, NULL, "INSERT INTO m VALUES (1)", NULL, 0);
    for (int i = 0; i < 20; i++) {
        wait_for(&a[i].done);
        rl_result_free(a[i].result);
    }
    must(db, NULL, "PRAGMA cache_size = 100");
    rl_db_close_old(db);
    pass(30);
    CHECK_INT(number(db, NULL, "SELECT count(*) FROM m"), 20);
    CHECK_INT(stats_of(db).opened, 1);
    close_db(db);
}

static void tells_why_it_cannot_open(void)
{
    rl_db *db = open_db((rl_db_opts){.url = "sqlite:/nowhere/at/all.db", .acquire_timeout = 0.2});
    rl_err err = fails(db, NULL, "SELECT 1");

    CHECK_INT(err.code, RL_EOPERATIONAL);
    CHECK(strstr(err.msg, "0.2 s") && strstr(err.msg, "cannot open /nowhere/at/all.db"));
    close_db(db);
}

static void waits_for_another_writer(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_lease *writer = borrow(db, "writer"), *reader = borrow(db, "reader");
    struct answer a;

    must(db, NULL, "CREATE TABLE w (i INTEGER)");
    must(db, writer, "BEGIN IMMEDIATE");
    must(db, writer, "INSERT INTO w VALUES (1)");
    ask(&a, db, reader, "BEGIN IMMEDIATE", NULL, 0);
    pass(30);
    CHECK(!a.done);
    must(db, writer, "COMMIT");
    wait_for(&a.done);
    CHECK_INT(a.err.code, 0);
    rl_result_free(a.result);
    must(db, reader, "COMMIT");

    must(db, writer, "BEGIN");
    CHECK_INT(number(db, writer, "SELECT count(*) FROM w"), 1);
    must(db, reader, "INSERT INTO w VALUES (2)");
    rl_err err = fails(db, writer, "INSERT INTO w VALUES (3)"); /* too late to become a writer */
    CHECK(err.code == RL_EOPERATIONAL && strcmp(err.sqlstate, "40001") == 0);
    rl_lease_return(writer);
    rl_lease_return(reader);
    close_db(db);
}

static void prepares_anew_when_the_schema_changes(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .statement_cache_size = 3});
    rl_err err;
    char sql[40];

    must(db, NULL, "CREATE TABLE s (i INTEGER)");
    must(db, NULL, "INSERT INTO s VALUES (1)");
    must(db, NULL, "SELECT * FROM s");
    must(db, NULL, "ALTER TABLE s ADD COLUMN yes BOOLEAN DEFAULT 1");
    rl_result *r = get(db, NULL, "SELECT * FROM s", NULL, 0, &err);
    CHECK(r && rl_result_cols(r) == 2 && rl_result_cell(r, 0, 1).kind == RL_BOOL);
    rl_result_free(r);
    for (int i = 0; i < 10; i++) {
        snprintf(sql, sizeof(sql), "SELECT %d", i);
        CHECK_INT(number(db, NULL, sql), i);
    }
    close_db(db);
}

static void closes_with_work_in_flight(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 2});
    rl_lease *lease = borrow(db, "still out");
    struct answer run, line, late;
    bool closed = false;

    ask(&run, db, NULL, endless, NULL, 0);
    ask(&line, db, NULL, "SELECT 1", NULL, 0);
    pass(20);
    rl_db_close(db, 0.05, on_db_closed, &closed);
    ask(&late, db, NULL, "SELECT 1", NULL, 0);
    CHECK_INT(number(db, lease, "SELECT 4"), 4); /* within the grace */
    CHECK(!closed);
    wait_for(&closed);
    CHECK(run.done && run.err.code == RL_EOPERATIONAL);
    CHECK(line.done && strstr(line.err.msg, "closing"));
    CHECK(late.done && strstr(late.err.msg, "closing"));
    CHECK(rl_lease_look(lease).broken);
    rl_lease_return(lease);

    db = open_db((rl_db_opts){.url = url}); /* while it dials */
    ask(&line, db, NULL, "SELECT 1", NULL, 0);
    close_db(db);
    CHECK(line.done && line.err.code == RL_EOPERATIONAL);
    close_db(open_db((rl_db_opts){.url = url}));
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(url, sizeof(url), "sqlite:%s/test.db", folder);
    alarm(120);
    CHECK(rl_loop_init(&loop) == 0);
    refuses_urls_that_make_no_sense();
    keeps_types_both_ways();
    maps_errors();
    serves_many_in_order_on(1);
    serves_many_in_order_on(2);
    queues_statements_and_borrows_in_one_line();
    names_the_holders_when_the_wait_is_over();
    cleans_a_lease_on_return();
    cancels_without_hitting_the_next();
    closes_connections_by_age();
    keeps_a_database_in_memory();
    tells_why_it_cannot_open();
    waits_for_another_writer();
    prepares_anew_when_the_schema_changes();
    closes_with_work_in_flight();
    rl_loop_fini(&loop);

    static const char *const left[] = {"test.db", "test.db-wal", "test.db-shm"};
    char path[160];
    for (size_t i = 0; i < RL_COUNT(left); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, left[i]);
        unlink(path);
    }
    CHECK(rmdir(folder) == 0);
    return unit_done();
}
