/* program.h - a command from beginning to end: two threads and what they tell each other.
 *
 * The main thread reads settings, binds addresses, owns signals and the file watch, and runs no
 * script. The worker thread has the rest. They speak by posts: each tells the other what
 * happened, and neither waits. */
#ifndef RL_APP_PROGRAM_H
#define RL_APP_PROGRAM_H

#include "app/settings.h"

/* Run the command; returns the exit status. What failed has been said on stderr by then. */
int rl_program_run(const rl_settings *settings);

#endif
