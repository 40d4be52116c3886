/* figures.h - one worker as numbers: what it has, what it did, taken on its own thread.
 *
 * Whoever shows them has a copy that outlives the worker. */
#ifndef RL_CORE_FIGURES_H
#define RL_CORE_FIGURES_H

#include "core/worker.h"

typedef struct rl_db_figures {
    char *name;
    rl_db_stats stats;
} rl_db_figures;

typedef struct rl_figures {
    bool there; /* false: the worker had ended */
    unsigned worker, generation;
    rl_counters counters;
    unsigned connections, requests, websockets, background; /* alive */
    unsigned tasks, channels;
    size_t groups;
    uint64_t unsent; /* bytes that peers have not read yet */
    uint64_t bytes_in, bytes_out, messages_in, messages_out;
    uint64_t deflated, inflated, deflate_streams;
    uint64_t delivered, dropped; /* by the layer */
    rl_outside_figures outside;  /* of the layer's backend */
    uint64_t events_dropped;     /* of sources */
    rl_broker_stats mqtt;
    uint64_t close_codes[RL_CLOSE_CODES];
    size_t lua_bytes, lua_limit;
    uint64_t turns;
    rl_histogram stalls;
    rl_db_figures *dbs;
    unsigned ndbs;
    rl_route *routes;
    unsigned nroutes;
    unsigned *alive; /* consumers of each route */
    rl_meters meters;
    rl_generation *generations; /* that somebody runs, and those kept */
    unsigned ngenerations;
} rl_figures;

void rl_figures_of(rl_worker *w, rl_figures *out);
void rl_figures_fini(rl_figures *f);

#endif
