/* pace.h - how long statements have taken, by their text: who is quick enough to share.
 *
 * A text is quick once it has run three times and its moving average is below RL_PACE_QUICK.
 * What was slow once can become quick again. Bounded: when there are too many texts, all are
 * forgotten and learnt anew. A zeroed struct knows nothing. */
#ifndef RL_DB_PACE_H
#define RL_DB_PACE_H

#include "base/map.h"

enum { RL_PACE_QUICK = 2000 }; /* µs */

typedef struct rl_paces {
    rl_map by_sql;
    unsigned changes; /* so many times one has become quick, or is so no more */
} rl_paces;

void rl_paces_fini(rl_paces *p);

bool rl_paces_is_quick(const rl_paces *p, rl_str sql);
void rl_paces_learn(rl_paces *p, rl_str sql, uint64_t us); /* it took so long, on its own */

#endif
