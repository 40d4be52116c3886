/* script.h - one worker's copy of the application: lua/rille/program.lua, called from C.
 *
 * Staging makes ready for a change of the code: it loads the script completely beside the one that
 * serves, or takes the one that is kept. Committing makes the change, discarding forgets it. None
 * of them suspends; what may is a task. Failures come as a text with its traceback. */
#ifndef RL_HOST_SCRIPT_H
#define RL_HOST_SCRIPT_H

#include "host/report.h"
#include "host/settings.h"
#include "core/worker.h"

typedef struct rl_script {
    rl_worker *worker;
    const rl_settings *settings;
    int program; /* registry reference of rille.program */

    /* Limits of what was staged last. */
    rl_networks trusted;
    rl_server_limits server;
    rl_worker_limits consumers;
    rl_limits *sets;
    unsigned nsets;
    double handler_cpu_limit; /* seconds; 0: none */
    double memory_limit;      /* bytes */
    rl_history_limits history;
    size_t presence_bytes;
    uint64_t patience, publish_patience; /* ms */
    rl_probation_rule probation;
} rl_script;

int rl_script_open(rl_script *s, rl_worker *w, const rl_settings *settings,
                   rl_buf *text) RL_MUST_USE;
void rl_script_close(rl_script *s);

/* out gets what the script says of itself; its strings are the caller's, also on failure. */
int rl_script_stage(rl_script *s, rl_change what, rl_loaded *out, rl_buf *text) RL_MUST_USE;
/* out gets what serves now. It fails only if the script broke what Lua itself provides. */
int rl_script_commit(rl_script *s, rl_loaded *out, rl_buf *text) RL_MUST_USE;
void rl_script_discard(rl_script *s);
/* The last load failed with these words, perhaps elsewhere. */
void rl_script_trouble(rl_script *s, const char *words);

/* What a function of rille.program returns for people, a string; yours. */
int rl_script_say(rl_script *s, const char *name, char **out, rl_buf *text) RL_MUST_USE;

/* One of its functions as a task, to be queued, perhaps with arguments. It is cancelled with those
 * that nobody owns. */
rl_task *rl_script_task(rl_script *s, const char *name, rl_task_ended_fn *ended, void *arg);

#endif
