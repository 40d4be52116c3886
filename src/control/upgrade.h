/* upgrade.h - `rille upgrade`, in the process that is replaced: it starts another one with the same
 * words, from the program file that is there by now, and gives it what it has.
 *
 * The new one loads the script and starts completely while this one serves; only then its sockets
 * and WebSockets change over (link.h has the steps, core/moving.h what of a connection moves),
 * which takes as long as the handlers that are under way, at most SETTLE_MS. What cannot move is
 * drained here. Until the new one is ready, whatever happens to it, this one serves on.
 *
 * Main thread. */
#ifndef RL_CONTROL_UPGRADE_H
#define RL_CONTROL_UPGRADE_H

#include "control/giving.h"
#include "host/workers.h"

typedef struct rl_upgrade rl_upgrade;

typedef struct rl_upgrade_events {
    /* The process pid serves, with everything that could move: stop. */
    void (*handed_over)(void *arg, int pid);
} rl_upgrade_events;

rl_upgrade *rl_upgrade_open(rl_loop *main, rl_workers *workers, const rl_upgrade_events *events,
                            void *arg);
/* told as by rl_workers_change(); program: another program file, NULL or "" for our own. */
void rl_upgrade_begin(rl_upgrade *u, const rl_estate *estate, const char *program,
                      rl_change_told *told, void *arg);
void rl_upgrade_forget(rl_upgrade *u, void *arg); /* nobody waits with this arg any more */
/* Before the loop is closed; NULL is fine. */
void rl_upgrade_close(rl_upgrade *u);

#endif
