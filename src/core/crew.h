/* crew.h - what the workers of a process have in common.
 *
 * All of it is for any of them at any time. */
#ifndef RL_CORE_CREW_H
#define RL_CORE_CREW_H

#include "layer/exchange.h"

#include <stdatomic.h>

#define RL_MAX_WORKERS RL_EXCHANGE_MAX

typedef struct rl_crew {
    _Atomic unsigned count; /* workers; the script that worker 0 loads may still change it */
    rl_exchange *exchange;
} rl_crew;

#endif
