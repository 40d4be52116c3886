/* runner_parts.h - what the files of runner.h know of each other; for nobody else. */
#ifndef RL_HOST_RUNNER_PARTS_H
#define RL_HOST_RUNNER_PARTS_H

#include "host/runner.h"
#include "host/script.h"

struct rl_runner {
    rl_reporter reporter; /* to the main thread */
    const rl_settings *settings;
    uv_thread_t thread;
    rl_worker worker;
    rl_script script;
    rl_bound bounds[RL_MAX_SOCKETS];
    unsigned nbounds;
    uv_timer_t drain;
    bool draining, drain_open, stopping, loaded;
    bool ended;       /* what is still ordered comes too late */
    unsigned closing; /* databases and brokers */
    rl_change change; /* to be staged, */
    unsigned attempt;
    int status;
};

/* Drain, then end the thread with this status; a first failure counts. On its own thread. */
void rl_runner_stop(rl_runner *r, int status);

#endif
