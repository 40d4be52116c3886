/* crew.h - what the workers of a process have in common.
 *
 * All of it is read and written without a lock, by any of them. */
#ifndef RL_CORE_CREW_H
#define RL_CORE_CREW_H

#include "base/base.h"

#include <stdatomic.h>

#define RL_MAX_WORKERS 256

typedef struct rl_crew {
    _Atomic unsigned count; /* workers; the script that worker 0 loads may still change it */
} rl_crew;

#endif
