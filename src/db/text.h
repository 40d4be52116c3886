/* text.h - the SQL of reads that are asked again and again, kept once.
 *
 * The query layer asks few texts with many values, and a statement has to keep its text until its
 * answer: all that ask the same share a copy, which was checked when it was made, and knows what
 * pace.h says of it. It is found by where the caller has his, which stays the same place while Lua
 * keeps the string; then all of it is compared, so that a table too small, or a place used again,
 * costs no more than a copy. A zeroed table is empty. */
#ifndef RL_DB_TEXT_H
#define RL_DB_TEXT_H

#include "db/pace.h"

typedef struct rl_text {
    rl_str sql, many; /* as of a statement; each has a NUL behind it */
    unsigned holders;
    unsigned as_of; /* paces.changes, when it was last asked whether it is quick */
    bool quick;
} rl_text;

typedef struct rl_texts {
    rl_text *at[64];
} rl_texts;

void rl_texts_fini(rl_texts *ts);

/* To be given back with rl_text_drop(). NULL: it is none that a server could read. */
rl_text *rl_texts_take(rl_texts *ts, rl_str sql, rl_str many);
void rl_text_drop(rl_text *t); /* NULL is fine */

bool rl_text_is_quick(rl_text *t, const rl_paces *paces);

#endif
