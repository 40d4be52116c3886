/* sqlite_error.h - what SQLite says is wrong, as the same class and SQLSTATE as PostgreSQL's. */
#ifndef RL_DB_SQLITE_ERROR_H
#define RL_DB_SQLITE_ERROR_H

#include "base/err.h"

#include <sqlite3.h>

/* Five letters and digits. */
void rl_sqlite_state(rl_err *err, const char *sqlstate);

/* rc is what a call on db has just answered, but not SQLITE_INTERRUPT, of which the caller knows
 * why. The path and how long it waited for others (ms) are for the words. */
void rl_sqlite_error(rl_err *err, sqlite3 *db, int rc, const char *path, uint64_t busy_timeout);

#endif
