/* bind_db_stats.h - what a database can tell about itself: its figures, and statements that took
 * long. */
#ifndef RL_BIND_DB_STATS_H
#define RL_BIND_DB_STATS_H

#include "bind/bind.h"

/* [stats]: counts by name, `errors` by class, and histograms `wait run lease age`, each with
 * `count`, `sum` in seconds and `buckets`; their upper bounds, in seconds, are in `bounds`. */
int rl_push_db_stats(lua_State *L, const rl_db *db);

/* Log a statement that has just ended if it was slow: how long, its text without parameters, and
 * the line of the script that waits for it in co, which is parked. */
void rl_tell_slow_statement(const rl_db *db, const rl_query *q, lua_State *co);

#endif
