/* attach.h - the prompt of `rille attach` and `rille shell`: what is typed is run on a worker, over
 * there, and what it prints is shown here.
 *
 * Errors of what was typed go where its output goes. Without a terminal the input is a script: it
 * is run to its end, and the exit status is 1 if some of it failed. */
#ifndef RL_CONTROL_ATTACH_H
#define RL_CONTROL_ATTACH_H

#include "host/settings.h"

int rl_attach_run(const rl_settings *settings); /* rille attach; the exit status */

/* Likewise, with the other end of a control connection (proto/control.h), which stays the caller's.
 * Blocks until whoever types has left, or it has hung up. */
int rl_attach_talk(int fd, const char *worker);

#endif
