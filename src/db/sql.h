/* sql.h - the little that the pool understands of a statement: its first words. */
#ifndef RL_DB_SQL_H
#define RL_DB_SQL_H

#include "base/str.h"

/* Does it begin with this word (in capitals), after blanks and comments? */
bool rl_sql_begins(rl_str sql, const char *word);

/* What session state it plainly changes that would outlive it and its transaction ("SET", "an
 * advisory lock"), for a message; NULL when it does not. Errs towards yes; what hides in functions
 * of the database is not seen, but CALL and DO always count. */
const char *rl_sql_session_change(rl_str sql);
static inline bool rl_sql_is_dirty(rl_str sql)
{
    return rl_sql_session_change(sql) != NULL;
}

/* COMMIT under any of its names. */
bool rl_sql_is_commit(rl_str sql);

/* ROLLBACK of the whole transaction, under any of its names. */
bool rl_sql_is_rollback(rl_str sql);

/* Does it, as far as its words tell, change rows or the schema? Errs towards yes for WITH. */
bool rl_sql_writes(rl_str sql);

/* Is it of a kind worth preparing: reads and writes rows? */
bool rl_sql_is_plain(rl_str sql);

#endif
