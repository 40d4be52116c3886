#include "db/sqlite_error.h"

#include <stdio.h>
#include <string.h>

void rl_sqlite_state(rl_err *err, const char *sqlstate)
{
    memcpy(err->sqlstate, sqlstate, 6);
}

/* "UNIQUE constraint failed: person.name" has the column behind its last colon. */
static void name_constraint(rl_err *err, const char *msg)
{
    const char *at = strstr(msg, "failed: ");

    if (at)
        snprintf(err->constraint, sizeof(err->constraint), "%s", at + strlen("failed: "));
}

static void constraint_error(rl_err *err, int rc, const char *msg)
{
    rl_err_set(err, RL_EINTEGRITY, "%s", msg);
    name_constraint(err, msg);
    switch (rc) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        rl_sqlite_state(err, "23505");
        return;
    case SQLITE_CONSTRAINT_NOTNULL:
        rl_sqlite_state(err, "23502");
        return;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        rl_sqlite_state(err, "23503");
        return;
    case SQLITE_CONSTRAINT_CHECK:
        rl_sqlite_state(err, "23514");
        return;
    default:
        rl_sqlite_state(err, "23000");
    }
}

/* SQLite gives one code for all that is wrong with a statement; its words tell more. */
static void statement_error(rl_err *err, const char *msg)
{
    static const struct {
        const char *words, *sqlstate;
        int code;
    } known[] = {
        {"no such table", "42P01", RL_EPROGRAMMING},
        {"no such column", "42703", RL_EPROGRAMMING},
        {"has no column", "42703", RL_EPROGRAMMING},
        {"no such function", "42883", RL_EPROGRAMMING},
        {"ambiguous column", "42702", RL_EPROGRAMMING},
        {"already exists", "42P07", RL_EPROGRAMMING},
        {"syntax error", "42601", RL_EPROGRAMMING},
        {"incomplete input", "42601", RL_EPROGRAMMING},
        {"unrecognized token", "42601", RL_EPROGRAMMING},
        {"within a transaction", "25001", RL_ETRANSACTION},
        {"no transaction is active", "25P01", RL_ETRANSACTION},
        {"no such savepoint", "3B001", RL_ETRANSACTION},
        {"malformed JSON", "22P02", RL_EDATA},
        {"integer overflow", "22003", RL_EDATA},
        {"", "42000", RL_EPROGRAMMING},
    };
    size_t i = 0;

    while (!strstr(msg, known[i].words))
        i++;
    rl_err_set(err, known[i].code, "%s", msg);
    rl_sqlite_state(err, known[i].sqlstate);
}

void rl_sqlite_error(rl_err *err, sqlite3 *db, int rc, const char *path, uint64_t busy_timeout)
{
    const char *msg = sqlite3_errmsg(db);

    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
        constraint_error(err, rc, msg);
        return;
    case SQLITE_ERROR:
        statement_error(err, msg);
        return;
    case SQLITE_MISMATCH:
        rl_err_set(err, RL_EDATA, "%s", msg);
        rl_sqlite_state(err, "22000");
        return;
    case SQLITE_TOOBIG:
        rl_err_set(err, RL_EDATA, "%s", msg);
        rl_sqlite_state(err, "22001");
        return;
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
        rl_err_set(err, RL_EPROGRAMMING, "%s", msg);
        return;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        if (rc == SQLITE_BUSY_SNAPSHOT)
            rl_err_set(err, RL_EOPERATIONAL,
                       "%s: %s: others have written since this transaction read; begin one that "
                       "will write with BEGIN IMMEDIATE",
                       path, msg);
        else
            rl_err_set(err, RL_EOPERATIONAL, "%s: %s for %g s by another connection or program",
                       path, msg, (double)busy_timeout / 1000);
        rl_sqlite_state(err, rc == SQLITE_BUSY_SNAPSHOT ? "40001" : "55P03");
        return;
    default: /* the file, the disk, the memory */
        rl_err_set(err, RL_EOPERATIONAL, "%s: %s", path, msg);
    }
}
