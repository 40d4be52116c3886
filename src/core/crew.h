/* crew.h - what the workers of a process have in common.
 *
 * All of it is for any of them at any time. */
#ifndef RL_CORE_CREW_H
#define RL_CORE_CREW_H

#include "io/listener.h"
#include "layer/exchange.h"
#include "layer/history.h"
#include "layer/line.h"
#include "layer/presence.h"

#include <stdatomic.h>

#define RL_MAX_WORKERS RL_EXCHANGE_MAX

typedef struct rl_worker rl_worker;

typedef struct rl_crew {
    _Atomic unsigned count; /* workers; the script that worker 0 loads may still change it */
    rl_exchange *exchange;
    rl_lines *lines; /* of background channels */
    rl_history *history; /* of groups that keep it */
    rl_presence *presence;
    rl_worker *workers[RL_MAX_WORKERS]; /* all are there before any accepts */
    _Atomic unsigned connections;       /* of all workers */
} rl_crew;

/* A worker has accepted a connection (taken): its own, unless another has clearly fewer. */
void rl_crew_accept(rl_worker *w, int fd, const rl_bound *from);

#endif
