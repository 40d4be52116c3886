/* bind_db.h - what the files of the database binding share: handles and statements are in
 * bind_db.c, pins in bind_db_pin.c, values in bind_db_value.c, COPY in bind_db_copy.c, LISTEN in
 * bind_db_ear.c, figures in bind_db_stats.c. Nobody else includes this. */
#ifndef RL_BIND_BIND_DB_H
#define RL_BIND_BIND_DB_H

#include "bind/bind.h"

/* bind_db.c */

/* The database of a handle, for the running task: core/retired.h. Raises if it is none. */
rl_db *rl_db_check(lua_State *L, int arg);
rl_db *rl_db_check_present(lua_State *L, int arg); /* the one that is there now, whoever asks */

/* bind_db_pin.c */

typedef struct rl_pin rl_pin;

rl_pin *rl_pin_find(rl_task *t, const rl_db *db); /* the task's pin of it, or NULL */
rl_lease *rl_pin_lease(const rl_pin *p);          /* NULL without one */
/* A statement on it begins, and ends; a pin that no statement uses for long is told of in the log.
 * Without a pin nothing happens. */
rl_lease *rl_pin_begin(rl_pin *p, rl_str sql);
void rl_pin_end(rl_pin *p);

/* Adds the functions of pins to the table on top. */
void rl_db_open_pins(lua_State *L);

/* bind_db_copy.c: adds the functions of COPY to the table on top. */
void rl_db_open_copy(lua_State *L);

/* bind_db_ear.c: adds the functions of ears to the table on top. */
void rl_db_open_ears(lua_State *L);

/* bind_db_value.c */

/* Parameter $n, at `arg`; raises what cannot be one. Its bytes are borrowed from the stack. */
rl_value rl_db_check_param(lua_State *L, int arg, int n);

/* [rows, affected, names of the columns of JSON or nil, names of all columns or nil], and how many
 * of these there are. NULLs are absent from rows; the last one is there when any is, and `names`
 * asks for it. */
int rl_db_push_result(lua_State *co, const rl_result *r, bool names);
/* [row or nil, how many there are, names of the columns of JSON or nil]: the row itself, or, where
 * there are several, the list of them. */
int rl_db_push_row(lua_State *co, const rl_result *r);

/* Adds what makes parameters to the table on top. */
void rl_db_open_values(lua_State *L);

/* bind_db_stats.c */

/* [stats]: counts by name, `errors` by class, and histograms `wait run lease age`, each with
 * `count`, `sum` in seconds and `buckets`; their upper bounds, in seconds, are in `bounds`, which
 * the last bucket has none of. */
int rl_db_push_stats(lua_State *L, const rl_db *db);

/* Log a statement that has just ended if it was slow: how long, its text without parameters, and
 * the line of the script that waits for it in co, which is parked. */
void rl_db_tell_slow(const rl_db *db, const rl_query *q, lua_State *co);

#endif
