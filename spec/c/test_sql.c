/* What the pool reads out of a statement's text. */
#include "unit.h"

#include "db/sql.h"

#include <string.h>

static bool changes(const char *sql, const char *what)
{
    const char *change = rl_sql_session_change(rl_str_of(sql));

    if (what ? change && strcmp(change, what) == 0 : !change)
        return true;
    printf("%s: %s\n", sql, change ? change : "nothing");
    return false;
}

static void sees_what_outlives_a_statement(void)
{
    CHECK(changes("SET search_path TO x", "SET"));
    CHECK(changes("  /* a /* b */ c */ -- d\n ;(set session x = 1", "SET"));
    CHECK(changes("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET"));
    CHECK(changes("RESET ALL", "RESET"));
    CHECK(changes("listen a", "LISTEN"));
    CHECK(changes("PREPARE p AS SELECT 1", "PREPARE"));
    CHECK(changes("DO $$ BEGIN PERFORM set_config('a.b', 'c', false); END $$", "DO"));
    CHECK(changes("CALL may_set_anything()", "CALL"));
    CHECK(changes("PRAGMA foreign_keys = OFF", "PRAGMA"));
    CHECK(changes("ATTACH 'x' AS y", "ATTACH"));
    CHECK(changes("SELECT set_config('a.b', 'c', false)", "set_config()"));
    CHECK(changes("SELECT pg_catalog.set_config('a.b', 'c', false)", "set_config()"));
    CHECK(changes("set_config", "set_config()"));
    CHECK(changes("WITH x AS (SELECT Set_Config ('a.b', 'c', false)) SELECT 1", "set_config()"));
    CHECK(changes("EXPLAIN ANALYZE SELECT set_config('a.b', 'c', false)", "set_config()"));
    CHECK(changes("SELECT pg_advisory_lock(1)", "an advisory lock"));
    CHECK(changes("INSERT INTO t SELECT pg_try_advisory_lock_shared(1)", "an advisory lock"));
    CHECK(changes("SELECT pg_advisory_unlock_all()", "an advisory lock"));
    CHECK(changes("CREATE TEMP TABLE t (i int)", "a temporary object"));
    CHECK(changes("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", "a temporary object"));
    CHECK(changes("CREATE LOCAL TEMP TABLE t (i int)", "a temporary object"));
    CHECK(changes("CREATE TABLE pg_temp.t (i int)", "a temporary object"));
    CHECK(changes("create table \"temp\".t (i int)", "a temporary object"));
    CHECK(changes("CREATE TABLE t AS SELECT set_config('a.b', 'c', false)", "set_config()"));
    CHECK(changes("SELECT 1 AS i INTO TEMP t", "a temporary table"));
    CHECK(changes("WITH x AS (SELECT 1) SELECT * INTO TEMPORARY t FROM x", "a temporary table"));
    CHECK(changes("SELECT 1 AS i INTO pg_temp.t", "a temporary table"));
    CHECK(changes("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "a cursor WITH HOLD"));
}

static void sees_nothing_where_nothing_is(void)
{
    CHECK(changes("", NULL));
    CHECK(changes("_", NULL));
    CHECK(changes(";;", NULL));
    CHECK(changes("/* unfinished", NULL));
    CHECK(changes("SET LOCAL x = 1", NULL));
    CHECK(changes("SET TRANSACTION READ ONLY", NULL));
    CHECK(changes("SET CONSTRAINTS ALL DEFERRED", NULL));
    CHECK(changes("PREPARE TRANSACTION 'x'", NULL));
    CHECK(changes("SELECT site_config, advisory_note FROM site_config", NULL));
    CHECK(changes("SELECT reset_config(1), my_set_config(2)", NULL));
    CHECK(changes("SELECT pg_advisory_xact_lock(1)", NULL));
    CHECK(changes("SELECT pg_try_advisory_xact_lock(1)", NULL));
    CHECK(changes("UPDATE settings SET listen = 1", NULL));
    CHECK(changes("INSERT INTO template (temp) VALUES (1)", NULL));
    CHECK(changes("CREATE TABLE temperature (i int)", NULL));
    CHECK(changes("DECLARE c CURSOR FOR SELECT 1", NULL));
    CHECK(changes("SELECT * FROM setting", NULL));
    CHECK(changes("SETTINGS", NULL));
}

static void knows_a_commit_by_all_its_names(void)
{
    CHECK(rl_sql_is_commit(RL_STR("COMMIT")));
    CHECK(rl_sql_is_commit(RL_STR(" -- now\n commit and chain")));
    CHECK(rl_sql_is_commit(RL_STR("END TRANSACTION")));
    CHECK(rl_sql_is_commit(RL_STR("PREPARE TRANSACTION 'x'")));
    CHECK(rl_sql_is_commit(RL_STR("COMMIT PREPARED 'x'")));
    CHECK(!rl_sql_is_commit(RL_STR("PREPARE p AS SELECT 1")));
    CHECK(!rl_sql_is_commit(RL_STR("ROLLBACK")));
    CHECK(!rl_sql_is_commit(RL_STR("COMMITMENT")));
    CHECK(!rl_sql_is_commit(RL_STR("")));
    CHECK(rl_sql_is_rollback(RL_STR("ROLLBACK")));
    CHECK(rl_sql_is_rollback(RL_STR("abort work")));
    CHECK(rl_sql_is_rollback(RL_STR("/* all of it */ ROLLBACK TRANSACTION")));
    CHECK(!rl_sql_is_rollback(RL_STR("ROLLBACK TO SAVEPOINT a")));
    CHECK(!rl_sql_is_rollback(RL_STR("ROLLBACK WORK TO a")));
    CHECK(!rl_sql_is_rollback(RL_STR("ROLLBACK PREPARED 'x'")));
    CHECK(!rl_sql_is_rollback(RL_STR("COMMIT")));
}

static void tells_who_writes(void)
{
    CHECK(rl_sql_writes(RL_STR("INSERT INTO t VALUES (1)")));
    CHECK(rl_sql_writes(RL_STR("-- x\nreplace into t values (1)")));
    CHECK(rl_sql_writes(RL_STR("DROP TABLE t")));
    CHECK(rl_sql_writes(RL_STR("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x")));
    CHECK(!rl_sql_writes(RL_STR("WITH x AS (SELECT 1) SELECT * FROM x")));
    CHECK(!rl_sql_writes(RL_STR("SELECT updated FROM t")));
    CHECK(!rl_sql_writes(RL_STR("PRAGMA table_info(t)")));
    CHECK(!rl_sql_writes(RL_STR("")));
}

int main(void)
{
    tells_who_writes();
    sees_what_outlives_a_statement();
    sees_nothing_where_nothing_is();
    knows_a_commit_by_all_its_names();
    return unit_done();
}
