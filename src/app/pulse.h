/* pulse.h - the service manager's watchdog (WatchdogSec=): we live for as long as all loops turn.
 *
 * Twice within the time that WATCHDOG_USEC allows every worker is asked for a word, and once all
 * have answered the manager gets WATCHDOG=1. A worker that a script does not let go of answers
 * nothing, a main loop that hangs asks nothing, and the manager does what its unit says. Without
 * WATCHDOG_USEC, or with another's WATCHDOG_PID, nothing happens. Main thread. */
#ifndef RL_APP_PULSE_H
#define RL_APP_PULSE_H

#include "host/workers.h"

typedef struct rl_pulse {
    rl_workers *workers;
    uv_timer_t timer;
    bool asking; /* not all have answered */
} rl_pulse;

void rl_pulse_init(rl_pulse *p, rl_loop *main);
void rl_pulse_start(rl_pulse *p, rl_workers *workers); /* once they serve */
/* Also if it never started. The memory must last as long as the main
 * loop, where a last answer may come. */
void rl_pulse_close(rl_pulse *p);

#endif
