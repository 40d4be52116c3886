/* program.h - a command from beginning to end: the main thread, and the workers it keeps in step.
 *
 * The main thread reads settings, binds addresses, owns signals and the file watch, and runs no
 * script. The workers' threads have the rest. They speak by posts: each tells the other what
 * happened, and neither waits. */
#ifndef RL_APP_PROGRAM_H
#define RL_APP_PROGRAM_H

#include "host/settings.h"

/* Run the command; returns the exit status. What failed has been said on stderr by then. */
int rl_program_run(const rl_settings *settings);

#endif
