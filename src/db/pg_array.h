/* pg_array.h - values as PostgreSQL writes them in text, and arrays of them. No libpq here.
 *
 * An array reads like {1,2,NULL} or {{"a b","\""},{c,d}}, with its bounds before it when they do
 * not begin at 1: [2:3]={1,2}. The bounds are skipped. What stands between elements is a comma,
 * for boxes a semicolon. */
#ifndef RL_DB_PG_ARRAY_H
#define RL_DB_PG_ARRAY_H

#include "base/buf.h"
#include "db/db.h"

enum { RL_PG_ARRAY_DEPTH = 6 }; /* dimensions, as many as the server has */

/* The value that a text of this kind says. A NUL stands behind the text; bytes are decoded
 * where they are, and whatever is text borrows it. Not for arrays. */
rl_value rl_pg_read(rl_kind kind, char *text, size_t n);

typedef enum rl_pg_token {
    RL_PG_BAD,   /* no array; so is everything after it */
    RL_PG_OPEN,  /* a list begins, the array itself or one inside it */
    RL_PG_CLOSE, /* it ends */
    RL_PG_ITEM,  /* an element */
    RL_PG_NULL,  /* an element that is NULL */
    RL_PG_END,   /* nothing is left */
} rl_pg_token;

typedef struct rl_pg_array {
    rl_str rest;
    char delimiter;
    unsigned depth;
    enum { RL_PG_AT_START, RL_PG_AT_FIRST, RL_PG_BEHIND, RL_PG_BROKEN } at;
    rl_buf item; /* unescaped */
} rl_pg_array;

void rl_pg_array_init(rl_pg_array *a, rl_str text, char delimiter); /* borrows text */
void rl_pg_array_fini(rl_pg_array *a);

/* One step. An item is in a->item, with a NUL behind it, and yours to change until the next. */
rl_pg_token rl_pg_array_next(rl_pg_array *a);

#endif
