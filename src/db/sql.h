/* sql.h - the little that the pool understands of a statement: its first words. */
#ifndef RL_DB_SQL_H
#define RL_DB_SQL_H

#include "base/str.h"

/* Does it begin with this word (in capitals), after blanks and comments? */
bool rl_sql_begins(rl_str sql, const char *word);

/* Does it plainly change session state that would outlive it? Errs towards yes. */
bool rl_sql_is_dirty(rl_str sql);

/* COMMIT under any of its names. */
bool rl_sql_is_commit(rl_str sql);

/* Is it of a kind worth preparing: reads and writes rows? */
bool rl_sql_is_plain(rl_str sql);

#endif
