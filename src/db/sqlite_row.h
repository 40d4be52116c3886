/* sqlite_row.h - values between rille and SQLite. */
#ifndef RL_DB_SQLITE_ROW_H
#define RL_DB_SQLITE_ROW_H

#include "db/driver.h"

#include <sqlite3.h>

int rl_sqlite_bind(sqlite3_stmt *stmt, int at, const rl_value *v); /* borrows text and bytes */

/* Step to the end and copy every row, so that the result needs nothing of the connection.
 * NULL with *rc when a step failed. stmt may be NULL: an empty statement gives nothing. */
rl_result *rl_sqlite_collect(sqlite3_stmt *stmt, int *rc);

#endif
